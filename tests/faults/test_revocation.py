"""After revoke has returned nobody says yes again: no process, warm or not, with or without Valkey."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import pytest

from tests.faults.revocations import REVOCATIONS, Victim
from tests.http_client import Answer, Load, under_load
from tests.live_shop import LiveShop
from tests.stack_fixtures import LiveStack

pytestmark = pytest.mark.stack

ONE_OF_EACH_EPOCH = (
    "agent revoked",
    "agent key revoked",
    "parent agent suspended",
    "licence suspended",
    "customer suspended",
    "workspace suspended",
)


@pytest.mark.parametrize("revocation", REVOCATIONS)
def test_revocation__under_load_with_warm_caches__no_process_says_yes_again(
    live_stack: LiveStack, revocation: str
) -> None:
    victim = REVOCATIONS[revocation](LiveShop(live_stack))
    lines = victim.lines(8)
    for line in lines:
        assert all(answer.says_yes for answer in victim.ask_all(line)), revocation

    with under_load(lines, victim.ask_all) as load:
        load.wait_for_rounds(2)
        in_force = victim.revoke_until_told()
        load.wait_for_rounds(4)

    assert_no_yes_since(in_force, load)


def test_revocation__valkey_emptied_just_before_and_after__no_process_says_yes_again(live_stack: LiveStack) -> None:
    valkey = live_stack.valkey()

    def empty(_: Victim) -> None:
        valkey.flushall()

    revoke_all(LiveShop(live_stack), before=empty, after=empty)


def test_revocation__valkey_killed_just_before_and_after__no_process_says_yes_again(hurt_stack: LiveStack) -> None:
    killed: list[int] = []

    def kill_now_and_then(_: Victim) -> None:
        if len(killed) < 3 and hurt_stack.pids("valkey") not in ([], killed[-1:]):
            killed.append(hurt_stack.kill("valkey"))

    revoke_all(LiveShop(hurt_stack), before=kill_now_and_then, after=kill_now_and_then)

    assert len(killed) >= 2
    hurt_stack.wait_until_ready(name="valkey", other_than=killed[-1])


def test_suspension__taken_back__both_processes_say_yes_again(live_stack: LiveStack) -> None:
    shop = LiveShop(live_stack)
    agent = shop.ready_agent()
    lines = shop.lines(agent, 4)
    for path, back in (
        (f"/licenses/{agent.license}", "reinstate"),
        (f"/agents/{agent.id}", "resume"),
    ):
        shop.act(f"{path}/suspend")
        assert {line.agent("POST", "/validate", {})["valid"] for line in lines} == {False}
        shop.act(f"{path}/{back}")
        assert {line.agent("POST", "/validate", {})["valid"] for line in lines} == {True}


def revoke_all(shop: LiveShop, *, before: Callable[[Victim], None], after: Callable[[Victim], None]) -> None:
    """Take one right after the other away while all victims go on asking, and do something around each."""
    victims = [REVOCATIONS[name](shop) for name in ONE_OF_EACH_EPOCH]
    in_force: list[float] = []
    with ExitStack() as stack:
        loads = [stack.enter_context(under_load(victim.lines(2), victim.ask_all)) for victim in victims]
        for load in loads:
            load.wait_for_rounds(1)
        for victim in victims:
            before(victim)
            in_force.append(victim.revoke_until_told())
            after(victim)
        for load in loads:
            load.wait_for_rounds(4)
    for since, load in zip(in_force, loads, strict=True):
        assert_no_yes_since(since, load)


def assert_no_yes_since(in_force: float, load: Load) -> None:
    answers: Sequence[Answer] = [answer for answers in load.results for answer in answers]
    assert {answer.status for answer in answers} <= {200, 401}
    assert any(answer.says_yes for answer in answers)
    late = [answer for answer in answers if answer.began > in_force]
    assert late
    assert not [answer for answer in late if answer.says_yes]
