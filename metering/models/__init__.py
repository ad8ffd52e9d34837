"""How much: meters, quotas and balances, the ledger, roll-ups, prices and overage."""

from metering.models.history import DroppedMonth
from metering.models.imports import ImportPart
from metering.models.ledger import EventId, LateEntry, RollupCursor, UsageEvent, UsageRollup
from metering.models.meters import DimensionValue, Meter, RateCardEntry
from metering.models.money import OverageRecord, Price, Statement
from metering.models.quotas import Balance, BalanceValue, Hold, HoldLine, Quota, TopUp, TopUpBurn
from metering.models.runaway import CallProfile, RunawayIncident, RunawayPolicy

__all__ = [
    "Balance",
    "BalanceValue",
    "CallProfile",
    "DimensionValue",
    "DroppedMonth",
    "EventId",
    "Hold",
    "HoldLine",
    "ImportPart",
    "LateEntry",
    "Meter",
    "OverageRecord",
    "Price",
    "Quota",
    "RateCardEntry",
    "RollupCursor",
    "RunawayIncident",
    "RunawayPolicy",
    "Statement",
    "TopUp",
    "TopUpBurn",
    "UsageEvent",
    "UsageRollup",
]
