"""Holds on a real PostgreSQL: reserve, settle, release, extend, expire."""

from datetime import timedelta
from decimal import Decimal

import pytest

from common.errors import Conflict, Invalid, NotFound
from common.ids import new_id
from metering.domain.enums import EventKind, OnExcess
from metering.domain.holds import SettledLine
from metering.domain.requests import Line, Verdict
from metering.models import Balance, Hold, HoldLine, UsageEvent
from metering.services.expiring_holds import expire_holds
from metering.services.holds import HoldBook, release
from metering.services.ledger import post
from tenants.models import OutboxEvent
from tests.metering.hold_actions import extend, settle
from tests.metering.ledger_world import NOW, World, make_world

pytestmark = pytest.mark.django_db(transaction=True)


def hold(world: World, quantity: str, *, ttl: int = 300, on_excess: OnExcess = OnExcess.COUNT, **more):
    request = world.request(quantity, kind=EventKind.HOLD, **more)
    book = HoldBook({request.hold_id: (request.at + timedelta(seconds=ttl), on_excess)})
    post([request], companion=book)
    return request


def settled(world: World, request, quantity: str, *, id=None, final=True, at=NOW, dimensions=None):
    caller = world.caller()
    line = SettledLine(caller.meters["tokens"], Decimal(quantity), dimensions or {})
    return settle(caller=caller, hold_id=request.hold_id, asked=[line], id=id, final=final, at=at)


def balance() -> tuple[Decimal, Decimal]:
    row = Balance.objects.get()
    return row.used, row.held


def test_hold__reserves__and_counts_nothing():
    world = make_world()
    world.quota("1000")
    request = hold(world, "900", dimensions={"model": "large"})
    assert request.verdict is Verdict.DONE
    assert balance() == (0, 900)
    assert not UsageEvent.objects.exists()
    stored = Hold.objects.get()
    assert stored.usage == [{"meter": "tokens", "quantity": "900", "dimensions": {"model": "large"}}]
    assert stored.expires_at == NOW + timedelta(seconds=300)


def test_hold__above_what_is_left_beside_other_holds__is_refused():
    world = make_world()
    world.quota("1000")
    hold(world, "900")
    assert hold(world, "101").verdict is Verdict.REFUSED
    assert hold(world, "100").verdict is Verdict.DONE
    assert world.post(world.request("1", kind=EventKind.CONSUME)).requests[0].verdict is Verdict.REFUSED


def test_hold__same_id_again__is_the_same_hold():
    world = make_world()
    world.quota("1000")
    first = hold(world, "900", id="step-1")
    again = hold(world, "900", id="step-1")
    assert again.verdict is Verdict.REPLAYED
    assert again.known.hold_id == first.hold_id
    assert balance() == (0, 900)


def test_hold__expired__gives_back_at_the_next_ask_without_a_worker():
    world = make_world()
    world.quota("1000")
    hold(world, "900", ttl=60)
    at = NOW + timedelta(seconds=60)
    assert hold(world, "1000", at=at).verdict is Verdict.DONE
    assert balance() == (0, 1000)
    assert sorted(HoldLine.objects.values_list("open", "reserved")) == [(False, 0), (True, 1000)]


@pytest.mark.parametrize("quantity", ["870", "900", "1200"])
def test_settle__less_the_same_or_more__counts_the_truth(quantity):
    world = make_world()
    world.quota("1000")
    request = hold(world, "900", dimensions={"model": "large"})
    result = settled(world, request, quantity)
    assert balance() == (Decimal(quantity), 0)
    event = UsageEvent.objects.get()
    assert (event.id, event.quantity, event.dimensions) == (
        result.event_ids[0],
        Decimal(quantity),
        {"model": "large"},
    )
    assert Hold.objects.get().status == "settled"


def test_settle__twice__is_once_and_another_body_conflicts():
    world = make_world()
    world.quota("1000")
    request = hold(world, "900")
    first = settled(world, request, "870")
    again = settled(world, request, "870.0")
    assert (again.replayed, again.event_ids) == (True, first.event_ids)
    with pytest.raises(Conflict) as conflict:
        settled(world, request, "871")
    assert conflict.value.code == "hold_settled"
    with pytest.raises(Conflict) as conflict:
        settled(world, request, "1", id="late-chunk", final=False)
    assert conflict.value.code == "hold_settled"
    assert balance() == (870, 0)


def test_settle__in_parts__counts_each_and_goes_on():
    world = make_world()
    world.quota("1000")
    request = hold(world, "900")
    settled(world, request, "300", id="chunk-1", final=False)
    assert balance() == (300, 600)
    settled(world, request, "300", id="chunk-1", final=False)
    assert balance() == (300, 600)
    with pytest.raises(Conflict) as conflict:
        settled(world, request, "301", id="chunk-1", final=False)
    assert conflict.value.code == "id_conflict"
    settled(world, request, "700", id="chunk-2", final=False)
    assert balance() == (1000, 0)
    settled(world, request, "5")
    assert balance() == (1005, 0)
    assert Hold.objects.get().settled == ["1005"]


def test_settle__capped__counts_at_most_what_was_held():
    world = make_world()
    world.quota("1000")
    request = hold(world, "900", on_excess=OnExcess.CAP)
    settled(world, request, "600", id="a", final=False)
    settled(world, request, "600")
    assert balance() == (900, 0)


def test_settle__rejecting_excess__is_refused_and_counts_nothing():
    world = make_world()
    world.quota("1000")
    request = hold(world, "900", on_excess=OnExcess.REJECT)
    with pytest.raises(Invalid) as refused:
        settled(world, request, "901")
    assert refused.value.code == "exceeds_hold"
    assert balance() == (0, 900)
    settled(world, request, "900")
    assert balance() == (900, 0)


def test_settle__expired_within_the_acceptance_window__still_counts():
    world = make_world()
    world.quota("1000", period="year")
    request = hold(world, "900", ttl=60)
    settled(world, request, "870", at=NOW + timedelta(days=20))
    assert balance() == (870, 0)
    other = hold(world, "10", ttl=60)
    with pytest.raises(Conflict) as late:
        settled(world, other, "10", at=NOW + timedelta(days=36))
    assert late.value.code == "hold_expired"


def test_settle__in_a_later_period__gives_back_in_the_old_and_counts_in_the_new():
    world = make_world()
    world.quota("1000")
    request = hold(world, "900", ttl=7200)
    settled(world, request, "870", at=NOW + timedelta(days=1))
    assert list(Balance.objects.order_by("period_start").values_list("used", "held")) == [(0, 0), (870, 0)]


def test_release__gives_all_back_once():
    world = make_world()
    world.quota("1000")
    request = hold(world, "900")
    caller = world.caller()
    for _ in range(2):
        assert release(caller=caller, hold_id=request.hold_id, at=NOW).status == "released"
    assert balance() == (0, 0)
    with pytest.raises(Conflict) as conflict:
        settled(world, request, "1")
    assert conflict.value.code == "hold_released"


def test_release__of_a_settled_hold__conflicts():
    world = make_world()
    world.quota("1000")
    request = hold(world, "900")
    settled(world, request, "1")
    with pytest.raises(Conflict) as conflict:
        release(caller=world.caller(), hold_id=request.hold_id, at=NOW)
    assert conflict.value.code == "hold_settled"


def test_extend__open_hold__lives_on_and_expired_conflicts():
    world = make_world()
    world.quota("1000")
    request = hold(world, "900", ttl=60)
    caller = world.caller()
    at = NOW + timedelta(seconds=59)
    extended = extend(caller=caller, hold_id=request.hold_id, ttl=300, at=at)
    assert extended.expires_at == at + timedelta(seconds=300)
    assert hold(world, "101", at=NOW + timedelta(seconds=120)).verdict is Verdict.REFUSED
    with pytest.raises(Conflict) as conflict:
        extend(caller=caller, hold_id=request.hold_id, ttl=300, at=NOW + timedelta(hours=1))
    assert conflict.value.code == "hold_expired"


def test_hold__of_another_agent__is_not_found_but_a_parent_may_settle_it():
    world = make_world(agents=2)
    child, parent = world.agents
    world.quota("1000")
    request = hold(world, "900", caller=world.caller(child))
    stranger = make_world()
    for caller in (stranger.caller(), world.caller(parent)):
        if caller.tenant_id != world.tenant.id:
            with pytest.raises(NotFound):
                release(caller=caller, hold_id=request.hold_id, at=NOW)
        else:
            assert release(caller=caller, hold_id=request.hold_id, at=NOW).status == "released"
    parents = hold(world, "900", caller=world.caller(parent))
    with pytest.raises(NotFound):
        release(caller=world.caller(child), hold_id=parents.hold_id, at=NOW)
    with pytest.raises(NotFound):
        release(caller=world.caller(child), hold_id=new_id(), at=NOW)


def test_settle__after_the_quota_stopped_applying__leaves_its_balance_detached():
    world = make_world()
    quota = world.quota("1000")
    request = hold(world, "900")
    quota.archived_at = NOW
    quota.save()
    Balance.objects.update(detached_at=NOW)
    settled(world, request, "870")
    row = Balance.objects.get()
    assert (row.used, row.held, row.detached_at) == (0, 0, NOW)
    quota.archived_at = None
    quota.save()
    world.post(world.request("5"))
    row = Balance.objects.get()
    assert (row.used, row.detached_at) == (875, None)


def test_settle__a_part_of_a_hold_that_rejects_excess__sent_again__is_the_same_answer():
    world = make_world()
    world.quota("1000")
    request = hold(world, "10", on_excess=OnExcess.REJECT)
    first = settled(world, request, "8", id="chunk-1", final=False)
    again = settled(world, request, "8", id="chunk-1", final=False)
    assert (again.replayed, again.event_ids) == (True, first.event_ids)
    assert balance() == (8, 2)


@pytest.mark.parametrize("on_excess", [OnExcess.CAP, OnExcess.REJECT])
def test_settle__lines_that_are_alike__each_takes_its_own(on_excess):
    world = make_world()
    world.quota("1000")
    caller = world.caller()
    meter = caller.meters["tokens"]
    request = world.request("1", kind=EventKind.HOLD, caller=caller)
    request.lines = [Line(meter, Decimal(1), {}, NOW, new_id()) for _ in range(3)]
    post([request], companion=HoldBook({request.hold_id: (NOW + timedelta(seconds=300), on_excess)}))

    one = [SettledLine(meter, Decimal(1))]
    settle(caller=caller, hold_id=request.hold_id, asked=one, id="chunk-1", final=False, at=NOW)
    assert balance() == (1, 2)
    settle(caller=caller, hold_id=request.hold_id, asked=one, id="chunk-2", final=False, at=NOW)
    assert balance() == (2, 1)
    settle(caller=caller, hold_id=request.hold_id, asked=one, id=None, final=True, at=NOW)
    assert balance() == (3, 0)
    assert Hold.objects.get().settled == ["1", "1", "1"]


@pytest.mark.parametrize("on_excess", OnExcess)
def test_settle__more_digits_than_decimal_keeps_by_itself__is_exact(on_excess):
    world = make_world()
    world.quota("1000000000000000000")
    quantity = "123456789012345678.123456789012"
    request = hold(world, quantity, on_excess=on_excess)
    settled(world, request, quantity)
    assert balance() == (Decimal(quantity), 0)


def test_settle__nothing_was_used__twice_is_a_replay():
    world = make_world()
    world.quota("1000")
    request = hold(world, "10")
    caller = world.caller()
    for replayed in (False, True):
        answer = settle(caller=caller, hold_id=request.hold_id, asked=[], id=None, final=True, at=NOW)
        assert (answer.replayed, answer.event_ids) == (replayed, ())
    assert balance() == (0, 0)


def test_settle__by_a_parent__counts_on_the_agent_that_held():
    world = make_world(agents=2)
    child, parent = world.agents
    world.quota("10", on="agent", agent=child)
    world.quota("100", on="agent", agent=parent)
    request = hold(world, "10", caller=world.caller(child))
    settled_by = world.caller(parent)
    line = SettledLine(settled_by.meters["tokens"], Decimal(9))
    settle(caller=settled_by, hold_id=request.hold_id, asked=[line], id=None, final=True, at=NOW)
    assert dict(Balance.objects.values_list("subject_id", "used")) == {child.id: 9, parent.id: 9}
    event = UsageEvent.objects.get()
    assert (event.agent_id, event.agent_path) == (child.id, child.path)
    assert hold(world, "2", caller=world.caller(child)).verdict is Verdict.REFUSED


def test_extend__given_back_already_by_a_clock_that_is_ahead__conflicts():
    world = make_world()
    world.quota("1000")
    request = hold(world, "900", ttl=60)
    assert hold(world, "1000", at=NOW + timedelta(seconds=60)).verdict is Verdict.DONE
    with pytest.raises(Conflict) as conflict:
        extend(caller=world.caller(), hold_id=request.hold_id, ttl=300, at=NOW + timedelta(seconds=59))
    assert conflict.value.code == "hold_expired"
    assert balance() == (0, 1000)


def test_settle__long_ids_of_hold_and_part__count_by_the_whole_of_both():
    world = make_world()
    world.quota("1000")
    request = hold(world, "900", id="h" * 255)
    for part in ("a", "b"):
        assert not settled(world, request, "10", id="p" * 254 + part, final=False).replayed
    assert balance() == (20, 880)
    assert settled(world, request, "10", id="p" * 254 + "b", final=False).replayed
    assert set(UsageEvent.objects.values_list("client_id", flat=True)) == {"h" * 255}


def test_release__of_what_has_expired__tells_so_once():
    world = make_world()
    world.quota("1000")
    request = hold(world, "900", ttl=60)
    at = NOW + timedelta(seconds=60)
    for _ in range(2):
        assert release(caller=world.caller(), hold_id=request.hold_id, at=at).status == "expired"
    assert expire_holds(now=at) == 0
    assert balance() == (0, 0)
    told = OutboxEvent.objects.get()
    assert (told.type, told.subject) == ("hold.expired", Hold.objects.get().public_id)
