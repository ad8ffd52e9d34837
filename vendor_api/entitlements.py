"""What a licence grants at a moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from common.errors import NotFound
from common.ids import Prefix, encode_id
from licenses.domain.entitlements import effective_features
from licenses.models import License
from licenses.selectors.access import load_license


@dataclass(frozen=True, slots=True)
class Entitlement:
    """A feature as it holds for a licence. `until` is when grants change it next."""

    feature: str
    value: Any
    source: str
    until: datetime | None
    narrowed_by: str | None


def entitlements_of(license: License, *, at: datetime) -> list[Entitlement]:
    """Every feature that holds for the licence at `at`, by code. Raises NotFound."""
    access = load_license(license.tenant_id, license.id)
    if access is None:
        raise NotFound
    return [
        Entitlement(
            feature=code,
            value=plain_value(found.value),
            source=found.source.value,
            until=found.until,
            narrowed_by=encode_id(Prefix.AGENT, found.narrowed_by) if found.narrowed_by else None,
        )
        for code, found in sorted(effective_features(access.facts, at).items())
    ]


def plain_value(value: Any) -> Any:
    """A feature's value as JSON has it: choices as a sorted list."""
    return sorted(value) if isinstance(value, frozenset) else value
