"""Words that no workspace may have as its place in URLs."""

from typing import Final

#: Pages of the dashboard, present or to come, that stand where a workspace's slug stands in a path.
RESERVED_SLUGS: Final = frozenset({"start", "styleguide", "account", "search", "invitations", "settings", "new"})
