"""Celery shells around this app's services."""

from celery import shared_task

from tenants.services.epochs import republish_recent
from tenants.services.idempotency import purge_answers
from tenants.services.sealing import seal_audit as seal


@shared_task(name="tenants.seal_audit", ignore_result=True)
def seal_audit() -> int:
    """Seal what was audited lately; every second or so."""
    return seal()


@shared_task(name="tenants.seal_whole_audit", ignore_result=True)
def seal_whole_audit() -> int:
    """Seal whatever a very long transaction left behind; once a day."""
    return seal(everything=True)


@shared_task(name="tenants.purge_answers", ignore_result=True)
def purge_kept_answers() -> int:
    """Forget kept answers of POSTs after 24 hours; every few minutes."""
    return purge_answers()


@shared_task(name="tenants.republish_epochs", ignore_result=True)
def republish_epochs() -> int:
    """Tell Valkey again of recent changes, for a process that died before it could; every second or so."""
    return republish_recent()
