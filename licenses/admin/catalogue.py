"""Operators' pages of what vendors sell."""

from collections.abc import Iterable

from django.contrib import admin
from django.http import HttpRequest

from common.ids import Prefix
from licenses.models import Feature, Plan, PlanGrant, Product
from tenants.admin import columns
from tenants.admin.base import OperatorAdmin
from tenants.admin.columns import display
from tenants.admin.filters import BY_TENANT, MadeFilter, by
from tenants.admin.links import code, id_link
from tenants.admin.panels import Panel, Rows, trail_of


@admin.register(Product)
class ProductAdmin(OperatorAdmin):
    """Agentic software that vendors sell."""

    with_related = ("tenant",)
    list_display = ("code", "name", "typeid", "tenant", "created_at", "archived_at")
    list_filter = (BY_TENANT, MadeFilter)
    search_fields = ("code", "name")
    notes = columns.json_block("metadata")
    fieldsets = (
        ("Product", {"fields": ("typeid", "tenant", "code", "name", "description", "notes")}),
        ("State", {"fields": ("created_at", "updated_at", "archived_at")}),
    )

    def panels(self, request: HttpRequest, row: Product) -> Iterable[Panel]:
        """Its plans and features, and its trail."""
        yield Panel("Plans", ["Code", "Name", "Archived at"], lambda: _plans(row), "licenses.view_plan")
        yield Panel("Features", ["Code", "Name", "Kind"], lambda: _features(row), "licenses.view_feature")
        yield trail_of(row, tenant_id=row.tenant_id)


@admin.register(Feature)
class FeatureAdmin(OperatorAdmin):
    """What a licence can allow."""

    with_related = ("tenant", "product")
    related_ids = {Prefix.TENANT: "tenant_id", Prefix.PRODUCT: "product_id"}
    list_display = ("code", "name", "kind", "typeid", "product", "tenant", "archived_at")
    list_filter = (BY_TENANT, by("kind"), MadeFilter)
    search_fields = ("code", "name")
    choices_shown = columns.json_block("choices")
    fieldsets = (
        ("Feature", {"fields": ("typeid", "tenant", "product", "code", "name", "kind", "choices_shown")}),
        ("State", {"fields": ("created_at", "updated_at", "archived_at")}),
    )

    def panels(self, request: HttpRequest, row: Feature) -> Iterable[Panel]:
        """Its trail."""
        yield trail_of(row, tenant_id=row.tenant_id)


@admin.register(Plan)
class PlanAdmin(OperatorAdmin):
    """What licences promise."""

    with_related = ("tenant", "product")
    related_ids = {Prefix.TENANT: "tenant_id", Prefix.PRODUCT: "product_id"}
    list_display = ("code", "name", "typeid", "product", "tenant", "trial", "created_at", "archived_at")
    list_filter = (BY_TENANT, "trial", MadeFilter)
    search_fields = ("code", "name")
    term_shown = columns.json_block("term")
    limits = columns.json_block("rate_limits", "rate limits")
    notices = columns.json_block("expiry_notices", "days before an expiry on which notice is given")
    notes = columns.json_block("metadata")
    fieldsets = (
        ("Plan", {"fields": ("typeid", "tenant", "product", "code", "name")}),
        ("Term", {"fields": ("term_shown", "trial", "grace_days", "notices")}),
        ("Limits", {"fields": ("agent_limit", "hold_limit", "token_ttl", "limits")}),
        (
            "Activation",
            {"fields": ("activation_limit", "activation_required", "activation_lease", "lapse_policy")},
        ),
        ("State", {"fields": ("created_at", "updated_at", "archived_at", "notes")}),
    )

    def panels(self, request: HttpRequest, row: Plan) -> Iterable[Panel]:
        """What it grants, and its trail."""
        yield Panel("Grants", ["Feature", "Value"], lambda: _grants(row), "licenses.view_plangrant")
        yield trail_of(row, tenant_id=row.tenant_id)


@admin.register(PlanGrant)
class PlanGrantAdmin(OperatorAdmin):
    """Plans' values for features."""

    with_related = ("tenant", "plan", "feature")
    related_ids = {Prefix.TENANT: "tenant_id", Prefix.PLAN: "plan_id", Prefix.FEATURE: "feature_id"}
    list_display = ("typeid", "plan", "feature", "value", "tenant")
    list_filter = (BY_TENANT, MadeFilter)
    value_shown = columns.json_block("value")
    fieldsets = ((None, {"fields": ("typeid", "tenant", "plan", "feature", "value_shown", "created_at")}),)

    @display(description="value")
    def value(self, row: PlanGrant) -> str:
        """As it is."""
        return code(row.value)


def _plans(product: Product) -> Rows:
    for plan in Plan.objects.for_tenant(product.tenant_id).filter(product=product).order_by("-pk")[:50]:
        yield id_link(Prefix.PLAN, plan.pk, plan.code), plan.name, columns.when(plan.archived_at)


def _features(product: Product) -> Rows:
    for feature in Feature.objects.for_tenant(product.tenant_id).filter(product=product).order_by("-pk")[:50]:
        yield id_link(Prefix.FEATURE, feature.pk, feature.code), feature.name, feature.get_kind_display()


def _grants(plan: Plan) -> Rows:
    grants = PlanGrant.objects.for_tenant(plan.tenant_id).filter(plan=plan)
    for grant in grants.select_related("feature").order_by("feature__code"):
        yield id_link(Prefix.FEATURE, grant.feature_id, grant.feature.code), code(grant.value)
