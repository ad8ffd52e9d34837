"""A workspace with one of each thing, made the way its owner would make it, and everything that names them."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from common.ids import encode_id, new_id, parse_any_id
from metering.services.overage import accrue_overage
from metering.services.runaway_guard import watch_agents
from tests.agent_door import AgentDoor
from tests.vendor_api.door import Door


class Neighbour:
    """`ids` and `names` by the kind that stands in paths (`licenses`); names are codes, external ids and the like."""

    def __init__(self) -> None:
        self.door = door = Door()
        tag = uuid4().hex[:8]
        self.names = {
            "products": f"product-{tag}",
            "features": f"feature-{tag}",
            "plans": f"plan-{tag}",
            "meters": f"meter-{tag}",
            "customers": f"customer-{tag}",
        }
        names = self.names
        product = door.made("/products", {"code": names["products"], "name": f"Product {tag}"})
        feature = door.made(
            "/features",
            {"product": product["id"], "code": names["features"], "name": f"Feature {tag}", "kind": "switch"},
        )
        meter = door.made("/meters", {"code": names["meters"], "name": f"Meter {tag}", "unit": "token"})
        plan = door.made(
            "/plans",
            {
                "code": names["plans"],
                "name": f"Plan {tag}",
                "product": product["id"],
                "grants": [{"feature": names["features"], "value": True}],
                "quotas": [{"meter": names["meters"], "limit": "1", "period": "month", "mode": "soft"}],
                "prices": [{"meter": names["meters"], "currency": "USD", "model": "per_unit", "unit_price": "0.5"}],
            },
        )
        customer = door.made("/customers", {"external_id": names["customers"], "name": f"Customer {tag}"})
        issued = door.made("/licenses", {"customer": customer["id"], "plan": plan["id"]})
        license, self.license_key = issued["license"], issued["license_key"]
        created = door.made("/agents", {"license": license["id"], "name": f"agent-{tag}"})
        agent, self.agent_key = created["agent"], created["key"]
        quota = door.made("/quotas", {"on": {"agent": agent["id"]}, "meter": meter["id"], "limit": 9, "period": "day"})
        top_up = door.made("/top-ups", {"quota": quota["id"], "amount": "1", "reference": f"order-{tag}"})
        publishable = door.made("/api-keys", {"name": f"app-{tag}", "kind": "publishable"})
        self.publishable_key = publishable["key"]
        self.agents_door = AgentDoor(self.agent_key)
        usage = [{"meter": names["meters"], "quantity": "2"}]
        held = self.agents_door.post("/authorize", {"id": f"hold-{tag}", "usage": usage, "mode": "hold", "ttl": 3600})
        assert held["allowed"], held
        used = self.agents_door.post("/usage", {"id": f"event-{tag}", "meter": names["meters"], "quantity": "3"})
        assert used["recorded"] == 1, used
        activated = self.agents_door.post("/activations", {"fingerprint": f"host-{tag}", "label": f"label-{tag}"})
        assert activated.status == 201, activated
        signed = self.agents_door.post("/tokens", {"audience": f"audience-{tag}"})
        assert signed.status == 201, signed
        accrue_overage(everything=True)
        rule = {"rule": "calls_per_minute", "limit": 1, "action": "notify"}
        assert door.patch(f"/agents/{agent['id']}", {"runaway": [rule]}).status == 200
        watch_agents()
        [incident] = door.listed("/runaway-incidents")
        [overage] = door.listed("/overages")
        imported = door.call("POST", "/usage/import", raw=b"{}\n", content_type="application/x-ndjson")
        assert imported.status == 202, imported
        statement = door.made("/statements", {"customer": customer["id"], "period_start": "2026-10-01T00:00:00Z"})
        self.ids = {
            "products": product["id"],
            "features": feature["id"],
            "plans": plan["id"],
            "meters": meter["id"],
            "customers": customer["id"],
            "licenses": license["id"],
            "agents": agent["id"],
            "keys": door.listed(f"/agents/{agent['id']}/keys")[0]["id"],
            "activations": activated["id"],
            "signing-keys": door.listed("/signing-keys")[0]["id"],
            "tokens": signed["token_id"],
            "quotas": quota["id"],
            "top-ups": top_up["id"],
            "holds": held["hold"]["id"],
            "overages": overage["id"],
            "runaway-incidents": incident["id"],
            "jobs": imported["id"],
            "api-keys": publishable["id"],
            "audit-entries": door.listed("/audit-entries")[0]["id"],
            "statements": statement["id"],
            "usage": used["results"][0]["event_id"],
            "events": used["results"][0]["event_id"],
        }
        #: Whatever else of it somebody might put into a text filter.
        self.texts = {
            *self.names.values(),
            *self.ids.values(),
            f"agent-{tag}",
            f"hold-{tag}",
            f"host-{tag}",
            f"event-{tag}",
            f"audience-{tag}",
            f"order-{tag}",
            door.listed("/signing-keys")[0]["kid"],
            f"app-{tag}",
            door.api_key.public_id,
            door.tenant.public_id,
            door.tenant.slug,
        }

    def reading(self) -> dict[str, Any]:
        """All that it can list: to see afterwards that nobody has touched it."""
        return {
            path: self.door.listed(f"/{path}")
            for path in self.ids
            if path not in {"keys", "usage", "events", "jobs", "audit-entries"}
        }


def made_up(like: str) -> str:
    """An id of the same kind that nobody has, or a code that nobody has."""
    parsed = parse_any_id(like)
    return f"nobody-{uuid4().hex[:8]}" if parsed is None else encode_id(parsed[0], new_id())


def prefix_kinds(neighbour: Neighbour) -> dict[str, str]:
    """The kind of each prefix that ids begin with."""
    found: dict[str, str] = {}
    for kind, id in neighbour.ids.items():
        parsed = parse_any_id(id)
        assert parsed is not None
        found[parsed[0]] = kind
    return found
