import pytest

from common.errors import Conflict, Invalid, NotFound
from licenses.models import Feature, Plan, Product
from licenses.services.catalogue import (
    archive_feature,
    archive_product,
    create_feature,
    create_product,
    update_feature,
    update_product,
)
from licenses.services.plans import archive_plan, create_plan, update_plan
from tests.factories import ACTOR, issue, make_feature, make_plan, make_product, make_workspace
from tests.trail import actions, epoch, last_entry

pytestmark = pytest.mark.django_db


@pytest.fixture
def product():
    return make_product(make_workspace(), code="researcher")


@pytest.fixture
def features(product):
    """One of each kind."""
    make_feature(product, code="web_search", kind="switch")
    make_feature(product, code="max_tools", kind="limit")
    make_feature(product, code="models", kind="choice", choices=["small", "large"])


@pytest.mark.parametrize("code", ["a", "researcher", "0.a_b-c", "x" * 64, "lic_tooshort"])
def test_create_product__good_code__kept(code):
    assert make_product(make_workspace(), code=code).code == code


@pytest.mark.parametrize(
    "code", ["", "A", "_a", ".a", "a b", "a\n", "x" * 65, "é", "prd_01h455vb4pex5vsknk084sn02q", None, 5]
)
def test_create_product__bad_code__refused_and_nothing_written(code):
    tenant = make_workspace()
    with pytest.raises(Invalid) as caught:
        create_product(tenant=tenant, actor=ACTOR, code=code, name="Researcher")
    assert [error["field"] for error in caught.value.errors] == ["code"]
    assert not Product.objects.exists()
    assert actions(tenant, "product") == []


def test_product__code_taken__conflict_on_create_and_change(product):
    make_product(product.tenant, code="writer")
    for clash in (
        lambda: make_product(product.tenant, code="writer"),
        lambda: update_product(tenant=product.tenant, product_id=product.id, actor=ACTOR, code="writer"),
    ):
        with pytest.raises(Conflict) as caught:
            clash()
        assert caught.value.code == "code_taken"
    assert make_product(make_workspace(), code="writer").code == "writer"


def test_update_product__changed_then_archived__then_refuses(product):
    names = {"tenant": product.tenant, "product_id": product.id, "actor": ACTOR}
    assert update_product(**names, description="Two\nlines").description == "Two\nlines"
    assert epoch(product.tenant, product.tenant_id) == 1
    assert archive_product(**names).archived_at == archive_product(**names).archived_at
    with pytest.raises(Conflict) as caught:
        update_product(**names, name="x")
    assert caught.value.code == "product_archived"
    assert actions(product.tenant, "product") == ["product.created", "product.updated", "product.archived"]
    for use in (lambda: make_feature(product), lambda: make_plan(product)):
        with pytest.raises(Invalid) as invalid:
            use()
        assert (invalid.value.errors[0]["field"], invalid.value.errors[0]["code"]) == ("product", "archived")


@pytest.mark.parametrize(
    ("fields", "field", "code"),
    [
        ({"kind": "colour"}, "kind", "invalid"),
        ({"kind": "choice"}, "choices", "required"),
        ({"kind": "choice", "choices": ["a", "a"]}, "choices.1", "duplicate"),
        ({"kind": "choice", "choices": "abc"}, "choices", "invalid"),
        ({"kind": "choice", "choices": [1]}, "choices.0", "invalid"),
        ({"kind": "switch", "choices": ["a"]}, "choices", "invalid"),
        ({"name": "\0"}, "name", "invalid"),
        ({"product": "unknown"}, "product", "not_found"),
        ({"product": "lic_01h455vb4pex5vsknk084sn02q"}, "product", "not_found"),
    ],
)
def test_create_feature__bad_field__names_it(product, fields, field, code):
    with pytest.raises(Invalid) as caught:
        create_feature(
            **{
                "tenant": product.tenant,
                "actor": ACTOR,
                "product": product,
                "code": "f",
                "name": "F",
                "kind": "switch",
                **fields,
            }
        )
    assert [(error["field"], error["code"]) for error in caught.value.errors] == [(field, code)]
    assert not Feature.objects.exists()


def test_create_feature__by_code_and_id_of_the_product__codes_are_its_own(product):
    other = make_product(product.tenant)
    named = {"tenant": product.tenant, "actor": ACTOR, "code": "f", "name": "F", "kind": "switch"}
    by_code = create_feature(**named, product="researcher")
    by_id = create_feature(**named, product=other.public_id)
    assert (by_code.product_id, by_id.product_id) == (product.id, other.id)
    with pytest.raises(Conflict) as caught:
        make_feature(product, code="f")
    assert caught.value.code == "code_taken"


def test_create_feature__product_of_another_workspace__as_if_there_were_none(product):
    stranger = make_workspace()
    for reference in (product, product.id, product.public_id, "researcher"):
        with pytest.raises(Invalid) as caught:
            create_feature(tenant=stranger, actor=ACTOR, product=reference, code="f", name="F", kind="switch")
        assert caught.value.errors[0]["code"] == "not_found"


def test_update_feature__choices__granted_ones_stay(product, features):
    feature = Feature.objects.get(code="models")
    names = {"tenant": product.tenant, "feature_id": feature.id, "actor": ACTOR}
    make_plan(product, grants=[{"feature": "models", "value": ["small"]}])
    assert update_feature(**names, choices=["small", "huge"]).choices == ["small", "huge"]
    with pytest.raises(Conflict) as caught:
        update_feature(**names, choices=["huge"])
    assert (caught.value.code, caught.value.extra) == ("choice_in_use", {"choice": "small"})
    assert Feature.objects.get(pk=feature.pk).choices == ["small", "huge"]


@pytest.mark.parametrize(("field", "value"), [("code", "other"), ("kind", "switch"), ("product", "writer")])
def test_update_feature__what_never_changes__refused_unless_the_same(product, features, field, value):
    make_product(product.tenant, code="writer")
    feature = Feature.objects.get(code="models")
    names = {"tenant": product.tenant, "feature_id": feature.id, "actor": ACTOR}
    with pytest.raises(Invalid) as caught:
        update_feature(**names, **{field: value})
    assert (caught.value.errors[0]["field"], caught.value.errors[0]["code"]) == (field, "immutable")
    assert update_feature(**names, name="New", code="models", kind="choice", product="researcher").name == "New"


def test_archive_feature__granted_already__stays_in_its_plan_but_goes_into_no_other(product, features):
    feature = Feature.objects.get(code="web_search")
    grants = [{"feature": "web_search", "value": True}]
    plan = make_plan(product, grants=grants)
    archive_feature(tenant=product.tenant, feature_id=feature.id, actor=ACTOR)
    names = {"tenant": product.tenant, "plan_id": plan.id, "actor": ACTOR}
    update_plan(**names, grants=[{"feature": "web_search", "value": False}])
    assert plan.grants.get().value is False
    with pytest.raises(Invalid) as caught:
        make_plan(product, grants=grants)
    assert caught.value.errors[0]["field"] == "grants.0.feature"
    with pytest.raises(Conflict):
        update_feature(tenant=product.tenant, feature_id=feature.id, actor=ACTOR, name="x")


def test_create_plan__everything__stored_and_audited(product, features):
    plan = create_plan(
        tenant=product.tenant,
        actor=ACTOR,
        code="pro",
        name="Pro",
        product="researcher",
        term={"months": 12},
        grace_days=7,
        activation_limit=3,
        agent_limit=50,
        token_ttl=60,
        rate_limits=[{"level": "agent", "limit": 600, "window": 60}],
        grants=[
            {"feature": "models", "value": ["large"]},
            {"feature": "web_search", "value": True},
            {"feature": "max_tools", "value": 0},
        ],
    )
    stored = Plan.objects.get(pk=plan.pk)
    assert (stored.term, stored.grace_days, stored.token_ttl, stored.agent_limit) == ({"months": 12}, 7, 60, 50)
    assert stored.rate_limits == [{"level": "agent", "limit": 600, "window": 60, "burst": 600}]
    values = {grant.feature.code: grant.value for grant in stored.grants.all()}
    assert values == {"models": ["large"], "web_search": True, "max_tools": 0}
    assert last_entry(product.tenant).changes["grants"] == [None, values]


@pytest.mark.parametrize(
    ("fields", "field", "code"),
    [
        ({"term": {}}, "term", "invalid"),
        ({"term": {"months": 0}}, "term", "invalid"),
        ({"term": {"months": -1}}, "term.months", "invalid"),
        ({"term": {"weeks": 1}}, "term.weeks", "unknown_field"),
        ({"term": "year"}, "term", "invalid"),
        ({"grace_days": -1}, "grace_days", "invalid"),
        ({"grace_days": 1.5}, "grace_days", "invalid"),
        ({"token_ttl": 0}, "token_ttl", "invalid"),
        ({"agent_limit": 2**31}, "agent_limit", "invalid"),
        ({"activation_required": "yes"}, "activation_required", "invalid"),
        ({"activation_lease": 0}, "activation_lease", "invalid"),
        ({"activation_lease": 10 * 366 * 86_400 + 1}, "activation_lease", "invalid"),
        ({"lapse_policy": "shrug"}, "lapse_policy", "invalid"),
        ({"rate_limits": [{"limit": 1, "window": 1}]}, "rate_limits.0.level", "invalid"),
        ({"rate_limits": [{"level": "tenant", "limit": 1, "window": 1}]}, "rate_limits.0.level", "invalid"),
        ({"grants": {"web_search": True}}, "grants", "invalid"),
        ({"grants": [5]}, "grants.0", "invalid"),
        ({"grants": [{"feature": "web_search"}]}, "grants.0.value", "invalid"),
        ({"grants": [{"feature": "web_search", "value": 1}]}, "grants.0.value", "invalid"),
        ({"grants": [{"feature": "max_tools", "value": True}]}, "grants.0.value", "invalid"),
        ({"grants": [{"feature": "max_tools", "value": -1}]}, "grants.0.value", "invalid"),
        ({"grants": [{"feature": "max_tools", "value": 1.5}]}, "grants.0.value", "invalid"),
        ({"grants": [{"feature": "models", "value": "large"}]}, "grants.0.value", "invalid"),
        ({"grants": [{"feature": "models", "value": ["small", "tiny"]}]}, "grants.0.value.1", "unknown_choice"),
        ({"grants": [{"feature": "unknown", "value": True}]}, "grants.0.feature", "not_found"),
        ({"grants": [{"value": True}]}, "grants.0.feature", "not_found"),
        ({"grants": [{"feature": "foreign", "value": True}]}, "grants.0.feature", "not_found"),
        ({"grants": [{"feature": "web_search", "value": True, "until": 1}]}, "grants.0.until", "unknown_field"),
        ({"grants": [{"feature": "web_search", "value": True}] * 2}, "grants.1.feature", "duplicate"),
    ],
)
def test_create_plan__bad_field__names_it_and_writes_nothing(product, features, fields, field, code):
    make_feature(make_product(product.tenant), code="foreign")
    with pytest.raises(Invalid) as caught:
        make_plan(product, **fields)
    assert [(error["field"], error["code"]) for error in caught.value.errors] == [(field, code)]
    assert not Plan.objects.exists()
    assert actions(product.tenant, "plan") == []


def test_update_plan__grants__replace_the_list_and_keep_what_stays(product, features):
    plan = make_plan(
        product,
        name="Pro",
        grants=[{"feature": "web_search", "value": True}, {"feature": "max_tools", "value": 5}],
    )
    kept = plan.grants.get(feature__code="max_tools").id
    names = {"tenant": product.tenant, "plan_id": plan.id, "actor": ACTOR}
    update_plan(**names, grants=[{"feature": "max_tools", "value": 9}, {"feature": "models", "value": ["small"]}])
    assert {grant.feature.code: grant.value for grant in plan.grants.all()} == {"max_tools": 9, "models": ["small"]}
    assert plan.grants.get(feature__code="max_tools").id == kept
    assert last_entry(product.tenant).changes == {
        "grants": [{"max_tools": 5, "web_search": True}, {"max_tools": 9, "models": ["small"]}]
    }
    assert epoch(product.tenant, product.tenant_id) == 1
    update_plan(**names, grants=[{"feature": "models", "value": ["small"]}, {"feature": "max_tools", "value": 9}])
    assert epoch(product.tenant, product.tenant_id) == 1
    update_plan(**names, grants=[])
    assert not plan.grants.exists()
    assert Plan.objects.get(pk=plan.pk).name == "Pro"


def test_update_plan__refused_in_the_middle__nothing_changes(product, features):
    plan = make_plan(product, name="Pro", grants=[{"feature": "max_tools", "value": 5}])
    with pytest.raises(Invalid):
        update_plan(
            tenant=product.tenant,
            plan_id=plan.id,
            actor=ACTOR,
            name="New",
            grants=[{"feature": "max_tools", "value": 6}, {"feature": "models", "value": ["huge"]}],
        )
    assert (Plan.objects.get(pk=plan.pk).name, plan.grants.get().value) == ("Pro", 5)
    assert actions(product.tenant, "plan") == ["plan.created"]
    assert epoch(product.tenant, product.tenant_id) == 0


def test_update_plan__null__makes_perpetual_and_unlimited(product):
    plan = make_plan(product, term={"days": 30}, agent_limit=5)
    changed = update_plan(tenant=product.tenant, plan_id=plan.id, actor=ACTOR, term=None, agent_limit=None)
    assert (changed.term, changed.agent_limit) == (None, None)
    assert last_entry(product.tenant).changes == {"term": [{"days": 30}, None], "agent_limit": [5, None]}


def test_archive_plan__no_new_licence__and_another_workspace_cannot(product):
    plan = make_plan(product)
    with pytest.raises(NotFound):
        archive_plan(tenant=make_workspace(), plan_id=plan.id, actor=ACTOR)
    issue(plan)
    archive_plan(tenant=product.tenant, plan_id=plan.id, actor=ACTOR)
    with pytest.raises(Invalid) as caught:
        issue(plan)
    assert (caught.value.errors[0]["field"], caught.value.errors[0]["code"]) == ("plan", "archived")
    with pytest.raises(Conflict) as conflict:
        update_plan(tenant=product.tenant, plan_id=plan.id, actor=ACTOR, name="x")
    assert conflict.value.code == "plan_archived"
