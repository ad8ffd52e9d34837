"""Operators name and limit workspaces; nothing else of them changes there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tenants.models import AuditEntry, Tenant
from tests.factories import make_workspace
from tests.operators import make_operator

pytestmark = pytest.mark.django_db


@pytest.fixture
def pages() -> Client:
    client = Client()
    client.force_login(make_operator())
    return client


def change(pages: Client, tenant: Tenant, **fields: Any) -> Any:
    sent = {"name": tenant.name, "rate_limits": "[]", **fields}
    return pages.post(reverse("admin:tenants_tenant_change", args=[tenant.pk]), sent)


def test_workspace__limited_by_an_operator__is_audited_and_all_else_stays(pages: Client) -> None:
    tenant = make_workspace()
    limits = [{"limit": 100, "window": 60, "burst": 20}]

    answer = change(pages, tenant, rate_limits=json.dumps(limits), currency="JPY", timezone="Asia/Tokyo", slug="other")

    assert answer.status_code == 302
    now = Tenant.objects.get(pk=tenant.pk)
    assert (now.rate_limits, now.name) == (limits, tenant.name)
    assert (now.currency, now.timezone, now.slug) == (tenant.currency, tenant.timezone, tenant.slug)
    entry = AuditEntry.objects.get(tenant=tenant, action="tenant.updated")
    assert (entry.actor_kind, entry.changes) == ("operator", {"rate_limits": [[], limits]})
    assert change(pages, tenant, rate_limits="").status_code == 302
    assert Tenant.objects.get(pk=tenant.pk).rate_limits == []


@pytest.mark.parametrize("text", ['[{"limit": 0, "window": 60}]', "[5]", '{"limit": 1}', "nonsense"])
def test_workspace__limits_that_do_not_hold__form_again_and_nothing_changed(pages: Client, text: str) -> None:
    tenant = make_workspace()

    answer = change(pages, tenant, rate_limits=text, name="Renamed")

    assert answer.status_code == 200
    now = Tenant.objects.get(pk=tenant.pk)
    assert (now.rate_limits, now.name) == ([], tenant.name)
