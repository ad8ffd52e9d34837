from datetime import timedelta

import pytest

from common.clock import real_clock
from licenses.models import License
from licenses.services import expiry
from licenses.services.expiry import expire_licenses
from licenses.services.issuing import update_license
from licenses.services.license_states import revoke_license, suspend_license
from tenants.services.workspaces import move_clock
from tests.factories import ACTOR, make_license, make_shop, make_test_workspace
from tests.parallel import at_once
from tests.trail import actions, events, last_entry

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


def expired_ids(shop):
    return [data["license"] for _, data in events(shop.tenant, "license.expired")]


def test_expire_licenses__passed_and_not__told_once():
    shop = make_shop()
    now = real_clock().now()
    at_the_border = make_license(shop.plan, starts_at=now - HOUR, expires_at=now)
    make_license(shop.plan, expires_at=now + timedelta(microseconds=1))
    assert expire_licenses(now) == 1
    assert expire_licenses(now) == 0
    assert expired_ids(shop) == [at_the_border.public_id]
    assert actions(shop.tenant, "license.expired") == ["license.expired"]
    assert last_entry(shop.tenant).actor_kind == "worker"
    at_the_border.refresh_from_db()
    assert (at_the_border.expired_noted_at, at_the_border.status) == (now, "active")


def test_expire_licenses__suspended_and_revoked__told_of_the_first_only():
    shop = make_shop()
    now = real_clock().now()
    suspended, revoked = (make_license(shop.plan, expires_at=now - HOUR) for _ in range(2))
    suspend_license(tenant=shop.tenant, license_id=suspended.id, actor=ACTOR)
    revoke_license(tenant=shop.tenant, license_id=revoked.id, actor=ACTOR)
    assert expire_licenses(now) == 1
    assert expired_ids(shop) == [suspended.public_id]
    assert License.objects.filter(expired_noted_at=now).count() == 2


def test_expire_licenses__moved_clock__its_own_time_counts():
    shop = make_shop(tenant=make_test_workspace())
    other = make_shop()
    now = real_clock().now()
    rehearsed = make_license(shop.plan, starts_at=now, expires_at=now + timedelta(days=30))
    make_license(other.plan, starts_at=now, expires_at=now + timedelta(days=30))
    assert expire_licenses(now) == 0
    move_clock(tenant_id=shop.tenant.id, actor=ACTOR, by=timedelta(days=30) - timedelta(microseconds=1))
    assert expire_licenses(now) == 0
    move_clock(tenant_id=shop.tenant.id, actor=ACTOR, by=timedelta(microseconds=1))
    assert expire_licenses(now) == 1
    assert (expired_ids(shop), expired_ids(other)) == ([rehearsed.public_id], [])


def test_expire_licenses__renewed_and_expired_again__told_again():
    shop = make_shop()
    now = real_clock().now()
    license = make_license(shop.plan, starts_at=now - 2 * HOUR, expires_at=now - HOUR)
    expire_licenses(now)
    update_license(tenant=shop.tenant, license_id=license.id, actor=ACTOR, expires_at=now + HOUR)
    assert expire_licenses(now) == 0
    assert expire_licenses(now + HOUR) == 1
    assert expired_ids(shop) == [license.public_id] * 2


@pytest.mark.django_db(transaction=True)
def test_expire_licenses__four_workers_small_chunks__each_is_told_once(monkeypatch):
    monkeypatch.setattr(expiry, "CHUNK", 3)
    shop = make_shop()
    now = real_clock().now()
    due = {make_license(shop.plan, expires_at=now - HOUR).public_id for _ in range(20)}
    at_once([lambda: expire_licenses(now)] * 4)
    expire_licenses(now)
    assert sorted(expired_ids(shop)) == sorted(due)
