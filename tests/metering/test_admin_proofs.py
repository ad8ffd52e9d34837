"""Operators prove a workspace's ledger and put it right, from the workspace's page."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.contrib.messages import get_messages
from django.db.models import F
from django.test import Client
from django.urls import reverse

from common.ids import Prefix, encode_id
from metering.domain.enums import Scope
from metering.models import Balance, OverageRecord
from metering.services.verification import verify_ledger
from tenants.models import AuditEntry
from tests.metering.services.test_verification import busy_workspace
from tests.operators import make_operator

pytestmark = pytest.mark.django_db(transaction=True)


def page(name: str, *args: Any) -> str:
    return reverse(f"admin:tenants_tenant_{name}", args=args)


def repair(client: Client, tenant: Any) -> list[tuple[str, str]]:
    answer = client.post(page("verify_and_repair", tenant.pk), {"reason": "A restored backup"})
    assert answer.status_code == 302
    return [(message.level_tag, message.message) for message in get_messages(answer.wsgi_request)]


def test_verify_and_repair__asked_first__then_mends_this_workspace_alone_and_is_audited() -> None:
    workspace, other = busy_workspace(), busy_workspace("other")
    Balance.objects.filter(scope=Scope.TENANT).update(used=F("used") + 1)
    client, operator = Client(), make_operator()
    client.force_login(operator)
    here = page("verify_and_repair", workspace.tenant.pk)

    assert f'href="{here}"' in client.get(page("change", workspace.tenant.pk)).content.decode()
    assert "This cannot be undone." in client.get(here).content.decode()
    assert len(verify_ledger(tenant=workspace.tenant).differences) == 1
    assert [level for level, _ in repair(client, workspace.tenant)] == ["success"]

    assert verify_ledger(tenant=workspace.tenant).differences == ()
    assert len(verify_ledger(tenant=other.tenant).differences) == 1
    entry = AuditEntry.objects.get(action="ledger.repaired")
    assert (entry.tenant_id, entry.actor_id) == (workspace.tenant.id, encode_id(Prefix.USER, operator.pk))
    assert (entry.reason, len(entry.changes)) == ("A restored backup", 1)


def test_verify_and_repair__what_stays__is_named() -> None:
    workspace = busy_workspace()
    OverageRecord.objects.filter(status="finalized").update(amount=1)
    client = Client()
    client.force_login(make_operator())

    [(level, text)] = repair(client, workspace.tenant)

    assert level == "error"
    assert "0 mended, " in text
    assert OverageRecord.objects.get(status="finalized").public_id in text
    assert OverageRecord.objects.get(status="finalized").amount == 1


def test_verify_and_repair__operator_who_may_only_look__is_refused() -> None:
    workspace = busy_workspace()
    Balance.objects.filter(scope=Scope.TENANT).update(used=F("used") + 1)
    reader = make_operator("reader@example.com", is_superuser=False)
    reader.user_permissions.add(Permission.objects.get(content_type__app_label="tenants", codename="view_tenant"))
    client = Client()
    client.force_login(reader)

    assert client.post(page("verify_and_repair", workspace.tenant.pk)).status_code == 403
    assert len(verify_ledger().differences) == 1
