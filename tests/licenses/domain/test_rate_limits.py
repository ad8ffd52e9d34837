from uuid import UUID

from licenses.domain.enums import LimitLevel
from licenses.domain.facts import RateLimitFacts
from licenses.domain.gcra import SECOND, policy
from licenses.domain.rate_limits import GateLimit, applicable_limits, limit_state, tightest
from tests.licenses.domain.builders import make_agent, make_facts

AGENT, LICENSE, CUSTOMER, TENANT = LimitLevel.AGENT, LimitLevel.LICENSE, LimitLevel.CUSTOMER, LimitLevel.TENANT


def test_applicable_limits__every_level__lists_agents_parents_licence_customer_tenant() -> None:
    facts = make_facts(
        agents=[make_agent(10, rate_limits=(RateLimitFacts(AGENT, 5, 1),)), make_agent(11)],
        rate_limits=(
            RateLimitFacts(TENANT, 1000, 60),
            RateLimitFacts(LICENSE, 100, 60, 20),
            RateLimitFacts(AGENT, 60, 60),
            RateLimitFacts(CUSTOMER, 500, 60),
        ),
    )

    assert applicable_limits(facts) == (
        GateLimit(AGENT, UUID(int=10), 5, 1, 5),
        GateLimit(AGENT, UUID(int=10), 60, 60, 60),
        GateLimit(AGENT, UUID(int=11), 60, 60, 60),
        GateLimit(LICENSE, UUID(int=3), 100, 60, 20),
        GateLimit(CUSTOMER, UUID(int=2), 500, 60, 500),
        GateLimit(TENANT, UUID(int=1), 1000, 60, 1000),
    )


def test_applicable_limits__own_limit_differs_in_burst_only__the_tighter_stays() -> None:
    facts = make_facts(
        agents=[make_agent(10, rate_limits=(RateLimitFacts(AGENT, 60, 60, 5),))],
        rate_limits=(RateLimitFacts(AGENT, 60, 60),),
    )

    assert applicable_limits(facts) == (GateLimit(AGENT, UUID(int=10), 60, 60, 5),)


def test_limit_state__part_of_a_second__waits_are_rounded_up_and_retry_is_never_before_reset() -> None:
    limit = GateLimit(AGENT, UUID(int=10), 10, 60, 5)

    state = limit_state(limit, policy(10, 60, 5), ahead=24 * SECOND + 1, retry_after=SECOND + 1)

    assert (state.remaining, state.reset_seconds, state.retry_after) == (0, 1, 2)


def test_tightest__two_ran_out__is_the_one_that_takes_longest() -> None:
    limits = [GateLimit(level, UUID(int=10), 10, 60, 5) for level in (AGENT, LICENSE, TENANT)]
    states = tuple(
        limit_state(limit, policy(10, 60, 5), ahead=30 * SECOND, retry_after=wait * SECOND)
        for limit, wait in zip(limits, (6, 9, 0), strict=True)
    )

    assert tightest(states) is states[1]
    assert tightest(states[2:]) is None
