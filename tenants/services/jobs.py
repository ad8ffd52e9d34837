"""Longer work: asked for over REST, done by a worker under a lease, polled by whoever asked."""

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from tenants.domain.actors import Actor
from tenants.models import Job, Tenant

LEASE = timedelta(minutes=5)


class LeaseLost(Exception):
    """Another worker has taken the job over; whoever held it stops."""


def create_job(*, tenant: Tenant, actor: Actor, kind: str, input: Mapping[str, Any] | None = None) -> Job:
    """Ask for work. The caller sends the task on commit."""
    raise NotImplementedError


def claim_job(*, kinds: Collection[str] = (), job_id: UUID | None = None, lease: timedelta = LEASE) -> Job | None:
    """Take the oldest waiting job of these kinds (or this very one), or one whose worker died; None: nothing to do."""
    raise NotImplementedError


def renew_lease(*, job: Job, progress: Mapping[str, Any] | None = None, lease: timedelta = LEASE) -> Job:
    """Go on for another lease, and tell how far it is. Raises LeaseLost."""
    raise NotImplementedError


def finish_job(*, job: Job, result: Mapping[str, Any] | None = None) -> Job:
    """The work is done. Raises LeaseLost."""
    raise NotImplementedError


def fail_job(*, job: Job, error: Mapping[str, Any]) -> Job:
    """The work cannot be done: `{"code", "detail"}`. Raises LeaseLost."""
    raise NotImplementedError


def actor_of(job: Job) -> Actor:
    """Who asked for the work: what it does is done in that name."""
    raise NotImplementedError
