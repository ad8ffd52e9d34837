"""Jobs to poll."""

from common.errors import NotFound
from common.ids import Prefix, decode_id
from tenants.models import Job, Tenant


def get_job(tenant: Tenant, reference: str) -> Job:
    """The job that a URL names by its id. Raises NotFound."""
    try:
        job_id = decode_id(Prefix.JOB, reference)
    except ValueError:
        raise NotFound("No job has this id.") from None
    return Job.objects.for_tenant(tenant).get_or_raise(job_id)
