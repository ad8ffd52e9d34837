from datetime import UTC, datetime, timedelta

import pytest

from common.clock import real_clock
from common.crypto import license_key_digests, normalize_license_key
from common.errors import Conflict, Invalid, NotFound
from licenses.models import License
from licenses.selectors.licenses import carried_plans, shown_status
from licenses.services.issuing import issue_license, rotate_license_key, update_license
from licenses.services.license_states import archive_license, revoke_license
from licenses.services.plans import archive_plan
from tenants.models import Customer
from tenants.services.customers import archive_customer
from tenants.services.workspaces import move_clock
from tests.factories import (
    ACTOR,
    issue,
    make_customer,
    make_feature,
    make_license,
    make_plan,
    make_product,
    make_shop,
    make_test_workspace,
    make_workspace,
)
from tests.parallel import at_once
from tests.trail import actions, epoch, event_types, events, last_entry

pytestmark = pytest.mark.django_db

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def product():
    return make_product(make_workspace())


def found_by(key):
    digests = [digest for _, digest in license_key_digests(normalize_license_key(key) or "")]
    return License.objects.filter(key_digest__in=digests).first()


def test_issue_license__customer_plan_and_nothing_else__starts_now_for_the_plans_term(product):
    plan = make_plan(product, code="pro", term={"months": 1})
    customer = make_customer(product.tenant)
    license, key = issue_license(tenant=product.tenant, actor=ACTOR, customer=customer, plan="pro")
    assert abs(license.starts_at - real_clock().now()) < timedelta(minutes=1)
    assert timedelta(days=28) <= license.expires_at - license.starts_at <= timedelta(days=31)
    assert (license.kind, license.status) == ("both", "active")
    assert found_by(key.lower().replace("0", "o")) == license
    assert key[-4:] == license.key_hint
    assert carried_plans(license).base == plan
    assert actions(product.tenant, "license") == ["license.issued"]
    [(type_, data)] = events(product.tenant)
    assert type_ == "license.issued"
    assert (data["license"], data["customer"], data["plan"]) == (
        license.public_id,
        customer.public_id,
        plan.public_id,
    )
    assert key not in str(last_entry(product.tenant).changes)
    assert key not in str(data)


def test_issue_license__term_ends_on_the_workspaces_calendar():
    tenant = make_workspace(timezone="Europe/Berlin")
    plan = make_plan(make_product(tenant), term={"months": 2})
    assert make_license(plan, starts_at=START).expires_at == datetime(2026, 3, 31, 11, tzinfo=UTC)


def test_issue_license__no_term__perpetual__an_expiry_of_its_own_wins(product):
    assert make_license(make_plan(product)).expires_at is None
    end = START + timedelta(days=3)
    assert make_license(make_plan(product, term={"years": 1}), starts_at=START, expires_at=end).expires_at == end


def test_issue_license__expiry_in_the_past__is_history(product):
    end = real_clock().now() - timedelta(days=400)
    license = make_license(make_plan(product), expires_at=end)
    assert (license.starts_at, license.expires_at) == (end, end)
    assert shown_status(license, real_clock().now()) == "expired"


@pytest.mark.parametrize(("length", "allowed"), [(timedelta(0), False), (timedelta(microseconds=1), True)])
def test_issue_license__ends_where_it_starts__refused_only_then(product, length, allowed):
    plan = make_plan(product)
    if allowed:
        assert make_license(plan, starts_at=START, expires_at=START + length).expires_at == START + length
    else:
        with pytest.raises(Invalid) as caught:
            make_license(plan, starts_at=START, expires_at=START + length)
        assert caught.value.errors[0]["code"] == "ends_before_start"
        assert not License.objects.exists()


def test_issue_license__moved_clock__starts_in_its_own_time():
    tenant = make_test_workspace()
    plan = make_plan(make_product(tenant))
    plan.tenant = move_clock(tenant_id=tenant.id, actor=ACTOR, by=timedelta(days=40))
    ahead = make_license(plan).starts_at - real_clock().now()
    assert timedelta(days=39, hours=23) < ahead <= timedelta(days=40)


def test_issue_license__inline_customer__made_once_and_found_again(product):
    plan = make_plan(product)
    inline = {"external_id": "acme", "name": "Acme"}
    first = issue(plan, customer=inline).license
    second = issue(plan, customer={"external_id": "acme", "name": "Other name"}).license
    by_text = issue(plan, customer="acme").license
    assert first.customer_id == second.customer_id == by_text.customer_id
    assert Customer.objects.get().name == "Acme"
    assert actions(product.tenant, "customer") == ["customer.created"]


@pytest.mark.django_db(transaction=True)
def test_issue_license__ten_at_once_for_one_new_customer__one_customer_ten_licences():
    plan = make_plan(make_product(make_workspace()))
    issued = at_once([lambda: issue(plan, customer={"external_id": "acme"})] * 10)
    assert [answer for answer in issued if isinstance(answer, Exception)] == []
    assert Customer.objects.count() == 1
    assert License.objects.count() == 10
    assert len({answer.license_key for answer in issued}) == 10


@pytest.mark.parametrize(
    ("fields", "field", "code"),
    [
        ({"customer": "cus_01h455vb4pex5vsknk084sn02q"}, "customer", "not_found"),
        ({"customer": "nobody"}, "customer", "not_found"),
        ({"customer": {"name": "Acme"}}, "customer.external_id", "invalid"),
        ({"customer": {"external_id": "a", "nme": "A"}}, "customer.nme", "unknown_field"),
        ({"customer": 5}, "customer", "not_found"),
        ({"plan": "unknown"}, "plan", "not_found"),
        ({"plan": None}, "plan", "not_found"),
        ({"add_ons": ["extra", "extra"]}, "add_ons.1", "duplicate"),
        ({"add_ons": ["foreign"]}, "add_ons.0", "other_product"),
        ({"add_ons": "extra"}, "add_ons", "invalid"),
        ({"kind": "golden"}, "kind", "invalid"),
        ({"starts_at": START.replace(tzinfo=None)}, "starts_at", "invalid"),
        ({"grants": [{"feature": "max_tools", "value": -1}]}, "grants.0.value", "invalid"),
        (
            {"grants": [{"feature": "max_tools", "value": 1, "starts_at": START, "expires_at": START}]},
            "grants.0.expires_at",
            "ends_before_start",
        ),
        ({"rate_limits": [{"level": "customer", "limit": 1, "window": 1}]}, "rate_limits.0.level", "invalid"),
        ({"metadata": {"a": []}}, "metadata.a", "invalid"),
    ],
)
def test_issue_license__bad_field__names_it_and_writes_nothing(product, fields, field, code):
    make_feature(product, code="max_tools", kind="limit")
    make_plan(product, code="extra")
    make_plan(make_product(product.tenant), code="foreign")
    asked = {"customer": {"external_id": "new"}, "plan": make_plan(product)} | fields
    with pytest.raises(Invalid) as caught:
        issue_license(tenant=product.tenant, actor=ACTOR, **asked)
    assert [(error["field"], error["code"]) for error in caught.value.errors] == [(field, code)]
    assert not License.objects.exists()
    assert not Customer.objects.exists()
    assert actions(product.tenant, "license") == actions(product.tenant, "customer") == []
    assert events(product.tenant) == []


def test_issue_license__archived_customer__conflict(product):
    customer = make_customer(product.tenant)
    archive_customer(tenant=product.tenant, customer_id=customer.id, actor=ACTOR)
    with pytest.raises(Conflict) as caught:
        issue(make_plan(product), customer)
    assert caught.value.code == "customer_archived"


def test_issue_license__only_signed__has_no_key(product):
    license, key = issue(make_plan(product), kind="signed")
    assert (key, license.key_digest, license.key_hint) == (None, None, "")


def test_issue_license__dated_grants_and_add_ons__kept_as_sent(product):
    make_feature(product, code="max_tools", kind="limit")
    add_ons = [make_plan(product), make_plan(product)]
    license = make_license(
        make_plan(product),
        add_ons=[add_ons[1].code, add_ons[0].public_id],
        grants=[
            {"feature": "max_tools", "value": 99, "starts_at": None, "expires_at": START},
            {"feature": "max_tools", "value": 5, "starts_at": START},
        ],
    )
    assert carried_plans(license).add_ons == (add_ons[1], add_ons[0])
    grants = license.grants.order_by("id").values_list("value", "starts_at", "expires_at")
    assert list(grants) == [(99, None, START), (5, START, None)]


def test_update_license__each_field__changed_audited_and_felt(product):
    license = make_license(make_plan(product), starts_at=START)
    end = START + timedelta(days=1)
    changed = update_license(
        tenant=product.tenant,
        license_id=license.id,
        actor=ACTOR,
        kind="opaque",
        expires_at=end,
        rate_limits=[{"level": "license", "limit": 5, "window": 1}],
        metadata={"po": "4711"},
        customer=license.customer.public_id,
    )
    assert (changed.kind, changed.expires_at, changed.metadata) == ("opaque", end, {"po": "4711"})
    assert last_entry(product.tenant).changes["expires_at"] == [None, "2026-02-01T12:00:00Z"]
    assert epoch(product.tenant, license.id) == 1
    assert update_license(tenant=product.tenant, license_id=license.id, actor=ACTOR, expires_at=None).expires_at is None


def test_update_license__another_expiry__is_made_known_again(product):
    license = make_license(make_plan(product), starts_at=START)
    License.objects.filter(pk=license.pk).update(expires_at=START + timedelta(days=1), expired_noted_at=START)
    names = {"tenant": product.tenant, "license_id": license.id, "actor": ACTOR}
    assert update_license(**names, metadata={"a": 1}).expired_noted_at == START
    assert update_license(**names, expires_at=START + timedelta(days=2)).expired_noted_at is None


@pytest.mark.parametrize("customer", ["other", {"external_id": "other"}])
def test_update_license__another_customer__refused(product, customer):
    make_customer(product.tenant, external_id="other")
    license = make_license(make_plan(product))
    with pytest.raises(Invalid) as caught:
        update_license(tenant=product.tenant, license_id=license.id, actor=ACTOR, customer=customer)
    assert (caught.value.errors[0]["field"], caught.value.errors[0]["code"]) == ("customer", "immutable")


def test_update_license__plans__swapped_kept_and_refused(product):
    basic, pro, extra = (make_plan(product) for _ in range(3))
    license = make_license(basic, add_ons=[extra])
    names = {"tenant": product.tenant, "license_id": license.id, "actor": ACTOR}
    update_license(**names, plan=pro.code)
    carried = carried_plans(License.objects.get(pk=license.pk))
    assert (carried.base, carried.add_ons) == (pro, (extra,))
    update_license(**names, plan=extra, add_ons=[pro])
    carried = carried_plans(License.objects.get(pk=license.pk))
    assert (carried.base, carried.add_ons) == (extra, (pro,))
    assert last_entry(product.tenant).changes == {
        "plan": [pro.code, extra.code],
        "add_ons": [[extra.code], [pro.code]],
    }
    with pytest.raises(Invalid) as caught:
        update_license(**names, plan=pro)
    assert caught.value.errors[0]["code"] == "duplicate"
    with pytest.raises(Invalid) as caught:
        update_license(**names, plan=make_plan(make_product(product.tenant)), add_ons=[])
    assert (caught.value.errors[0]["field"], caught.value.errors[0]["code"]) == ("plan", "other_product")
    assert epoch(product.tenant, license.id) == 2


def test_update_license__plan_that_it_carries_was_archived__may_stay(product):
    plan = make_plan(product)
    license = make_license(plan)
    archive_plan(tenant=product.tenant, plan_id=plan.id, actor=ACTOR)
    names = {"tenant": product.tenant, "license_id": license.id, "actor": ACTOR}
    extra = make_plan(product)
    update_license(**names, plan=plan.code, add_ons=[extra.code])
    assert carried_plans(license).add_ons == (extra,)


def test_update_license__archived_or_foreign__refused(product):
    license = make_license(make_plan(product))
    with pytest.raises(NotFound):
        update_license(tenant=make_workspace(), license_id=license.id, actor=ACTOR, metadata={})
    archive_license(tenant=product.tenant, license_id=license.id, actor=ACTOR)
    with pytest.raises(Conflict) as caught:
        update_license(tenant=product.tenant, license_id=license.id, actor=ACTOR, metadata={})
    assert caught.value.code == "license_archived"


@pytest.mark.django_db(transaction=True)
def test_update_license__two_at_once__neither_is_lost():
    license = make_license(make_plan(make_product(make_workspace())))
    names = {"tenant": license.tenant, "license_id": license.id, "actor": ACTOR}
    end = real_clock().now() + timedelta(days=9)
    at_once([lambda: update_license(**names, metadata={"a": 1}), lambda: update_license(**names, expires_at=end)])
    license.refresh_from_db()
    assert (license.metadata, license.expires_at) == ({"a": 1}, end)
    assert epoch(license.tenant, license.id) == 2


def test_rotate_license_key__old_one_is_unknown(product):
    license, old = issue(make_plan(product))
    rotated, new = rotate_license_key(tenant=product.tenant, license_id=license.id, actor=ACTOR)
    assert (found_by(old), found_by(new)) == (None, license)
    assert epoch(product.tenant, license.id) == 1
    assert last_entry(product.tenant).changes == {"key_hint": [license.key_hint, rotated.key_hint]}
    revoke_license(tenant=product.tenant, license_id=license.id, actor=ACTOR)
    with pytest.raises(Conflict) as caught:
        rotate_license_key(tenant=product.tenant, license_id=license.id, actor=ACTOR)
    assert caught.value.code == "license_revoked"


def test_shop__through_the_services__leaves_the_trail_of_each_step():
    shop = make_shop()
    assert actions(shop.tenant) == [
        "tenant.created",
        "product.created",
        "plan.created",
        "customer.created",
        "license.issued",
        "agent.created",
    ]
    assert event_types(shop.tenant) == ["license.issued", "agent.created"]
