"""Laws of the ledger's decision, over random batches: a plain model in a few lines, and batches cut in any place."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from metering.domain.balance_states import BalanceState
from metering.domain.enums import Aggregation, EventKind, Period, QuotaMode, Scope
from metering.domain.ledger import decide
from metering.domain.requests import Line, Request, Target, Verdict
from metering.domain.terms import Caller, MeterTerms, QuotaTerms

AT = datetime(2026, 11, 23, 9, tzinfo=UTC)
METER = MeterTerms(UUID(int=1), "tokens", Aggregation.SUM)
CALLER = Caller(UUID(int=2), UUID(int=3), UUID(int=4), None, (), ZoneInfo("UTC"), {}, (), ())


@dataclass(frozen=True)
class Level:
    """A quota and its balance; a closed one sends what comes late to the balance after it."""

    number: int
    mode: QuotaMode
    limit: int
    ceiling: int | None
    closed: bool

    @property
    def target(self) -> Target:
        quota = QuotaTerms(
            id=UUID(int=100 + self.number),
            key=UUID(int=100 + self.number),
            scope=Scope.LICENSE,
            subject_id=CALLER.license_id,
            meter_id=METER.id,
            meter_code=METER.code,
            mode=self.mode,
            limit=Decimal(self.limit),
            ceiling=None if self.ceiling is None else Decimal(self.limit + self.ceiling),
            period=Period.DAY,
            thresholds=(50, 100),
        )
        return Target(quota, UUID(int=200 + self.number), UUID(int=300 + self.number))


@dataclass(frozen=True)
class Ask:
    """One request to be; `levels` says on which of the quotas it counts."""

    id: int
    kind: EventKind
    quantities: tuple[int, ...]
    levels: frozenset[int]


levels = st.lists(
    st.builds(
        Level,
        number=st.just(0),
        mode=st.sampled_from(QuotaMode),
        limit=st.integers(0, 30),
        ceiling=st.none() | st.integers(0, 10),
        closed=st.booleans(),
    ),
    min_size=1,
    max_size=3,
).map(lambda found: [replace(each, number=place) for place, each in enumerate(found)])
kinds = st.sampled_from([EventKind.USAGE, EventKind.CONSUME, EventKind.HOLD])
asks = st.lists(
    st.builds(
        Ask,
        id=st.integers(0, 12),
        kind=kinds,
        quantities=st.lists(st.integers(0, 9), min_size=1, max_size=2).map(tuple),
        levels=st.frozensets(st.integers(0, 2)),
    ),
    max_size=25,
)


def request(ask: Ask, found: list[Level], places: dict[frozenset[int], tuple[Target, ...]]) -> Request:
    # The same tuple for the same places, as the ledger's own targets are: that is what lets facts be added up first.
    targets = places.setdefault(ask.levels, tuple(each.target for each in found if each.number in ask.levels))
    lines = [Line(METER, Decimal(each), {}, AT, UUID(int=10_000 + ask.id)) for each in ask.quantities]
    for line in lines:
        line.targets = targets
    return Request(
        caller=CALLER,
        kind=ask.kind,
        id=str(ask.id),
        digest=f"{ask.id:032x}",
        fingerprint=f"{hash((ask.quantities, ask.levels)) % 2**64:032x}",
        lines=lines,
        at=AT,
        hold_id=UUID(int=20_000 + ask.id) if ask.kind is EventKind.HOLD else None,
    )


def fresh(found: list[Level]) -> dict[UUID, BalanceState]:
    balances = {}
    for each in found:
        for id, closed in ((each.target.own, each.closed), (each.target.open, False)):
            balances[id] = BalanceState(id, Decimal(0), Decimal(0), closed, set())
    return balances


def outcome(found: list[Level], batches: list[list[Ask]]):
    balances, known, places = fresh(found), {}, {}
    verdicts, crossings, late = [], [], []
    for batch in batches:
        requests = [request(ask, found, places) for ask in batch]
        decision = decide(balances, requests, known)
        known |= {each.digest: each.as_known() for each in decision.accepted}
        verdicts += [(each.verdict, each.known is not None) for each in requests]
        crossings += [(each.balance_id, each.threshold) for each in decision.crossings]
        late += [(each.own, each.quantity) for each in decision.late]
    amounts = {id: (each.used, each.held, frozenset(each.fired)) for id, each in balances.items()}
    return amounts, verdicts, sorted(crossings), late


@given(levels, asks)
def test_decide__any_batch__agrees_with_a_plain_model(found, wanted):
    used = {id: Decimal(0) for id in fresh(found)}
    held = dict(used)
    seen: dict[int, Ask] = {}
    expected = []
    for ask in wanted:
        targets = [each for each in found if each.number in ask.levels]
        total = Decimal(sum(ask.quantities))
        if ask.id in seen:
            same = seen[ask.id] == ask
            expected.append(Verdict.CONFLICT if not same else None)
            continue
        asking = ask.kind in (EventKind.CONSUME, EventKind.HOLD)
        most = [(each, each.target.quota.blocks_above) for each in targets]
        if asking and any(
            top is not None and used[each.target.own] + held[each.target.own] + total > top for each, top in most
        ):
            expected.append(Verdict.REFUSED)
            continue
        seen[ask.id] = ask
        expected.append(Verdict.DONE)
        for each in targets:
            if ask.kind is EventKind.HOLD:
                held[each.target.own] += total
            else:
                used[each.target.open if each.closed else each.target.own] += total
    amounts, verdicts, _, _ = outcome(found, [wanted])
    assert {id: each[:2] for id, each in amounts.items()} == {id: (used[id], held[id]) for id in used}
    for (verdict, was_known), want in zip(verdicts, expected, strict=True):
        # The same ask again has the same event ids here, so it cannot be told from a commit whose answer was lost.
        assert verdict is want if want else was_known and verdict in (Verdict.DONE, Verdict.REPLAYED)


@given(levels, asks, st.data())
def test_decide__a_batch_cut_in_pieces__comes_to_the_same(found, wanted, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wanted)), max_size=4)))
    pieces = [wanted[start:end] for start, end in zip([0, *cuts], [*cuts, len(wanted)], strict=True)]
    assert outcome(found, pieces) == outcome(found, [wanted])


@given(levels, asks)
def test_decide__hard_quota__is_never_passed_by_what_is_granted(found, wanted):
    granted = [replace(ask, id=place, kind=EventKind.CONSUME) for place, ask in enumerate(wanted)]
    open_levels = [replace(each, closed=False) for each in found]
    amounts, _, _, _ = outcome(open_levels, [granted])
    for each in open_levels:
        top = each.target.quota.blocks_above
        if top is not None:
            assert amounts[each.target.own][0] <= top


@given(levels, asks, st.randoms(use_true_random=False))
def test_decide__facts_in_any_order__come_to_the_same_balances(found, wanted, chance):
    facts = [replace(ask, id=place, kind=EventKind.USAGE) for place, ask in enumerate(wanted)]
    shuffled = list(facts)
    chance.shuffle(shuffled)
    assert outcome(found, [facts])[0] == outcome(found, [shuffled])[0]


@given(levels, asks)
def test_decide__everything_sent_twice__counts_once(found, wanted):
    facts = [replace(ask, id=place, kind=EventKind.USAGE) for place, ask in enumerate(wanted)]
    assert outcome(found, [facts, facts])[0] == outcome(found, [facts])[0]
