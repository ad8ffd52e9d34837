"""What a quota is made of, checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from common.errors import Invalid
from metering.domain.enums import Anchor, Period, QuotaMode, Scope
from metering.domain.quota_keys import quota_key
from metering.domain.quota_state import DEFAULT_THRESHOLDS
from metering.models import Meter
from metering.selectors.meters import declared_dimensions, resolve_meter
from metering.services.validation import at, filter_field, list_field, quantity_field, refuse
from tenants.models import Tenant
from tenants.services import fields as checks

MAX_THRESHOLDS: Final = 20
MAX_THRESHOLD: Final = 1000
"""Per cent."""

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

    def key(self, tenant_id: UUID, plan_id: UUID | None) -> UUID:
        """What it counts, as a name; edits of limit, ceiling, mode and thresholds leave it alone."""
        return quota_key(
            tenant_id=tenant_id,
            plan_id=plan_id,
            scope=self.scope,
            meter_id=self.meter.id,
            filter=self.filter,
            period=self.period,
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
        }


def read_quota(tenant: Tenant, fields: Mapping[str, Any], *, scope: Scope, prefix: str = "") -> QuotaSpec:
    """The quota that `fields` describe: `meter`, `limit`, `period` and, optional, the rest.

    Left out or null: no filter, hard, no ceiling, the tenant's calendar, thresholds of 80 and 100 per cent.
    Raises Invalid for the field under `prefix`.
    """
    for field in ("meter", "limit", "period"):
        if fields.get(field) is None:
            raise Invalid.field(at(prefix, field), "required", "A quota needs it.")
    meter = resolve_meter(tenant, fields["meter"], field=at(prefix, "meter"))
    mode = checks.member(_or(fields.get("mode"), QuotaMode.HARD), at(prefix, "mode"), QuotaMode)
    limit = quantity_field(at(prefix, "limit"), fields["limit"])
    return QuotaSpec(
        meter=meter,
        scope=scope,
        filter=filter_field(at(prefix, "filter"), fields.get("filter"), declared_dimensions(meter)),
        period=read_period(at(prefix, "period"), fields["period"]),
        anchor=_anchor(at(prefix, "anchor"), _or(fields.get("anchor"), Anchor.CALENDAR), scope),
        limit=limit,
        ceiling=read_ceiling(at(prefix, "ceiling"), fields.get("ceiling"), limit=limit, mode=mode),
        mode=mode,
        thresholds=read_thresholds(at(prefix, "thresholds"), fields.get("thresholds")),
    )


def read_period(path: str, value: object) -> Period:
    """A calendar period by its name. Rolling windows are refused with `period_unsupported`."""
    if isinstance(value, Mapping) or value == Period.ROLLING:
        detail = f"Rolling windows are not supported yet; these are: {', '.join(_PERIODS)}."
        raise refuse(path, "period_unsupported", detail)
    if value not in _PERIODS:
        raise Invalid.field(path, "invalid", f"This is one of {', '.join(_PERIODS)}.")
    return Period(str(value))


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
