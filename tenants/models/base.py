"""What every tenant-owned table has: a UUIDv7, its tenant, time stamps, and one way to be queried."""

from enum import StrEnum
from typing import ClassVar, Self, TypeVar
from uuid import UUID

from django.core.exceptions import ObjectDoesNotExist
from django.db import models

from common.errors import NotFound
from common.ids import Prefix, encode_id, new_id

M = TypeVar("M", bound=models.Model)


def enum_choices(enum: type[StrEnum]) -> list[tuple[str, str]]:
    """Django choices of a StrEnum: its value and a readable label."""
    return [(member.value, member.value.replace("_", " ").capitalize()) for member in enum]


class TenantQuerySet(models.QuerySet[M]):
    """Queries of a tenant-owned table start at `for_tenant`."""

    def for_tenant(self, tenant: "UUID | models.Model") -> Self:
        """Only rows of this tenant (the tenant or its id)."""
        tenant_id = tenant.pk if isinstance(tenant, models.Model) else tenant
        return self.filter(tenant_id=tenant_id)

    def get_or_raise(self, id: UUID) -> M:
        """The row with this id, or `NotFound`; another tenant's row is not found either."""
        try:
            return self.get(pk=id)
        except ObjectDoesNotExist:
            raise NotFound(f"No {self.model._meta.verbose_name} has this id.") from None


class Identified(models.Model):
    """A table whose rows are named by a UUIDv7, shown as a TypeID."""

    id_prefix: ClassVar[Prefix]

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)

    class Meta:
        abstract = True

    @property
    def public_id(self) -> str:
        """The TypeID, such as `lic_01h455vb4pex5vsknk084sn02q`."""
        return encode_id(self.id_prefix, self.id)


class TenantOwned(Identified):
    """A table that belongs to one tenant; every query of it is scoped by `for_tenant`."""

    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.PROTECT, related_name="+", db_index=False)
    created_at = models.DateTimeField(auto_now_add=True, editable=False)
    updated_at = models.DateTimeField(auto_now=True, editable=False)

    class Meta:
        abstract = True
