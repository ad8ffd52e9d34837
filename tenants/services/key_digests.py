"""Hashing keys anew after a change of pepper, beside the calls that bring them.

Only HMACs are kept, so a key that hangs on an older pepper can be hashed under the current one only when somebody shows
it. A call leaves word of that (`note_stale_digest`); the thread that writes down uses writes the new digest
(`write_digests`), if the row still holds the old one: a key that was rotated meanwhile is left alone.
"""

from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction

from common.crypto import ParsedKey, current_pepper_id, digest_under, license_key_digests
from tenants.models import ApiKey, OpaqueKey, TenantOwned, TenantQuerySet

#: So many wait to be written at most; what is left out is noted again at its next use.
_CAPACITY = 10_000


class _Renewal(NamedTuple):
    columns: tuple[str, str]
    old: tuple[bytes, str]
    new: tuple[bytes, str]


_waiting: dict[tuple[type[TenantOwned], UUID], _Renewal] = {}


def note_stale_digest(model: type[OpaqueKey], row_id: UUID, parsed: ParsedKey, pepper_id: str) -> None:
    """Leave word of a key that has just proved good; nothing where it hangs on the current pepper. Costs no query."""
    current = current_pepper_id()
    if pepper_id != current:
        _note(model, row_id, ("digest", "pepper_id"), digest_under(parsed, pepper_id), digest_under(parsed, current))


def proved_api_key(api_key: ApiKey, parsed: ParsedKey) -> None:
    """Have an API key that has just proved good hashed anew if it hangs on an old pepper."""
    note_stale_digest(ApiKey, api_key.id, parsed, api_key.pepper_id)


def note_stale_license_key(model: type[TenantOwned], row_id: UUID, normalized: str, pepper_id: str) -> None:
    """The same for a licence key, in its normal form."""
    digests = dict(license_key_digests(normalized))
    current = current_pepper_id()
    if pepper_id != current and pepper_id in digests:
        columns = ("key_digest", "key_pepper_id")
        _note(model, row_id, columns, (digests[pepper_id], pepper_id), (digests[current], current))


def write_digests() -> int:
    """Write what was noted since the last time; how many rows were hashed anew."""
    written = 0
    while _waiting:
        (model, row_id), renewal = _waiting.popitem()
        manager: TenantQuerySet[Any] = model._default_manager.all()  # type: ignore[assignment]
        with transaction.atomic():
            rows = manager.filter(pk=row_id, **dict(zip(renewal.columns, renewal.old, strict=True)))
            written += rows.update(**dict(zip(renewal.columns, renewal.new, strict=True)))
    return written


def _note(
    model: type[TenantOwned], row_id: UUID, columns: tuple[str, str], old: tuple[bytes, str], new: tuple[bytes, str]
) -> None:
    if len(_waiting) < _CAPACITY:
        _waiting[model, row_id] = _Renewal(columns, old, new)
