"""Longer work that this door asks for."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from django.db import transaction

from metering.services.import_formats import ImportFormat
from metering.services.import_jobs import ask_to_import
from metering.services.import_uploads import Upload
from metering.services.running_jobs import CLOSE_PERIODS, MOVE_CLOCK
from metering.tasks import run_job
from tenants.domain.actors import Actor
from tenants.models import Job, Tenant
from tenants.services.jobs import create_job
from vendor_api.serializers.fields import format_time


def ask_to_close_periods(*, tenant: Tenant, actor: Actor, before: datetime) -> Job:
    """A job that finalises the periods that ended before this time, without waiting for the grace."""
    return _asked(create_job(tenant=tenant, actor=actor, kind=CLOSE_PERIODS, input={"before": format_time(before)}))


def ask_to_move_clock(*, tenant: Tenant, actor: Actor, now: datetime) -> Job:
    """A job that moves a test workspace's clock the rest of its way to this time."""
    return _asked(create_job(tenant=tenant, actor=actor, kind=MOVE_CLOCK, input={"now": format_time(now)}))


def import_uploaded(*, tenant: Tenant, actor: Actor, upload: Upload, format_: ImportFormat, backfill: bool) -> Job:
    """A job that imports what was uploaded."""
    return _asked(ask_to_import(tenant=tenant, actor=actor, upload=upload, format_=format_, backfill=backfill))


def _asked(job: Job) -> Job:
    # Whether the message can be sent does not matter for long: workers look for waiting jobs by themselves.
    transaction.on_commit(partial(run_job.delay, str(job.id)), robust=True)
    return job
