"""When Celery beat sends which task. The schedule is code, so that every installation runs the same one.

What is set is only how long the longest pause between two rounds may be: rehearsals and tests that wait for a round set
it to a few seconds.
"""

from typing import Any

from celery.schedules import crontab

from licensing_site.environment import env

BEAT_SCHEDULE: dict[str, dict[str, Any]] = {}
LONGEST_PAUSE = max(1.0, env.float("PERMETER_LONGEST_ROUND_SECONDS", default=86_400.0))


def every(seconds: float, task: str) -> None:
    """Send `task` every `seconds`; a message that waited longer than that is dropped, as the next one does its work."""
    seconds = min(seconds, LONGEST_PAUSE)
    BEAT_SCHEDULE[task] = {"task": task, "schedule": seconds, "options": {"expires": max(seconds, 10.0)}}


def daily(hour: int, minute: int, task: str) -> None:
    """Send `task` once a day at this time of UTC."""
    BEAT_SCHEDULE[task] = {"task": task, "schedule": crontab(hour=str(hour), minute=str(minute))}


every(20, "metering.roll_up_usage")
every(600, "metering.accrue_overage")
every(60, "metering.close_periods")
every(10, "metering.expire_holds")
every(5, "metering.watch_agents")
every(600, "metering.profile_calls")
every(3600, "metering.maintain_partitions")
every(30, "metering.run_waiting_jobs")
every(3600, "metering.purge_imports")
daily(3, 40, "metering.verify_ledger")
daily(4, 10, "metering.drop_old_events")

every(1, "tenants.seal_audit")
every(1, "tenants.republish_epochs")
every(60, "licenses.expire_licenses")
every(30, "licenses.archive_ended_agents")
every(60, "licenses.tell_expiring_licenses")
every(10, "licenses.lapse_activations")
every(3600, "licenses.rotate_signing_keys")
every(600, "tenants.purge_answers")
daily(3, 10, "tenants.seal_whole_audit")
