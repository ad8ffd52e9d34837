"""How much: meters, quotas and balances, the ledger, roll-ups, prices and overage."""

from metering.models.ledger import EventId, LateEntry, RollupCursor, UsageEvent, UsageRollup
from metering.models.meters import DimensionValue, Meter, RateCardEntry
from metering.models.money import OverageRecord, Price
from metering.models.quotas import Balance, BalanceValue, Hold, HoldLine, Quota, TopUp, TopUpBurn

__all__ = [
    "Balance",
    "BalanceValue",
    "DimensionValue",
    "EventId",
    "Hold",
    "HoldLine",
    "LateEntry",
    "Meter",
    "OverageRecord",
    "Price",
    "Quota",
    "RateCardEntry",
    "RollupCursor",
    "TopUp",
    "TopUpBurn",
    "UsageEvent",
    "UsageRollup",
]
