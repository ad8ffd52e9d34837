"""`manage.py verify_ledger`: prove balances, roll-ups and overage from the raw events, and rebuild them."""

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError

from metering.services.repairing import repair_ledger
from metering.services.verification import Proof, verify_ledger
from tenants.domain.actors import worker
from tenants.models import Tenant

ACTOR: Final = worker("verify_ledger --repair")
_MOST_JOBS: Final = 64


class Command(BaseCommand):
    help = (
        "Recompute balances, reservations, burns of top-ups, what is carried over, rolling windows, the register of "
        "event ids, roll-ups and overage from the raw events, in one snapshot. Prints each difference. Ends with "
        "status 0 if there is none (with --repair: none is left), with 1 if there is one, with 2 if the workspace does "
        "not exist. What is not rolled up yet is none."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--tenant", metavar="SLUG", help="only this workspace")
        parser.add_argument("--jobs", metavar="N", type=_jobs, default=1, help="connections that share the work")
        parser.add_argument(
            "--repair",
            action="store_true",
            help="rebuild balances, roll-ups and open overage from events, audited; events, ids and final records stay",
        )

    def handle(
        self, *_args: Any, tenant: str | None = None, jobs: int = 1, repair: bool = False, **_options: Any
    ) -> None:
        try:
            only = Tenant.objects.get(slug=tenant) if tenant else None
        except Tenant.DoesNotExist:
            raise CommandError(f"There is no workspace {tenant!r}.", returncode=2) from None
        proof = verify_ledger(tenant=only, jobs=jobs)
        self._tell(proof)
        if proof.differences and repair:
            repaired = repair_ledger(actor=ACTOR, tenant=only, jobs=jobs)
            proof = repaired.after
            if repaired.refused:
                self.stdout.write("These follow from no other facts, or a final bill would change. They were left:")
            self._tell(proof)
        if proof.differences:
            raise SystemExit(1)

    def _tell(self, proof: Proof) -> None:
        for difference in proof.differences:
            self.stdout.write(f"{difference.kind}: {difference.text}")
        self.stdout.write(proof.summary)


def _jobs(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_JOBS:
        raise ArgumentTypeError(f"1 to {_MOST_JOBS} connections.")
    return int(text)
