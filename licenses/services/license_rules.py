"""What services say when a licence's state forbids a change."""

from common.errors import Conflict
from licenses.domain.enums import LicenseStatus
from licenses.domain.license_changes import LicenseChange, forbidden_change
from licenses.models import License


def refuse_if_forbidden(license: License, change: LicenseChange) -> None:
    """Raise Conflict `license_revoked`, with the states named, where the licence's state forbids the change.

    The document's `from` is the state, `to` the one that was asked for, `allowed` those from which it can be.
    """
    forbidden = forbidden_change(LicenseStatus(license.status), change)
    if forbidden is None:
        return
    alive = " or ".join(forbidden.allowed)
    detail = f"The license is revoked for good; only an {alive} one can be {change}."
    raise Conflict("license_revoked", detail, extra={"status": license.status, **forbidden.named()})
