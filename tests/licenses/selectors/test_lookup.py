import re

import pytest

from common.errors import Invalid, NotFound
from licenses.selectors import lookup
from tests.factories import make_feature, make_shop, make_workspace

pytestmark = pytest.mark.django_db

KINDS = ["product", "feature", "plan", "license", "agent", "customer"]


@pytest.fixture
def shop():
    return make_shop()


def things(shop):
    feature = make_feature(shop.product)
    return {
        "product": (shop.product, shop.product.code),
        "feature": (feature, None),
        "plan": (shop.plan, shop.plan.code),
        "license": (shop.license, None),
        "agent": (shop.agent, None),
        "customer": (shop.customer, shop.customer.external_id),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_resolve__row_uuid_id_or_code__the_same_thing(shop, kind):
    thing, code = things(shop)[kind]
    resolve = getattr(lookup, f"resolve_{kind}")
    for reference in (thing, thing.id, thing.public_id, *([code] if code else [])):
        assert resolve(shop.tenant, reference) == thing


@pytest.mark.parametrize("kind", KINDS)
def test_resolve__unknown_malformed_or_foreign__names_the_field(shop, kind):
    thing, code = things(shop)[kind]
    resolve = getattr(lookup, f"resolve_{kind}")
    wrong = ["", "unknown", "a\0b", "\ud800", "x" * 10_000, 5, None, {}, thing.public_id.upper(), thing.public_id[:-1]]
    for reference in wrong:
        with pytest.raises(Invalid) as caught:
            resolve(shop.tenant, reference, field="here")
        assert [(error["field"], error["code"]) for error in caught.value.errors] == [("here", "not_found")]
    stranger = make_workspace()
    details = set()
    for reference in (thing.public_id, code or "unknown", "unknown"):
        with pytest.raises(Invalid) as caught:
            resolve(stranger, reference)
        details.add(re.sub("'.*'", "SENT", caught.value.detail))
    assert len(details) == 1  # another workspace's things cannot be told from none


@pytest.mark.parametrize("kind", KINDS)
def test_get__of_a_url__found_or_not(shop, kind):
    thing, _ = things(shop)[kind]
    get = getattr(lookup, f"get_{kind}")
    assert get(shop.tenant, thing.public_id) == thing
    for tenant, reference in (
        (make_workspace(), thing.public_id),
        (shop.tenant, "unknown"),
        (shop.tenant, "tok_01h455vb4pex5vsknk084sn02q"),
        (shop.tenant, "a\0b"),
    ):
        with pytest.raises(NotFound):
            get(tenant, reference)


def test_resolve_feature__by_code__within_its_product_only(shop):
    feature = make_feature(shop.product, code="web_search")
    assert lookup.resolve_feature(shop.tenant, "web_search", product=shop.product) == feature
    other = make_shop(tenant=shop.tenant).product
    for product in (other, other.id, None):
        with pytest.raises(Invalid):
            lookup.resolve_feature(shop.tenant, "web_search", product=product)


def test_get_agent_key__of_its_agent_only(shop):
    key = shop.agent.keys.get()
    assert lookup.get_agent_key(shop.tenant, shop.agent, key.public_id) == key
    with pytest.raises(NotFound):
        lookup.get_agent_key(shop.tenant, make_shop(tenant=shop.tenant).agent, key.public_id)
