"""Reads of top-ups."""

from datetime import datetime
from typing import Any
from uuid import UUID

from common.ids import Prefix, encode_id
from metering.domain.enums import Scope, TopUpState
from metering.models import TopUp
from tenants.models import Tenant, TenantQuerySet

_PREFIXES = {Scope.AGENT: Prefix.AGENT, Scope.LICENSE: Prefix.LICENSE, Scope.CUSTOMER: Prefix.CUSTOMER}


def top_ups_of(tenant: Tenant | UUID) -> TenantQuerySet[TopUp]:
    """All top-ups with their quotas and meters."""
    return TopUp.objects.for_tenant(tenant).select_related("quota__meter")


def state_of(top_up: TopUp, at: datetime) -> TopUpState:
    """What is to be said of a top-up at `at` (workspace time)."""
    if top_up.voided_at is not None:
        return TopUpState.VOIDED
    if top_up.expires_at is not None and top_up.expires_at <= at:
        return TopUpState.EXPIRED
    if top_up.used >= top_up.amount:
        return TopUpState.USED_UP
    return TopUpState.PENDING if at < top_up.starts_at else TopUpState.ACTIVE


def subject_of(top_up: TopUp) -> dict[str, Any]:
    """Whom a top-up is for, as `on` says it."""
    scope = Scope(top_up.scope)
    prefix = _PREFIXES.get(scope)
    return {scope.value: encode_id(prefix, top_up.subject_id) if prefix else True}
