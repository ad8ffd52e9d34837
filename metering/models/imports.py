"""What was sent to be imported, until it is."""

from typing import ClassVar

from django.db import models

from common.ids import new_id
from metering.domain.enums import ImportPartKind
from tenants.models import Tenant, TenantQuerySet, enum_choices


class ImportPart(models.Model):
    """A piece of an upload, or of the lines of it that were refused; here every host's worker can read it.

    Pieces of the body are the bytes as they were sent, in the order of `number`; pieces of `rejected` are NDJSON.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+", db_index=False)
    upload_id = models.UUIDField()
    kind = models.CharField(max_length=8, choices=enum_choices(ImportPartKind))
    number = models.BigIntegerField()
    data = models.BinaryField()
    created_at = models.DateTimeField()

    objects = TenantQuerySet["ImportPart"].as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "upload_id", "kind", "number"], name="import_part_once")
        ]
        indexes: ClassVar = [models.Index(fields=["created_at"], name="import_part_age")]

    def __str__(self) -> str:
        return f"{self.upload_id} {self.kind} {self.number}"
