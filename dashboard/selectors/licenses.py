"""Licences as the pages show them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from django.db.models import Count, F, Prefetch, Q, QuerySet

from common.ids import Prefix, parse_any_id
from dashboard.access import Workspace
from licenses.domain.enums import AgentStatus, DisplayedStatus, LicenseStatus
from licenses.models import License, LicensePlan, Plan
from licenses.selectors.licenses import carried_plans, shown_status
from licenses.selectors.listing import agents_of, licenses_of, plans_of

SOON: Final = timedelta(days=30)

#: What the status filter offers, in the order of its chips.
STATES: Final = {
    "in_force": "In force",
    "ending": "Ending soon",
    "ended": "Ended",
    "suspended": "Suspended",
    "revoked": "Revoked",
}


@dataclass(frozen=True, slots=True)
class LicenseRow:
    """A licence with what its row shows. `agents` counts those that are not revoked."""

    license: License
    plan: Plan
    add_ons: int
    status: DisplayedStatus
    agents: int

    @property
    def may_suspend(self) -> bool:
        """Whether suspending changes anything."""
        return self.license.status == LicenseStatus.ACTIVE

    @property
    def may_reinstate(self) -> bool:
        """Whether there is a suspension to end."""
        return self.license.status == LicenseStatus.SUSPENDED

    @property
    def may_revoke(self) -> bool:
        """Whether it still holds anything that can be revoked."""
        return self.license.status != LicenseStatus.REVOKED


def shown_licenses(workspace: Workspace) -> QuerySet[License]:
    """The workspace's licences that are not archived, with customers and plans, but without their grants."""
    carried = LicensePlan.objects.for_tenant(workspace.tenant).select_related("plan__product")
    found = licenses_of(workspace.tenant.id).filter(archived_at__isnull=True).select_related("customer")
    return found.prefetch_related(None).prefetch_related(
        Prefetch("carried_plans", carried.order_by("created_at", "id"))
    )


def in_state(licenses: QuerySet[License], state: str, workspace: Workspace) -> QuerySet[License]:
    """Only those of one of `STATES`."""
    now = workspace.now
    active, ended = Q(status=LicenseStatus.ACTIVE), Q(expires_at__lte=now)
    match state:
        case "in_force":
            return licenses.filter(active, starts_at__lte=now).exclude(ended)
        case "ending":
            return licenses.filter(active, expires_at__gt=now, expires_at__lte=now + SOON)
        case "ended":
            return licenses.filter(active & ended)
        case _:
            return licenses.filter(status=state)


def search_licenses(licenses: QuerySet[License], text: str) -> QuerySet[License]:
    """Those whose customer has the text in its name or external id; a licence's or customer's id finds just that."""
    if (parsed := parse_any_id(text)) is not None:
        prefix, uuid = parsed
        return licenses.filter(customer_id=uuid) if prefix == Prefix.CUSTOMER else licenses.filter(pk=uuid)
    hint = Q(key_hint__iexact=text)
    return licenses.filter(Q(customer__name__icontains=text) | Q(customer__external_id__icontains=text) | hint)


def license_rows(workspace: Workspace, licenses: Iterable[License]) -> list[LicenseRow]:
    """The rows of a page of licences; one query more, for the agents."""
    found = list(licenses)
    living = _living_agents(workspace, [each.id for each in found])
    rows = []
    for each in found:
        carried = carried_plans(each)
        rows.append(
            LicenseRow(
                license=each,
                plan=carried.base,
                add_ons=len(carried.add_ons),
                status=shown_status(each, workspace.now),
                agents=living.get(each.id, 0),
            )
        )
    return rows


def ending_next(workspace: Workspace, *, limit: int) -> list[LicenseRow]:
    """Licences in force, the next one to end first; those without an end come last."""
    found = in_state(shown_licenses(workspace), "in_force", workspace)
    return license_rows(workspace, found.order_by(F("expires_at").asc(nulls_last=True), "-created_at")[:limit])


@dataclass(frozen=True, slots=True)
class LicenseCounts:
    """How many licences there are, are in force, and end within 30 days."""

    all: int
    in_force: int
    ending: int


def count_licenses(workspace: Workspace) -> LicenseCounts:
    """Count in one query."""
    now = workspace.now
    good = Q(status=LicenseStatus.ACTIVE, starts_at__lte=now)
    future = Q(expires_at__isnull=True) | Q(expires_at__gt=now)
    found = (
        licenses_of(workspace.tenant.id)
        .filter(archived_at__isnull=True)
        .aggregate(
            all=Count("id"),
            in_force=Count("id", filter=good & future),
            ending=Count("id", filter=Q(status=LicenseStatus.ACTIVE, expires_at__gt=now, expires_at__lte=now + SOON)),
        )
    )
    return LicenseCounts(**found)


def plans(workspace: Workspace) -> QuerySet[Plan]:
    """The plans to filter by."""
    return plans_of(workspace.tenant.id).prefetch_related(None).order_by("name", "code")


def _living_agents(workspace: Workspace, license_ids: list[UUID]) -> dict[UUID, int]:
    living = agents_of(workspace.tenant.id).filter(archived_at__isnull=True).exclude(status=AgentStatus.REVOKED)
    counted = living.filter(license_id__in=license_ids).values_list("license_id").annotate(count=Count("id")).order_by()
    return dict(counted)
