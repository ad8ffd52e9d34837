"""One of each thing, made through the door itself."""

from __future__ import annotations

from typing import Any

from tests.vendor_api.door import Door


class Shop:
    """A product with a feature of each kind, a meter, a plan, a customer, a licence and an agent."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.product = door.made("/products", {"code": "researcher", "name": "Researcher"})
        self.search = door.made(
            "/features", {"product": "researcher", "code": "web_search", "name": "Search", "kind": "switch"}
        )
        self.tools = door.made(
            "/features", {"product": "researcher", "code": "max_tools", "name": "Tools", "kind": "limit"}
        )
        self.models = door.made(
            "/features",
            {
                "product": "researcher",
                "code": "models",
                "name": "Models",
                "kind": "choice",
                "choices": ["small", "large"],
            },
        )
        self.meter = door.made(
            "/meters", {"code": "tokens", "name": "Tokens", "unit": "token", "dimensions": ["model"]}
        )
        self.plan = door.made("/plans", self.plan_body())
        self.customer = door.made("/customers", {"external_id": "acme", "name": "Acme"})
        issued = door.made("/licenses", {"customer": self.customer["id"], "plan": "pro"})
        self.license, self.license_key = issued["license"], issued["license_key"]
        created = door.made("/agents", {"license": self.license["id"], "name": "indexer"})
        self.agent, self.agent_key = created["agent"], created["key"]

    def plan_body(self, **more: Any) -> dict[str, Any]:
        """A plan as a vendor sends it."""
        return {
            "code": "pro",
            "name": "Pro",
            "product": "researcher",
            "term": {"months": 12},
            "grace_days": 7,
            "agent_limit": 50,
            "rate_limits": [{"level": "agent", "limit": 600, "window": 60}],
            "grants": [
                {"feature": "models", "value": ["small", "large"]},
                {"feature": "web_search", "value": True},
                {"feature": "max_tools", "value": 20},
            ],
            "quotas": [{"meter": "tokens", "limit": "1000000", "period": "month", "mode": "soft"}],
            "prices": [{"meter": "tokens", "currency": "USD", "model": "per_unit", "unit_price": "0.000002"}],
        } | more
