"""How the operators' admin looks (django-unfold)."""

from typing import Any

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Permeter",
    "SITE_HEADER": "Permeter",
    "SITE_SUBHEADER": "Operators",
    "SITE_URL": "/",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
}
