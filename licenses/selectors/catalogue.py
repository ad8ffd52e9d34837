"""Products, features and plans: lists, with what their pages show loaded."""

from licenses.models import Feature, Plan, Product
from tenants.models import Tenant, TenantQuerySet


def products(tenant: Tenant, *, archived: bool = False) -> TenantQuerySet[Product]:
    """The workspace's products; archived ones only if asked for."""
    found = Product.objects.for_tenant(tenant)
    return found if archived else found.filter(archived_at__isnull=True)


def features(tenant: Tenant, *, archived: bool = False) -> TenantQuerySet[Feature]:
    """The workspace's features with their products."""
    found = Feature.objects.for_tenant(tenant).select_related("product")
    return found if archived else found.filter(archived_at__isnull=True)


def plans(tenant: Tenant, *, archived: bool = False) -> TenantQuerySet[Plan]:
    """The workspace's plans with products and grants (`plan.grants.all()`, their features loaded)."""
    found = Plan.objects.for_tenant(tenant).select_related("product").prefetch_related("grants__feature")
    return found if archived else found.filter(archived_at__isnull=True)
