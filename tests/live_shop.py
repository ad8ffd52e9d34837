"""A vendor on a real stack, set up and steered through the vendors' door as a backend would."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import uuid4

from common.ids import Prefix, encode_id
from tests.http_client import Answer, Line, lines_to_each_process
from tests.stack_fixtures import LiveStack


def unique(stem: str) -> str:
    return f"{stem}-{uuid4().hex[:10]}"


class ReadyAgent(NamedTuple):
    """An agent that can begin."""

    key: str
    id: str
    license: str


class LiveShop:
    """A workspace with a product, three features and a sum meter; plans, licences and agents on demand."""

    def __init__(self, stack: LiveStack) -> None:
        from tests.factories import make_api_key, make_workspace

        self.stack = stack
        with stack.orm():
            self.tenant = make_workspace(slug=unique("vendor"))
            self.key = make_api_key(self.tenant).text
        self.line = Line(stack, key=self.key)
        tag = uuid4().hex[:6]
        self.product, self.meter = f"product-{tag}", f"tokens-{tag}"
        self.search, self.tools, self.models = f"search-{tag}", f"tools-{tag}", f"models-{tag}"
        self.made("/products", {"code": self.product, "name": "Researcher"})
        for feature in (
            {"code": self.search, "name": "Search", "kind": "switch"},
            {"code": self.tools, "name": "Tools", "kind": "limit"},
            {"code": self.models, "name": "Models", "kind": "choice", "choices": ["small", "medium", "large"]},
        ):
            self.made("/features", feature | {"product": self.product})
        self.made("/meters", {"code": self.meter, "name": "Tokens", "unit": "token", "dimensions": ["model"]})

    # --- the vendors' door --------------------------------------------------------------------------------------

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        return self.line.vendor(method, path, body, **more)

    def made(self, path: str, body: Any) -> Any:
        """What was made; anything but 201 fails the test."""
        answer = self.call("POST", path, body)
        assert answer.status == 201, answer
        return answer.json

    def act(self, path: str, body: Any = None) -> Any:
        """A POST that answers 200."""
        answer = self.call("POST", path, body or {})
        assert answer.status == 200, answer
        return answer.json

    def plan(self, *quotas: Mapping[str, Any], **more: Any) -> str:
        code = unique("plan")
        self.made(
            "/plans",
            {
                "code": code,
                "name": "Pro",
                "product": self.product,
                "grants": [
                    {"feature": self.search, "value": True},
                    {"feature": self.tools, "value": 20},
                    {"feature": self.models, "value": ["small", "medium"]},
                ],
                "quotas": [{"meter": self.meter, "period": "month", "mode": "hard", **quota} for quota in quotas],
                **more,
            },
        )
        return code

    def license(self, plan: str, **more: Any) -> Any:
        """The licence; its customer is new unless named."""
        customer = {"external_id": unique("customer"), "name": "Acme"}
        return self.made("/licenses", {"customer": customer, "plan": plan, **more})["license"]

    def agent(self, license: str, **more: Any) -> ReadyAgent:
        made = self.made("/agents", {"license": license, "name": unique("agent"), **more})
        return ReadyAgent(made["key"], made["agent"]["id"], license)

    def ready_agent(self, *quotas: Mapping[str, Any], **plan: Any) -> ReadyAgent:
        """An agent under a licence of a plan of its own."""
        return self.agent(self.license(self.plan(*quotas, **plan))["id"])

    def quota(self, on: Mapping[str, Any], **more: Any) -> str:
        """A quota on something that exists; its id."""
        made = self.made("/quotas", {"on": on, "meter": self.meter, "period": "month", "mode": "hard", **more})
        return str(made["id"])

    # --- the agents' door ---------------------------------------------------------------------------------------

    def lines(self, agent: ReadyAgent, count: int) -> list[Line]:
        """An agent's lines to every web process."""
        return lines_to_each_process(self.stack, count, key=agent.key)

    def event(self, id: str, quantity: int = 1, **more: Any) -> dict[str, Any]:
        return {"id": id, "meter": self.meter, "quantity": str(quantity), **more}

    def consume(self, id: str, quantity: int = 1, **more: Any) -> dict[str, Any]:
        return {"id": id, "usage": [{"meter": self.meter, "quantity": str(quantity)}], **more}

    # --- what the database holds --------------------------------------------------------------------------------

    def balances(self) -> dict[str, tuple[Any, Any]]:
        """(used, held) by scope and subject, `license lic_…`."""
        prefixes = {"agent": Prefix.AGENT, "license": Prefix.LICENSE, "customer": Prefix.CUSTOMER}
        return {
            scope if scope == "tenant" else f"{scope} {encode_id(prefixes[scope], subject)}": (used, held)
            for scope, subject, used, held in self.rows(
                "SELECT scope, subject_id, used, held FROM metering_balance WHERE tenant_id = %s"
            )
        }

    def events(self) -> dict[str, Decimal]:
        """Quantity by the client's id; an id that was written twice fails the test."""
        rows = self.rows("SELECT client_id, quantity FROM metering_usageevent WHERE tenant_id = %s")
        found = dict(rows)
        assert len(found) == len(rows), "an id was counted twice"
        return found

    def rows(self, query: str) -> list[Any]:
        """What a query with one parameter, the tenant's id, finds."""
        with self.stack.connect() as connection:
            return connection.execute(query, [self.tenant.id]).fetchall()

    def verify(self) -> None:
        """Prove this workspace's ledger from its raw events."""
        result = self.stack.manage("verify_ledger", "--tenant", self.tenant.slug, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
