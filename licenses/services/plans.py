"""Plans and what they grant. Their quotas and prices are metering's."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from msgspec import UNSET, UnsetType

from licenses.domain.enums import LapsePolicy
from licenses.models import Plan, Product
from tenants.domain.actors import Actor
from tenants.models import Tenant


def create_plan(
    *,
    tenant: Tenant,
    actor: Actor,
    code: str,
    name: str,
    product: Product | UUID | str,
    term: Mapping[str, int] | None = None,
    trial: bool = False,
    grace_days: int = 0,
    activation_limit: int | None = None,
    activation_required: bool = False,
    activation_lease: int | None = None,
    lapse_policy: str = LapsePolicy.REFUSE,
    agent_limit: int | None = None,
    hold_limit: int | None = None,
    token_ttl: int = 3600,
    rate_limits: Sequence[Mapping[str, Any]] = (),
    grants: Sequence[Mapping[str, Any]] = (),
    metadata: Mapping[str, Any] | None = None,
) -> Plan:
    """Make a plan with its grants `[{"feature": code or id, "value"}]`. Raises Invalid, Conflict `code_taken`."""
    raise NotImplementedError


def update_plan(
    *,
    tenant: Tenant,
    plan_id: UUID,
    actor: Actor,
    code: str | UnsetType = UNSET,
    name: str | UnsetType = UNSET,
    product: Product | UUID | str | UnsetType = UNSET,
    term: Mapping[str, int] | None | UnsetType = UNSET,
    trial: bool | UnsetType = UNSET,
    grace_days: int | UnsetType = UNSET,
    activation_limit: int | None | UnsetType = UNSET,
    activation_required: bool | UnsetType = UNSET,
    activation_lease: int | None | UnsetType = UNSET,
    lapse_policy: str | UnsetType = UNSET,
    agent_limit: int | None | UnsetType = UNSET,
    hold_limit: int | None | UnsetType = UNSET,
    token_ttl: int | UnsetType = UNSET,
    rate_limits: Sequence[Mapping[str, Any]] | UnsetType = UNSET,
    grants: Sequence[Mapping[str, Any]] | UnsetType = UNSET,
    metadata: Mapping[str, Any] | None | UnsetType = UNSET,
) -> Plan:
    """Change what is given; `grants` replaces the whole list. Licences that carry the plan feel it at once.

    The product stays (Invalid `immutable`). Raises NotFound, Invalid, Conflict `code_taken` or `plan_archived`.
    """
    raise NotImplementedError


def archive_plan(*, tenant: Tenant, plan_id: UUID, actor: Actor, reason: str = "") -> Plan:
    """No new licence can carry it; those that do go on."""
    raise NotImplementedError
