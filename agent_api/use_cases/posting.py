"""Posting what many callers bring to the ledger in one transaction; callers who turn out to be behind come again."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

import structlog
from django.db import DataError, IntegrityError

from agent_api.use_cases.callers import Credentials, KnownCaller, renew
from common.errors import Problem, Unavailable
from metering.domain.enums import OnExcess
from metering.domain.requests import Request
from metering.services.holds import HoldBook
from metering.services.ledger import Companion, Posted, StaleCallers, post
from metering.services.receipts import ReceiptBook
from metering.services.settling import Settlement, SettlementBook

log = structlog.get_logger(__name__)

_ROUNDS = 8


class Job(ABC):
    """One caller's requests of a batch, on their way into the ledger.

    In the end there is either a `problem`, or `posted` with verdicts in `requests`; a job without requests is done
    as it is.
    """

    __slots__ = ("credentials", "known", "posted", "problem", "requests")

    def __init__(self, credentials: Credentials, known: KnownCaller) -> None:
        self.credentials = credentials
        self.known = known
        self.requests: Sequence[Request] = ()
        self.problem: Problem | None = None
        self.posted: Posted | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Work out the requests (or the problem) from the snapshot in `known`, with the same ids each time."""

    def intents(self) -> dict[UUID, tuple[datetime, OnExcess]]:
        """When each hold that is asked for ends, and what excess does."""
        return {}

    def settlements(self) -> Sequence[Settlement]:
        """What is settled by the requests. No job of a batch with some of them has receipts."""
        return ()


def post_many(jobs: Sequence[Job]) -> None:
    """Post the requests of all jobs, in order, in one transaction.

    A job whose snapshot is behind is prepared anew and posted again with the others. What the database refuses
    outright hurts only the job that brought it. Raises Unavailable, OutcomeUnknown.
    """
    for _ in range(_ROUNDS):
        open_jobs = [job for job in jobs if job.requests and job.problem is None]
        if not open_jobs:
            return
        try:
            _post(open_jobs)
        except StaleCallers as stale:
            _renew(open_jobs, stale)
        except (DataError, IntegrityError) as error:
            _isolate(open_jobs, error)
            return
        else:
            return
    raise Unavailable("What the call rests on changed again and again. Nothing was done.")


def _post(jobs: Sequence[Job]) -> None:
    requests = [request for job in jobs for request in job.requests]
    intents: dict[UUID, tuple[datetime, OnExcess]] = {}
    for job in jobs:
        intents |= job.intents()
    companions: list[Companion] = [HoldBook(intents)] if intents else []
    settlements = [settlement for job in jobs for settlement in job.settlements()]
    book = SettlementBook(settlements) if settlements else ReceiptBook.among(requests)
    if book:
        companions.append(book.store)
    posted = post(
        requests,
        companion=partial(_accompany, companions) if companions else None,
        extra_balances=book.balances() if book else (),
        before=book.under_lock if book else None,
    )
    for job in jobs:
        job.posted = posted


def _accompany(companions: Sequence[Companion], accepted: Sequence[Request]) -> None:
    for companion in companions:
        companion(accepted)


def _renew(jobs: Sequence[Job], stale: StaleCallers) -> None:
    behind = {id(caller) for caller in stale.callers}
    # Somebody above settles for the agent that holds: the requests' caller is that one.
    concerned = [job for job in jobs if any(id(request.caller) in behind for request in job.requests)]
    fresh = renew((job.credentials, job.known) for job in concerned)
    for job in concerned:
        found = fresh[id(job.known)]
        if isinstance(found, Problem):
            job.problem = found
        else:
            job.known = found
            job.prepare()


def _isolate(jobs: Sequence[Job], error: Exception) -> None:
    """Find the job that the database will not take, by halves."""
    if len(jobs) == 1:
        log.error("posting.refused_by_database", error=type(error).__name__, exc_info=error)
        jobs[0].problem = Problem()
        return
    middle = len(jobs) // 2
    post_many(jobs[:middle])
    post_many(jobs[middle:])
