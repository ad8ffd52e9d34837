"""Whose the events of an import are: agents and licences, read many at a time and kept as long as they are good."""

from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

from cachetools import LRUCache

from common.ids import Prefix, decode_id
from licenses.selectors.access import load_agent, load_license
from metering.domain.terms import Caller
from metering.selectors.terms import load_caller

#: A caller with its quotas takes a few kilobytes.
_KEPT: Final = 10_000

#: `agent` or `license`, and the id as it was written.
Owner = tuple[str, str]


class ImportCallers:
    """The callers of one workspace that an import has met; the least used are forgotten."""

    def __init__(self, tenant_id: UUID, *, kept: int = _KEPT) -> None:
        self._tenant_id = tenant_id
        self._known: LRUCache[Owner, Caller | None] = LRUCache(kept)

    def find(self, owners: Iterable[Owner]) -> dict[Owner, Caller | None]:
        """Those of a portion; None for who is nobody's here."""
        found: dict[Owner, Caller | None] = {}
        for owner in set(owners):
            if owner not in self._known:
                self._known[owner] = self._load(owner)
            found[owner] = self._known[owner]
        return found

    def forget(self, behind: Sequence[Caller]) -> None:
        """Have these read anew."""
        stale = {id(caller) for caller in behind}
        for owner in [owner for owner, caller in self._known.items() if id(caller) in stale]:
            del self._known[owner]

    def _load(self, owner: Owner) -> Caller | None:
        kind, text = owner
        try:
            if kind == "agent":
                access = load_agent(self._tenant_id, decode_id(Prefix.AGENT, text))
            else:
                access = load_license(self._tenant_id, decode_id(Prefix.LICENSE, text))
        except ValueError:
            return None
        return None if access is None else load_caller(access)
