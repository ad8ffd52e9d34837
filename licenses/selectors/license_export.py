"""Licences with their customers as CSV, a line at a time, whatever their number."""

import csv
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from django.db.models import QuerySet

from common.clock import rfc3339
from licenses.domain.license_csv import COLUMNS, NEVER, REFERENCE, safe_cell
from licenses.models import License
from licenses.selectors.licenses import carried_plans, shown_status

CHUNK: Final = 1000


class _Echo:
    """What the csv module writes to: it hands the line back."""

    def write(self, line: str) -> str:
        return line


def export_licenses(licenses: QuerySet[License], *, at: datetime) -> Iterator[str]:
    """The header and a line for each of `licenses` (of `licenses_of`), as they stand at `at` (workspace time).

    What a spreadsheet would run as a formula is preceded by an apostrophe; an import takes it off again.
    """
    writer = csv.writer(_Echo(), lineterminator="\r\n")  # RFC 4180
    yield writer.writerow(COLUMNS)
    for license in licenses.select_related("customer").iterator(chunk_size=CHUNK):
        cells = _cells(license, at)
        yield writer.writerow([safe_cell(cells[name]) for name in COLUMNS])


def _cells(license: License, at: datetime) -> dict[str, str]:
    plans = carried_plans(license)
    customer = license.customer
    metadata: dict[str, Any] = dict(license.metadata)
    reference = metadata.pop(REFERENCE, None)
    return {
        "reference": license.public_id if reference is None else str(reference),
        "external_id": customer.external_id,
        "customer_name": customer.name,
        "customer_email": customer.email,
        "plan": plans.base.code,
        "add_ons": " ".join(each.code for each in plans.add_ons),
        "kind": license.kind,
        "status": shown_status(license, at),
        "starts_at": rfc3339(license.starts_at),
        "expires_at": NEVER if license.expires_at is None else rfc3339(license.expires_at),
        "metadata": json.dumps(metadata, ensure_ascii=False) if metadata else "",
        "id": license.public_id,
        "product": plans.product.code,
        "key_hint": license.key_hint,
        "created_at": rfc3339(license.created_at),
    }
