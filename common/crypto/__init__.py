"""Secrets: opaque keys for programs, licence keys for people, and sealing of what must be read again."""

from common.crypto.license_keys import (
    MintedLicenseKey,
    license_key_digests,
    mint_license_key,
    normalize_license_key,
)
from common.crypto.opaque_keys import (
    KeyKind,
    MintedKey,
    ParsedKey,
    digest_key,
    digest_under,
    mint_key,
    parse_key,
    verify_key,
)
from common.crypto.peppers import current_pepper_id
from common.crypto.sealing import UnsealError, seal, unseal

__all__ = [
    "KeyKind",
    "MintedKey",
    "MintedLicenseKey",
    "ParsedKey",
    "UnsealError",
    "current_pepper_id",
    "digest_key",
    "digest_under",
    "license_key_digests",
    "mint_key",
    "mint_license_key",
    "normalize_license_key",
    "parse_key",
    "seal",
    "unseal",
    "verify_key",
]
