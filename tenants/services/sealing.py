"""The audit trail's hash chain: every entry gets a sequence number and a hash over all before it."""

from dataclasses import dataclass
from uuid import UUID

from tenants.models import Tenant


@dataclass(frozen=True, slots=True)
class ChainFault:
    """A place where the chain does not hold, and why."""

    sequence: int
    entry: str
    detail: str


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What `verify_chain` found. `unsealed` entries are a tail, not a fault."""

    sealed: int
    unsealed: int
    faults: tuple[ChainFault, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing was altered, removed or put in between."""
        return not self.faults


def seal_audit(tenant_id: UUID | None = None, *, everything: bool = False) -> int:
    """Seal what is not sealed yet, of one tenant or of all; how many entries were. Call it before reading the trail."""
    raise NotImplementedError


def verify_chain(tenant: Tenant) -> ChainReport:
    """Recompute the whole chain from the entries."""
    raise NotImplementedError
