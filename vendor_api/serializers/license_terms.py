"""What is asked of a licence's term and holder."""

from __future__ import annotations

from typing import Any

from licenses.services.renewing import FROM_EXPIRY, FROM_NOW
from vendor_api.serializers.common import ReasonBody
from vendor_api.serializers.fields import ChoiceField, TextField, TimeField
from vendor_api.serializers.licenses import CustomerReferenceField, LicenseBody


class LicenseChangeBody(LicenseBody):
    """What changes of a licence, and why."""

    reason = TextField(max_length=500, required=False, allow_blank=True, help_text="It is kept in the audit trail.")


class RenewBody(ReasonBody):
    """How a licence goes on: by its plan's term, or until a given time."""

    expires_at = TimeField(required=False, allow_null=True, help_text="Until then, whatever the plan's term is.")

    def get_fields(self) -> dict[str, Any]:
        # `from` is a word of the language, so it cannot be declared like the others.
        start = ChoiceField(
            choices=[FROM_EXPIRY, FROM_NOW],
            required=False,
            source="start_from",
            help_text="From when the term counts: from the expiry unless said.",
        )
        return {"from": start, **super().get_fields()}


class TransferBody(ReasonBody):
    """Who holds the licence from now on."""

    customer = CustomerReferenceField()


RENEW_EXAMPLE: dict[str, Any] = {"from": "now", "reason": "Order 4711"}
TRANSFER_EXAMPLE: dict[str, Any] = {"customer": "cus_01h455vb4pex5vsknk084sn02q", "reason": "Sold to Globex"}
