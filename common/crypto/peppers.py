"""The secrets under which keys are hashed: whoever steals the database alone can neither use nor test a key."""

import hmac
from collections.abc import Mapping
from hashlib import sha256

from django.conf import settings


def peppers() -> Mapping[str, str]:
    """Pepper id to secret; the first one is current, the others only verify what was hashed before."""
    configured: Mapping[str, str] = settings.PERMETER_KEY_PEPPERS
    return configured


def current_pepper_id() -> str:
    """The pepper that new keys are hashed under."""
    return next(iter(peppers()))


def peppered(message: bytes, pepper_id: str) -> bytes:
    """32 bytes of HMAC-SHA256; KeyError for an unknown pepper."""
    return hmac.digest(peppers()[pepper_id].encode(), message, sha256)
