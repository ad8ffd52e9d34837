import pytest

from common.epochs import EpochKey
from common.errors import Conflict, Invalid, NotFound, RevocationPending
from tenants.models import Customer
from tenants.selectors.epochs import read_epochs
from tenants.services.customers import (
    archive_customer,
    create_customer,
    get_or_create_customer,
    reinstate_customer,
    suspend_customer,
    update_customer,
)
from tests.factories import ACTOR, make_customer, make_workspace
from tests.parallel import at_once
from tests.trail import actions, epoch, events, last_entry

pytestmark = pytest.mark.django_db


def test_create_customer__all_fields__stored_and_audited_once():
    tenant = make_workspace()
    customer = create_customer(
        tenant=tenant,
        actor=ACTOR,
        external_id="acme",
        name="Acme",
        email="ops@acme.example",
        rate_limits=[{"limit": 10, "window": 60}],
        metadata={"tier": "gold", "seats": 3, "vip": True, "note": None},
    )
    stored = Customer.objects.get(pk=customer.pk)
    assert (stored.external_id, stored.name, stored.email, stored.status) == (
        "acme",
        "Acme",
        "ops@acme.example",
        "active",
    )
    assert stored.rate_limits == [{"limit": 10, "window": 60, "burst": 10}]
    assert stored.metadata == {"tier": "gold", "seats": 3, "vip": True, "note": None}
    assert actions(tenant, "customer") == ["customer.created"]
    entry = last_entry(tenant)
    assert (entry.actor_name, entry.address, entry.request_id) == ("Tess Tester", "192.0.2.7", "req-test")
    assert (entry.target_kind, entry.target_id) == ("customer", customer.public_id)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("external_id", "", "blank"),
        ("external_id", "x" * 201, "too_long"),
        ("external_id", "a\0b", "invalid"),
        ("external_id", "cus_01h455vb4pex5vsknk084sn02q", "invalid"),
        ("external_id", 5, "invalid"),
        ("name", "x" * 201, "too_long"),
        ("email", "nobody", "invalid"),
        ("metadata", {"a": {"b": 1}}, "invalid"),
        ("metadata", {str(n): n for n in range(51)}, "too_many"),
        ("metadata", {"a": "x" * 16_384}, "too_long"),
        ("metadata", {"a": float("nan")}, "invalid"),
        ("rate_limits", [{"limit": 0, "window": 1}], "invalid"),
        ("rate_limits", [{"limit": 1, "window": 0}], "invalid"),
        ("rate_limits", [{"limit": True, "window": 1}], "invalid"),
        ("rate_limits", [{"limit": 1, "window": 1, "level": "agent"}], "unknown_field"),
        ("rate_limits", [{"limit": 1, "window": 1}, {"limit": 2, "window": 1}], "duplicate"),
    ],
)
def test_create_customer__bad_field__names_it_and_writes_nothing(field, value, code):
    tenant = make_workspace()
    with pytest.raises(Invalid) as caught:
        create_customer(**{"tenant": tenant, "actor": ACTOR, "external_id": "acme", field: value})
    [error] = caught.value.errors
    assert error["code"] == code
    assert error["field"].split(".")[0] == field
    assert not Customer.objects.for_tenant(tenant).exists()
    assert actions(tenant, "customer") == []


def test_create_customer__metadata_at_its_borders__accepted():
    tenant = make_workspace()
    assert len(make_customer(tenant, metadata={str(n): n for n in range(50)}).metadata) == 50
    exactly = {"a": "x" * (16_384 - len('{"a":""}'))}
    assert make_customer(tenant, metadata=exactly).metadata == exactly


def test_create_customer__external_id_taken__conflict_in_this_workspace_only():
    tenant, other = make_workspace(), make_workspace()
    make_customer(tenant, external_id="acme")
    with pytest.raises(Conflict) as caught:
        make_customer(tenant, external_id="acme")
    assert caught.value.code == "external_id_taken"
    assert make_customer(other, external_id="acme").tenant_id == other.id
    assert actions(tenant, "customer") == ["customer.created"]


def test_update_customer__some_fields__others_stay_and_the_epoch_is_bumped():
    customer = make_customer(make_workspace(), name="Old", email="a@b.example")
    changed = update_customer(tenant=customer.tenant, customer_id=customer.id, actor=ACTOR, name="New")
    assert (changed.name, changed.email) == ("New", "a@b.example")
    assert last_entry(customer.tenant).changes == {"name": ["Old", "New"]}
    assert epoch(customer.tenant, customer.id) == 1


def test_update_customer__nothing_changes__no_audit_no_epoch():
    customer = make_customer(make_workspace(), name="Same")
    update_customer(tenant=customer.tenant, customer_id=customer.id, actor=ACTOR, name="Same")
    assert actions(customer.tenant, "customer") == ["customer.created"]
    assert epoch(customer.tenant, customer.id) == 0


def test_update_customer__of_another_workspace__not_found():
    customer, stranger = make_customer(make_workspace()), make_workspace()
    with pytest.raises(NotFound):
        update_customer(tenant=stranger, customer_id=customer.id, actor=ACTOR, name="Mine now")
    customer.refresh_from_db()
    assert customer.name != "Mine now"


def test_suspend_customer__twice__audited_once():
    customer = make_customer(make_workspace())
    for _ in range(2):
        customer = suspend_customer(tenant=customer.tenant, customer_id=customer.id, actor=ACTOR, reason="did not pay")
        assert customer.status == "suspended"
    assert actions(customer.tenant, "customer") == ["customer.created", "customer.suspended"]
    assert last_entry(customer.tenant).reason == "did not pay"
    assert epoch(customer.tenant, customer.id) == 1
    assert events(customer.tenant) == []


def test_archived_customer__suspend_or_change__conflict__reinstate__back():
    customer = make_customer(make_workspace())
    names = {"tenant": customer.tenant, "customer_id": customer.id, "actor": ACTOR}
    assert archive_customer(**names).status == "archived"
    for refused in (lambda: suspend_customer(**names), lambda: update_customer(**names, name="x")):
        with pytest.raises(Conflict) as caught:
            refused()
        assert caught.value.code == "customer_archived"
    assert reinstate_customer(**names).status == "active"
    assert actions(customer.tenant, "customer")[1:] == ["customer.archived", "customer.reinstated"]


@pytest.mark.django_db(transaction=True)
def test_get_or_create_customer__twelve_at_once__one_is_made():
    tenant = make_workspace()
    answers = at_once(
        [lambda: get_or_create_customer(tenant=tenant, actor=ACTOR, external_id="acme", name="Acme")] * 12
    )
    customers, made = zip(*answers, strict=True)
    assert {customer.id for customer in customers} == {Customer.objects.for_tenant(tenant).get().id}
    assert sum(made) == 1
    assert actions(tenant, "customer") == ["customer.created"]


@pytest.mark.django_db(transaction=True)
def test_update_customer__two_at_once__neither_is_lost():
    customer = make_customer(make_workspace())
    names = {"tenant": customer.tenant, "customer_id": customer.id, "actor": ACTOR}
    at_once(
        [
            lambda: update_customer(**names, name="Renamed"),
            lambda: update_customer(**names, email="new@acme.example"),
        ]
    )
    customer.refresh_from_db()
    assert (customer.name, customer.email) == ("Renamed", "new@acme.example")


@pytest.mark.django_db(transaction=True)
def test_suspend_customer__valkey_away__done_and_pending_until_it_is_told(settings):
    customer = make_customer(make_workspace())
    names = {"tenant": customer.tenant, "customer_id": customer.id, "actor": ACTOR}
    real = settings.REDIS_URL
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    for _ in range(2):
        with pytest.raises(RevocationPending):
            suspend_customer(**names)
    customer.refresh_from_db()
    assert customer.status == "suspended"
    settings.REDIS_URL = real
    assert suspend_customer(**names).status == "suspended"
    assert actions(customer.tenant, "customer") == ["customer.created", "customer.suspended"]
    key = EpochKey("customer", customer.id)
    assert read_epochs({customer.tenant_id: [key]}) == {customer.tenant_id: {key: 1}}
