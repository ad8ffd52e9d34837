from datetime import timedelta

import pytest

from common.clock import real_clock
from licenses.models import License
from licenses.services import expiring_notices
from licenses.services.expiring_notices import tell_expiring_licenses
from licenses.services.issuing import update_license
from licenses.services.license_states import revoke_license, suspend_license
from licenses.services.plans import update_plan
from licenses.services.renewing import renew_license
from tenants.services.workspaces import move_clock
from tests.factories import ACTOR, make_license, make_plan, make_shop, make_test_workspace
from tests.parallel import at_once
from tests.trail import actions, events, last_entry

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
INSTANT = timedelta(microseconds=1)


def told(shop):
    return [(data["license"], data["days"]) for _, data in events(shop.tenant, "license.expiring")]


def test_tell_expiring_licenses__thirty_seven_and_one_day_before__told_of_each_once():
    shop = make_shop(plan={"term": {"months": 12}})
    end, license = shop.license.expires_at, shop.license.public_id
    moments = (30 * DAY + INSTANT, 30 * DAY, 30 * DAY, 7 * DAY + INSTANT, 7 * DAY, DAY + INSTANT, DAY, DAY, INSTANT)
    counts = [tell_expiring_licenses(end - before) for before in moments]
    assert counts == [0, 1, 0, 0, 1, 0, 1, 0, 0]
    assert told(shop) == [(license, 30), (license, 7), (license, 1)]
    assert tell_expiring_licenses(end) == 0
    assert actions(shop.tenant, "license.expiring") == ["license.expiring"] * 3
    entry = last_entry(shop.tenant)
    assert (entry.actor_kind, entry.changes) == ("worker", {"expiring_noted_days": [7, 1]})


def test_tell_expiring_licenses__one_notice__says_what_ends_and_when():
    shop = make_shop(plan={"term": {"months": 12}})
    tell_expiring_licenses(shop.license.expires_at - DAY)
    [(_, data)] = events(shop.tenant, "license.expiring")
    assert data == {
        "license": shop.license.public_id,
        "customer": shop.customer.public_id,
        "plan": shop.plan.public_id,
        "expires_at": shop.license.expires_at.isoformat().replace("+00:00", "Z"),
        "days": 1,
    }


def test_tell_expiring_licenses__several_due_at_once__only_the_nearest_is_given():
    shop = make_shop(plan={"term": {"months": 12}})
    end = shop.license.expires_at
    assert tell_expiring_licenses(end - 5 * DAY) == 1
    assert told(shop) == [(shop.license.public_id, 7)]
    assert tell_expiring_licenses(end - 5 * DAY) == 0


def test_tell_expiring_licenses__renewed_or_given_another_expiry__told_anew():
    shop = make_shop(plan={"term": {"months": 12}})
    end = shop.license.expires_at
    tell_expiring_licenses(end - DAY)
    renewed = renew_license(tenant=shop.tenant, license_id=shop.license.id, actor=ACTOR).expires_at
    assert renewed is not None
    assert tell_expiring_licenses(end - DAY) == 0
    assert tell_expiring_licenses(renewed - 7 * DAY) == 1
    update_license(tenant=shop.tenant, license_id=shop.license.id, actor=ACTOR, expires_at=renewed + DAY)
    assert tell_expiring_licenses(renewed - 6 * DAY) == 1
    assert [days for _, days in told(shop)] == [1, 7, 7]


@pytest.mark.parametrize(("term", "days"), [({"days": 7}, [1]), ({"days": 8}, [7, 1]), ({"months": 1}, [7, 1])])
def test_tell_expiring_licenses__term_no_longer_than_the_notice__not_told_when_it_begins(term, days):
    shop = make_shop(plan={"term": term})
    end, start = shop.license.expires_at, shop.license.starts_at
    for at in (start, end - 7 * DAY, end - DAY):
        tell_expiring_licenses(at)
    assert [each for _, each in told(shop)] == days


def test_tell_expiring_licenses__plan_that_wants_other_notices__those():
    shop = make_shop(plan={"term": {"months": 12}, "expiry_notices": [60, 14]})
    silent = make_plan(shop.product, term={"months": 12}, expiry_notices=[])
    other = make_license(silent, starts_at=shop.license.starts_at)
    end = shop.license.expires_at
    for before in (60, 30, 14, 7, 1):
        tell_expiring_licenses(end - before * DAY)
    assert told(shop) == [(shop.license.public_id, 60), (shop.license.public_id, 14)]
    update_plan(tenant=shop.tenant, plan_id=silent.id, actor=ACTOR, expiry_notices=[1])
    tell_expiring_licenses(end - DAY)
    assert told(shop)[2:] == [(other.public_id, 1)]


def test_tell_expiring_licenses__suspended_and_revoked__told_of_the_first_only():
    shop = make_shop(plan={"term": {"months": 12}})
    revoked = make_license(shop.plan, starts_at=shop.license.starts_at)
    revoke_license(tenant=shop.tenant, license_id=revoked.id, actor=ACTOR)
    suspend_license(tenant=shop.tenant, license_id=shop.license.id, actor=ACTOR)
    assert tell_expiring_licenses(shop.license.expires_at - DAY) == 1
    assert told(shop) == [(shop.license.public_id, 1)]


def test_tell_expiring_licenses__moved_clock__its_own_time_counts():
    tenant = make_test_workspace()
    shop = make_shop(tenant=tenant, plan={"term": {"months": 12}})
    other = make_shop(plan={"term": {"months": 12}}, starts_at=shop.license.starts_at)
    now = real_clock().now()
    ahead = shop.license.expires_at - 30 * DAY - now
    move_clock(tenant_id=tenant.id, actor=ACTOR, by=ahead - INSTANT)
    assert tell_expiring_licenses(now) == 0
    move_clock(tenant_id=tenant.id, actor=ACTOR, by=INSTANT)
    assert tell_expiring_licenses(now) == 1
    assert (told(shop), told(other)) == ([(shop.license.public_id, 30)], [])


@pytest.mark.django_db(transaction=True)
def test_tell_expiring_licenses__four_workers_small_chunks__each_is_told_once(monkeypatch):
    monkeypatch.setattr(expiring_notices, "CHUNK", 3)
    shop = make_shop()
    now = real_clock().now()
    due = {make_license(shop.plan, expires_at=now + DAY).public_id for _ in range(20)}
    at_once([lambda: tell_expiring_licenses(now)] * 4)
    tell_expiring_licenses(now)
    assert sorted(license for license, _ in told(shop)) == sorted(due)
    assert set(License.objects.filter(expires_at=now + DAY).values_list("expiring_noted_days", flat=True)) == {1}
