"""Which features hold, with which values, and why."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from licenses.domain.enums import FeatureKind, GrantSource
from licenses.domain.facts import AccessFacts, AgentFacts, AskedValue, FeatureValue, GrantFacts

_OFF: dict[FeatureKind, FeatureValue] = {
    FeatureKind.SWITCH: False,
    FeatureKind.LIMIT: 0,
    FeatureKind.CHOICE: frozenset(),
}


class EffectiveFeature(NamedTuple):
    """A feature as it holds for one caller.

    `until` is the next instant at which grants change it; `narrowed_by` the agent, nearest first, whose
    subset of features leaves it out (its value is then off: False, 0 or the empty set). `choices` are all values
    of a choice, in the order in which they were declared.
    """

    kind: FeatureKind
    value: FeatureValue
    source: GrantSource
    until: datetime | None = None
    narrowed_by: UUID | None = None
    choices: tuple[str, ...] = ()

    @property
    def shown(self) -> bool | int | Decimal | list[str]:
        """The value as it is shown: the values of a choice as a list, in the order of their declaration."""
        return in_declared_order(self.value, self.choices)

    @property
    def granted(self) -> bool:
        """Whether there is anything to use: on, above zero, or at least one choice."""
        return bool(self.value) and (self.kind != FeatureKind.LIMIT or _number(self.value) > 0)

    def allows(self, asked: AskedValue) -> bool:
        """Whether `asked` is within the grant: `asked <= limit`, member or subset of a choice, on."""
        if not self.granted:
            return False
        if self.kind == FeatureKind.SWITCH:
            return isinstance(asked, bool)
        if self.kind == FeatureKind.LIMIT:
            return _is_number(asked) and _number(asked) <= _number(self.value)
        choices = self.value if isinstance(self.value, frozenset) else frozenset[str]()
        if isinstance(asked, str):
            return asked in choices
        return isinstance(asked, frozenset) and asked <= choices


def in_declared_order(value: FeatureValue, choices: Sequence[str]) -> bool | int | Decimal | list[str]:
    """A feature's value as it is shown; what is not among `choices` (any more) comes last, sorted."""
    if not isinstance(value, frozenset):
        return value
    declared = [choice for choice in choices if choice in value]
    return declared if len(declared) == len(value) else declared + sorted(value.difference(declared))


def effective_features(facts: AccessFacts, at: datetime) -> dict[str, EffectiveFeature]:
    """Every feature that a grant in force at `at` names, by code.

    A licence's own grant replaces what its plans grant. Plan and add-ons unite: switches by *or*, limits
    by sum, choices by union. An agent's subset, and that of each of its parents, can only take away.
    """
    return features_of(facts.grants, at, agents=facts.agents)


def features_of(
    grants: Iterable[GrantFacts], at: datetime, *, agents: Sequence[AgentFacts] = ()
) -> dict[str, EffectiveFeature]:
    """`effective_features` of grants alone, perhaps narrowed by `agents`."""
    by_code: dict[str, list[GrantFacts]] = {}
    for grant in grants:
        by_code.setdefault(grant.feature, []).append(grant)
    found: dict[str, EffectiveFeature] = {}
    for code, of_code in by_code.items():
        feature = _resolve(code, of_code, agents, at)
        if feature is not None:
            found[code] = feature
    return found


def effective_feature(facts: AccessFacts, code: str, at: datetime) -> EffectiveFeature | None:
    """One feature of `effective_features`, without the cost of all others; None if nothing grants it."""
    grants = [grant for grant in facts.grants if grant.feature == code]
    return _resolve(code, grants, facts.agents, at) if grants else None


def overriding_grant(grants: Iterable[GrantFacts], at: datetime) -> GrantFacts | None:
    """Of the grants of one feature the licence's own that is in force at `at` and replaces all others."""
    override: GrantFacts | None = None
    for grant in grants:
        if grant.source == GrantSource.LICENSE and _holds(grant, at):
            override = _newer(override, grant)
    return override


def grant_starts_at(facts: AccessFacts, code: str, at: datetime) -> datetime | None:
    """When the next grant of `code` begins after `at`; None if no one is in sight or a subset leaves it out."""
    if _narrowing(code, facts.agents) is not None:
        return None
    return _earliest(grant.starts_at for grant in facts.grants if grant.feature == code and _after(grant.starts_at, at))


def _resolve(
    code: str, grants: Sequence[GrantFacts], agents: Iterable[AgentFacts], at: datetime
) -> EffectiveFeature | None:
    if len(grants) == 1 and grants[0].starts_at is None and grants[0].expires_at is None:
        # By far the most are granted once and for good.
        only = grants[0]
        return _narrowed(EffectiveFeature(only.kind, only.value, only.source, choices=only.choices), code, agents)
    in_force: list[GrantFacts] = []
    waiting: list[datetime] = []
    override: GrantFacts | None = None
    override_waiting: list[datetime] = []
    for grant in grants:
        if grant.expires_at is not None and grant.expires_at <= at:
            continue
        if grant.starts_at is not None and grant.starts_at > at:
            (override_waiting if grant.source == GrantSource.LICENSE else waiting).append(grant.starts_at)
        elif grant.source == GrantSource.LICENSE:
            override = _newer(override, grant)
        else:
            in_force.append(grant)
    if override is not None:
        # What the plans do meanwhile is hidden behind the override, so their edges change nothing.
        until = _earliest((override.expires_at, *override_waiting))
        feature = EffectiveFeature(override.kind, override.value, GrantSource.LICENSE, until, choices=override.choices)
    elif in_force:
        until = _earliest((*(grant.expires_at for grant in in_force), *waiting, *override_waiting))
        has_add_on = any(grant.source == GrantSource.ADD_ON for grant in in_force)
        source = GrantSource.ADD_ON if has_add_on else GrantSource.PLAN
        feature = EffectiveFeature(in_force[0].kind, _united(in_force), source, until, choices=in_force[0].choices)
    else:
        return None
    return _narrowed(feature, code, agents)


def _narrowed(feature: EffectiveFeature, code: str, agents: Iterable[AgentFacts]) -> EffectiveFeature:
    narrowing = _narrowing(code, agents)
    if narrowing is None:
        return feature
    return feature._replace(value=_OFF[feature.kind], narrowed_by=narrowing)


def _united(grants: Sequence[GrantFacts]) -> FeatureValue:
    kind = grants[0].kind
    if len(grants) == 1:
        return grants[0].value
    if kind == FeatureKind.SWITCH:
        return any(grant.value for grant in grants)
    if kind == FeatureKind.LIMIT:
        total = sum([_number(grant.value) for grant in grants])
        return int(total) if total == int(total) else total
    return frozenset[str]().union(*(grant.value for grant in grants if isinstance(grant.value, frozenset)))


def _newer(one: GrantFacts | None, other: GrantFacts) -> GrantFacts:
    """The override that began later; of two that began together the one that is listed later."""
    if one is None or one.starts_at is None:
        return other
    return one if other.starts_at is None or other.starts_at < one.starts_at else other


def _holds(grant: GrantFacts, at: datetime) -> bool:
    return not _after(grant.starts_at, at) and (grant.expires_at is None or grant.expires_at > at)


def _narrowing(code: str, agents: Iterable[AgentFacts]) -> UUID | None:
    for agent in agents:
        if agent.features is not None and code not in agent.features:
            return agent.id
    return None


def _earliest(instants: Iterable[datetime | None]) -> datetime | None:
    return min((instant for instant in instants if instant is not None), default=None)


def _after(instant: datetime | None, at: datetime) -> bool:
    return instant is not None and instant > at


def _is_number(value: AskedValue) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def _number(value: FeatureValue | AskedValue) -> int | Decimal:
    return value if isinstance(value, int | Decimal) else 0
