"""What plans promise to the licences that carry them: grants, limits and quotas, and what two promises differ in."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from common.quantities import format_quantity
from licenses.domain.comparing import Effect, amount_effect, feature_effect, united_effect
from licenses.domain.entitlements import EffectiveFeature, features_of
from licenses.domain.enums import GrantSource, LimitLevel
from licenses.domain.facts import GrantFacts
from licenses.models import Plan
from licenses.selectors.grant_facts import as_grant_of, grants_of_plans
from licenses.selectors.licenses import CarriedPlans
from metering.domain.enums import QuotaMode
from metering.domain.numbers import EXACT, sum_exact
from metering.domain.previews import Change, QuotaName
from metering.models import Quota
from metering.selectors.quotas import grouped, list_quotas
from tenants.models import Tenant

#: Numbers of which more is better; None is no limit.
_AMOUNTS: Final = ("activation_limit", "agent_limit", "hold_limit", "grace_days", "token_ttl")
#: What is neither more nor less.
_WORDS: Final = ("activation_lease", "lapse_policy")


@dataclass(frozen=True, slots=True)
class PlanTerms:
    """A plan with its grants, as of a base plan, and its quotas in force."""

    plan: Plan
    grants: tuple[GrantFacts, ...]
    quotas: tuple[Quota, ...]


@dataclass(frozen=True, slots=True)
class Promise:
    """What a licence has from its plans and of its own at a moment."""

    features: Mapping[str, EffectiveFeature]
    limits: Mapping[str, Any]
    quotas: Mapping[QuotaName, Mapping[str, Any]]


def terms_of_plans(tenant: Tenant, plan_ids: Collection[UUID]) -> dict[UUID, PlanTerms]:
    """The terms of each plan as the database has them now, in three queries."""
    plans = Plan.objects.for_tenant(tenant).in_bulk(list(plan_ids))
    grants = grants_of_plans(tenant, plan_ids)
    quotas: dict[UUID, list[Quota]] = {plan_id: [] for plan_id in plan_ids}
    for quota in list_quotas(tenant).filter(plan_id__in=plan_ids).order_by("created_at", "id"):
        if quota.plan_id is not None:
            quotas[quota.plan_id].append(quota)
    return {plan_id: PlanTerms(plan, tuple(grants[plan_id]), tuple(quotas[plan_id])) for plan_id, plan in plans.items()}


def promise_of(
    base: PlanTerms,
    add_ons: Sequence[PlanTerms],
    *,
    at: datetime,
    own_grants: Iterable[GrantFacts] = (),
    own_rate_limits: Sequence[Mapping[str, Any]] = (),
    own_hold_limit: int | None = None,
) -> Promise:
    """What a licence with these plans, its own grants and its own limits has at `at`."""
    grants = [
        *base.grants,
        *(as_grant_of(grant, GrantSource.ADD_ON) for terms in add_ons for grant in terms.grants),
        *own_grants,
    ]
    quotas = [quota for terms in (base, *add_ons) for quota in terms.quotas]
    return Promise(
        features=features_of(grants, at),
        limits=_limits(base.plan, [terms.plan for terms in add_ons], own_rate_limits, own_hold_limit),
        quotas=dict(_shown_group(group) for group in grouped(quotas, base_plan_id=base.plan.id)),
    )


def differences(before: Promise, after: Promise) -> tuple[Change, ...]:
    """What changes, features first, then quotas, then limits, each by name."""
    found = [
        *_changed_features(before.features, after.features),
        *_changed_quotas(before.quotas, after.quotas),
        *_changed_limits(before.limits, after.limits),
    ]
    return tuple(found)


def _limits(
    base: Plan,
    add_ons: Sequence[Plan],
    own_rate_limits: Sequence[Mapping[str, Any]],
    own_hold_limit: int | None,
) -> dict[str, Any]:
    carried = CarriedPlans(base, tuple(add_ons))
    limits = {name: getattr(carried, name, getattr(base, name)) for name in (*_AMOUNTS, *_WORDS)}
    limits["activation_required"] = base.activation_required
    if own_hold_limit is not None:
        limits["hold_limit"] = own_hold_limit
    for level in (LimitLevel.AGENT, LimitLevel.LICENSE):
        mine = [entry for entry in own_rate_limits if entry.get("level") == level]
        of_plan = [entry for entry in base.rate_limits if entry.get("level") == level]
        limits[f"rate_limits.{level}"] = mine or of_plan
    return limits


def _shown_group(group: Sequence[Quota]) -> tuple[QuotaName, dict[str, Any]]:
    quota, *more = group
    added = sum_exact(each.limit for each in more)
    name = QuotaName(quota.meter.code, quota.scope, shown_period(quota), tuple(sorted(quota.filter.items())))
    ceiling = None if quota.ceiling is None else EXACT.add(quota.ceiling, added)
    return name, {"limit": EXACT.add(quota.limit, added), "mode": quota.mode, "ceiling": ceiling}


def _changed_features(
    before: Mapping[str, EffectiveFeature], after: Mapping[str, EffectiveFeature]
) -> Iterable[Change]:
    for code in sorted(before.keys() | after.keys()):
        old, new = before.get(code), after.get(code)
        effect = feature_effect(old, new)
        if effect is not None:
            yield Change(effect, _shown(old, new), _shown(new, old), feature=code)


def _shown(feature: EffectiveFeature | None, other: EffectiveFeature | None) -> Any:
    """A value as it is shown; one that nothing grants as what is off in its kind."""
    if feature is not None:
        return feature.shown
    if other is None or isinstance(other.value, bool):
        return False
    return [] if isinstance(other.value, frozenset) else 0


def _changed_quotas(
    before: Mapping[QuotaName, Mapping[str, Any]], after: Mapping[QuotaName, Mapping[str, Any]]
) -> Iterable[Change]:
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        effect = _quota_effect(old, new)
        if effect is not None:
            yield Change(effect, _shown_quota(old), _shown_quota(new), quota=name)


def _quota_effect(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Effect | None:
    """A quota that is not there limits nothing."""
    if old is None or new is None:
        return None if old is new else (Effect.LOSES if old is None else Effect.GAINS)
    modes = (old["mode"], new["mode"])
    harder = None if modes[0] == modes[1] else (Effect.LOSES if modes[1] == QuotaMode.HARD else Effect.GAINS)
    return united_effect(
        amount_effect(old["limit"], new["limit"]),
        harder,
        amount_effect(old["ceiling"], new["ceiling"]) if harder is None else None,
    )


def _shown_quota(quota: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if quota is None:
        return None
    ceiling = quota["ceiling"]
    return {
        "limit": format_quantity(quota["limit"]),
        "mode": str(quota["mode"]),
        "ceiling": None if ceiling is None else format_quantity(ceiling),
    }


def _changed_limits(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterable[Change]:
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old != new:
            yield Change(_limit_effect(name, old, new), old, new, limit=name)


def _limit_effect(name: str, old: Any, new: Any) -> Effect:
    if name in _AMOUNTS:
        return amount_effect(old, new) or Effect.CHANGES
    if name == "activation_required":
        return Effect.LOSES if new else Effect.GAINS
    if name.startswith("rate_limits."):
        return _rates_effect(old, new)
    return Effect.CHANGES


def _rates_effect(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> Effect:
    """Without limits everything passes; else windows that stay are compared by their limit and burst."""
    before, after = ({entry["window"]: entry for entry in entries} for entries in (old, new))
    effects: list[Effect | None] = []
    for window in before.keys() | after.keys():
        was, now = before.get(window), after.get(window)
        if was is None or now is None:
            effects.append(Effect.LOSES if was is None else Effect.GAINS)
        else:
            effects.append(amount_effect(was["limit"], now["limit"]))
            effects.append(amount_effect(was.get("burst") or was["limit"], now.get("burst") or now["limit"]))
    return united_effect(*effects) or Effect.CHANGES


def shown_period(quota: Quota) -> str:
    """The period by its name; a rolling window with its length in seconds."""
    return quota.period if quota.rolling_seconds is None else f"{quota.period} {quota.rolling_seconds}"
