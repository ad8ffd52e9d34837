"""Events of an import into the ledger, a portion a transaction, with whatever remembers how far it is."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from msgspec import UNSET

from common.errors import Unavailable
from common.ids import Prefix, encode_id, new_id
from metering.domain.enums import EventKind
from metering.domain.quota_keys import EventDigests
from metering.domain.requests import Line, Request, Verdict
from metering.domain.terms import Caller, MeterTerms
from metering.selectors.import_callers import ImportCallers, Owner
from metering.services.acceptance import accepted_between
from metering.services.import_formats import ImportedEvent, ImportedLine
from metering.services.import_streams import ImportBroken
from metering.services.ledger import StaleCallers, post
from metering.services.payloads import UsagePayload
from metering.services.reported_usage import (
    LineFault,
    check_event_id,
    check_occurred_at,
    find_meter,
    read_dimensions,
    read_quantity,
)
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of

PORTION: Final = 4000
"""Lines a transaction: others who count on the same balances wait about a tenth of a second."""

_ROUNDS: Final = 8
_SHOWN: Final = 4096
_CONFLICT: Final = "This id was used for something else: nothing was counted."


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line that was not counted: `rejected`, or in `conflict` with what its id was used for."""

    number: int
    status: str
    code: str
    field: str
    detail: str
    id: str | None
    content: bytes

    def as_json(self) -> dict[str, Any]:
        """As it stands in the file of rejected lines; of a long line the beginning."""
        return {
            "line": self.number,
            "id": self.id,
            "status": self.status,
            "code": self.code,
            "field": self.field,
            "detail": self.detail,
            "content": self.content[:_SHOWN].decode(errors="replace"),
        }


@dataclass(slots=True)
class PortionOutcome:
    """What became of a portion of lines. `end` is the offset in the stream up to which everything is decided."""

    end: int
    last_line: int
    counts: Mapping[str, int] = field(default_factory=dict)
    refused: Sequence[RefusedLine] = ()


#: Runs inside the portion's transaction; done again, it has to come to the same.
Keep = Callable[[PortionOutcome], None]


@dataclass(frozen=True, slots=True)
class _Kind:
    """What events of one caller and meter with the same dimensions have in common."""

    caller: Caller
    meter: MeterTerms
    dimensions: Mapping[str, str]
    payload: UsagePayload
    digests: EventDigests


class Importer:
    """Records portions of one workspace's import. `backfill`: as far back as events are kept."""

    def __init__(self, tenant: Tenant, *, backfill: bool) -> None:
        self._tenant = tenant
        self._backfill = backfill
        self._callers = ImportCallers(tenant.id)

    def prepared(self, portions: Iterable[Sequence[ImportedLine]]) -> Iterator["Portion"]:
        """Portions that are ready for `record`: each in a thread, while the one before it is being written.

        The thread asks nothing of the database, so that all of that stays with one connection. Raises what reading
        `portions` does, after all that came before.
        """
        source = iter(portions)
        with ThreadPoolExecutor(1, "import") as thread:
            ready: Future[Portion] | None = None
            while True:
                broken: ImportBroken | None = None
                try:
                    lines = next(source, None)
                except ImportBroken as error:
                    lines, broken = None, error
                coming = None if lines is None else thread.submit(self._facts_of(Portion(lines)))
                if ready is not None:
                    yield ready.result()
                if broken is not None:
                    raise broken
                if coming is None:
                    return
                ready = coming

    def record(self, portion: "Portion", keep: Keep) -> PortionOutcome:
        """Count every sound line once; when this returns it is durable, and so is what `keep` wrote.

        Raises Unavailable and OutcomeUnknown; done again, what was counted is found as duplicates.
        """
        outcome = PortionOutcome(0, 0)

        def decided() -> None:
            nonlocal outcome
            outcome = portion.outcome()
            keep(outcome)

        for _ in range(_ROUNDS):
            try:
                if portion.requests:
                    post(portion.in_runs(), companion=lambda _: decided())
                else:
                    with transaction.atomic():
                        decided()
            except StaleCallers as stale:
                self._callers.forget(stale.callers)
                self._facts_of(portion)()
                continue
            return outcome
        raise Unavailable("What the import rests on changed again and again.")

    def _facts_of(self, portion: "Portion") -> Callable[[], "Portion"]:
        """What is left to do for a portion, once it is known whose its events are: nothing that needs the database."""
        known = self._callers.find(portion.owners())
        at = clock_of(self._tenant).now()
        return partial(portion.prepare, known, at, backfill=self._backfill)


class Portion:
    """Lines on their way: `requests` of the sound ones at `places`, `faults` of the others."""

    def __init__(self, lines: Sequence[ImportedLine]) -> None:
        self.lines = lines
        # Made once: a portion that is done again carries the same ids, so that nothing counts twice.
        self._event_ids = [new_id() for _ in lines]
        self.requests: list[Request] = []
        self.places: list[int] = []
        self.faults: dict[int, LineFault] = {}

    def owners(self) -> set[Owner]:
        """Whom its events name."""
        return {_owner(line.event) for line in self.lines if isinstance(line.event, ImportedEvent)}

    def prepare(self, known: Mapping[Owner, Caller | None], at: datetime, *, backfill: bool) -> "Portion":
        """Make requests of the lines, recorded `at` (workspace time)."""
        self.requests, self.places, self.faults = [], [], {}
        self._digests: dict[UUID, EventDigests] = {}
        oldest, newest = accepted_between(at, backfill=backfill)
        kinds: dict[tuple[str | None, str | None, str, bytes], _Kind] = {}
        usage = EventKind.USAGE
        for place, (line, event_id) in enumerate(zip(self.lines, self._event_ids, strict=True)):
            event = line.event
            if isinstance(event, LineFault):
                self.faults[place] = event
                continue
            try:
                raw = event.dimensions
                key = (event.agent, event.license, event.meter, b"" if raw is UNSET else bytes(raw))
                kind = kinds.get(key)
                if kind is None:
                    kind = kinds[key] = self._kind(_caller(known, event), event)
                id, given = event.id, event.occurred_at
                check_event_id(id)
                occurred_at = at if given is None else check_occurred_at(given, oldest, newest)
                quantity, written = read_quantity(event.quantity, kind.meter, kind.dimensions)
            except LineFault as fault:
                self.faults[place] = fault
                continue
            self.places.append(place)
            self.requests.append(
                # In the order of its fields: by names it takes twice as long.
                Request(
                    kind.caller,
                    usage,
                    id,
                    kind.digests.of(id),
                    kind.payload.fingerprint(written),
                    (Line(kind.meter, quantity, kind.dimensions, occurred_at, event_id),),
                    at,
                    given is not None,
                )
            )
        return self

    def in_runs(self) -> list[Request]:
        """The requests so that those which count in the same places follow one another.

        In the order of the file where an id comes twice: the first one counts.
        """
        if len({request.digest for request in self.requests}) < len(self.requests):
            return self.requests
        return sorted(
            self.requests,
            key=lambda request: (id(request.caller), id(request.lines[0].meter), request.lines[0].occurred_at),
        )

    def outcome(self) -> PortionOutcome:
        """What was decided, once it is."""
        counts: Counter[str] = Counter(rejected=len(self.faults))
        refused = {place: _refused(self.lines[place], "rejected", fault) for place, fault in self.faults.items()}
        for place, request in zip(self.places, self.requests, strict=True):
            if request.verdict is Verdict.DONE:
                counts["recorded"] += 1
            elif request.verdict is Verdict.REPLAYED:
                counts["duplicates"] += 1
            else:
                counts["conflicts"] += 1
                fault = LineFault("id", "id_conflict", _CONFLICT)
                refused[place] = _refused(self.lines[place], "conflict", fault)
        last = self.lines[-1]
        return PortionOutcome(last.end, last.number, counts, [refused[place] for place in sorted(refused)])

    def _kind(self, caller: Caller, event: ImportedEvent) -> _Kind:
        """Raises LineFault."""
        meter = _meter(caller, event.meter)
        dimensions = read_dimensions(event.dimensions, meter)
        digests = self._digests.get(caller.license_id)
        if digests is None:
            digests = self._digests[caller.license_id] = EventDigests(caller.license_id)
        return _Kind(caller, meter, dimensions, UsagePayload(meter.id, dimensions), digests)


def _owner(event: ImportedEvent) -> Owner:
    return ("license", event.license or "") if event.agent is None else ("agent", event.agent)


def _caller(known: Mapping[Owner, Caller | None], event: ImportedEvent) -> Caller:
    if (event.agent is None) == (event.license is None):
        raise LineFault("agent", "event_invalid", "Name either the agent or the licence that it happened to.")
    kind, _ = owner = _owner(event)
    caller = known[owner]
    if caller is None:
        raise LineFault(kind, f"unknown_{kind}", f"There is no such {kind}.")
    return caller


def _meter(caller: Caller, name: str) -> MeterTerms:
    meter = caller.meters.get(name)
    if meter is None and "_" in name:
        by_id = {encode_id(Prefix.METER, each.id): each for each in caller.meters.values()}
        return find_meter(by_id, name)
    return find_meter(caller.meters, name)


def _refused(line: ImportedLine, status: str, fault: LineFault) -> RefusedLine:
    id = line.event.id if isinstance(line.event, ImportedEvent) else None
    return RefusedLine(line.number, status, fault.code, fault.field, fault.detail, id, line.data)
