"""Keys of vendors' backends, and the epochs that make every change felt at once."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

from common.ids import Prefix
from tenants.domain.enums import ApiKeyKind, EpochKind
from tenants.models.base import TenantOwned, TenantQuerySet, enum_choices


class OpaqueKey(TenantOwned):
    """What an opaque key leaves behind: a public id to look it up by, and an HMAC-SHA256 under a named pepper.

    The key's text is shown once and is never stored.
    """

    key_id = models.CharField(max_length=16, unique=True, db_collation="C", editable=False)
    digest = models.BinaryField(max_length=32, editable=False)
    pepper_id = models.CharField(max_length=32, editable=False)
    hint = models.CharField(max_length=40, editable=False, help_text="The beginning and end of the key.")
    networks = ArrayField(models.CharField(max_length=64), default=list, blank=True, help_text="CIDRs; none means any.")
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True


class ApiKey(OpaqueKey):
    """A key of a vendor's backend (`pm_sk_`, with scopes) or of software shipped to end users (`pm_pk_`)."""

    id_prefix = Prefix.API_KEY

    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=16, choices=enum_choices(ApiKeyKind))
    scopes = ArrayField(models.CharField(max_length=64), default=list, blank=True)

    objects = TenantQuerySet["ApiKey"].as_manager()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["tenant", "-created_at", "-id"], name="apikey_newest")]

    def __str__(self) -> str:
        return f"{self.name} ({self.hint})"


class Epoch(models.Model):
    """How often something that cached snapshots are made of has changed.

    Bumped in the change's own transaction and published to Valkey before the change's call returns. A missing
    row is version 0.
    """

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.CASCADE, related_name="+", db_index=False)
    kind = models.CharField(max_length=16, choices=enum_choices(EpochKind))
    subject_id = models.UUIDField()
    version = models.BigIntegerField(default=1)
    changed_at = models.DateTimeField(db_index=True)

    objects = TenantQuerySet["Epoch"].as_manager()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["tenant", "kind", "subject_id"], name="epoch_subject")]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject_id}: {self.version}"
