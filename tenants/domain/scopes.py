"""What a secret API key may do: one scope for reading and one for changing each kind of thing.

A key with `licenses:write` may read licences too, since every change answers with what it changed. `*` is
everything, also what is added later.
"""

from collections.abc import Collection
from enum import StrEnum

ALL = "*"


class Scope(StrEnum):
    """Every scope that a route can ask for; `<resource>:read` or `<resource>:write`.

    `usage:backfill` lets usage be older than the acceptance window, for whoever may write it.
    """

    CUSTOMERS_READ = "customers:read"
    CUSTOMERS_WRITE = "customers:write"
    PRODUCTS_READ = "products:read"
    PRODUCTS_WRITE = "products:write"
    FEATURES_READ = "features:read"
    FEATURES_WRITE = "features:write"
    PLANS_READ = "plans:read"
    PLANS_WRITE = "plans:write"
    LICENSES_READ = "licenses:read"
    LICENSES_WRITE = "licenses:write"
    AGENTS_READ = "agents:read"
    AGENTS_WRITE = "agents:write"
    SIGNING_KEYS_READ = "signing-keys:read"
    SIGNING_KEYS_WRITE = "signing-keys:write"
    TOKENS_READ = "tokens:read"
    TOKENS_WRITE = "tokens:write"
    ACTIVATIONS_READ = "activations:read"
    ACTIVATIONS_WRITE = "activations:write"
    METERS_READ = "meters:read"
    METERS_WRITE = "meters:write"
    QUOTAS_READ = "quotas:read"
    QUOTAS_WRITE = "quotas:write"
    DECISIONS_READ = "decisions:read"
    USAGE_READ = "usage:read"
    USAGE_WRITE = "usage:write"
    USAGE_BACKFILL = "usage:backfill"
    HOLDS_READ = "holds:read"
    HOLDS_WRITE = "holds:write"
    OVERAGES_READ = "overages:read"
    OVERAGES_WRITE = "overages:write"
    PERIODS_WRITE = "periods:write"
    TEST_CLOCK_READ = "test-clock:read"
    TEST_CLOCK_WRITE = "test-clock:write"
    JOBS_READ = "jobs:read"
    RUNAWAY_INCIDENTS_READ = "runaway-incidents:read"
    RUNAWAY_INCIDENTS_WRITE = "runaway-incidents:write"
    API_KEYS_READ = "api-keys:read"
    API_KEYS_WRITE = "api-keys:write"
    AUDIT_ENTRIES_READ = "audit-entries:read"


#: What a key may be given: every scope, and the one that stands for all.
GRANTABLE: frozenset[str] = frozenset({ALL, *Scope})


def has_scope(granted: Collection[str], wanted: str) -> bool:
    """Whether a key with the scopes `granted` may do what asks for `wanted`."""
    if ALL in granted or wanted in granted:
        return True
    resource, _, kind = wanted.partition(":")
    return kind == "read" and f"{resource}:write" in granted


def unknown_scopes(asked: Collection[str]) -> list[str]:
    """Those of `asked` that are no scopes, in their order."""
    return [scope for scope in asked if scope not in GRANTABLE]


def exceeding_scopes(granted: Collection[str], asked: Collection[str]) -> list[str]:
    """Those of `asked` that a key with the scopes `granted` cannot hand on, as it does not have them itself."""
    return [scope for scope in asked if scope in GRANTABLE and not has_scope(granted, scope)]
