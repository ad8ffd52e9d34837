"""What is not kept any more: months of events that were written to files and dropped."""

from django.db import models


class DroppedMonth(models.Model):
    """A month whose events are gone. What balances had of them stands in their `base`.

    `ids_forgotten_at` is when the last id of the month had left the register; None while they are leaving.
    """

    name = models.CharField(max_length=63, primary_key=True, help_text="The partition's.")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    events = models.BigIntegerField()
    exported_to = models.CharField(max_length=4096, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    dropped_at = models.DateTimeField()
    ids_forgotten_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("starts_at",)

    def __str__(self) -> str:
        return self.name
