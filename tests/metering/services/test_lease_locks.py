"""What a compromised signing key has signed is taken back in the ledger's order of locks."""

from __future__ import annotations

import threading
import time

import pytest
from django.db import connection, connections, transaction

from licenses.models import SigningKey
from metering.models import Balance, Hold
from metering.services.leases import revoke_signing_key, rotate_signing_key
from tests.agent_door import AgentDoor, Vendor
from tests.factories import ACTOR

pytestmark = pytest.mark.django_db(transaction=True)


def _waiting() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


@pytest.mark.parametrize("by", ["rotating", "revoking"])
def test_compromised_key__a_lease_is_being_signed__waits_for_it_before_it_locks_the_workspace(by: str) -> None:
    vendor = Vendor()
    agent = AgentDoor(vendor.agent(vendor.license({"limit": "1000"})).key_text)
    answer = agent.post("/tokens", {"lease": [{"meter": "tokens", "quantity": "10"}]})
    assert answer.status == 201, answer
    failed: list[BaseException] = []

    def take_back() -> None:
        try:
            if by == "rotating":
                rotate_signing_key(tenant=vendor.tenant, actor=ACTOR, compromised=True)
            else:
                key_id = SigningKey.objects.get().id
                revoke_signing_key(tenant=vendor.tenant, signing_key_id=key_id, actor=ACTOR)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failed.append(error)
        finally:
            connections.close_all()

    with transaction.atomic():
        # As the ledger and then the signing of a token do, where one transaction holds both.
        list(Balance.objects.order_by("id").select_for_update())
        other = threading.Thread(target=take_back)
        other.start()
        until = time.monotonic() + 20
        while not _waiting():
            assert time.monotonic() < until, failed
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM tenants_tenant WHERE id = %s FOR SHARE", [vendor.tenant.id])
    other.join(20)

    assert failed == []
    [hold] = Hold.objects.all()
    assert hold.status == "released"
