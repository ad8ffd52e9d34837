"""Whatever else is asked for under this door."""

from __future__ import annotations

from vendor_api.views.base import VendorView


class UnknownView(VendorView):
    """There is no such route: 404 for whoever has a key, 401 for whoever has not."""

    schema = None  # type: ignore[assignment]
