"""Celery shells around this app's services."""

from celery import shared_task

from licenses.services.ended_agents import archive_ended_agents as archive_ended
from licenses.services.expiring_notices import tell_expiring_licenses as tell_expiring
from licenses.services.expiry import expire_licenses as expire
from licenses.services.lapsing import lapse_activations as lapse
from licenses.services.signing_keys import rotate_due_keys


@shared_task(name="licenses.expire_licenses", ignore_result=True)
def expire_licenses() -> int:
    """Make known which licences have expired; every minute or so."""
    return expire()


@shared_task(name="licenses.archive_ended_agents", ignore_result=True)
def archive_ended_agents() -> int:
    """Put away agents that were spawned for a time, a minute after it is over; every 30 seconds or so."""
    return archive_ended()


@shared_task(name="licenses.tell_expiring_licenses", ignore_result=True)
def tell_expiring_licenses() -> int:
    """Give notice of licences that are about to expire; every minute or so."""
    return tell_expiring()


@shared_task(name="licenses.rotate_signing_keys", ignore_result=True)
def rotate_signing_keys() -> int:
    """Let the next key sign where one has signed for long enough; once an hour."""
    return rotate_due_keys()


@shared_task(name="licenses.lapse_activations", ignore_result=True)
def lapse_activations() -> int:
    """Make known which leases of activations have ended; every ten seconds or so."""
    return lapse()
