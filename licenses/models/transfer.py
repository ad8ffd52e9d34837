"""Who held a licence before."""

from typing import ClassVar

from django.db import models

from common.ids import Prefix
from licenses.models.license import License
from tenants.models import Customer, TenantOwned, TenantQuerySet


class LicenseTransfer(TenantOwned):
    """A licence changed hands: up to `at`, by the workspace's clock, `giver` held it. Never changed afterwards.

    Bills of periods that had ended by then go to the giver, whenever they are made.
    """

    id_prefix = Prefix.LICENSE

    license = models.ForeignKey(License, on_delete=models.CASCADE, related_name="transfers")
    giver = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    taker = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()

    objects = TenantQuerySet["LicenseTransfer"].as_manager()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["tenant", "license", "at"], name="license_transfers")]

    def __str__(self) -> str:
        return f"{self.giver} → {self.taker}"
