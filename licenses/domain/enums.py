"""The words that licences and agents are described with."""

from enum import StrEnum


class LicenseStatus(StrEnum):
    """What is stored about a licence; what follows from the clock is in `DisplayedStatus`."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


class DisplayedStatus(StrEnum):
    """What is shown of a licence: what is stored, and where the clock stands."""

    ACTIVE = "active"
    TRIAL = "trial"
    NOT_STARTED = "not_started"
    GRACE = "grace"
    EXPIRED = "expired"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


class LicenseKind(StrEnum):
    """How a licence may be carried: as an opaque key, as a signed token, or as both."""

    OPAQUE = "opaque"
    SIGNED = "signed"
    BOTH = "both"


class AgentKind(StrEnum):
    """A single agent, or one identity that many instances share."""

    AGENT = "agent"
    FLEET = "fleet"


class AgentStatus(StrEnum):
    """State of an agent; revoked is for good and kills its tree."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


class DisplayedAgentStatus(StrEnum):
    """What is shown of an agent: what is stored, and whether its own time is over."""

    ACTIVE = "active"
    EXPIRED = "expired"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


class KeyStatus(StrEnum):
    """State of an agent's key; expired follows from the clock and is not stored."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class FeatureKind(StrEnum):
    """Switch: on or off. Limit: a number not to be passed. Choice: a set of allowed values."""

    SWITCH = "switch"
    LIMIT = "limit"
    CHOICE = "choice"


class GrantSource(StrEnum):
    """Where a grant comes from."""

    PLAN = "plan"
    ADD_ON = "add_on"
    LICENSE = "license"


class LimitLevel(StrEnum):
    """Whom a rate limit counts for."""

    AGENT = "agent"
    LICENSE = "license"
    CUSTOMER = "customer"
    TENANT = "tenant"


class ReasonCode(StrEnum):
    """Every answer to "is this allowed?"; stable, part of the contract with agents."""

    VALID = "valid"
    GRACE_PERIOD = "grace_period"
    LICENSE_REVOKED = "license_revoked"
    LICENSE_SUSPENDED = "license_suspended"
    LICENSE_EXPIRED = "license_expired"
    LICENSE_NOT_STARTED = "license_not_started"
    CUSTOMER_SUSPENDED = "customer_suspended"
    TENANT_SUSPENDED = "tenant_suspended"
    AGENT_REVOKED = "agent_revoked"
    AGENT_SUSPENDED = "agent_suspended"
    AGENT_EXPIRED = "agent_expired"
    PARENT_AGENT_INACTIVE = "parent_agent_inactive"
    PRODUCT_MISMATCH = "product_mismatch"
    FEATURE_NOT_GRANTED = "feature_not_granted"
    FEATURE_VALUE_NOT_ALLOWED = "feature_value_not_allowed"
    FINGERPRINT_REQUIRED = "fingerprint_required"
    NOT_ACTIVATED = "not_activated"
    ACTIVATION_LAPSED = "activation_lapsed"


class PlanRole(StrEnum):
    """A licence has one base plan and any number of add-ons."""

    BASE = "base"
    ADD_ON = "add_on"


class LapsePolicy(StrEnum):
    """What a lapsed activation means: the licence is refused, or the answer warns."""

    REFUSE = "refuse"
    WARN = "warn"


class SigningKeyStatus(StrEnum):
    """An active key signs; a retired one only verifies; a compromised one has left the JWKS."""

    ACTIVE = "active"
    RETIRED = "retired"
    COMPROMISED = "compromised"
