"""What plans and licences grant: reading the list that was sent, and replacing the stored one."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from common.errors import Invalid
from common.ids import parse_any_id
from licenses.domain.enums import FeatureKind
from licenses.models import Feature, License, LicenseGrant, Plan, PlanGrant, Product
from tenants.services import fields
from tenants.services.changes import plain

MAX_GRANTS: Final = 200
MAX_LIMIT_VALUE: Final = 10**15

FeatureNames = Mapping[str | UUID, Feature]


class WantedGrant(NamedTuple):
    """A grant as it is to be stored; times stay None in a plan's."""

    feature: Feature
    value: bool | int | list[str]
    starts_at: datetime | None = None
    expires_at: datetime | None = None

    def shown(self) -> dict[str, Any]:
        """The grant in JSON's own types, for the audit trail."""
        times = {"starts_at": plain(self.starts_at), "expires_at": plain(self.expires_at)}
        given = {name: at for name, at in times.items() if at is not None}
        return {"feature": self.feature.code, "value": self.value, **given}


def read_plan_grants(
    product: Product, sent: Sequence[Mapping[str, Any]], *, granted: Collection[UUID] = ()
) -> list[WantedGrant]:
    """`[{"feature": code or id, "value"}]`, each feature of the plan's product once.

    `granted` names the features that the plan grants already: these may be archived. Raises Invalid.
    """
    wanted = _read(product, sent, known={"feature", "value"}, granted=granted)
    for index, grant in enumerate(wanted):
        if any(other.feature == grant.feature for other in wanted[:index]):
            raise Invalid.field(f"grants.{index}.feature", "duplicate", "A plan grants each feature once.")
    return wanted


def read_license_grants(
    product: Product, sent: Sequence[Mapping[str, Any]], *, granted: Collection[UUID] = ()
) -> list[WantedGrant]:
    """As of a plan, and with `starts_at` and `expires_at`; a feature may be granted for several times."""
    return _read(product, sent, known={"feature", "value", "starts_at", "expires_at"}, granted=granted)


def check_value(feature: Feature, value: Any, field: str) -> bool | int | list[str]:
    """A value of the feature's kind. Raises Invalid on `field`."""
    if feature.kind == FeatureKind.SWITCH:
        return fields.boolean(value, field)
    if feature.kind == FeatureKind.LIMIT:
        return fields.integer(value, field, least=0, most=MAX_LIMIT_VALUE)
    chosen = fields.texts(value, field, most=max(1, len(feature.choices)))
    for index, choice in enumerate(chosen):
        if choice not in feature.choices:
            detail = f"{feature.code} has the choices {', '.join(feature.choices)}."
            raise Invalid.field(f"{field}.{index}", "unknown_choice", detail)
    return chosen


def replace_plan_grants(plan: Plan, wanted: Sequence[WantedGrant]) -> list[Any] | None:
    """Make the plan grant exactly `wanted`; `[before, after]`, or None where it did already."""
    stored = {
        grant.feature_id: grant
        for grant in PlanGrant.objects.for_tenant(plan.tenant_id).filter(plan=plan).select_related("feature")
    }
    before = [WantedGrant(grant.feature, grant.value) for grant in stored.values()]
    if _by_code(before) == _by_code(wanted):
        return None
    for grant in wanted:
        PlanGrant.objects.update_or_create(
            tenant_id=plan.tenant_id, plan=plan, feature=grant.feature, defaults={"value": grant.value}
        )
    gone = stored.keys() - {grant.feature.id for grant in wanted}
    PlanGrant.objects.for_tenant(plan.tenant_id).filter(plan=plan, feature_id__in=gone).delete()
    return [_by_code(before), _by_code(wanted)]


def replace_license_grants(license: License, wanted: Sequence[WantedGrant]) -> list[Any] | None:
    """Make the licence's own grants exactly `wanted`, in this order; `[before, after]`, or None without a change."""
    mine = LicenseGrant.objects.for_tenant(license.tenant_id).filter(license=license)
    before = [
        WantedGrant(grant.feature, grant.value, grant.starts_at, grant.expires_at).shown()
        for grant in mine.select_related("feature").order_by("id")
    ]
    after = [grant.shown() for grant in wanted]
    if before == after:
        return None
    mine.delete()
    LicenseGrant.objects.bulk_create(
        LicenseGrant(
            tenant_id=license.tenant_id,
            license=license,
            feature=grant.feature,
            value=grant.value,
            starts_at=grant.starts_at,
            expires_at=grant.expires_at,
        )
        for grant in wanted
    )
    return [before, after]


def feature_codes(
    product: Product, sent: Sequence[str], field: str = "features", *, known: FeatureNames | None = None
) -> list[str]:
    """Codes of features of the product, sent as codes or ids; `known` if they are at hand. Raises Invalid."""
    known = feature_names(product) if known is None else known
    codes = []
    for index, reference in enumerate(fields.texts(sent, field, most=MAX_GRANTS, max_length=64)):
        codes.append(_pick(known, reference, product, f"{field}.{index}").code)
    return list(dict.fromkeys(codes))


def _read(
    product: Product, sent: Sequence[Mapping[str, Any]], *, known: Collection[str], granted: Collection[UUID]
) -> list[WantedGrant]:
    entries = fields.entries(sent, "grants", most=MAX_GRANTS)
    features = feature_names(product) if entries else {}
    wanted = []
    for place, entry in entries:
        fields.only_keys(entry, place, known)
        feature = _pick(features, entry.get("feature"), product, f"{place}.feature")
        if feature.archived_at is not None and feature.id not in granted:
            raise Invalid.field(f"{place}.feature", "archived", "This feature is archived and cannot be granted anew.")
        starts_at = fields.optional_instant(entry.get("starts_at"), f"{place}.starts_at")
        expires_at = fields.optional_instant(entry.get("expires_at"), f"{place}.expires_at")
        if starts_at is not None and expires_at is not None and expires_at <= starts_at:
            raise Invalid.field(f"{place}.expires_at", "ends_before_start", "A grant ends after it has started.")
        value = check_value(feature, entry.get("value"), f"{place}.value")
        wanted.append(WantedGrant(feature, value, starts_at, expires_at))
    return wanted


def feature_names(product: Product) -> FeatureNames:
    """The product's features, by code and by id."""
    features = list(Feature.objects.for_tenant(product.tenant_id).filter(product=product))
    by_code: dict[str | UUID, Feature] = {feature.code: feature for feature in features}
    return by_code | {feature.id: feature for feature in features}


def _pick(features: FeatureNames, reference: object, product: Product, field: str) -> Feature:
    if isinstance(reference, Feature):
        reference = reference.id
    parsed = parse_any_id(reference) if isinstance(reference, str) else None
    name = parsed[1] if parsed is not None and parsed[0] == Feature.id_prefix else reference
    found = features.get(name) if isinstance(name, str | UUID) else None
    if found is None:
        named = f"feature '{reference}'" if isinstance(reference, str) else "feature of this id"
        raise Invalid.field(field, "not_found", f"The product {product.code} has no {named}.")
    return found


def _by_code(grants: Sequence[WantedGrant]) -> dict[str, Any]:
    return {grant.feature.code: grant.value for grant in sorted(grants, key=lambda grant: grant.feature.code)}
