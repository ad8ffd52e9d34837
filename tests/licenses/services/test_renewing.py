from datetime import UTC, datetime, timedelta

import pytest

from common.clock import real_clock
from common.errors import Conflict, Invalid, NotFound
from common.ids import new_id
from licenses.models import License
from licenses.selectors.access import load_license
from licenses.services.issuing import update_license
from licenses.services.license_states import revoke_license, suspend_license
from licenses.services.renewing import renew_license
from tenants.selectors.clocks import clock_of
from tenants.services.workspaces import move_clock
from tests.factories import ACTOR, make_license, make_shop, make_test_workspace, make_workspace
from tests.parallel import at_once
from tests.trail import actions, epoch, events, last_entry

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
YEAR = {"term": {"months": 12}}


def at(*when: int) -> datetime:
    return datetime(*when, tzinfo=UTC)


def renew(license: License, **more) -> License:
    return renew_license(tenant=license.tenant, license_id=license.id, actor=ACTOR, **more)


@pytest.mark.parametrize(
    ("term", "starts_at", "expires_at", "renewals", "end"),
    [
        ({"months": 1}, at(2027, 1, 31), None, 1, at(2027, 3, 31)),
        ({"months": 1}, at(2027, 1, 31), None, 3, at(2027, 5, 31)),
        ({"years": 1}, at(2028, 2, 29), None, 3, at(2032, 2, 29)),
        ({"days": 30}, at(2027, 1, 1), None, 1, at(2027, 3, 2)),
        ({"months": 1}, at(2027, 1, 31), at(2027, 2, 20), 1, at(2027, 3, 20)),
        ({"months": 12}, at(2020, 1, 1), at(2021, 1, 1), 1, at(2022, 1, 1)),
    ],
    ids=["clamped month", "four months", "leap day", "days", "given expiry", "still over"],
)
def test_renew_license__from_its_expiry__one_term_more(term, starts_at, expires_at, renewals, end):
    shop = make_shop(plan={"term": term}, starts_at=starts_at, expires_at=expires_at)
    for _ in range(renewals):
        renew(shop.license)
    shop.license.refresh_from_db()
    assert (shop.license.starts_at, shop.license.expires_at) == (starts_at, end)


def test_renew_license__zone_with_other_clocks_in_summer__keeps_the_local_hour():
    tenant = make_workspace(timezone="Europe/Berlin")
    shop = make_shop(tenant=tenant, plan={"term": {"months": 1}}, starts_at=at(2027, 2, 28, 11))
    assert shop.license.expires_at == at(2027, 3, 28, 10)
    assert renew(shop.license).expires_at == at(2027, 4, 28, 10)


def test_renew_license__from_now__the_term_counts_on_the_workspaces_clock():
    tenant = make_test_workspace()
    move_clock(tenant_id=tenant.id, actor=ACTOR, by=timedelta(days=100))
    tenant.refresh_from_db()
    shop = make_shop(tenant=tenant, plan={"term": {"days": 10}})
    license = make_license(shop.plan, starts_at=at(2020, 1, 1), expires_at=at(2021, 1, 1))
    before = clock_of(tenant).now()
    end = renew(license, start_from="now").expires_at
    assert before + 10 * DAY <= end <= clock_of(tenant).now() + 10 * DAY


def test_renew_license__from_now_before_its_start__the_term_counts_from_the_start():
    starts_at = real_clock().now() + 50 * DAY
    shop = make_shop(plan={"term": {"days": 10}}, starts_at=starts_at, expires_at=starts_at + DAY)
    assert renew(shop.license, start_from="now").expires_at == starts_at + 10 * DAY


def test_renew_license__leaves_trail_event_and_epoch():
    shop = make_shop(plan=YEAR, starts_at=at(2026, 1, 1), expires_at=at(2027, 1, 1))
    before = epoch(shop.tenant, shop.license.id)
    License.objects.filter(pk=shop.license.pk).update(expired_noted_at=at(2027, 1, 1), expiring_noted_days=1)
    renew(shop.license, reason="Order 4711")
    entry = last_entry(shop.tenant)
    assert (entry.action, entry.reason) == ("license.renewed", "Order 4711")
    assert entry.changes == {"expires_at": ["2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"]}
    assert events(shop.tenant, "license.renewed") == [
        (
            "license.renewed",
            {
                "license": shop.license.public_id,
                "customer": shop.customer.public_id,
                "plan": shop.plan.public_id,
                "expires_at": "2028-01-01T00:00:00Z",
                "previous_expires_at": "2027-01-01T00:00:00Z",
                "reason": "Order 4711",
            },
        )
    ]
    assert epoch(shop.tenant, shop.license.id) == before + 1
    shop.license.refresh_from_db()
    assert (shop.license.expired_noted_at, shop.license.expiring_noted_days) == (None, None)
    access = load_license(shop.tenant.id, shop.license.id)
    assert access is not None
    assert access.facts.license.expires_at == at(2028, 1, 1)


def test_renew_license__given_expiry__that_one_whatever_the_term():
    shop = make_shop(plan={}, expires_at=at(2027, 1, 1))
    assert renew(shop.license, expires_at=at(2027, 1, 2)).expires_at == at(2027, 1, 2)


def test_renew_license__suspended__stays_suspended():
    shop = make_shop(plan=YEAR)
    suspend_license(tenant=shop.tenant, license_id=shop.license.id, actor=ACTOR)
    assert renew(shop.license).status == "suspended"


@pytest.mark.parametrize(
    ("more", "field", "code"),
    [
        ({"start_from": "tomorrow"}, "from", "invalid"),
        ({"start_from": "now", "expires_at": at(2030, 1, 1)}, "from", "not_both"),
        ({"start_from": "now"}, "from", "not_later"),
        ({"expires_at": at(2027, 1, 1)}, "expires_at", "not_later"),
    ],
)
def test_renew_license__nothing_to_add__refused_and_nothing_done(more, field, code):
    shop = make_shop(plan={"term": {"days": 1}}, starts_at=at(2026, 1, 1), expires_at=at(2027, 1, 1))
    with pytest.raises(Invalid) as caught:
        renew(shop.license, **more)
    assert [(each["field"], each["code"]) for each in caught.value.errors] == [(field, code)]
    shop.license.refresh_from_db()
    assert shop.license.expires_at == at(2027, 1, 1)
    assert actions(shop.tenant, "license.renewed") == []


def test_renew_license__perpetual_license_or_plan__refused_with_the_word_for_it():
    perpetual = make_shop()
    with pytest.raises(Conflict) as caught:
        renew(perpetual.license)
    assert caught.value.code == "license_perpetual"
    update_license(
        tenant=perpetual.tenant, license_id=perpetual.license.id, actor=ACTOR, expires_at=real_clock().now() + DAY
    )
    with pytest.raises(Conflict) as caught:
        renew(perpetual.license)
    assert caught.value.code == "plan_perpetual"


def test_renew_license__revoked__refused_with_the_states_named():
    shop = make_shop(plan=YEAR)
    revoke_license(tenant=shop.tenant, license_id=shop.license.id, actor=ACTOR)
    with pytest.raises(Conflict) as caught:
        renew(shop.license)
    assert caught.value.code == "license_revoked"
    assert caught.value.extra == {
        "status": "revoked",
        "from": "revoked",
        "to": "revoked",
        "allowed": ["active", "suspended"],
    }


def test_renew_license__end_of_time__refused():
    shop = make_shop(plan={"term": {"years": 100}}, starts_at=at(2026, 1, 1), expires_at=at(9999, 1, 1))
    with pytest.raises(Invalid) as caught:
        renew(shop.license)
    assert caught.value.errors[0]["field"] == "from"


def test_renew_license__another_workspaces__not_found():
    with pytest.raises(NotFound):
        renew_license(tenant=make_shop().tenant, license_id=make_shop(plan=YEAR).license.id, actor=ACTOR)
    with pytest.raises(NotFound):
        renew_license(tenant=make_shop().tenant, license_id=new_id(), actor=ACTOR)


@pytest.mark.django_db(transaction=True)
def test_renew_license__four_at_once__each_adds_its_term():
    shop = make_shop(plan={"term": {"years": 1}}, starts_at=at(2028, 2, 29))
    at_once([lambda: renew(shop.license)] * 4)
    shop.license.refresh_from_db()
    assert shop.license.expires_at == at(2033, 2, 28)
