"""What a licence carries, and what is shown of its state."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from licenses.domain.enums import DisplayedStatus, LicenseKind, LicenseStatus, PlanRole
from licenses.domain.facts import LicenseFacts
from licenses.domain.license_times import displayed_status
from licenses.models import License, LicensePlan, Plan, Product


@dataclass(frozen=True, slots=True)
class CarriedPlans:
    """A licence's base plan, and its add-ons in the order in which they were added."""

    base: Plan
    add_ons: tuple[Plan, ...]

    @property
    def product(self) -> Product:
        """What the licence is for; all its plans are of one product."""
        return self.base.product

    @property
    def agent_limit(self) -> int | None:
        """How many agents may live at once: the base plan's number and what add-ons add to it; None is no limit."""
        if self.base.agent_limit is None:
            return None
        return self.base.agent_limit + sum(plan.agent_limit or 0 for plan in self.add_ons)

    @property
    def hold_limit(self) -> int | None:
        """How many holds may be open at once: the base plan's number and what add-ons add; None: no limit."""
        if self.base.hold_limit is None:
            return None
        return self.base.hold_limit + sum(plan.hold_limit or 0 for plan in self.add_ons)

    @property
    def activation_limit(self) -> int | None:
        """How many activations may hold a place at once, all plans together; None is no limit."""
        if self.base.activation_limit is None:
            return None
        return self.base.activation_limit + sum(plan.activation_limit or 0 for plan in self.add_ons)


def carried_plans(license: License) -> CarriedPlans:
    """The plans of a licence with their product, in one query; none where `carried_plans` was prefetched."""
    loaded = "carried_plans" in getattr(license, "_prefetched_objects_cache", {})
    carried = list(
        license.carried_plans.all()
        if loaded
        else LicensePlan.objects.for_tenant(license.tenant_id)
        .filter(license=license)
        .select_related("plan__product")
        .order_by("created_at", "id")
    )
    [base] = [each.plan for each in carried if each.role == PlanRole.BASE]
    return CarriedPlans(base, tuple(each.plan for each in carried if each.role == PlanRole.ADD_ON))


def license_facts(license: License) -> LicenseFacts:
    """State and term of a licence, with its base plan's grace."""
    base = carried_plans(license).base
    return LicenseFacts(
        id=license.id,
        status=LicenseStatus(license.status),
        starts_at=license.starts_at,
        expires_at=license.expires_at,
        grace=timedelta(days=base.grace_days),
        kind=LicenseKind(license.kind),
        trial=base.trial,
    )


def shown_status(license: License, at: datetime) -> DisplayedStatus:
    """What a person is shown of the licence at `at`, on the workspace's clock."""
    return displayed_status(license_facts(license), at)
