"""What steps are made of: quantities, terms and times that meet each other often."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from tests.property.metering_model.things import AGENTS, UsageLine

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

agents = st.sampled_from(sorted(AGENTS))
picks = st.integers(0, 99)
quantities = st.sampled_from([Decimal(text) for text in ("0", "0.000000000001", "1", "2.5", "3", "7", "12", "40")])
limits = st.sampled_from([Decimal(text) for text in ("0", "3", "10", "10.5", "30", "100")])
dimensions = st.sampled_from([(), (("model", "large"),), (("model", "small"),)])
tokens = st.builds(UsageLine, st.just("tokens"), quantities, dimensions)
calls = st.builds(UsageLine, st.just("calls"), st.just(Decimal(1)), dimensions)
shown = st.builds(UsageLine, st.sampled_from(["peak", "sizes", "level"]), quantities, dimensions)
adding_up = st.one_of(tokens, tokens, calls)
lines = st.one_of(adding_up, adding_up, shown)
held = st.one_of(adding_up.map(lambda line: [line]), st.tuples(tokens, calls).map(list))
asked = st.one_of(held, held, shown.map(lambda line: [line]), st.tuples(tokens, shown, shown).map(list))
changes = st.sampled_from([Decimal(text) for text in ("-40", "-2.5", "-0.3", "0.000000000001", "1", "12")])
# Off the ten-minute grid on which the clock goes, so that nothing happens on the edge of a period or of a hold.
ages = st.sampled_from(
    [None, None, 3 * MINUTE, HOUR, 13 * HOUR, 2 * DAY, 5 * DAY, 33 * DAY, 36 * DAY, -2 * MINUTE, -HOUR]
)
ttls = st.sampled_from([330, 930, 3930, 90_330])
scopes = st.sampled_from(["agent", "license", "customer", "tenant"])
# Parts of 10, 24 and 60 minutes: none ends while a run is at work.
rolling = st.sampled_from([36_000, 86_400, 216_000])
periods = st.one_of(st.sampled_from(["hour", "day", "week", "month", "year", "lifetime"]), rolling)
filters = st.sampled_from([(), (), (("model", "large"),)])


def tiers(*rows: tuple[str | None, str, str]) -> list[dict[str, Any]]:
    return [{"up_to": up_to, "unit_price": each, "flat_fee": flat} for up_to, each, flat in rows]


prices = st.sampled_from(
    [
        {"model": "per_unit", "unit_price": "0.333333"},
        {"model": "per_unit", "unit_price": "0.005", "minimum": "1.00", "included_units": "2"},
        {"model": "per_unit", "unit_price": "3", "maximum": "20.01"},
        {"model": "package", "package_size": "5", "package_price": "1.25", "included_units": "1"},
        {"model": "graduated", "tiers": tiers(("2", "1", "0"), ("10", "0.5", "3"), (None, "0.125", "0"))},
        {"model": "volume", "tiers": tiers(("2", "1", "0"), ("10", "0.5", "3"), (None, "0.125", "0"))},
    ]
)
terms = st.fixed_dictionaries({"limit": limits, "price": st.one_of(st.none(), prices), "mode": st.just("soft")})
rates = st.sampled_from([Decimal(text) for text in ("0", "0.000000000001", "0.3", "1.5")])
cards = st.fixed_dictionaries({"large": rates, "all": st.one_of(st.none(), rates)})
own_quotas = st.fixed_dictionaries(
    {
        "scope": scopes,
        "agent": agents,
        "meter": st.sampled_from(["tokens", "tokens", "calls", "spend", "peak", "sizes", "level"]),
        "only": filters,
        "limit": limits,
        "mode": st.sampled_from(["hard", "soft"]),
        "ceiling": st.one_of(st.none(), limits),
        "period": periods,
        "anchored": st.booleans(),
        "carry": st.sampled_from([None, None, "all", Decimal(5)]),
    }
)
