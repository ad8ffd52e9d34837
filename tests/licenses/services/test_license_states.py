import pytest

from common.errors import Conflict, NotFound, RevocationPending
from licenses.services.license_states import (
    archive_license,
    reinstate_license,
    revoke_license,
    suspend_license,
)
from tests.factories import ACTOR, make_shop, make_workspace
from tests.parallel import at_once
from tests.trail import actions, epoch, event_types, events, last_entry

pytestmark = pytest.mark.django_db

CHANGES = {
    "suspend": suspend_license,
    "reinstate": reinstate_license,
    "revoke": revoke_license,
    "archive": archive_license,
}


def names_of(shop):
    return {"tenant": shop.tenant, "license_id": shop.license.id, "actor": ACTOR}


@pytest.mark.parametrize(
    ("steps", "status", "told"),
    [
        (["suspend"], "suspended", ["suspended"]),
        (["suspend", "suspend"], "suspended", ["suspended"]),
        (["reinstate"], "active", []),
        (["suspend", "reinstate"], "active", ["suspended", "reinstated"]),
        (["revoke", "revoke"], "revoked", ["revoked"]),
        (["suspend", "revoke"], "revoked", ["suspended", "revoked"]),
        (["archive", "archive", "revoke"], "revoked", ["revoked"]),
        (["revoke", "archive"], "revoked", ["revoked"]),
    ],
)
def test_license__steps__state_and_events(steps, status, told):
    shop = make_shop()
    for step in steps:
        license = CHANGES[step](**names_of(shop), reason=f"because of {step}")
    assert license.status == status
    assert event_types(shop.tenant, "license.") == ["license.issued", *(f"license.{each}" for each in told)]
    archived = ["license.archived"] if "archive" in steps else []
    assert sorted(actions(shop.tenant, "license.")) == sorted(
        ["license.issued", *(f"license.{each}" for each in told), *archived]
    )
    assert epoch(shop.tenant, shop.license.id) == len(told)


@pytest.mark.parametrize("step", ["suspend", "reinstate"])
def test_license__revoked__is_revoked_for_good(step):
    shop = make_shop()
    revoke_license(**names_of(shop))
    with pytest.raises(Conflict) as caught:
        CHANGES[step](**names_of(shop))
    assert (caught.value.status, caught.value.code) == (409, "license_revoked")
    assert "revoked" in caught.value.detail
    assert "active or suspended" in caught.value.detail
    assert actions(shop.tenant, "license.") == ["license.issued", "license.revoked"]
    assert epoch(shop.tenant, shop.license.id) == 1


def test_revoke_license__reason_and_ids__in_event_and_trail():
    shop = make_shop()
    license = revoke_license(**names_of(shop), reason="fraud")
    assert (license.status_reason, license.revoked_at is not None) == ("fraud", True)
    assert events(shop.tenant, "license.revoked") == [
        (
            "license.revoked",
            {
                "license": license.public_id,
                "customer": shop.customer.public_id,
                "status": "revoked",
                "reason": "fraud",
            },
        )
    ]
    entry = last_entry(shop.tenant)
    assert (entry.action, entry.reason, entry.target_id) == ("license.revoked", "fraud", license.public_id)
    assert entry.changes["status"] == ["active", "revoked"]
    shop.agent.refresh_from_db()
    assert shop.agent.status == "active"


@pytest.mark.parametrize("step", CHANGES)
def test_license__of_another_workspace__not_found(step):
    shop = make_shop()
    with pytest.raises(NotFound):
        CHANGES[step](tenant=make_workspace(), license_id=shop.license.id, actor=ACTOR)
    shop.license.refresh_from_db()
    assert shop.license.status == "active"
    assert epoch(shop.tenant, shop.license.id) == 0


@pytest.mark.django_db(transaction=True)
def test_revoke_license__eight_at_once__told_once():
    shop = make_shop()
    answers = at_once([lambda: revoke_license(**names_of(shop))] * 8)
    assert [answer.status for answer in answers] == ["revoked"] * 8
    assert event_types(shop.tenant, "license.revoked") == ["license.revoked"]


@pytest.mark.django_db(transaction=True)
def test_revoke_license__valkey_away__done_pending_and_200_once_told(settings):
    shop = make_shop()
    real = settings.REDIS_URL
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    for _ in range(2):
        with pytest.raises(RevocationPending):
            revoke_license(**names_of(shop))
    shop.license.refresh_from_db()
    assert shop.license.status == "revoked"
    settings.REDIS_URL = real
    assert revoke_license(**names_of(shop)).status == "revoked"
    assert event_types(shop.tenant, "license.revoked") == ["license.revoked"]
    assert epoch(shop.tenant, shop.license.id) == 1
