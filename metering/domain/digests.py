"""16-byte digests in the shape of UUIDs."""

from uuid import UUID, SafeUUID

_new = object.__new__
_set = object.__setattr__


def uuid_of(digest: bytes) -> UUID:
    """`UUID(bytes=digest)` at half the cost: its constructor checks and converts what is known here to be 16 bytes.

    The ledger makes two for every event.
    """
    value = _new(UUID)
    _set(value, "int", int.from_bytes(digest, "big"))
    _set(value, "is_safe", SafeUUID.unknown)
    return value
