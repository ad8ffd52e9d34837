"""The proof of a workspace's ledger, made and mended by operators."""

from common.errors import Conflict
from metering.services.repairing import repair_ledger
from tenants.admin.operations import Operation
from tenants.domain.actors import Actor
from tenants.models import Tenant

#: Differences that a message names.
_NAMED = 3


def _verify_and_repair(row: Tenant, actor: Actor, reason: str) -> None:
    """Mend what follows from events. Raises Conflict `ledger_differs` with what is left."""
    repaired = repair_ledger(actor=actor, tenant=row, reason=reason)
    if repaired.refused:
        named = " ".join(each.text for each in repaired.refused[:_NAMED])
        raise Conflict(
            "ledger_differs",
            f"{repaired.mended} mended, {len(repaired.refused)} left, as they follow from no other facts or a final "
            f"bill would change: {named}",
        )


PROOF_OPERATIONS = (
    Operation(
        name="verify_and_repair",
        label="Verify and repair the ledger of",
        done="proven from its events",
        icon="fact_check",
        effect=(
            "Balances, top-ups, roll-ups and open overage are recomputed from the raw events, and what differs is set "
            "right; each change is in the audit trail. Events, final bills and statements stay as they are. Agents "
            "wait while balances are set right. A large ledger takes minutes: manage.py verify_ledger has no limit."
        ),
        run=_verify_and_repair,
        fits=lambda _row: True,
        for_good=True,
    ),
)
