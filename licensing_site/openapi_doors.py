"""The two doors as OpenAPI sees them: where they are, what they are called, how their callers show who they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vendor_api.schema import SECURITY_SCHEMES


@dataclass(frozen=True, slots=True)
class Door:
    """One API with a document of its own.

    `beside` are further prefixes with their URLs; `more` overrides drf-spectacular's settings for this document.
    """

    title: str
    prefix: str
    urlconf: str
    description: str
    security_schemes: Mapping[str, Any]
    beside: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    def settings(self) -> dict[str, Any]:
        """drf-spectacular's settings while this document is made."""
        return {
            "TITLE": self.title,
            "DESCRIPTION": self.description,
            "VERSION": "1",
            "OAS_VERSION": "3.1.0",
            "SERVERS": [{"url": "/"}],
            "SCHEMA_PATH_PREFIX": f"/{self.prefix.rstrip('/')}",
            # Requests and answers have serializers of their own, so nothing is split or guessed.
            "COMPONENT_SPLIT_REQUEST": False,
            "POSTPROCESSING_HOOKS": [],
            "APPEND_COMPONENTS": {"securitySchemes": dict(self.security_schemes)},
            **self.more,
        }


DOORS: Mapping[str, Door] = {
    "agent": Door(
        title="Permeter: the agents' door",
        prefix="agent/v1/",
        urlconf="agent_api.urls",
        description="Agents ask whether they may, reserve and report what they use.",
        security_schemes={
            "agentKey": {
                "type": "http",
                "scheme": "bearer",
                "description": "An agent's key (`pm_ak_…`), or a publishable one (`pm_pk_…`) beside a licence key.",
            }
        },
    ),
    "vendor": Door(
        title="Permeter: the vendors' door",
        prefix="vendor/v1/",
        urlconf="vendor_api.urls",
        description=(
            "Vendors' backends manage what they sell, to whom, and what it costs.\n\n"
            "Times are RFC 3339 in UTC, quantities and money decimal strings (numbers are accepted), ids TypeIDs. "
            "Things are named by id or by code. Errors are problem documents (RFC 9457) with a stable `code`. "
            "Every POST takes an `Idempotency-Key`; lists are paged by cursor, newest first."
        ),
        security_schemes=SECURITY_SCHEMES,
        beside={"access/v1/": "vendor_api.access.urls"},
        more={"POSTPROCESSING_HOOKS": ["vendor_api.refusals.share_examples"]},
    ),
}
