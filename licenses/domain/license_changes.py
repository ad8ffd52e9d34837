"""Which changes of a licence its state allows."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from licenses.domain.enums import LicenseStatus


class LicenseChange(StrEnum):
    """What can be asked of a licence that its state may forbid."""

    SUSPEND = "suspended"
    REINSTATE = "reinstated"
    REVOKE = "revoked"
    RENEW = "renewed"
    TRANSFER = "transferred"
    ROTATE_KEY = "given a new key"


_ALIVE: Final = (LicenseStatus.ACTIVE, LicenseStatus.SUSPENDED)

#: From which states each change may be made. A revoked licence is revoked for good: nothing brings it back.
ALLOWED_FROM: Final[Mapping[LicenseChange, tuple[LicenseStatus, ...]]] = {
    LicenseChange.SUSPEND: _ALIVE,
    LicenseChange.REINSTATE: _ALIVE,
    LicenseChange.REVOKE: tuple(LicenseStatus),
    LicenseChange.RENEW: _ALIVE,
    LicenseChange.TRANSFER: _ALIVE,
    LicenseChange.ROTATE_KEY: _ALIVE,
}

_TARGETS: Final[Mapping[LicenseChange, LicenseStatus]] = {
    LicenseChange.SUSPEND: LicenseStatus.SUSPENDED,
    LicenseChange.REINSTATE: LicenseStatus.ACTIVE,
    LicenseChange.REVOKE: LicenseStatus.REVOKED,
}


@dataclass(frozen=True, slots=True)
class ForbiddenChange:
    """A change that the state `origin` forbids; `allowed` are the states from which it can be made.

    A change that leaves the state as it is would lead to where it comes from.
    """

    origin: LicenseStatus
    target: LicenseStatus
    allowed: tuple[LicenseStatus, ...]

    def named(self) -> dict[str, object]:
        """The states, as an answer names them."""
        return {"from": self.origin, "to": self.target, "allowed": list(self.allowed)}


def forbidden_change(status: LicenseStatus, change: LicenseChange) -> ForbiddenChange | None:
    """Why a licence in this state cannot be changed so; None where it can."""
    allowed = ALLOWED_FROM[change]
    if status in allowed:
        return None
    return ForbiddenChange(status, _TARGETS.get(change, status), allowed)
