"""Celery shells around this app's services. Each is safe to run twice, side by side, and to be killed half-way."""

from pathlib import Path
from uuid import UUID

import structlog
from celery import shared_task
from django.conf import settings

from metering.services import (
    call_profiles,
    closing,
    dropping,
    expiring_holds,
    import_uploads,
    overage,
    partitions,
    rollups,
    runaway_guard,
    running_jobs,
    statements,
    verification,
)

log = structlog.get_logger(__name__)

#: An overage is to be seen within a minute of its event: from here on that is in danger.
_LAG_ALARM_SECONDS = 60.0


@shared_task(name="metering.roll_up_usage", ignore_result=True)
def roll_up_usage() -> None:
    """Roll up what is new, then bring the overage of open periods up to date; every 20 seconds."""
    rollups.roll_up_usage()
    overage.accrue_overage()
    lag = rollups.rollup_lag().total_seconds()
    if lag > _LAG_ALARM_SECONDS:
        log.warning("rollup.lagging", seconds=round(lag))


@shared_task(name="metering.accrue_overage", ignore_result=True)
def accrue_overage() -> None:
    """Look at every open period, whether or not anything was noticed there; every ten minutes."""
    overage.accrue_overage(everything=True)


@shared_task(name="metering.close_periods", ignore_result=True)
def close_periods() -> None:
    """Close what has ended, once the grace for late events is over, and issue statements; every minute."""
    try:
        closed = closing.close_periods()
        if closed.refused:
            log.error("period.not_closed", balances=[str(balance_id) for balance_id in closed.refused])
    finally:
        # What fails in one workspace keeps no statement from another.
        issued = statements.issue_all_due_statements()
        if issued:
            log.info("statement.issued", statements=issued)


@shared_task(name="metering.expire_holds", ignore_result=True)
def expire_holds() -> None:
    """Give back what holds reserve that have run out; every few seconds."""
    expiring_holds.expire_holds()


@shared_task(name="metering.maintain_partitions", ignore_result=True)
def maintain_partitions() -> None:
    """Make the events' partitions of the months to come; every hour, as test workspaces' clocks may jump."""
    for name in partitions.maintain_partitions():
        log.info("partition.created", name=name)


@shared_task(name="metering.verify_ledger", ignore_result=True)
def verify_ledger() -> None:
    """Prove balances, roll-ups and overage from the raw events; once a day."""
    proof = verification.verify_ledger()
    for difference in proof.differences:
        log.error("ledger.differs", kind=difference.kind, subject=difference.subject, detail=difference.text)
    log.info("ledger.verified", differences=len(proof.differences), events=proof.events)


@shared_task(name="metering.drop_old_events", ignore_result=True)
def drop_old_events() -> None:
    """Write the months that are past keeping to the archive, where there is one, and drop them; once a day."""
    if not settings.PERMETER_EVENT_ARCHIVE:
        return
    dropped = dropping.drop_old_events(export_to=Path(settings.PERMETER_EVENT_ARCHIVE))
    if dropped.months:
        log.info("events.dropped", months=dropped.months, events=dropped.events, ids=dropped.ids)
    if dropped.refused:
        log.error("events.not_dropped", reason=dropped.refused)


@shared_task(name="metering.run_job", ignore_result=True)
def run_job(job_id: str) -> None:
    """Do the job that was just asked for."""
    running_jobs.run_job(job_id=UUID(job_id))


@shared_task(name="metering.run_waiting_jobs", ignore_result=True)
def run_waiting_jobs() -> None:
    """Do the jobs whose message was lost or whose worker died; every half a minute."""
    running_jobs.run_waiting_jobs()


@shared_task(name="metering.watch_agents", ignore_result=True)
def watch_agents() -> None:
    """Act on the agents that run away; every 5 seconds."""
    runaway_guard.watch_agents()


@shared_task(name="metering.profile_calls", ignore_result=True)
def profile_calls() -> None:
    """Keep what agents usually do, for the rules that compare; every ten minutes."""
    call_profiles.profile_calls()


@shared_task(name="metering.purge_imports", ignore_result=True)
def purge_imports() -> None:
    """Remove uploads and refused lines that were kept long enough; once an hour."""
    import_uploads.purge_imports()
