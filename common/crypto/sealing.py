"""Encryption at rest of what must be read again: signing keys, webhook secrets, stored answers.

Fernet: AES-128 in CBC mode with HMAC-SHA256.
"""

from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class UnsealError(Exception):
    """What was to be opened is damaged, or was sealed under a key that is no longer configured."""


def seal(plain: bytes) -> bytes:
    """Encrypt under the first of the configured keys."""
    return _fernet(tuple(settings.PERMETER_ENCRYPTION_KEYS)).encrypt(plain)


def unseal(sealed: bytes | memoryview) -> bytes:
    """Decrypt what was sealed under any of the configured keys. Raises UnsealError."""
    try:
        return _fernet(tuple(settings.PERMETER_ENCRYPTION_KEYS)).decrypt(bytes(sealed))
    except InvalidToken:
        message = "sealed under a key that is not configured, or damaged"
        raise UnsealError(message) from None


@lru_cache(maxsize=4)
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])
