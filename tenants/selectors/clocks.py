"""Which time it is in a workspace."""

from datetime import timedelta

from common.clock import Clock, tenant_clock
from tenants.models import Tenant


def clock_of(tenant: Tenant) -> Clock:
    """The workspace's clock: real time, or ahead of it in a test workspace whose clock was moved."""
    return tenant_clock(tenant.clock_offset or timedelta(0))
