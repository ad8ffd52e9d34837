"""Products and their features."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from msgspec import UNSET, UnsetType

from common.clock import real_clock
from common.epochs import EpochKey
from common.errors import Conflict, Invalid
from licenses.domain.enums import FeatureKind
from licenses.models import Feature, LicenseGrant, PlanGrant, Product
from licenses.selectors.lookup import resolve_product
from tenants.domain.actors import Actor
from tenants.domain.enums import EpochKind
from tenants.models import Tenant
from tenants.services import fields
from tenants.services.auditing import record_audit
from tenants.services.changes import apply_changes, conflict_if_taken
from tenants.services.epochs import bump_epochs, republish

MAX_CHOICES = 200

_PRODUCT_TAKEN = ("product_code", "code_taken", "There is a product with this code already, maybe an archived one.")
_FEATURE_TAKEN = ("feature_code", "code_taken", "The product has a feature with this code already.")


def create_product(
    *,
    tenant: Tenant,
    actor: Actor,
    code: str,
    name: str,
    description: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> Product:
    """Make a product. Raises Invalid, Conflict `code_taken`."""
    product = Product(
        tenant=tenant,
        code=fields.code(code),
        name=fields.text(name, "name"),
        description=_description(description),
        metadata=fields.metadata(metadata),
    )
    with transaction.atomic(), conflict_if_taken(*_PRODUCT_TAKEN):
        product.save(force_insert=True)
        changes = {"code": [None, product.code], "name": [None, product.name]}
        record_audit(tenant_id=tenant.id, actor=actor, action="product.created", target=product, changes=changes)
    return product


def update_product(
    *,
    tenant: Tenant,
    product_id: UUID,
    actor: Actor,
    code: str | UnsetType = UNSET,
    name: str | UnsetType = UNSET,
    description: str | UnsetType = UNSET,
    metadata: Mapping[str, Any] | UnsetType | None = UNSET,
) -> Product:
    """Change what is given. Raises NotFound, Invalid, Conflict `code_taken` or `product_archived`."""
    wanted = {
        "code": UNSET if code is UNSET else fields.code(code),
        "name": UNSET if name is UNSET else fields.text(name, "name"),
        "description": UNSET if description is UNSET else _description(description),
        "metadata": UNSET if metadata is UNSET else fields.metadata(metadata),
    }
    with transaction.atomic(), conflict_if_taken(*_PRODUCT_TAKEN):
        product = Product.objects.for_tenant(tenant).select_for_update(no_key=True).get_or_raise(product_id)
        if product.archived_at is not None:
            raise Conflict("product_archived", "The product is archived and does not change any more.")
        _save_changes(product, wanted, "product.updated", actor)
    return product


def archive_product(*, tenant: Tenant, product_id: UUID, actor: Actor, reason: str = "") -> Product:
    """Nothing new is made of it any more; its plans and licences go on. Twice is the same as once."""
    with transaction.atomic():
        product = Product.objects.for_tenant(tenant).select_for_update(no_key=True).get_or_raise(product_id)
        _archive(product, "product.archived", actor, reason)
    return product


def create_feature(
    *,
    tenant: Tenant,
    actor: Actor,
    product: Product | UUID | str,
    code: str,
    name: str,
    kind: str,
    choices: Sequence[str] = (),
) -> Feature:
    """Make a feature. `choices` belongs to kind choice, and only there. Raises Invalid, Conflict `code_taken`."""
    feature_kind = fields.member(kind, "kind", FeatureKind)
    feature = Feature(
        tenant=tenant,
        product=resolve_product(tenant, product, unarchived=True),
        code=fields.code(code),
        name=fields.text(name, "name"),
        kind=feature_kind,
        choices=_choices(choices, feature_kind),
    )
    with transaction.atomic(), conflict_if_taken(*_FEATURE_TAKEN):
        feature.save(force_insert=True)
        record_audit(
            tenant_id=tenant.id,
            actor=actor,
            action="feature.created",
            target=feature,
            changes={"code": [None, feature.code], "kind": [None, feature.kind], "choices": [None, feature.choices]},
        )
    return feature


def update_feature(
    *,
    tenant: Tenant,
    feature_id: UUID,
    actor: Actor,
    name: str | UnsetType = UNSET,
    choices: Sequence[str] | UnsetType = UNSET,
    product: Product | UUID | str | UnsetType = UNSET,
    code: str | UnsetType = UNSET,
    kind: str | UnsetType = UNSET,
) -> Feature:
    """Change name or choices; product, code and kind may be sent again but never change (Invalid `immutable`).

    Agents name the features that they may use by code, and grants hold values of the kind. A choice that is
    granted somewhere stays: Conflict `choice_in_use`. Raises NotFound, Invalid, Conflict `feature_archived`.
    """
    with transaction.atomic():
        feature = Feature.objects.for_tenant(tenant).select_for_update(no_key=True).get_or_raise(feature_id)
        if feature.archived_at is not None:
            raise Conflict("feature_archived", "The feature is archived and does not change any more.")
        if product is not UNSET:
            fields.immutable(resolve_product(tenant, product).id, feature.product_id, "product")
        if code is not UNSET:
            fields.immutable(code, feature.code, "code")
        if kind is not UNSET:
            fields.immutable(kind, feature.kind, "kind")
        wanted: dict[str, Any] = {"name": UNSET if name is UNSET else fields.text(name, "name")}
        if choices is not UNSET:
            wanted["choices"] = _choices(choices, FeatureKind(feature.kind))
            _keep_granted_choices(feature, wanted["choices"])
        _save_changes(feature, wanted, "feature.updated", actor)
    return feature


def archive_feature(*, tenant: Tenant, feature_id: UUID, actor: Actor, reason: str = "") -> Feature:
    """It cannot be granted anew; grants that exist go on. Twice is the same as once."""
    with transaction.atomic():
        feature = Feature.objects.for_tenant(tenant).select_for_update(no_key=True).get_or_raise(feature_id)
        _archive(feature, "feature.archived", actor, reason)
    return feature


def _save_changes(thing: Product | Feature, wanted: Mapping[str, Any], action: str, actor: Actor) -> None:
    epoch = EpochKey(EpochKind.TENANT, thing.tenant_id)
    if changes := apply_changes(thing, wanted):
        thing.save(update_fields=[*changes, "updated_at"])
        record_audit(tenant_id=thing.tenant_id, actor=actor, action=action, target=thing, changes=changes)
        bump_epochs(thing.tenant_id, epoch)
    else:
        republish(thing.tenant_id, epoch)


def _archive(thing: Product | Feature, action: str, actor: Actor, reason: str) -> None:
    if thing.archived_at is not None:
        return
    changes = apply_changes(thing, {"archived_at": real_clock().now()})
    thing.save(update_fields=["archived_at", "updated_at"])
    record_audit(
        tenant_id=thing.tenant_id,
        actor=actor,
        action=action,
        target=thing,
        changes=changes,
        reason=fields.reason(reason),
    )


def _keep_granted_choices(feature: Feature, choices: list[str]) -> None:
    for gone in [choice for choice in feature.choices if choice not in choices]:
        granted = Q(tenant_id=feature.tenant_id, feature=feature, value__contains=[gone])
        if PlanGrant.objects.filter(granted).exists() or LicenseGrant.objects.filter(granted).exists():
            detail = f"{gone!r} is granted by a plan or a licence. Take it out there first."
            raise Conflict("choice_in_use", detail, extra={"choice": gone})


def _description(value: str) -> str:
    return fields.text(value, "description", max_length=2000, blank=True, multiline=True)


def _choices(value: Sequence[str], kind: FeatureKind) -> list[str]:
    choices = fields.texts(value, "choices", most=MAX_CHOICES)
    if kind is FeatureKind.CHOICE and not choices:
        raise Invalid.field("choices", "required", "Name at least one value that can be chosen.")
    if kind is not FeatureKind.CHOICE and choices:
        raise Invalid.field("choices", "invalid", "Only a feature of kind choice has choices.")
    return choices
