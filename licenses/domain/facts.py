"""What a decision is made from: frozen copies of the rows concerned, without any I/O behind them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from licenses.domain.enums import (
    AgentStatus,
    FeatureKind,
    GrantSource,
    LapsePolicy,
    LicenseKind,
    LicenseStatus,
    LimitLevel,
)
from tenants.domain.enums import CustomerStatus, TenantStatus

#: A switch is a bool, a limit a number, a choice the set of allowed values.
FeatureValue = bool | int | Decimal | frozenset[str]

#: What a caller may name beside a feature: one value, or several of a choice.
AskedValue = bool | int | Decimal | str | frozenset[str]


@dataclass(frozen=True, slots=True)
class RateLimitFacts:
    """At most `limit` calls in `window` seconds, `burst` of them at once (None: as many as `limit`)."""

    level: LimitLevel
    limit: int
    window: int
    burst: int | None = None


@dataclass(frozen=True, slots=True)
class TenantFacts:
    """The vendor's workspace."""

    id: UUID
    status: TenantStatus


@dataclass(frozen=True, slots=True)
class CustomerFacts:
    """The vendor's customer who holds the licence."""

    id: UUID
    status: CustomerStatus
    external_id: str | None = None


@dataclass(frozen=True, slots=True)
class LicenseFacts:
    """A licence's state and term, [starts_at, expires_at), then `grace` on top; `trial` if its base plan is one."""

    id: UUID
    status: LicenseStatus
    starts_at: datetime
    expires_at: datetime | None = None
    grace: timedelta = timedelta(0)
    kind: LicenseKind = LicenseKind.BOTH
    trial: bool = False

    @property
    def grace_until(self) -> datetime | None:
        """When the licence ends in earnest; None for a perpetual one, or one whose grace passes the year 9999."""
        if self.expires_at is None:
            return None
        try:
            return self.expires_at + self.grace
        except OverflowError:
            return None


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """An agent in a chain. `features` is the subset of feature codes it may use; None: all.

    `throttle` is a further limit that holds until `throttled_until` (None: until it is lifted).
    """

    id: UUID
    name: str
    status: AgentStatus
    expires_at: datetime | None = None
    parent_id: UUID | None = None
    features: frozenset[str] | None = None
    rate_limits: tuple[RateLimitFacts, ...] = ()
    throttle: RateLimitFacts | None = None
    throttled_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class GrantFacts:
    """One grant of a feature, in force in [starts_at, expires_at); None: no edge there.

    `plan` is the code of the plan that grants it, None for a licence's own; `choices` are all values of the feature,
    in the order in which they were declared.
    """

    feature: str
    kind: FeatureKind
    value: FeatureValue
    source: GrantSource
    starts_at: datetime | None = None
    expires_at: datetime | None = None
    id: UUID | None = None
    plan: str | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ActivationFacts:
    """A licence's binding to one machine, or to one copy of an agent; `expires_at` ends its lease (None: permanent)."""

    id: UUID
    fingerprint: str | None
    expires_at: datetime | None = None
    instance: str | None = None


@dataclass(frozen=True, slots=True)
class AccessFacts:
    """All that one caller's licence decision rests on.

    `agents` is the caller first, then its parents up to the root; empty where a licence key was shown
    instead of an agent's. `rate_limits` are those of the plan and above; an agent's own stand with it.
    `activation_lease` is in seconds (None: for good); `has_activations`: whether there are any to look for.
    """

    tenant: TenantFacts
    customer: CustomerFacts
    license: LicenseFacts
    agents: tuple[AgentFacts, ...] = ()
    grants: tuple[GrantFacts, ...] = ()
    product_code: str = ""
    plan_code: str = ""
    activation_required: bool = False
    lapse_policy: LapsePolicy = LapsePolicy.REFUSE
    activation_lease: int | None = None
    has_activations: bool = False
    rate_limits: tuple[RateLimitFacts, ...] = ()

    @property
    def agent(self) -> AgentFacts | None:
        """The caller itself."""
        return self.agents[0] if self.agents else None
