"""The words that tenants' tables use."""

from enum import StrEnum


class TenantMode(StrEnum):
    LIVE = "live"
    TEST = "test"


class TenantStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"


class CustomerStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    ARCHIVED = "archived"


class Role(StrEnum):
    """A member's role in a workspace, mightiest first."""

    OWNER = "owner"
    ADMIN = "admin"
    DEVELOPER = "developer"
    BILLING = "billing"
    VIEWER = "viewer"


class ApiKeyKind(StrEnum):
    SECRET = "secret"  # noqa: S105 - a kind of key
    PUBLISHABLE = "publishable"


class ActorKind(StrEnum):
    USER = "user"
    API_KEY = "api_key"
    AGENT = "agent"
    WORKER = "worker"
    OPERATOR = "operator"


class EpochKind(StrEnum):
    TENANT = "tenant"
    CUSTOMER = "customer"
    LICENSE = "license"
    AGENT = "agent"
    KEY = "key"


class JobStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
