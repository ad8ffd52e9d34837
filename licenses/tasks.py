"""Celery shells around this app's services."""

from celery import shared_task

from licenses.services.expiring_notices import tell_expiring_licenses as tell_expiring
from licenses.services.expiry import expire_licenses as expire


@shared_task(name="licenses.expire_licenses", ignore_result=True)
def expire_licenses() -> int:
    """Make known which licences have expired; every minute or so."""
    return expire()


@shared_task(name="licenses.tell_expiring_licenses", ignore_result=True)
def tell_expiring_licenses() -> int:
    """Give notice of licences that are about to expire; every minute or so."""
    return tell_expiring()
