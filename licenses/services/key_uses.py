"""Word of the keys that callers at the agents' door show."""

from licenses.models import AgentKey
from licenses.selectors.access import AccessSnapshot
from tenants.models import ApiKey
from tenants.services.key_use import saw_key


def saw_caller(access: AccessSnapshot) -> None:
    """Leave word that this caller's key was used: an agent's own, or the publishable one beside a licence key."""
    if access.key_id is not None:
        saw_key(AgentKey if access.agent_path else ApiKey, access.key_id)
