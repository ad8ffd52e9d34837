"""Products and their features."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from msgspec import UNSET, UnsetType

from licenses.models import Feature, Product
from tenants.domain.actors import Actor
from tenants.models import Tenant


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
    raise NotImplementedError


def update_product(
    *,
    tenant: Tenant,
    product_id: UUID,
    actor: Actor,
    code: str | UnsetType = UNSET,
    name: str | UnsetType = UNSET,
    description: str | UnsetType = UNSET,
    metadata: Mapping[str, Any] | None | UnsetType = UNSET,
) -> Product:
    """Change what is given. Raises NotFound, Invalid, Conflict `code_taken` or `product_archived`."""
    raise NotImplementedError


def archive_product(*, tenant: Tenant, product_id: UUID, actor: Actor, reason: str = "") -> Product:
    """Nothing new is made of it any more; plans and licences that exist go on."""
    raise NotImplementedError


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
    """Make a feature. `choices` belongs to kind choice only. Raises Invalid, Conflict `code_taken`."""
    raise NotImplementedError


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
    """Change name or choices; product, code and kind may be repeated but never changed (Invalid `immutable`).

    A choice that is granted somewhere stays: Conflict `choice_in_use`. Raises NotFound, Conflict `feature_archived`.
    """
    raise NotImplementedError


def archive_feature(*, tenant: Tenant, feature_id: UUID, actor: Actor, reason: str = "") -> Feature:
    """It cannot be granted any more; grants that exist go on."""
    raise NotImplementedError
