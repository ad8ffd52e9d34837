"""What operators do to rows: by services, by name, with a reason, one row at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from common.epochs import EpochsUnpublished
from common.ids import Prefix, encode_id
from licenses.models import License
from licenses.services.license_states import revoke_license
from tenants.domain.actors import worker
from tenants.models import AuditEntry, Epoch
from tests.metering.meter_world import Meters, card
from tests.operators import Shop, make_operator, make_shop

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class Case:
    """One operation: on which model, under which name, what it audits, and what must be done before."""

    label: str
    name: str
    action: str
    status: str
    for_good: bool = False
    after: str = ""

    def __str__(self) -> str:
        return f"{self.label}-{self.name}"


CASES = [
    Case("tenants.tenant", "suspend", "tenant.suspended", "suspended"),
    Case("tenants.tenant", "reinstate", "tenant.reinstated", "active", after="suspend"),
    Case("tenants.customer", "suspend", "customer.suspended", "suspended"),
    Case("tenants.customer", "reinstate", "customer.reinstated", "active", after="suspend"),
    Case("licenses.license", "suspend", "license.suspended", "suspended"),
    Case("licenses.license", "reinstate", "license.reinstated", "active", after="suspend"),
    Case("licenses.license", "revoke", "license.revoked", "revoked", for_good=True),
    Case("licenses.agent", "suspend", "agent.suspended", "suspended"),
    Case("licenses.agent", "suspend_subtree", "agent.suspended", "suspended"),
    Case("licenses.agent", "resume", "agent.resumed", "active", after="suspend"),
    Case("licenses.agent", "revoke", "agent.revoked", "revoked", for_good=True),
    Case("metering.runawayincident", "undo", "runaway_incident.undone", ""),
    Case("metering.topup", "void", "top_up.voided", "", for_good=True),
    Case("tenants.apikey", "revoke", "api_key.revoked", "", for_good=True),
    Case("licenses.agentkey", "revoke", "agent_key.revoked", "", for_good=True),
    Case("licenses.signingkey", "rotate", "signing_key.retired", "retired"),
    Case("licenses.signingkey", "revoke", "signing_key.revoked", "compromised", for_good=True),
    Case("licenses.issuedtoken", "revoke", "token.revoked", "", for_good=True),
]


@pytest.fixture
def shop() -> Shop:
    return make_shop()


@pytest.fixture
def pages() -> Client:
    client = Client()
    client.force_login(make_operator())
    return client


def url(label: str, page: str, *args: Any) -> str:
    app, model = label.split(".")
    return reverse(f"admin:{app}_{model}_{page}", args=args)


def run(pages: Client, label: str, name: str, *rows: Any, **more: str) -> Any:
    """From the list, with a reason."""
    data = {"action": f"{name}_selected", "_selected_action": [str(row.pk) for row in rows], "reason": "Abuse", **more}
    return pages.post(url(label, "changelist"), data)


def told(answer: Any) -> list[tuple[str, str]]:
    return [(message.level_tag, message.message) for message in get_messages(answer.wsgi_request)]


def is_in(row: Any, status: str) -> bool:
    if status:
        return bool(row.status == status)
    return any(getattr(row, ended, None) is not None for ended in ("undone_at", "voided_at", "revoked_at"))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_operation__from_the_list__done_by_the_operator_with_a_reason(case, shop, pages):
    row = shop.rows[case.label]
    if case.after:
        run(pages, case.label, case.after, row)
    answer = run(pages, case.label, case.name, row, **({"confirmed": "yes"} if case.for_good else {}))
    assert answer.status_code == 302
    assert told(answer)[-1][0] == "success"
    row.refresh_from_db()
    assert is_in(row, case.status)
    entry = AuditEntry.objects.filter(target_id=row.public_id).latest("id")
    operator = answer.wsgi_request.user
    assert entry.action == case.action
    assert (entry.actor_kind, entry.actor_id) == ("operator", encode_id(Prefix.USER, operator.pk))
    assert (entry.actor_name, entry.address, entry.reason) == ("root@example.com", "127.0.0.1", "Abuse")
    assert entry.request_id == answer.headers["X-Request-Id"]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_operation__on_the_row_s_own_page__asks_then_does_it(case, shop, pages):
    row = shop.rows[case.label]
    if case.after:
        run(pages, case.label, case.after, row)
    here = url(case.label, case.name, row.pk)
    assert f'href="{here}"' in pages.get(url(case.label, "change", row.pk)).content.decode()
    asked = pages.get(here)
    assert asked.status_code == 200
    assert ("This cannot be undone." in asked.content.decode()) is case.for_good
    row.refresh_from_db()
    assert not is_in(row, case.status)
    answer = pages.post(here, {"reason": "Asked by the vendor"})
    assert answer.headers["Location"] == url(case.label, "change", row.pk)
    row.refresh_from_db()
    assert is_in(row, case.status)
    assert AuditEntry.objects.filter(target_id=row.public_id).latest("id").reason == "Asked by the vendor"
    assert f'href="{here}"' not in pages.get(url(case.label, "change", row.pk)).content.decode()


@pytest.mark.parametrize("case", [case for case in CASES if case.for_good], ids=str)
def test_operation__for_good_without_confirmation__asks_and_changes_nothing(case, shop, pages):
    row = shop.rows[case.label]
    answer = run(pages, case.label, case.name, row)
    assert answer.status_code == 200
    assert row.public_id in answer.content.decode()
    row.refresh_from_db()
    assert not is_in(row, case.status)
    assert not AuditEntry.objects.filter(target_id=row.public_id, action=case.action).exists()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_operation__operator_who_may_only_look__is_refused(case, shop):
    app, model = case.label.split(".")
    reader = make_operator("reader@example.com", is_superuser=False)
    reader.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=f"view_{model}"))
    client = Client()
    client.force_login(reader)
    row = shop.rows[case.label]
    before = type(row).objects.filter(pk=row.pk).values().get()
    run(client, case.label, case.name, row, confirmed="yes")
    assert client.get(url(case.label, case.name, row.pk)).status_code == 403
    assert client.post(url(case.label, case.name, row.pk)).status_code == 403
    assert type(row).objects.filter(pk=row.pk).values().get() == before


def test_operation__some_rows_fail__the_others_are_done_and_each_failure_is_named(shop, pages):
    good, bad = shop.workspace.license, make_shop("other").workspace.license
    revoke_license(tenant=bad.tenant, license_id=bad.pk, actor=worker("test"))
    answer = run(pages, "licenses.license", "suspend", good, bad)
    messages = told(answer)
    assert messages[0] == ("success", f"Suspended license {good.public_id}.")
    assert messages[1][0] == "error"
    assert messages[1][1].startswith(f"{bad.public_id} was not suspended: ")
    assert messages[1][1].endswith("(license_revoked)")
    good.refresh_from_db()
    bad.refresh_from_db()
    assert (good.status, bad.status) == ("suspended", "revoked")


def test_operation__suspended_twice__same_answer_and_one_audit_entry(shop, pages):
    license = shop.workspace.license
    run(pages, "licenses.license", "suspend", license)
    assert told(run(pages, "licenses.license", "suspend", license))[-1][0] == "success"
    assert AuditEntry.objects.filter(target_id=license.public_id, action="license.suspended").count() == 1


@pytest.mark.django_db(transaction=True)
def test_operation__valkey_cannot_be_told__done_and_said_so(pages, monkeypatch):
    shop = make_shop()

    def unreachable(_pairs: Any) -> None:
        raise EpochsUnpublished

    monkeypatch.setattr("tenants.services.epochs.publish_epochs", unreachable)
    license = shop.workspace.license
    answer = pages.post(url("licenses.license", "revoke", license.pk), {"reason": ""})
    assert told(answer) == [
        (
            "warning",
            f"{license.public_id} is revoked, but not every process knows yet. Repeat to see when they do.",
        )
    ]
    assert License.objects.get(pk=license.pk).status == "revoked"
    assert Epoch.objects.get(subject_id=license.pk).version == 4


def test_operation__reason_too_long__refused_in_words(shop, pages):
    answer = run(pages, "licenses.license", "suspend", shop.workspace.license, reason="x" * 501)
    assert told(answer)[0][0] == "error"
    shop.workspace.license.refresh_from_db()
    assert shop.workspace.license.status == "active"


def test_operation__row_that_is_gone__back_to_the_index(shop, pages):
    from common.ids import new_id

    assert pages.post(url("licenses.license", "revoke", new_id())).status_code == 302
    assert pages.get(url("licenses.license", "revoke", "no-uuid")).status_code == 302


def test_operation__without_csrf_token__refused(shop):
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_operator())
    license = shop.workspace.license
    assert client.post(url("licenses.license", "revoke", license.pk)).status_code == 403
    license.refresh_from_db()
    assert license.status == "active"


def test_throttle__an_agent__ten_calls_a_minute_for_an_hour(shop: Shop, pages: Client) -> None:
    agent = shop.rows["licenses.agent"]

    run(pages, "licenses.agent", "throttle", agent)

    agent.refresh_from_db()
    assert {name: agent.throttle[name] for name in ("limit", "window", "reason")} == {
        "limit": 10,
        "window": 60,
        "reason": "Abuse",
    }


def test_archive__of_a_meter__is_refused_while_it_is_in_use_and_done_once_it_is_not(pages):
    meters = Meters()
    meters.make("calls")
    spend = meters.make("spend", rate_card=card(("calls", "0.5")))
    calls = spend.rate_card.get().source

    refused = run(pages, "metering.meter", "archive", calls, confirmed="yes")
    assert told(refused)[-1][0] == "error"
    for meter in (spend, calls):
        assert told(run(pages, "metering.meter", "archive", meter, confirmed="yes"))[-1][0] == "success"
        meter.refresh_from_db()
        assert meter.archived_at is not None
        entry = AuditEntry.objects.filter(target_id=meter.public_id).latest("id")
        assert (entry.action, entry.actor_kind, entry.reason) == ("meter.archived", "operator", "Abuse")


def test_page__of_a_meter__shows_its_rates_and_the_values_of_its_dimensions(pages):
    meters = Meters()
    calls = meters.make("calls", dimensions=[{"name": "tool", "max_values": 3}])
    meters.post(("calls", "1", {"tool": "rare-tool"}))
    spend = meters.make("spend", rate_card=card(("calls", "0.0625", {"tool": "rare-tool"})))

    assert "rare-tool" in pages.get(url("metering.meter", "change", calls.pk)).content.decode()
    assert "0.0625" in pages.get(url("metering.meter", "change", spend.pk)).content.decode()
