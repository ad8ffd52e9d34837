"""The product as vendors, agents and workers meet it, with names where it has ids. It knows no rule."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.db import InterfaceError, OperationalError, connection
from django.db.models import F
from django.test import Client, RequestFactory

from common.ids import Prefix, decode_id
from licensing_site.agent_handler import AgentHandler
from metering.models import Balance, UsageRollup
from metering.services.closing import close_periods
from metering.services.expiring_holds import expire_holds
from metering.services.overage import accrue_overage
from metering.services.partitions import ensure_partitions
from metering.services.repairing import repair_ledger
from metering.services.rollups import roll_up_usage
from metering.services.running_jobs import run_job
from metering.services.verification import verify_ledger
from tenants.models import Job, Tenant
from tenants.services.workspaces import move_clock
from tests import factories
from tests.factories import ACTOR
from tests.property.metering_model.faults import Fault, striking
from tests.property.metering_model.rules import NEVER
from tests.property.metering_model.things import ADDING_UP, AGENTS, AGGREGATIONS, LICENSES, Bill, UsageLine

DAY = timedelta(days=1)


def licenses_began() -> datetime:
    """A 31st, at a time of day that no clock change skips."""
    return datetime(datetime.now(UTC).year + 1, 1, 31, 9, 17, tzinfo=UTC)


class Product:
    """A test workspace with three licences of two customers, and four agents, one of them another's child.

    Its clock begins some days before Europe's clocks go forward and the month ends, at five past the hour: everything
    in a run happens off the edges of periods, however long the run itself takes.
    """

    def __init__(
        self,
        zone: str,
        plans: Mapping[str, Mapping[str, Any]],
        card: Mapping[str, Decimal | None] | None = None,
    ) -> None:
        self.tenant = factories.make_test_workspace(timezone=zone, currency="USD")
        real = datetime.now(UTC)
        self.offset = datetime(real.year + 1, 3, 27, 20, 5, tzinfo=UTC) - real
        Tenant.objects.filter(pk=self.tenant.pk).update(clock_offset=self.offset)
        self._began = self.now() - 40 * DAY
        ensure_partitions(self._began, 8)
        self.zone = ZoneInfo(zone)
        self.fault: Fault | None = None
        self.struck = False
        self._key = factories.make_api_key(self.tenant).text
        self._client = Client(raise_request_exception=False)
        self._handler = AgentHandler()
        self._make(plans, card)

    def _make(self, plans: Mapping[str, Mapping[str, Any]], card: Mapping[str, Decimal | None] | None) -> None:
        self.vendor("POST", "/products", {"code": "p", "name": "P"})
        for code, aggregation in AGGREGATIONS.items():
            if code == "spend":
                continue
            body = {"code": code, "name": code, "unit": code, "aggregation": aggregation, "dimensions": ["model"]}
            self.vendor("POST", "/meters", body)
        if card is not None:
            spend = {"code": "spend", "name": "Spend", "unit": "USD", "aggregation": "sum", "rate_card": rows_of(card)}
            self.vendor("POST", "/meters", spend)
        for code, terms in plans.items():
            self.vendor("POST", "/plans", {"code": code, "name": code, "product": "p", **terms})
        self.licenses: dict[str, str] = {}
        first = next(iter(plans))
        for name, customer in LICENSES.items():
            body = {"customer": {"external_id": customer, "name": customer}, "plan": first}
            body["starts_at"] = licenses_began().isoformat()
            self.licenses[name] = self.vendor("POST", "/licenses", body)["license"]["id"]
        self.customers = {row["external_id"]: row["id"] for row in self.vendor("GET", "/customers")["data"]}
        self.agents: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        for name, (license, path) in AGENTS.items():
            parent = self.agents[path[-2]] if len(path) > 1 else None
            body = {"license": self.licenses[license], "name": name, "parent_id": parent}
            made = self.vendor("POST", "/agents", body)
            self.agents[name], self.keys[name] = made["agent"]["id"], made["key"]

    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset

    def forget(self) -> None:
        """Leave the workers nothing to look for in this workspace."""
        Tenant.objects.filter(pk=self.tenant.pk).update(clock_offset=None)

    # --- doors

    def vendor(self, method: str, path: str, body: Any = None, *, fails: int | None = None, **query: Any) -> Any:
        """What the vendors' door answers; with `fails`, the code of that refusal."""
        response = self._client.generic(
            method,
            f"/vendor/v1{path}",
            json.dumps(body) if body is not None else "",
            content_type="application/json" if body is not None else "",
            query_params=query,
            headers={"Authorization": f"Bearer {self._key}"},
        )
        answer = json.loads(response.content) if response.content else None
        if fails is not None and response.status_code == fails:
            return answer["code"]
        assert response.status_code in (200, 201, 204), (method, path, body, response.status_code, answer)
        return answer

    def agent(self, agent: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and body of the agents' door; what met a fault is sent again until it is answered."""
        fault, self.fault = self.fault, None
        with striking(fault):
            status, answer = self._agent(agent, method, path, body)
        while status in (500, 503):
            assert fault is not None, answer
            assert (status, fault.struck) == (503, True), answer
            status, answer = self._agent(agent, method, path, body)
        self.struck = fault is not None and fault.struck
        return status, answer

    def _agent(self, agent: str, method: str, path: str, body: Any) -> tuple[int, Any]:
        data = json.dumps(body).encode() if body is not None else b""
        headers = {"Authorization": f"Bearer {self.keys[agent]}"}
        request = RequestFactory().generic(method, f"/agent/v1{path}", data, "application/json", headers=headers)
        statuses: list[str] = []

        def start_response(status: str, _headers: Any, *_: Any) -> Any:
            statuses.append(status)

        content = b"".join(self._handler(request.environ, start_response))  # type: ignore[arg-type]
        return int(statuses[0][:3]), json.loads(content) if content else None

    # --- agents

    def record(
        self, agent: str, events: Sequence[tuple[str, UsageLine, datetime | None]], hold: str | None = None
    ) -> list[str]:
        sent = [_event(*event) | ({"hold_id": hold} if hold else {}) for event in events]
        status, answer = self.agent(agent, "POST", "/usage", {"events": sent})
        assert status == 200, answer
        return [
            result.get("code", result["status"]) if result["status"] == "rejected" else result["status"]
            for result in answer["results"]
        ]

    def ask(
        self, agent: str, id: str, mode: str, lines: Sequence[UsageLine], **hold: Any
    ) -> tuple[str, list[tuple[Any, ...]], str | None]:
        """What `authorize` says, the quotas that refuse, and the hold's id."""
        body = {"id": id, "mode": mode, "usage": [_line(line) for line in lines], **hold}
        status, answer = self.agent(agent, "POST", "/authorize", body)
        if status == 409:
            assert answer["code"] == "id_conflict", answer
            return "conflict", [], None
        assert status == 200, answer
        if answer["allowed"]:
            held = answer["hold"]
            return "replayed" if answer["replayed"] else "allowed", [], held["id"] if held else None
        return "refused", _refused(answer["codes"]), None

    def lease(self, agent: str, lines: Sequence[UsageLine], ttl: int) -> tuple[str, list[tuple[Any, ...]], str | None]:
        """What becomes of a signed licence that carries a hold, the quotas that refuse it, and the hold's id."""
        status, answer = self._agent(agent, "POST", "/tokens", {"ttl": ttl, "lease": [_line(line) for line in lines]})
        if status == 201:
            return "allowed", [], answer["hold_id"]
        assert status == 403, answer
        return "refused", _refused(answer["codes"]), None

    def settle(self, agent: str, hold: str, lines: Sequence[UsageLine], id: str | None, final: bool) -> str:
        body = {"usage": [_line(line) for line in lines], "final": final, **({"id": id} if id else {})}
        status, answer = self.agent(agent, "POST", f"/holds/{hold}/settle", body)
        if status != 200:
            return str(answer["code"])
        return "replayed" if answer["replayed"] else "settled"

    def release(self, agent: str, hold: str) -> str:
        status, answer = self.agent(agent, "POST", f"/holds/{hold}/release")
        return str(answer["hold"]["status"] if status == 200 else answer["code"])

    def extend(self, agent: str, hold: str, ttl: int) -> str:
        status, answer = self.agent(agent, "POST", f"/holds/{hold}/extend", {"ttl": ttl})
        return str(answer["hold"]["status"] if status == 200 else answer["code"])

    def standing(self, agent: str) -> list[tuple[Any, ...]]:
        _, answer = self._agent(agent, "GET", "/quotas", None)
        return sorted(
            (
                row["scope"],
                row["meter"],
                tuple(row["filter"].items()),
                str(row["period"]["rolling"] if isinstance(row["period"], dict) else row["period"]),
                row["mode"],
                *(Decimal(row[name]) for name in ("limit", "top_ups", "carried_over", "used", "held", "remaining")),
                row["state"],
                _moment(row["resets_at"]) or NEVER,
            )
            for row in answer["data"]
        )

    def quota_of_plan(self, plan: str, meter: str) -> str:
        [found] = self.vendor("GET", "/quotas", plan=plan, meter=meter)["data"]
        return str(found["id"])

    def void(self, license: str, id: str) -> None:
        self.vendor("POST", "/usage/void", {"id": id, "license": self.licenses[license]})

    def adjust(self, license: str, id: str, corrects: str, meter: str, change: Decimal) -> str:
        body = {"id": id, "corrects": corrects, "quantity": str(change), "license": self.licenses[license]}
        answer = self.vendor("POST", "/usage", {"events": [body | {"meter": meter}]})
        [result] = answer["results"]
        return str(result["code"] if result["status"] == "rejected" else result["status"])

    def import_usage(self, agent: str, events: Sequence[tuple[str, UsageLine, datetime | None]]) -> Mapping[str, int]:
        """How many lines came to what, once a worker has done it."""
        body = b"".join(json.dumps({"agent": self.agents[agent], **_event(*each)}).encode() + b"\n" for each in events)
        headers = {"Authorization": f"Bearer {self._key}"}
        url = "/vendor/v1/usage/import"
        response = self._client.generic("POST", url, body, content_type="application/x-ndjson", headers=headers)
        assert response.status_code == 202, response.content
        job = json.loads(response.content)["id"]

        def work() -> None:
            # Nobody waits here for the lease of a worker whose connection died.
            Job.objects.filter(tenant=self.tenant).update(lease_until=datetime.now(UTC))
            run_job(job_id=decode_id(Prefix.JOB, job))

        self._work(work)
        answer = self.vendor("GET", f"/jobs/{job}")
        assert answer["status"] == "succeeded", answer
        return dict(answer["result"])

    def spoil(self, what: str, pick: int, by: Decimal) -> bool:
        """Write something wrong into a balance or a roll-up; False where there is none."""
        if what == "rollup":
            rollups = UsageRollup.objects.for_tenant(self.tenant).order_by("id")
            found = rollups[pick % len(rollups)] if rollups else None
            return found is not None and bool(rollups.filter(id=found.id).update(total=F("total") + by))
        balances = Balance.objects.for_tenant(self.tenant).filter(detached_at__isnull=True).order_by("id")
        balance = balances[pick % len(balances)] if balances else None
        if balance is None or getattr(balance, what) + by < 0:
            return False
        return bool(balances.filter(id=balance.id).update(**{what: F(what) + by}))

    def repair(self) -> tuple[list[str], list[str]]:
        """What differed, and what still does."""
        done = repair_ledger(actor=ACTOR, tenant=self.tenant)
        return [each.text for each in done.before.differences], [each.text for each in done.after.differences]

    # --- workers

    def move(self, by: timedelta) -> None:
        move_clock(tenant_id=self.tenant.id, actor=ACTOR, by=by)
        self.offset += by

    def expire(self) -> None:
        self._work(expire_holds)

    def roll_up(self) -> None:
        self._work(roll_up_usage)

    def accrue(self) -> None:
        self._work(accrue_overage)

    def close(self) -> None:
        self._work(lambda: close_periods(tenant=self.tenant))

    def _work(self, task: Callable[[], object]) -> None:
        """A worker's task, done again when its connection died."""
        fault, self.fault = self.fault, None
        try:
            with striking(fault):
                task()
        except (OperationalError, InterfaceError):
            assert fault is not None
            connection.close()
            task()

    # --- reports

    def usage(self, meter: str, by: str) -> dict[str | None, Decimal]:
        """All that was recorded of a meter, by `agent`, `license`, `customer` or a dimension."""
        now = self.now()
        span = {"from": self._began.isoformat(), "to": (now + DAY).isoformat()}
        answer = self.vendor("GET", "/usage", meter=meter, group_by=by, **span)
        found = {row["group"][by]: Decimal(row["value"]) for row in answer["data"]}
        if meter in ADDING_UP:
            assert Decimal(answer["total"]) == sum(found.values(), Decimal(0))
        names = {id: name for ids in (self.agents, self.licenses, self.customers) for name, id in ids.items()}
        return {names.get(key or "", key): value for key, value in found.items()}

    def bills(self) -> list[Bill]:
        names = {id: name for name, id in self.licenses.items()}
        answer = self.vendor("GET", "/overages", limit=100)
        assert answer["next_cursor"] is None
        return [
            Bill(
                names[row["on"]["license"]],
                row["meter"],
                _moment(row["period_start"]) or datetime.min.replace(tzinfo=UTC),
                row["status"],
                *(Decimal(row[name]) for name in ("limit", "used", "quantity", "amount")),
            )
            for row in answer["data"]
        ]

    def differences(self) -> list[str]:
        return [each.text for each in verify_ledger(tenant=self.tenant).differences]


def _refused(codes: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return sorted(
        ("rate_missing",)
        if code["code"] == "rate_missing"
        else (code["meter"], code["scope"], Decimal(code["limit"]), Decimal(code["used"]), Decimal(code["held"]))
        for code in codes
    )


def _event(id: str, line: UsageLine, at: datetime | None) -> dict[str, Any]:
    return {"id": id, **_line(line), **({"occurred_at": at.isoformat()} if at else {})}


def _line(line: UsageLine) -> dict[str, Any]:
    body: dict[str, Any] = {"meter": line.meter}
    if line.meter != "calls":
        body["quantity"] = format(line.quantity, "f")
    if line.dimensions:
        body["dimensions"] = dict(line.dimensions)
    return body


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def rows_of(card: Mapping[str, Decimal | None]) -> list[dict[str, Any]]:
    """A rate card for tokens as it is sent: the large model has a price of its own, `all` the others."""
    dimensions: dict[str, dict[str, str]] = {"large": {"model": "large"}, "all": {}}
    return [
        {"meter": "tokens", "dimensions": dimensions[name], "unit_price": format(price, "f")}
        for name, price in card.items()
        if price is not None
    ]
