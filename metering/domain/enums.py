"""The closed vocabularies of metering; every value is what the database and the wire carry."""

from enum import StrEnum


class Aggregation(StrEnum):
    """How a meter turns its events into one number."""

    SUM = "sum"
    COUNT = "count"
    MAX = "max"
    UNIQUE = "unique"
    LATEST = "latest"

    @property
    def adds_up(self) -> bool:
        """Whether parts of a period add up to the whole, so that quantities can be reserved and reversed."""
        return self in (Aggregation.SUM, Aggregation.COUNT)


class DimensionType(StrEnum):
    """What values a dimension takes, where its meter says so."""

    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"


class EventFlag(StrEnum):
    """What is to be known of an event beside what it counts."""

    NOT_COUNTED = "not_counted"
    RATE_MISSING = "rate_missing"
    DIMENSION_OVERFLOW = "dimension_overflow"


class Period(StrEnum):
    """How long an allowance lasts before the next one begins."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"
    LIFETIME = "lifetime"
    ROLLING = "rolling"


class Anchor(StrEnum):
    """What periods are aligned to: the tenant's calendar, or the start of the licence."""

    CALENDAR = "calendar"
    LICENSE = "license"


class QuotaMode(StrEnum):
    """Whether a quota refuses what goes past its limit, or lets it happen and prices it."""

    HARD = "hard"
    SOFT = "soft"


class Scope(StrEnum):
    """The level of the tree that a quota limits, from the leaf to the root."""

    AGENT = "agent"
    LICENSE = "license"
    CUSTOMER = "customer"
    TENANT = "tenant"


class QuotaState(StrEnum):
    """What is to be said about a quota: `exceeded` is for hard quotas, `overage` for soft ones."""

    OK = "ok"
    NEAR_LIMIT = "near_limit"
    EXCEEDED = "exceeded"
    OVERAGE = "overage"


class PriceModel(StrEnum):
    """How a quantity becomes money."""

    PER_UNIT = "per_unit"
    PACKAGE = "package"
    GRADUATED = "graduated"
    VOLUME = "volume"


class OverageStatus(StrEnum):
    """An overage grows while `open`; a `finalized` one never changes, corrections of it are `credit` records."""

    OPEN = "open"
    FINALIZED = "finalized"
    VOIDED = "voided"
    CREDIT = "credit"


class HoldStatus(StrEnum):
    """What has become of a reservation."""

    OPEN = "open"
    SETTLED = "settled"
    RELEASED = "released"
    EXPIRED = "expired"


class OnExcess(StrEnum):
    """What a settlement above its hold does: count all of it, count what was held, or refuse."""

    COUNT = "count"
    CAP = "cap"
    REJECT = "reject"


class TopUpOrigin(StrEnum):
    """How a top-up came about."""

    GIVEN = "given"
    BOUGHT = "bought"


class TopUpState(StrEnum):
    """What is to be said of a top-up: only an active one covers anything."""

    PENDING = "pending"
    ACTIVE = "active"
    USED_UP = "used_up"
    EXPIRED = "expired"
    VOIDED = "voided"


class EventKind(StrEnum):
    """What brought an event id into the register."""

    USAGE = "usage"
    CONSUME = "consume"
    HOLD = "hold"
    SETTLE = "settle"
    VOID = "void"
    ADJUST = "adjust"


class BucketSize(StrEnum):
    """The widths of roll-up buckets: quarter hours, so that every timezone's days add up, and UTC days."""

    QUARTER = "quarter"
    DAY = "day"


class ImportPartKind(StrEnum):
    """What a stored piece of an import is."""

    BODY = "body"
    REJECTED = "rejected"
