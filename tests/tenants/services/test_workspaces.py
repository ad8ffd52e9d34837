from datetime import timedelta

import pytest

from common.errors import Conflict, Forbidden, Invalid, NotFound
from tenants.models import Membership, Tenant
from tenants.selectors.clocks import clock_of
from tenants.selectors.workspaces import access_of, workspaces_of
from tenants.services.workspaces import (
    create_workspace,
    move_clock,
    reinstate_tenant,
    suspend_tenant,
    update_workspace,
)
from tests.factories import ACTOR, make_test_workspace, make_user, make_workspace
from tests.trail import actions, epoch

pytestmark = pytest.mark.django_db


def test_create_workspace__with_owner__is_a_member_of_it_and_of_its_test_workspace():
    owner, stranger = make_user(), make_user()
    live = create_workspace(actor=ACTOR, name="Acme AI", slug="acme-ai", owner=owner, timezone="Europe/Berlin")
    test = create_workspace(actor=ACTOR, name="Acme AI test", slug="acme-ai-test", mode="test", live=live)
    assert (live.mode, live.timezone, live.currency, test.live) == ("live", "Europe/Berlin", "USD", live)
    assert set(workspaces_of(owner)) == {live, test}
    assert access_of(owner, "acme-ai-test") == (test, "owner")
    assert list(workspaces_of(stranger)) == []
    with pytest.raises(NotFound):
        access_of(stranger, "acme-ai")
    assert actions(live) == ["tenant.created", "membership.created"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("slug", ""),
        ("slug", "-acme"),
        ("slug", "Acme"),
        ("slug", "a" * 64),
        ("slug", "acme\n"),
        ("slug", "start"),
        ("name", " "),
        ("timezone", "Mars/Olympus"),
        ("currency", "usd"),
        ("currency", "ZZZ"),
        ("mode", "demo"),
    ],
)
def test_create_workspace__bad_field__names_it(field, value):
    with pytest.raises(Invalid) as caught:
        create_workspace(**{"actor": ACTOR, "name": "Acme", "slug": "acme", field: value})
    assert [error["field"] for error in caught.value.errors] == [field]
    assert not Tenant.objects.exists()


def test_create_workspace__slug_or_test_workspace_taken__conflict_and_nothing_written():
    owner = make_user()
    live = make_workspace(slug="acme")
    make_workspace(mode="test", live=live)
    with pytest.raises(Conflict) as caught:
        make_workspace(slug="acme", owner=owner)
    assert caught.value.code == "slug_taken"
    with pytest.raises(Conflict) as caught:
        make_workspace(mode="test", live=live)
    assert caught.value.code == "test_workspace_exists"
    assert not Membership.objects.exists()


def test_suspend_tenant__twice_and_back__audited_once_each():
    tenant = make_workspace()
    for _ in range(2):
        assert suspend_tenant(tenant_id=tenant.id, actor=ACTOR, reason="abuse").status == "suspended"
    tenant = reinstate_tenant(tenant_id=tenant.id, actor=ACTOR)
    assert (tenant.status, tenant.status_reason) == ("active", "")
    assert actions(tenant) == ["tenant.created", "tenant.suspended", "tenant.reinstated"]
    assert epoch(tenant, tenant.id) == 2


def test_update_workspace__rate_limits__felt_through_the_epoch():
    tenant = make_workspace()
    changed = update_workspace(tenant_id=tenant.id, actor=ACTOR, rate_limits=[{"limit": 5, "window": 1, "burst": 9}])
    assert changed.rate_limits == [{"limit": 5, "window": 1, "burst": 9}]
    assert epoch(tenant, tenant.id) == 1


def test_move_clock__test_workspace__goes_forward_only():
    tenant = make_test_workspace()
    moved = move_clock(tenant_id=tenant.id, actor=ACTOR, by=timedelta(days=30))
    assert moved.clock_offset == timedelta(days=30)
    moved = move_clock(tenant_id=tenant.id, actor=ACTOR, by=timedelta(hours=1))
    ahead = clock_of(moved).now() - clock_of(make_workspace()).now()
    assert timedelta(days=30, minutes=59) < ahead <= timedelta(days=30, hours=1)
    with pytest.raises(Invalid):
        move_clock(tenant_id=tenant.id, actor=ACTOR, by=timedelta(0))
    assert actions(tenant) == ["tenant.created", "tenant.clock_moved", "tenant.clock_moved"]


def test_move_clock__live_workspace__forbidden():
    tenant = make_workspace()
    with pytest.raises(Forbidden) as caught:
        move_clock(tenant_id=tenant.id, actor=ACTOR, by=timedelta(days=1))
    assert caught.value.code == "not_a_test_workspace"
