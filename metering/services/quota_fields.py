"""What a quota is made of, checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from common.errors import Invalid
from metering.domain.enums import Aggregation, Anchor, Period, QuotaMode, Scope
from metering.domain.quota_keys import quota_key
from metering.domain.quota_state import DEFAULT_THRESHOLDS
from metering.models import Meter
from metering.selectors.meters import declared_dimensions, resolve_meter
from metering.services.validation import at, filter_field, list_field, quantity_field
from tenants.models import Tenant
from tenants.services import fields as checks

MAX_THRESHOLDS: Final = 20
MAX_THRESHOLD: Final = 1000
"""Per cent."""

MAX_ROLLING: Final = 366 * 86_400
"""Seconds."""

_PERIODS = [period for period in Period if period is not Period.ROLLING]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaSpec:
    """A quota before it has an owner."""

    meter: Meter
    scope: Scope
    filter: Mapping[str, str]
    period: Period
    anchor: Anchor
    limit: Decimal
    ceiling: Decimal | None
    mode: QuotaMode
    thresholds: Sequence[int]
    rolling_seconds: int | None = None
    carry_over: bool = False
    carry_over_limit: Decimal | None = None

    def key(self, tenant_id: UUID, plan_id: UUID | None) -> UUID:
        """What it counts, as a name; edits of limit, ceiling, mode and thresholds leave it alone."""
        return quota_key(
            tenant_id=tenant_id,
            plan_id=plan_id,
            scope=self.scope,
            meter_id=self.meter.id,
            filter=self.filter,
            period=self.period,
            rolling_seconds=self.rolling_seconds,
            anchor=self.anchor,
        )

    def columns(self) -> dict[str, Any]:
        """The columns of its row, but for owner and key."""
        return {
            "meter": self.meter,
            "scope": self.scope,
            "filter": dict(self.filter),
            "period": self.period,
            "anchor": self.anchor,
            "limit": self.limit,
            "ceiling": self.ceiling,
            "mode": self.mode,
            "thresholds": list(self.thresholds),
            "rolling_seconds": self.rolling_seconds,
            "carry_over": self.carry_over,
            "carry_over_limit": self.carry_over_limit,
        }


def read_quota(tenant: Tenant, fields: Mapping[str, Any], *, scope: Scope, prefix: str = "") -> QuotaSpec:
    """The quota that `fields` describe: `meter`, `limit`, `period` and, optional, the rest.

    Left out or null: no filter, hard, no ceiling, the tenant's calendar, thresholds of 80 and 100 per cent, nothing
    carried over. Raises Invalid for the field under `prefix`.
    """
    for field in ("meter", "limit", "period"):
        if fields.get(field) is None:
            raise Invalid.field(at(prefix, field), "required", "A quota needs it.")
    meter = resolve_meter(tenant, fields["meter"], field=at(prefix, "meter"))
    mode = checks.member(_or(fields.get("mode"), QuotaMode.HARD), at(prefix, "mode"), QuotaMode)
    limit = quantity_field(at(prefix, "limit"), fields["limit"])
    period, rolling_seconds = read_period(at(prefix, "period"), fields["period"])
    anchor = _anchor(at(prefix, "anchor"), _or(fields.get("anchor"), Anchor.CALENDAR), scope)
    if period is Period.ROLLING:
        check_rolling(prefix, meter, mode, anchor)
    carry_over, most = read_carry_over(at(prefix, "carry_over"), fields.get("carry_over"), meter=meter, period=period)
    return QuotaSpec(
        meter=meter,
        scope=scope,
        filter=filter_field(at(prefix, "filter"), fields.get("filter"), declared_dimensions(meter)),
        period=period,
        anchor=anchor,
        limit=limit,
        ceiling=read_ceiling(at(prefix, "ceiling"), fields.get("ceiling"), limit=limit, mode=mode),
        mode=mode,
        thresholds=read_thresholds(at(prefix, "thresholds"), fields.get("thresholds")),
        rolling_seconds=rolling_seconds,
        carry_over=carry_over,
        carry_over_limit=most,
    )


def read_period(path: str, value: object) -> tuple[Period, int | None]:
    """A calendar period by its name, or `{"rolling": seconds}`: the period, and a rolling window's length."""
    if isinstance(value, Mapping):
        if value.keys() != {"rolling"}:
            raise Invalid.field(path, "invalid", 'A rolling window is {"rolling": <seconds>}, and nothing else.')
        return Period.ROLLING, checks.integer(value["rolling"], at(path, "rolling"), least=1, most=MAX_ROLLING)
    if value not in _PERIODS:
        detail = f'This is one of {", ".join(_PERIODS)}, or {{"rolling": <seconds>}}.'
        raise Invalid.field(path, "invalid", detail)
    return Period(str(value)), None


def check_rolling(prefix: str, meter: Meter, mode: QuotaMode, anchor: Anchor) -> None:
    """Refuse what a rolling window cannot be: soft, anchored, or of a meter whose parts do not add up."""
    if mode is not QuotaMode.HARD:
        detail = "A rolling window is hard: it has no period whose overage could be billed."
        raise Invalid.field(at(prefix, "mode"), "rolling_is_hard", detail)
    if anchor is not Anchor.CALENDAR:
        raise Invalid.field(at(prefix, "anchor"), "anchor_not_allowed", "A rolling window has no anchor.")
    if not Aggregation(meter.aggregation).adds_up:
        detail = "A rolling window adds up its parts, so it needs a sum or count meter."
        raise Invalid.field(at(prefix, "meter"), "meter_not_additive", detail)


def read_carry_over(path: str, value: object, *, meter: Meter, period: Period) -> tuple[bool, Decimal | None]:
    """Whether what is left goes into the next period, and how much of it at most (None: all).

    `true`, `false`, null or `{"max": "500"}`. Raises Invalid, also for periods that have no next one.
    """
    if value is None or value is False:
        return False, None
    most = None
    if isinstance(value, Mapping) and value.keys() == {"max"}:
        most = quantity_field(at(path, "max"), value["max"])
        if not most:
            raise Invalid.field(at(path, "max"), "not_positive", "This is more than 0, or carry_over is false.")
    elif value is not True:
        raise Invalid.field(path, "invalid", 'This is true, false or {"max": "<quantity>"}.')
    if period in (Period.LIFETIME, Period.ROLLING):
        detail = "A lifetime and a rolling window have no next period that anything could be carried into."
        raise Invalid.field(path, "carry_over_not_allowed", detail)
    if meter.aggregation in (Aggregation.MAX, Aggregation.LATEST):
        detail = "What a max or latest meter shows is not used up, so nothing of it is left over."
        raise Invalid.field(path, "carry_over_not_allowed", detail)
    return True, most


def read_ceiling(path: str, value: object, *, limit: Decimal, mode: QuotaMode) -> Decimal | None:
    """Where a soft quota becomes hard: at its limit or above; None for nowhere."""
    if value is None:
        return None
    ceiling = quantity_field(path, value)
    if mode is QuotaMode.HARD:
        raise Invalid.field(path, "ceiling_on_hard", "Only a soft quota has a ceiling; a hard one ends at its limit.")
    if ceiling < limit:
        raise Invalid.field(path, "ceiling_below_limit", "The ceiling is not below the limit.")
    return ceiling


def read_thresholds(path: str, value: object) -> list[int]:
    """Per cent of the limit at which the vendor is told, 1 to 1000, sorted and each once; 80 and 100 unless given."""
    if value is None:
        return list(DEFAULT_THRESHOLDS)
    thresholds = list_field(path, value, most=MAX_THRESHOLDS)
    for position, each in enumerate(thresholds):
        checks.integer(each, f"{path}.{position}", least=1, most=MAX_THRESHOLD)
    return sorted(set(thresholds))


def _anchor(path: str, value: object, scope: Scope) -> Anchor:
    anchor = checks.member(value, path, Anchor)
    if anchor is Anchor.LICENSE and scope not in (Scope.LICENSE, Scope.AGENT):
        detail = f"A {scope} has no single licence whose start could be the anchor."
        raise Invalid.field(path, "anchor_not_allowed", detail)
    return anchor


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value
