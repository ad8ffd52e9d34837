"""Celery shells around this app's services."""

from celery import shared_task

from licenses.services.expiry import expire_licenses as expire


@shared_task(name="licenses.expire_licenses", ignore_result=True)
def expire_licenses() -> int:
    """Make known which licences have expired; every minute or so."""
    return expire()
