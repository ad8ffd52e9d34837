"""Uploads on their way to a worker: bytes in pieces of a megabyte as rows, so that no host needs another's disk."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from hashlib import sha256
from typing import Final
from uuid import UUID

import msgspec

from common.clock import real_clock
from common.ids import new_id
from metering.domain.enums import ImportPartKind
from metering.models import ImportPart
from metering.services.importing import RefusedLine
from tenants.models import Tenant

PART: Final = 1024 * 1024
KEPT_FOR: Final = timedelta(days=7)
"""How long refused lines can be fetched, and an upload that nobody took up stays."""

_PURGED_AT_ONCE: Final = 200
_encode = msgspec.json.Encoder().encode


class Upload:
    """A body as it comes in, stored piece by piece; `size` and `digest` are of what came so far."""

    def __init__(self, tenant: Tenant) -> None:
        self.id = new_id()
        self.size = 0
        self._tenant = tenant
        self._digest = sha256()
        self._number = 0

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes."""
        return self._digest.hexdigest()

    def store(self, pieces: Iterable[bytes]) -> None:
        """Store all of it. Each piece is a transaction of its own: nothing is held while the caller sends."""
        waiting = bytearray()
        for piece in pieces:
            waiting += piece
            while len(waiting) >= PART:
                self._write(bytes(waiting[:PART]))
                del waiting[:PART]
        if waiting:
            self._write(bytes(waiting))

    def discard(self) -> None:
        """It is not wanted after all."""
        discard_body(self._tenant.id, self.id)

    def _write(self, data: bytes) -> None:
        self._digest.update(data)
        self.size += len(data)
        self._number += 1
        ImportPart.objects.create(
            tenant=self._tenant,
            upload_id=self.id,
            kind=ImportPartKind.BODY,
            number=self._number,
            data=data,
            created_at=real_clock().now(),
        )


def body_of(tenant_id: UUID, upload_id: UUID) -> Iterator[bytes]:
    """The bytes of an upload, a piece at a time."""
    return _pieces(tenant_id, upload_id, ImportPartKind.BODY)


def rejected_of(tenant_id: UUID, upload_id: UUID) -> Iterator[bytes]:
    """The refused lines as NDJSON, a piece at a time."""
    return _pieces(tenant_id, upload_id, ImportPartKind.REJECTED)


def keep_rejected(tenant_id: UUID, upload_id: UUID, refused: Iterable[RefusedLine]) -> None:
    """Store refused lines, under the number of the first; the same ones once more change nothing."""
    lines = list(refused)
    if not lines:
        return
    data = b"".join([_encode(line.as_json()) + b"\n" for line in lines])
    part = ImportPart(
        tenant_id=tenant_id,
        upload_id=upload_id,
        kind=ImportPartKind.REJECTED,
        number=lines[0].number,
        data=data,
        created_at=real_clock().now(),
    )
    ImportPart.objects.bulk_create([part], ignore_conflicts=True)


def discard_body(tenant_id: UUID, upload_id: UUID) -> None:
    """The bytes were imported, or never will be."""
    ImportPart.objects.for_tenant(tenant_id).filter(upload_id=upload_id, kind=ImportPartKind.BODY).delete()


def purge_imports() -> int:
    """Remove what has been kept long enough; how many pieces that were."""
    before = real_clock().now() - KEPT_FOR
    removed = 0
    while True:
        ids = list(ImportPart.objects.filter(created_at__lt=before).values_list("id", flat=True)[:_PURGED_AT_ONCE])
        if not ids:
            return removed
        removed += ImportPart.objects.filter(id__in=ids).delete()[0]


def _pieces(tenant_id: UUID, upload_id: UUID, kind: ImportPartKind) -> Iterator[bytes]:
    parts = ImportPart.objects.for_tenant(tenant_id).filter(upload_id=upload_id, kind=kind).order_by("number")
    number = -1
    while (row := parts.filter(number__gt=number).values_list("number", "data").first()) is not None:
        number, data = row
        yield bytes(data)
