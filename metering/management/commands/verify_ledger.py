"""`manage.py verify_ledger`: prove balances, roll-ups and overage from the raw events."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from metering.services.verification import verify_ledger
from tenants.models import Tenant


class Command(BaseCommand):
    help = (
        "Recompute balances, reservations, the register of event ids, roll-ups and overage from the raw events, in one "
        "snapshot. Prints each difference and ends with status 1 if there is one. What is not rolled up yet is none."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--tenant", metavar="SLUG", help="only this workspace")

    def handle(self, *_args: Any, tenant: str | None = None, **_options: Any) -> None:
        try:
            only = Tenant.objects.get(slug=tenant) if tenant else None
        except Tenant.DoesNotExist:
            raise CommandError(f"There is no workspace {tenant!r}.", returncode=2) from None
        proof = verify_ledger(tenant=only)
        for difference in proof.differences:
            self.stdout.write(f"{difference.kind}: {difference.text}")
        self.stdout.write(proof.summary)
        if proof.differences:
            raise SystemExit(1)
