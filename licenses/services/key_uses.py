"""Word of the keys that callers at the agents' door show."""

from common.crypto import ParsedKey, normalize_license_key
from licenses.models import AgentKey, License
from licenses.selectors.access import AccessSnapshot
from tenants.models import ApiKey
from tenants.services.key_digests import note_stale_digest, note_stale_license_key
from tenants.services.key_use import saw_key


def saw_caller(access: AccessSnapshot) -> None:
    """Leave word that this caller's key was used: an agent's own, or the publishable one beside a licence key."""
    if access.key_id is not None:
        saw_key(AgentKey if access.agent_path else ApiKey, access.key_id)


def proved_agent_key(access: AccessSnapshot, parsed: ParsedKey) -> None:
    """Have an agent's key that has just proved good hashed anew if it hangs on an old pepper."""
    if access.key_id is not None:
        note_stale_digest(AgentKey, access.key_id, parsed, access.key_pepper_id)


def proved_license_key(access: AccessSnapshot, text: str) -> None:
    """The same for a licence key."""
    normalized = normalize_license_key(text)
    if normalized is not None:
        note_stale_license_key(License, access.facts.license.id, normalized, access.key_pepper_id)
