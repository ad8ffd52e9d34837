"""Finding out whose key it is."""

from common.clock import real_clock
from common.crypto import KeyKind, parse_key, verify_key
from tenants.domain.enums import ApiKeyKind, TenantMode
from tenants.models import ApiKey

_KIND = {KeyKind.SECRET: ApiKeyKind.SECRET, KeyKind.PUBLISHABLE: ApiKeyKind.PUBLISHABLE}


def authenticate(text: str) -> ApiKey | None:
    """The living API key with this text, its tenant loaded; None for any that is unknown, expired or revoked.

    Takes as long for an id that does not exist as for a wrong secret. Whether the workspace is suspended, and
    from which network the key may be used, is for the door to look at.
    """
    parsed = parse_key(text)
    if parsed is None or parsed.kind not in _KIND:
        return None
    found = ApiKey.objects.select_related("tenant").filter(key_id=parsed.key_id).first()
    if not verify_key(parsed, found.digest if found else None, found.pepper_id if found else None) or found is None:
        return None
    alive = found.revoked_at is None and (found.expires_at is None or real_clock().now() < found.expires_at)
    right_kind = found.kind == _KIND[parsed.kind] and parsed.test == (found.tenant.mode == TenantMode.TEST)
    return found if alive and right_kind else None
