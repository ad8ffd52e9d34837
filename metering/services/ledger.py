"""The ledger: the one way in for every event and hold, of one caller or of many.

A batch is one transaction: take the configuration lock shared and read the epochs again, lock the balances, give
back what expired holds reserve, read which ids exist, decide in Python, write ids, events, balances and notices.
Locks are taken in one order everywhere: configuration, balances, top-ups, hold lines, rolling windows, numbers of open
holds, ids.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction
from psycopg.errors import CheckViolation, ConnectionTimeout
from psycopg_pool import PoolTimeout

from common.errors import OutcomeUnknown, Unavailable
from metering.domain.balance_states import BalanceState
from metering.domain.enums import EventKind
from metering.domain.ledger import Decision, decide
from metering.domain.requests import Request
from metering.domain.terms import Caller
from metering.services import ledger_sql
from metering.services.balance_values import read_values, write_values
from metering.services.balances import ensure_balances, seeded
from metering.services.ledger_allowances import Special
from metering.services.ledger_notices import notices
from metering.services.lines import place_lines
from metering.services.open_holds import lock_open_holds
from metering.services.partitions import ensure_partition_for
from metering.services.patience import is_impatience
from metering.services.rolling import unseen
from metering.services.targets import Targets
from tenants.services.outbox import emit_events

log = structlog.get_logger(__name__)

#: They are never in one batch with others.
_CORRECTIONS = (EventKind.VOID, EventKind.ADJUST)

_ATTEMPTS = 12
_RECONNECT_FOR = 2.0
_RECONNECT_EVERY = 0.1

#: Runs inside the transaction, with the accepted requests, before the ids are written: holds do their own tables here.
Companion = Callable[[Sequence[Request]], None]


class StaleCallers(Exception):
    """Something that these callers' snapshots hold has changed, or the period that they are in was closed.

    Load them anew, decide again at the present time, and post again.
    """

    def __init__(self, callers: Sequence[Caller]) -> None:
        super().__init__(f"{len(callers)} stale")
        self.callers = tuple(callers)


class _Quicker(Exception):
    """Somebody registered one of the batch's ids first; done again, the batch sees it."""


class _Missing(Exception):
    """Some balances do not exist yet."""


@dataclass(frozen=True, slots=True)
class Posted:
    """What a batch came to: its requests with their verdicts, and every balance that it locked, as it left them."""

    requests: Sequence[Request]
    balances: Mapping[UUID, BalanceState]


def post(
    requests: Sequence[Request],
    *,
    companion: Companion | None = None,
    extra_balances: Iterable[UUID] = (),
    before: Callable[[], None] | None = None,
) -> Posted:
    """Decide and count a batch; when this returns it is durable.

    Requests of one batch are decided in order, each all or nothing. A batch is repeated with the same ids and event
    ids when a connection dies, so an event counts once also where the answer to a commit was lost.
    `before` runs under the balances' locks and `extra_balances` joins balances to them: for settling holds.
    Raises StaleCallers, Busy (where `short_patience` ran out), Unavailable (nothing was done), OutcomeUnknown (it died
    while committing and could not be looked up in time).
    """
    targets = Targets()
    valued = place_lines(requests, targets)
    corrected = _place_corrections(requests, targets) if requests and requests[0].kind in _CORRECTIONS else ()
    work = _Work(requests, targets, companion, (*extra_balances, *corrected), before, valued=valued)
    began = time.monotonic()
    give_up_at: float | None = None
    in_doubt = False
    for _ in range(_ATTEMPTS * 4):
        try:
            return work.attempt()
        except (_Missing, _Quicker):
            continue
        except IntegrityError as error:
            if not isinstance(error.__cause__, CheckViolation) or "partition" not in str(error):
                raise
            for occurred_at in {line.occurred_at for request in requests for line in request.lines}:
                ensure_partition_for(occurred_at)
        except (OperationalError, InterfaceError) as error:
            if is_impatience(error):
                raise
            in_doubt = in_doubt or (work.committing and not _is_answer(error))
            if connection.in_atomic_block:
                raise
            connection.close()
            now = time.monotonic()
            give_up_at = give_up_at or (began if _is_timeout(error) else now) + _RECONNECT_FOR
            log.warning("ledger.connection_lost", error=type(error).__name__, in_doubt=in_doubt)
            if now >= give_up_at:
                if in_doubt:
                    raise OutcomeUnknown(requests[0].id if len(requests) == 1 else None) from error
                raise Unavailable from error
            time.sleep(_RECONNECT_EVERY)
    raise Unavailable("The batch could not be placed among too many others. Nothing was done.")


class _Work:
    """A batch on its way; `committing` says whether the last attempt died while it was being committed.

    `valued`: some of its lines are of meters that do not add up.
    """

    def __init__(
        self,
        requests: Sequence[Request],
        targets: Targets,
        companion: Companion | None,
        extra_balances: tuple[UUID, ...],
        before: Callable[[], None] | None,
        *,
        valued: bool = False,
    ) -> None:
        self.requests = requests
        self.valued = valued
        self.targets = targets
        self.companion = companion
        self.before = before
        self.extra_balances = extra_balances
        self.committing = False
        self.alone = True
        self.tenant_ids = list({request.caller.tenant_id for request in requests})
        self.callers = {id(request.caller): request.caller for request in requests}.values()

    def attempt(self) -> Posted:
        self.committing = False
        self.alone = not connection.in_atomic_block
        missing: set[UUID] = set()
        try:
            with transaction.atomic():
                posted = self._run(missing)
                self.committing = True
        except _Missing:
            with transaction.atomic():
                # First: a quota that was taken away meanwhile would leave a balance behind that nobody lets go of, and
                # what an event is corrected by must not come between reading what there is and making the balance.
                self._keep_configuration()
                made = {id: self.targets.specs[id] for id in missing}
                # All in one go, in the order of their ids.
                ensure_balances(made | unseen(self.targets.specs, new=missing))
            raise
        self.committing = False
        return posted

    def _run(self, missing: set[UUID]) -> Posted:
        digests = [request.digest for request in self.requests]
        opened = ledger_sql.open_batch(
            self.tenant_ids, self._subjects(), {*self.targets.wanted, *self.extra_balances}, digests
        )
        self._check_epochs(opened.epochs)
        balances, known = opened.balances, opened.known
        missing.update(id for id in self.targets.specs if id not in balances)
        if missing:
            raise _Missing
        self._check_periods(balances)
        self._resume(balances, opened.detached)
        special = Special(self.targets, balances) if self.targets.special else None
        if special is not None and not special.lock():
            raise _Quicker
        ledger_sql.sweep_expired_lines(balances, self.targets.at_of)
        if self.before is not None:
            self.before()
            # It may have waited for a lock behind somebody who used the very same id.
            known = ledger_sql.read_ids(self.tenant_ids, digests)
        waited = special is not None and special.lock_windows()
        open_holds = lock_open_holds(self.requests)
        if open_holds or waited:
            # It may have waited for somebody who asked with the very same id.
            known = ledger_sql.read_ids(self.tenant_ids, digests)
        if self.valued:
            read_values(self.requests, balances, self.targets.specs)
        decision = decide(balances, self.requests, known, open_holds)
        if special is not None:
            special.write()
        self._write(decision, balances)
        return Posted(self.requests, balances)

    def _keep_configuration(self) -> None:
        """Keep changes of it out until the transaction ends. Raises StaleCallers for who does not know it as it is."""
        ledger_sql.lock_configuration_shared(self.tenant_ids)
        self._check_epochs(ledger_sql.current_epochs(self.tenant_ids, self._subjects()))

    def _subjects(self) -> set[UUID]:
        return {subject_id for caller in self.callers for _, subject_id, _ in caller.epochs}

    def _check_epochs(self, current: Mapping[tuple[str, UUID], int]) -> None:
        stale = [
            caller
            for caller in self.callers
            if any(current.get((kind, subject_id), 0) > version for kind, subject_id, version in caller.epochs)
        ]
        if stale:
            raise StaleCallers(stale)

    def _check_periods(self, balances: Mapping[UUID, BalanceState]) -> None:
        """What came before its period's end and was overtaken by the closing comes again, in the next one.

        Raises StaleCallers.
        """
        closed = {id for id in self.targets.current if _is_overtaken(balances[id], self.targets.at_of[id])}
        if closed:
            raise StaleCallers(
                [
                    request.caller
                    for request in self.requests
                    if any(target.open in closed for line in request.counting for target in line.targets)
                ]
            )

    def _resume(self, balances: Mapping[UUID, BalanceState], detached: set[UUID]) -> None:
        """A quota that had stopped applying applies again: its balance takes up what was not counted meanwhile."""
        resumed = [id for id in detached & self.targets.specs.keys() if not balances[id].closed]
        for id in resumed:
            seed = seeded(id, self.targets.specs[id])
            balances[id].used, balances[id].latest_at = seed.value, seed.latest_at
            balances[id].changed = True
        if resumed:
            ledger_sql.attach_balances(resumed)
            ensure_balances(unseen(self.targets.specs, new=resumed))

    def _write(self, decision: Decision, balances: Mapping[UUID, BalanceState]) -> None:
        accepted = decision.accepted
        if self.companion is not None:
            self.companion(accepted)
        if decision.late:
            tenant_of = {line.event_id: request.caller.tenant_id for request in accepted for line in request.counting}
            ledger_sql.insert_late_entries(decision, tenant_of)
        if decision.crossings or decision.late:
            emit_events(notices(decision, self.targets.specs))
        if self.valued:
            write_values(balances.values(), self.targets.specs)
        # Last, as the commit goes with it.
        self.committing = self.alone
        if not ledger_sql.write_batch(accepted, balances.values(), commit=self.alone):
            self.committing = False
            raise _Quicker


def _place_corrections(requests: Sequence[Request], targets: Targets) -> set[UUID]:
    """The balances in which corrected events counted; those whose quota still holds join the batch's targets."""
    found = set()
    for request in requests:
        for line in request.lines:
            for place in line.places or ():
                found.add(place.balance_id)
                if place.quota is not None:
                    targets.join_place(request.caller, place, line.occurred_at, request.at)
    return found


def _is_timeout(error: Exception) -> bool:
    """Whether the server was silent rather than gone: it would take as long again, so the wait counts."""
    return isinstance(error.__cause__, ConnectionTimeout | PoolTimeout)


def _is_answer(error: Exception) -> bool:
    """Whether the server itself refused, and lives: then nothing was committed. What it says when it goes down does
    not tell.
    """
    state = getattr(error.__cause__, "sqlstate", None)
    return state is not None and not state.startswith(("08", "57P"))


def _is_overtaken(balance: BalanceState, at: datetime) -> bool:
    return balance.closed and balance.period_end is not None and at < balance.period_end
