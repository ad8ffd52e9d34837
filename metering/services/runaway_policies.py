"""Policies of the runaway guard: set on a plan or on an agent, as one list that replaces the one before."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from django.db import transaction

from common.errors import Invalid
from common.quantities import format_quantity
from licenses.models import Agent, Plan
from metering.domain.enums import Aggregation
from metering.domain.runaway import LONGEST_WINDOW, MINUTE, RunawayAction, RunawayRule
from metering.models import RunawayPolicy
from metering.selectors.meters import find_meter, resolve_meter
from metering.services.validation import at, quantity_field
from tenants.domain.actors import Actor
from tenants.models import Tenant, TenantQuerySet
from tenants.services import fields
from tenants.services.auditing import record_audit

MAX_RULES: Final = 20
MAX_CALLS: Final = 1_000_000_000
#: A year: a throttle that the guard set ends by itself.
LONGEST_THROTTLE: Final = 366 * 24 * 60 * 60
DEFAULT_THROTTLE: Final = 60 * 60
DEFAULT_WINDOW: Final = 5 * MINUTE
DEFAULT_CALLS: Final = {RunawayRule.BASELINE_MULTIPLE: 300, RunawayRule.REFUSAL_SHARE: 200}

_KNOWN: Final = ("rule", "limit", "action", "window", "minimum_calls", "meter", "throttle_to", "for")
_WINDOWED: Final = (RunawayRule.BASELINE_MULTIPLE, RunawayRule.REFUSAL_SHARE)


def set_plan_policy(*, tenant: Tenant, plan: Plan, actor: Actor, rules: object) -> None:
    """Have `rules` hold for each agent under the plan's licences; empty: none. Raises Invalid `runaway.…`."""
    wanted = read_rules(tenant, rules)
    with transaction.atomic():
        Plan.objects.for_tenant(tenant).select_for_update(no_key=True).get(pk=plan.pk)
        mine = RunawayPolicy.objects.for_tenant(tenant).filter(plan=plan)
        # A plan without rules is a plan without a policy.
        _replace(tenant, actor, plan, mine, wanted or None, plan=plan)


def set_agent_policy(*, tenant: Tenant, agent: Agent, actor: Actor, rules: object) -> None:
    """Have `rules` hold for this agent instead of its plans'; empty: none at all; None: its plans' again.

    Raises Invalid `runaway.…`.
    """
    wanted = None if rules is None else read_rules(tenant, rules)
    with transaction.atomic():
        Agent.objects.for_tenant(tenant).select_for_update(no_key=True).get(pk=agent.pk)
        mine = RunawayPolicy.objects.for_tenant(tenant).filter(agent=agent)
        _replace(tenant, actor, agent, mine, wanted, agent=agent)


def read_rules(tenant: Tenant, value: object, field: str = "runaway") -> list[dict[str, Any]]:
    """The listed rules, as they are stored and shown. Raises Invalid for the field."""
    found: list[dict[str, Any]] = []
    for path, entry in fields.entries(value, field, most=MAX_RULES):
        rule = _read_rule(tenant, entry, path)
        if any(all(other[name] == rule[name] for name in ("rule", "action", "meter")) for other in found):
            raise Invalid.field(path, "duplicate", "There is a rule of this kind with this action already.")
        found.append(rule)
    return found


def _replace(
    tenant: Tenant,
    actor: Actor,
    owner: Plan | Agent,
    mine: TenantQuerySet[RunawayPolicy],
    wanted: list[dict[str, Any]] | None,
    **column: Any,
) -> None:
    """No epoch is bumped: no snapshot of a caller holds any of it."""
    before = mine.first()
    old = None if before is None else before.rules
    if wanted == old:
        return
    if before is None:
        RunawayPolicy.objects.create(tenant=tenant, rules=wanted, **column)
    elif wanted is None:
        before.delete()
    else:
        before.rules = wanted
        before.save(update_fields=["rules", "updated_at"])
    action = f"{'plan' if isinstance(owner, Plan) else 'agent'}.runaway_policy_changed"
    record_audit(tenant_id=tenant.id, actor=actor, action=action, target=owner, changes={"runaway": [old, wanted]})


def _read_rule(tenant: Tenant, entry: Mapping[str, Any], path: str) -> dict[str, Any]:
    fields.only_keys(entry, path, _KNOWN)
    for name in ("rule", "limit", "action"):
        if entry.get(name) is None:
            raise Invalid.field(at(path, name), "required", "A rule of the runaway guard needs it.")
    kind = fields.member(entry["rule"], at(path, "rule"), RunawayRule)
    action = fields.member(entry["action"], at(path, "action"), RunawayAction)
    rule: dict[str, Any] = {
        "rule": kind.value,
        "limit": format_quantity(_limit(kind, entry["limit"], at(path, "limit"))),
        "action": action.value,
        "window": _window(kind, entry.get("window"), at(path, "window")),
        "minimum_calls": _minimum(kind, entry.get("minimum_calls"), at(path, "minimum_calls")),
        "meter": _meter(tenant, kind, entry.get("meter"), at(path, "meter")),
        "throttle_to": _throttle_to(action, entry.get("throttle_to"), at(path, "throttle_to")),
        "for": _seconds(action, entry.get("for"), at(path, "for")),
    }
    return rule


def _limit(kind: RunawayRule, value: object, path: str) -> Decimal:
    limit = quantity_field(path, value)
    if kind is RunawayRule.CALLS_PER_MINUTE:
        if limit != limit.to_integral_value() or not 1 <= limit <= MAX_CALLS:
            raise Invalid.field(path, "invalid", f"Calls a minute: a whole number from 1 to {MAX_CALLS}.")
    elif kind is RunawayRule.BASELINE_MULTIPLE:
        if not 1 < limit <= 1000:
            raise Invalid.field(path, "invalid", "So many times what the agent usually does: above 1, up to 1000.")
    elif kind is RunawayRule.REFUSAL_SHARE:
        if not 0 < limit < 1:
            raise Invalid.field(path, "invalid", "The refused share of the calls: between 0 and 1, such as 0.9.")
    elif limit <= 0:
        raise Invalid.field(path, "invalid", "An hour's spend on the meter: above 0.")
    return limit


def _window(kind: RunawayRule, value: object, path: str) -> int:
    if kind not in _WINDOWED:
        fixed = MINUTE if kind is RunawayRule.CALLS_PER_MINUTE else 60 * MINUTE
        if value not in (None, fixed):
            raise Invalid.field(path, "not_allowed", "The window of this rule is in its name; leave it out.")
        return fixed
    if value is None:
        return DEFAULT_WINDOW
    window = fields.integer(value, path, least=MINUTE, most=LONGEST_WINDOW)
    if window % MINUTE:
        raise Invalid.field(path, "invalid", "Calls are counted by the minute: a multiple of 60 seconds.")
    return window


def _minimum(kind: RunawayRule, value: object, path: str) -> int | None:
    if kind not in _WINDOWED:
        if value is not None:
            raise Invalid.field(path, "not_allowed", "Only baseline_multiple and refusal_share ask for enough calls.")
        return None
    return DEFAULT_CALLS[kind] if value is None else fields.integer(value, path, least=1, most=MAX_CALLS)


def _meter(tenant: Tenant, kind: RunawayRule, value: object, path: str) -> str | None:
    """The meter's code, which never changes."""
    if kind is not RunawayRule.SPEND_PER_HOUR:
        if value is not None:
            raise Invalid.field(path, "not_allowed", "Only spend_per_hour is about a meter.")
        return None
    if value is None:
        raise Invalid.field(path, "required", "Say on which meter: one in money, or any other that adds up.")
    # The same rule can be sent again after its meter was archived: nothing is recorded on that any more.
    archived = find_meter(tenant, value, archived=True) if isinstance(value, str) else None
    meter = archived if archived is not None and archived.archived_at else resolve_meter(tenant, value, field=path)
    if meter.aggregation != Aggregation.SUM:
        raise Invalid.field(path, "meter_does_not_add_up", "Spend is a sum: name a meter of the aggregation sum.")
    return str(meter.code)


def _throttle_to(action: RunawayAction, value: object, path: str) -> dict[str, int] | None:
    if action is not RunawayAction.THROTTLE:
        if value is not None:
            raise Invalid.field(path, "not_allowed", "Only the action throttle has a rate to throttle to.")
        return None
    if value is None:
        raise Invalid.field(path, "required", 'Say to which rate, such as {"limit": 60, "window": 60}.')
    if not isinstance(value, Mapping):
        raise Invalid.field(path, "invalid", 'A rate is a map such as {"limit": 60, "window": 60}.')
    try:
        [rate] = fields.rate_limits([value], path)
    except Invalid as problem:
        # The path of a list's first entry is this field's own.
        errors = [{**error, "field": error["field"].replace(f"{path}.0", path)} for error in problem.errors]
        raise Invalid(problem.detail, code=problem.code, errors=errors) from None  # type: ignore[arg-type]
    return dict(rate)


def _seconds(action: RunawayAction, value: object, path: str) -> int | None:
    if action is not RunawayAction.THROTTLE:
        if value is not None:
            raise Invalid.field(path, "not_allowed", "Only a throttle ends by itself; a suspension is lifted.")
        return None
    return DEFAULT_THROTTLE if value is None else fields.integer(value, path, least=60, most=LONGEST_THROTTLE)
