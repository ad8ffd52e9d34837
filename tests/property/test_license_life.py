"""No sequence of calls, through services or the vendors' door, brings a revoked licence back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from common.clock import real_clock
from common.errors import Conflict, Invalid, NotFound
from licenses.models import License
from licenses.selectors.access import load_license
from licenses.services.expiring_notices import tell_expiring_licenses
from licenses.services.expiry import expire_licenses
from licenses.services.issuing import rotate_license_key
from licenses.services.license_import import Line, import_licenses
from licenses.services.license_states import archive_license, reinstate_license, revoke_license, suspend_license
from licenses.services.renewing import renew_license
from metering.services.license_plans import archive_license_with_terms, update_license_with_terms
from metering.services.license_transfers import transfer_license_with_terms
from tests.factories import ACTOR, Shop, make_customer, make_plan, make_shop
from tests.vendor_api.door import Door

pytestmark = pytest.mark.django_db

FAR = datetime(2090, 1, 1, tzinfo=UTC)


class Life:
    """A licence, and all that can be done to it."""

    def __init__(self) -> None:
        self.shop: Shop = make_shop(plan={"term": {"months": 1}}, metadata={"reference": "r"})
        self.other_plan = make_plan(self.shop.product)
        self.other_customer = make_customer(self.shop.tenant)
        self.door = Door(self.shop.tenant)
        self.public_id = self.shop.license.public_id

    @property
    def row(self) -> License:
        return License.objects.get(pk=self.shop.license.pk)

    def service(self, call: Callable[..., Any], **more: Any) -> None:
        call(tenant=self.shop.tenant, license_id=self.shop.license.id, actor=ACTOR, **more)

    def post(self, action: str, body: Any = None) -> None:
        self.door.post(f"/licenses/{self.public_id}/{action}", body)

    def again(self) -> None:
        cells = {"reference": "r", "external_id": "acme", "plan": self.shop.plan.code}
        import_licenses(tenant=self.shop.tenant, actor=ACTOR, lines=[Line(2, cells)])


STEPS: dict[str, Callable[[Life], Any]] = {
    "suspend": lambda life: life.service(suspend_license),
    "reinstate": lambda life: life.service(reinstate_license),
    "revoke": lambda life: life.service(revoke_license),
    "archive": lambda life: life.service(archive_license),
    "archive with terms": lambda life: life.service(archive_license_with_terms),
    "renew": lambda life: life.service(renew_license),
    "renew until": lambda life: life.service(renew_license, expires_at=FAR),
    "rotate": lambda life: life.service(rotate_license_key),
    "transfer": lambda life: life.service(transfer_license_with_terms, customer=life.other_customer),
    "change plan": lambda life: life.service(update_license_with_terms, plan=life.other_plan),
    "change expiry": lambda life: life.service(update_license_with_terms, expires_at=FAR),
    "expire": lambda _: expire_licenses(real_clock().now() + timedelta(days=365)),
    "give notice": lambda _: tell_expiring_licenses(real_clock().now() + timedelta(days=29)),
    "import": lambda life: life.again(),
    "door: suspend": lambda life: life.post("suspend"),
    "door: reinstate": lambda life: life.post("reinstate"),
    "door: revoke": lambda life: life.post("revoke"),
    "door: renew": lambda life: life.post("renew", {"from": "now"}),
    "door: transfer": lambda life: life.post("transfer", {"customer": life.other_customer.public_id}),
    "door: rotate": lambda life: life.post("rotate-key"),
    "door: change": lambda life: life.door.patch(f"/licenses/{life.public_id}", {"status": "active"}),
    "door: forget expiry": lambda life: life.door.patch(f"/licenses/{life.public_id}", {"expires_at": None}),
    "door: delete": lambda life: life.door.delete(f"/licenses/{life.public_id}"),
}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=8), st.lists(st.sampled_from(sorted(STEPS)), max_size=8))
@example([], sorted(STEPS))
@example(["suspend"], ["reinstate", "door: reinstate", "door: forget expiry"])
def test_revoked_license__any_calls_before_and_after__stays_revoked(
    db: None, before: list[str], after: list[str]
) -> None:
    life = Life()
    for name in before:
        _try(life, name)
    life.service(revoke_license)
    revoked_at, count = life.row.revoked_at, License.objects.for_tenant(life.shop.tenant).count()

    for name in after:
        _try(life, name)
        row = life.row
        assert (row.status, row.revoked_at) == ("revoked", revoked_at), name
        access = load_license(life.shop.tenant.id, row.id)
        assert access is None or access.facts.license.status == "revoked", name
    assert License.objects.for_tenant(life.shop.tenant).count() == count


def _try(life: Life, name: str) -> None:
    with suppress(Conflict, Invalid, NotFound):
        STEPS[name](life)
