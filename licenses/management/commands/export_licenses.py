"""`manage.py export_licenses`: a workspace's licences with their customers as CSV."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from licenses.selectors.license_export import export_licenses
from licenses.selectors.listing import licenses_of
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of


class Command(BaseCommand):
    help = "Write all licences that are not archived, with their customers, to the standard output as CSV."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--tenant", metavar="SLUG", required=True, help="the workspace")

    def handle(self, *_args: Any, tenant: str, **_options: Any) -> None:
        workspace = Tenant.objects.filter(slug=tenant).first()
        if workspace is None:
            raise CommandError(f"There is no workspace {tenant!r}.", returncode=2)
        licenses = licenses_of(workspace.id).filter(archived_at__isnull=True).order_by("created_at", "id")
        for line in export_licenses(licenses, at=clock_of(workspace).now()):
            self.stdout.write(line, ending="")
