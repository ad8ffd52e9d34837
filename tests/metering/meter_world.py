"""A small world with more than one meter: cost meters, filters, values of dimensions."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from common.ids import new_id
from metering.domain.enums import EventKind, OnExcess
from metering.domain.quota_keys import event_digest, quota_key
from metering.domain.requests import Line, Request
from metering.domain.terms import Caller
from metering.models import Balance, Meter, Quota
from metering.services.holds import HoldBook
from metering.services.ledger import post
from metering.services.meters import create_meter
from metering.services.payloads import usage_fingerprint
from tenants.domain.actors import Actor, worker
from tests.metering.ledger_world import NOW, World, make_world

ACTOR: Actor = worker("test")


class Meters:
    """A workspace with one licence and any meters, over the agents of a `World`."""

    def __init__(self, agents: int = 0) -> None:
        self.world: World = make_world(agents=agents)
        self.tenant = self.world.tenant

    def make(self, code: str, **fields: Any) -> Meter:
        """A meter by the service that vendors use."""
        return create_meter(tenant=self.tenant, actor=ACTOR, code=code, **fields)

    def limit(self, meter: Meter, limit: str, *, on: str = "license", mode: str = "hard", **more: Any) -> Quota:
        """A quota on the licence or the tenant, for a day."""
        filter = dict(more.pop("filter", {}))
        owner = {"license": self.world.license} if on == "license" else {}
        key = quota_key(
            tenant_id=self.tenant.id, plan_id=None, scope=on, meter_id=meter.id, filter=filter, period="day"
        )
        return Quota.objects.create(
            tenant=self.tenant,
            meter=meter,
            scope=on,
            key=key,
            filter=filter,
            limit=Decimal(limit),
            mode=mode,
            period="day",
            **owner,
            **more,
        )

    def caller(self) -> Caller:
        return self.world.caller()

    def request(
        self,
        *lines: tuple[str, str] | tuple[str, str, Mapping[str, str]],
        kind: EventKind = EventKind.USAGE,
        id: str | None = None,
        at: datetime = NOW,
        occurred_at: datetime | None = None,
        caller: Caller | None = None,
    ) -> Request:
        """Quantities of meters by code, with dimensions if any."""
        caller = caller or self.caller()
        id = id or uuid.uuid4().hex
        made = [
            Line(
                caller.meters[code],
                Decimal(quantity),
                dict(*rest),
                occurred_at or at,
                new_id(),
            )
            for code, quantity, *rest in lines
        ]
        return Request(
            caller=caller,
            kind=kind,
            id=id,
            digest=event_digest(caller.license_id, b"", id),
            fingerprint=usage_fingerprint(made[0].meter.id, made[0].quantity, made[0].dimensions),
            lines=made,
            at=at,
            occurred_given=occurred_at is not None,
            hold_id=new_id() if kind is EventKind.HOLD else None,
        )

    def post(self, *lines: Any, **more: Any) -> Request:
        """Post one request of these lines."""
        request = self.request(*lines, **more)
        if request.hold_id is not None:
            post([request], companion=HoldBook({request.hold_id: (request.at + timedelta(minutes=5), OnExcess.COUNT)}))
        else:
            post([request])
        return request

    def standing(self, quota: Quota) -> tuple[Decimal, Decimal]:
        """Used and held of a quota's only balance."""
        balance = Balance.objects.get(quota_key=quota.key)
        return balance.used, balance.held


def card(*rows: tuple[str, str] | tuple[str, str, Mapping[str, str]], **more: Any) -> Sequence[dict[str, Any]]:
    """Rows of a rate card: meter, unit price, dimensions if any."""
    return [{"meter": code, "unit_price": price, "dimensions": dict(*rest), **more} for code, price, *rest in rows]
