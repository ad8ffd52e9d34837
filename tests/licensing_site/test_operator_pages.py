"""Every page of the operators' admin: it opens, it can be read by whoever may, nobody writes past a service."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tenants.models import AuditEntry, User
from tests.operators import SECRETS, Shop, make_operator, make_shop

pytestmark = pytest.mark.django_db

OURS = ("tenants", "licenses", "metering", "webhooks")
MODELS = sorted(m._meta.label_lower for m in admin.site._registry if m._meta.app_label in OURS)
#: What has forms: people, memberships, and the making of workspaces.
ADDABLE = {"tenants.user", "tenants.membership", "tenants.tenant"}
CHANGEABLE = {"tenants.user", "tenants.membership", "tenants.tenant"}
DELETABLE = {"tenants.membership"}
MAIN_LISTS = [
    "tenants.tenant",
    "tenants.customer",
    "tenants.auditentry",
    "licenses.license",
    "licenses.agent",
    "licenses.agentkey",
    "metering.usageevent",
    "metering.overagerecord",
    "metering.quota",
    "metering.balance",
    "metering.hold",
    "webhooks.webhookdelivery",
]


@pytest.fixture
def shop() -> Shop:
    return make_shop()


@pytest.fixture
def operator() -> User:
    return make_operator()


@pytest.fixture
def pages(operator: User) -> Client:
    client = Client()
    client.force_login(operator)
    return client


def url(label: str, page: str, *args: Any) -> str:
    app, model = label.split(".")
    return reverse(f"admin:{app}_{model}_{page}", args=args)


#: Bytes of uploads, digests and seen values: nothing that a person could read or should.
WITHOUT_PAGES = {"metering.ImportPart", "metering.BalanceValue", "metering.DimensionValue"}


def test_registry__all_four_apps__no_model_is_missing():
    from django.apps import apps

    models = [model for app in OURS for model in apps.get_app_config(app).get_models()]
    assert {model._meta.label for model in models if model not in admin.site._registry} == WITHOUT_PAGES


def test_world__every_model__has_a_row(shop):
    assert sorted(shop.rows) == MODELS


def test_pages__superuser__lists_and_details_open(shop, pages):
    for label in MODELS:
        listed = pages.get(url(label, "changelist"))
        assert listed.status_code == 200, label
        assert str(shop.rows[label].pk) in listed.content.decode(), label
        assert pages.get(url(label, "change", shop.rows[label].pk)).status_code == 200, label


def test_pages__every_list_and_detail__no_secret_in_the_html(shop, pages, operator):
    html = ""
    for label in MODELS:
        html += pages.get(url(label, "changelist")).content.decode()
        html += pages.get(url(label, "change", shop.rows[label].pk)).content.decode()
    html += pages.get(url("tenants.user", "change", operator.pk)).content.decode()
    for name, secret in SECRETS.items():
        for form in (secret.hex(), base64.b64encode(secret).decode(), base64.urlsafe_b64encode(secret).decode()):
            assert form.rstrip("=") not in html, name
        assert str(secret)[2:-1] not in html, name
    assert "pepper-7" not in html
    assert "job-input-secret" not in html
    assert "job-result-secret" not in html
    salt = AuditEntry.objects.get().salt
    assert salt is not None
    assert bytes(salt).hex() not in html
    for user in User.objects.all():
        assert user.password not in html
        assert user.password.split("$")[-1][:6] not in html
    assert "<script>alert(1)</script>" not in html


def test_lists__secret_columns__are_not_even_read(shop, pages):
    with CaptureQueriesContext(connection) as queries:
        for label in MODELS:
            pages.get(url(label, "changelist"))
    columns = ('"digest"', '"key_digest"', '"token_digest"', '"private_key"', '"secret"', '"previous_secret"', '"salt"')
    read = [q["sql"] for q in queries if any(f".{c}" in q["sql"].partition(" FROM ")[0] for c in columns)]
    # The register of event ids is named by a hash: that one is no secret.
    assert [sql for sql in read if '"metering_eventid"' not in sql] == []


def test_forms__read_only_models__refuse_add_change_and_delete(shop, pages):
    for label in MODELS:
        row = shop.rows[label]
        if label not in ADDABLE:
            assert pages.post(url(label, "add"), {}).status_code == 403, label
        if label not in CHANGEABLE:
            assert pages.post(url(label, "change", row.pk), {"status": "active"}).status_code == 403, label
        if label not in DELETABLE:
            assert pages.post(url(label, "delete", row.pk), {"post": "yes"}).status_code == 403, label
        assert type(row).objects.filter(pk=row.pk).exists(), label


def test_lists__bulk_delete__is_not_offered(shop, pages):
    for label in MODELS:
        answer = pages.post(
            url(label, "changelist"),
            {"action": "delete_selected", "_selected_action": [str(shop.rows[label].pk)], "post": "yes"},
        )
        assert answer.status_code in {200, 302}, label
        assert type(shop.rows[label]).objects.filter(pk=shop.rows[label].pk).exists(), label


@pytest.mark.parametrize("label", MAIN_LISTS)
def test_lists__one_row_or_twenty__same_few_queries(pages, label):
    make_shop("one")

    def queries() -> int:
        pages.get(url(label, "changelist"))
        with CaptureQueriesContext(connection) as captured:
            assert pages.get(url(label, "changelist")).status_code == 200
        return len(captured)

    first = queries()
    for number in range(4):
        make_shop(f"more-{number}")
    assert queries() == first
    assert first <= 25


def test_index__superuser__links_to_every_list_in_the_order_of_the_house(pages):
    html = pages.get("/admin/").content.decode()
    for label in MODELS:
        assert f'href="/admin/{label.replace(".", "/")}/"' in html, label
    places = [html.index(f'class="app-{app} module') for app in OURS]
    assert places == sorted(places)


def test_search__pasted_public_id__finds_the_row_and_what_refers_to_it(shop, pages):
    license = shop.workspace.license
    found = pages.get(url("licenses.license", "changelist"), {"q": f" {license.public_id} "}).context["cl"]
    assert [row.pk for row in found.result_list] == [license.pk]
    agents = pages.get(url("licenses.agent", "changelist"), {"q": license.public_id}).context["cl"]
    assert {row.pk for row in agents.result_list} == {shop.workspace.agent.pk, shop.workspace.worker.pk}
    events = pages.get(url("metering.usageevent", "changelist"), {"q": shop.workspace.agent.public_id}).context["cl"]
    assert [row.pk for row in events.result_list] == [shop.rows["metering.usageevent"].pk]
    trail = pages.get(url("tenants.auditentry", "changelist"), {"q": license.public_id}).context["cl"]
    assert {row.target_id for row in trail.result_list} == {license.public_id}


@pytest.mark.parametrize("term", ["lic_01h455vb4pex5vsknk084sn02q", "nothing", "a\x00b", "%", "'", "pm_ak_x_y"])
def test_search__anything_else__answers_without_rows_of_other_kinds(shop, pages, term):
    for label in MODELS:
        answer = pages.get(url(label, "changelist"), {"q": term})
        assert answer.status_code in {200, 302}, label


def test_search__whole_key_pasted__finds_its_row_by_the_part_that_names_it(shop, pages):
    from tenants.domain.actors import worker
    from tenants.services.api_keys import create_api_key

    created = create_api_key(tenant=shop.workspace.tenant, actor=worker("test"), name="Second")
    found = pages.get(url("tenants.apikey", "changelist"), {"q": created.text}).context["cl"]
    assert [row.pk for row in found.result_list] == [created.api_key.pk]


def test_search__side_bar__leads_from_an_id_to_its_page(shop, pages):
    agent = shop.workspace.agent
    html = pages.get("/admin/search/", {"s": agent.public_id, "extended": "1"}).content.decode()
    assert url("licenses.agent", "change", agent.pk) in html


def test_event__id_alone__opens_its_page(shop, pages):
    event = shop.rows["metering.usageevent"]
    html = pages.get(url("metering.usageevent", "change", event.pk)).content.decode()
    assert event.public_id in html
    assert "130.5" in html


def test_agent__its_page__shows_keys_quotas_and_last_events(shop, pages):
    html = pages.get(url("licenses.agent", "change", shop.workspace.agent.pk)).content.decode()
    assert "pm_ak_Cd…Qr34" in html
    assert shop.rows["metering.usageevent"].client_id in html
    panels = pages.get(url("licenses.agent", "change", shop.workspace.agent.pk)).context["panels"]
    [quotas] = [panel["table"]["rows"] for panel in panels if panel["title"] == "Quotas now"]
    assert [row[7] for row in quotas] == ["overage"]


def test_license__its_page__shows_plans_entitlements_agents_and_overages(shop, pages):
    panels = pages.get(url("licenses.license", "change", shop.workspace.license.pk)).context["panels"]
    rows = {panel["title"]: panel["table"]["rows"] for panel in panels}
    assert [row[1] for row in rows["Plans"]] == ["Base"]
    assert "large, small" in rows["Entitlements"][0][2]
    assert rows["Entitlements"][0][3] == "the license itself"
    assert len(rows["Newest agents"]) == 2
    assert "0.06" in rows["Last overages"][0][3]
    assert len(rows["Audit trail"]) == 1


def test_audit_entry__not_sealed_yet__is_sealed_when_it_is_read(shop, pages):
    from tenants.domain.actors import worker
    from tenants.services.auditing import record_audit

    entry = record_audit(
        tenant_id=shop.workspace.tenant.pk, actor=worker("x"), action="a.b", target=shop.workspace.license
    )
    html = pages.get(url("tenants.auditentry", "change", entry.pk)).content.decode()
    entry.refresh_from_db()
    assert entry.seal.sequence == 2
    assert bytes(entry.seal.hash).hex() in html


def test_door__stranger__is_led_to_the_log_in():
    answer = Client().get("/admin/")
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/admin/login/")
    answer = Client().get(answer.headers["Location"])
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/accounts/login/?next=")


def test_door__vendor_who_is_no_operator__is_refused(shop):
    client = Client()
    client.force_login(shop.rows["tenants.user"])
    assert client.get("/admin/", follow=True).status_code == 403
    for label in MODELS:
        assert client.get(url(label, "changelist"), follow=True).status_code == 403, label


def test_door__operator_without_permissions__sees_nothing(shop):
    client = Client()
    client.force_login(make_operator("new@example.com", is_superuser=False))
    html = client.get("/admin/").content.decode()
    for label in MODELS:
        row = shop.rows[label]
        assert f'href="/admin/{label.replace(".", "/")}/"' not in html, label
        assert client.get(url(label, "changelist")).status_code == 403, label
        assert client.get(url(label, "change", row.pk)).status_code == 403, label
    assert "Acme" not in client.get("/admin/search/", {"s": "acme", "extended": "1"}).content.decode()


def test_panels__operator_who_may_see_licenses_only__shows_no_other_tables(shop):
    from django.contrib.auth.models import Permission

    reader = make_operator("reader@example.com", is_superuser=False)
    reader.user_permissions.add(Permission.objects.get(codename="view_license"))
    client = Client()
    client.force_login(reader)
    answer = client.get(url("licenses.license", "change", shop.workspace.license.pk))
    assert answer.status_code == 200
    assert answer.context["panels"] == []
    assert "actions_detail" not in answer.context or not answer.context["actions_detail"]
