"""What the operators' pages show: a workspace with at least one row in every table, and secrets that are known."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Model

from common.ids import new_id
from licenses.models import (
    Activation,
    AgentKey,
    Feature,
    IssuedToken,
    License,
    LicenseGrant,
    LicensePlan,
    LicenseTransfer,
    PlanGrant,
    SigningKey,
)
from metering.domain.enums import QuotaMode, Scope
from metering.models import (
    CallProfile,
    DroppedMonth,
    EventId,
    HoldLine,
    LateEntry,
    OverageRecord,
    RateCardEntry,
    RollupCursor,
    RunawayIncident,
    RunawayPolicy,
    Statement,
    TopUp,
    TopUpBurn,
    UsageRollup,
)
from tenants.domain.actors import worker
from tenants.models import (
    ApiKey,
    AuditChain,
    AuditEntry,
    AuditSeal,
    Epoch,
    IdempotencyRecord,
    Invitation,
    Job,
    Membership,
    OutboxEvent,
    User,
)
from tenants.services.auditing import record_audit
from tenants.services.sealing import seal_audit
from tests.metering.ledger_rows import Workspace
from webhooks.models import DeliveryAttempt, WebhookDelivery, WebhookEndpoint

_RUNAWAY = {
    "rule": "calls_per_minute",
    "limit": "100",
    "action": "notify",
    "window": 60,
    "minimum_calls": None,
    "meter": None,
    "throttle_to": None,
    "for": None,
}
PASSWORD = "correct horse battery staple"


def secret(number: int) -> bytes:
    """32 bytes that cannot come up by chance."""
    return bytes((0xA5, number)) * 16


SECRETS = {
    name: secret(number)
    for number, name in enumerate(
        ("api key", "agent key", "license key", "invitation", "private key", "answer", "webhook", "old webhook")
    )
}


@dataclass
class Shop:
    """The workspace, and a row of each model by its label."""

    workspace: Workspace
    rows: dict[str, Any] = field(default_factory=dict)

    def add(self, *rows: Model) -> None:
        for row in rows:
            self.rows[row._meta.label_lower] = row


def make_operator(email: str = "root@example.com", **fields: Any) -> User:
    """A superuser, unless told otherwise."""
    values = {"is_staff": True, "is_superuser": True, **fields}
    return User.objects.create_user(email, PASSWORD, **values)


def make_shop(slug: str = "acme") -> Shop:
    """A workspace with a row in every table."""
    workspace = Workspace.make(slug)
    shop = Shop(workspace)
    shop.add(workspace.tenant, workspace.customer, workspace.product, workspace.plan, workspace.license)
    shop.add(workspace.agent, workspace.meter)
    _add_people(shop)
    _add_licensing(shop)
    _add_metering(shop)
    _add_records(shop)
    return shop


def _add_people(shop: Shop) -> None:
    tenant = shop.workspace.tenant
    user = User.objects.create_user(f"owner@{tenant.slug}.example", PASSWORD, name="Olive Owner")
    key = {"pepper_id": "pepper-7", "key_id": f"key{tenant.slug}"[:16], "hint": "pm_sk_Ab…yZ12"}
    shop.add(
        user,
        Membership.objects.create(tenant=tenant, user=user, role="owner"),
        Invitation.objects.create(
            tenant=tenant,
            email="new@acme.example",
            role="developer",
            token_digest=SECRETS["invitation"],
            invited_by=user,
            expires_at=datetime(2030, 1, 1, tzinfo=UTC),
        ),
        ApiKey.objects.create(tenant=tenant, name="Backend", kind="secret", digest=SECRETS["api key"], **key),
    )


def _add_licensing(shop: Shop) -> None:
    workspace = shop.workspace
    tenant, license, agent = workspace.tenant, workspace.license, workspace.agent
    License.objects.filter(pk=license.pk).update(
        key_digest=SECRETS["license key"], key_pepper_id="pepper-7", key_hint="QX7K2"
    )
    feature = Feature.objects.create(
        tenant=tenant, product=workspace.product, code="models", name="Models", kind="choice", choices=["large"]
    )
    signing_key = SigningKey.objects.create(
        tenant=tenant, kid="thumb-print", public_jwk={"kty": "OKP"}, private_key=SECRETS["private key"]
    )
    shop.add(
        feature,
        PlanGrant.objects.create(tenant=tenant, plan=workspace.plan, feature=feature, value=["large"]),
        LicenseGrant.objects.create(tenant=tenant, license=license, feature=feature, value=["large", "small"]),
        LicensePlan.objects.get(license=license),
        LicenseTransfer.objects.create(
            tenant=tenant,
            license=license,
            giver=license.customer,
            taker=license.customer,
            at=datetime(2026, 11, 1, tzinfo=UTC),
        ),
        AgentKey.objects.create(
            tenant=tenant,
            agent=agent,
            key_id=f"agk{tenant.slug}"[:16],
            digest=SECRETS["agent key"],
            pepper_id="pepper-7",
            hint="pm_ak_Cd…Qr34",
        ),
        Activation.objects.create(tenant=tenant, license=license, agent=agent, fingerprint="fp-1", label="Laptop"),
        signing_key,
        IssuedToken.objects.create(
            tenant=tenant,
            license=license,
            agent=agent,
            signing_key=signing_key,
            audience="acme",
            list_number=0,
            list_index=7,
            expires_at=datetime(2030, 1, 1, tzinfo=UTC),
        ),
    )


def _add_metering(shop: Shop) -> None:
    workspace = shop.workspace
    tenant, meter = workspace.tenant, workspace.meter
    now = datetime.now(UTC)
    quota = workspace.quota("100", scope=Scope.LICENSE, mode=QuotaMode.SOFT)
    start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    balance = workspace.balance(quota, month=start)
    event = workspace.use("130.5", balance, at=now, agent=workspace.agent, dimensions={"model": "large"})
    hold = workspace.hold("5", balance, expires_at=now + timedelta(hours=1))
    shared = {"tenant": tenant, "quota": quota, "quota_key": quota.key, "scope": "license"}
    top_up = TopUp.objects.create(
        **shared, subject_id=workspace.license.pk, amount=Decimal(10), used=Decimal(4), starts_at=start
    )
    shop.add(
        quota,
        balance,
        event,
        hold,
        top_up,
        workspace.price("0.002"),
        EventId.objects.get(event_ids__contains=[event.pk]),
        HoldLine.objects.get(hold=hold),
        TopUpBurn.objects.create(tenant=tenant, top_up=top_up, balance=balance, quantity=Decimal(4)),
        RunawayPolicy.objects.create(tenant=tenant, plan=workspace.plan, rules=[_RUNAWAY]),
        RunawayIncident.objects.create(
            tenant=tenant,
            agent=workspace.agent,
            rule="calls_per_minute",
            rule_key="calls_per_minute:notify:",
            action="notify",
            terms={**_RUNAWAY, "plan": None},
            observed=101,
            threshold=100,
            detected_at=now,
        ),
        CallProfile.objects.create(tenant=tenant, agent=workspace.agent, first_hour=400_000, peaks={"400000": 12}),
        LateEntry.objects.create(
            tenant=tenant,
            event_id=event.pk,
            occurred_at=now,
            balance=balance,
            own_balance_id=new_id(),
            quantity=Decimal("0.5"),
        ),
        RateCardEntry.objects.create(tenant=tenant, meter=meter, source=meter, unit_price=Decimal("0.01")),
        UsageRollup.objects.create(
            id=new_id(),
            tenant=tenant,
            size="day",
            bucket_start=start,
            meter=meter,
            customer=workspace.customer,
            license=workspace.license,
            agent=workspace.agent,
            total=Decimal("130.5"),
            events=1,
        ),
        RollupCursor.objects.get_or_create(name="rollup:1")[0],
        DroppedMonth.objects.get_or_create(
            name="metering_usageevent_2020_01",
            defaults={
                "starts_at": datetime(2020, 1, 1, tzinfo=UTC),
                "ends_at": datetime(2020, 2, 1, tzinfo=UTC),
                "events": 3,
                "dropped_at": datetime(2022, 3, 1, tzinfo=UTC),
            },
        )[0],
        OverageRecord.objects.create(
            **shared,
            subject_id=workspace.license.pk,
            balance_id=balance.pk,
            meter=meter,
            license=workspace.license,
            customer=workspace.customer,
            period_start=start,
            limit=Decimal(100),
            used=Decimal("130.5"),
            quantity=Decimal("30.5"),
            amount=Decimal("0.06"),
            currency="USD",
        ),
        Statement.objects.create(
            tenant=workspace.tenant,
            customer=workspace.customer,
            number=1,
            period_start=start,
            period_end=start + timedelta(days=30),
            issued_at=start + timedelta(days=31),
            totals=[{"currency": "USD", "overage": "0.06", "credits": "0.00", "total": "0.06"}],
            as_json="{}",
            as_csv="statement",
            as_html="<html></html>",
        ),
    )


def _add_records(shop: Shop) -> None:
    tenant = shop.workspace.tenant
    now = datetime.now(UTC)
    with transaction.atomic():
        entry = record_audit(
            tenant_id=tenant.pk,
            actor=worker("expire_licenses"),
            action="license.expired",
            target=shop.workspace.license,
            changes={"status": ["active", "expired"]},
        )
    seal_audit(tenant.pk)
    event = OutboxEvent.objects.create(
        tenant=tenant, type="license.expired", subject=shop.workspace.license.public_id, data={}, created_at=now
    )
    endpoint = WebhookEndpoint.objects.create(
        tenant=tenant,
        url="https://hooks.acme.example/in",
        event_types=["license.*"],
        secret=SECRETS["webhook"],
        previous_secret=SECRETS["old webhook"],
    )
    delivery = WebhookDelivery.objects.create(tenant=tenant, endpoint=endpoint, event=event, subject=event.subject)
    shop.add(
        AuditEntry.objects.get(pk=entry.pk),
        AuditSeal.objects.get(entry=entry),
        AuditChain.objects.get(pk=tenant.pk),
        event,
        endpoint,
        delivery,
        DeliveryAttempt.objects.create(
            tenant=tenant,
            delivery=delivery,
            number=1,
            at=now,
            status_code=500,
            latency_ms=12,
            answer="<script>alert(1)</script>",
        ),
        IdempotencyRecord.objects.create(
            tenant=tenant,
            caller=shop.rows["tenants.apikey"].public_id,
            key="order-1",
            fingerprint=secret(99),
            status=201,
            body=SECRETS["answer"],
            expires_at=now + timedelta(days=1),
        ),
        Job.objects.create(
            tenant=tenant, kind="bulk_issue", input={"note": "job-input-secret"}, result={"key": "job-result-secret"}
        ),
        Epoch.objects.create(
            tenant=tenant, kind="license", subject_id=shop.workspace.license.pk, version=3, changed_at=now
        ),
    )
