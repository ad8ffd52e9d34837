"""Making expiries known, once each."""

from datetime import datetime


def expire_licenses(now: datetime | None = None) -> int:
    """Note every licence whose expiry has passed on its workspace's clock, and emit `license.expired`; how many."""
    raise NotImplementedError
