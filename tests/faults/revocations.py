"""Every way to take a right away, as a table, and callers who have it until then."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.http_client import Answer, Line, lines_to_each_process, until
from tests.live_shop import LiveShop, ReadyAgent, unique


@dataclass(frozen=True, slots=True)
class Victim:
    """Somebody who may do something, and the call that ends it."""

    shop: LiveShop
    key: str
    #: What it asks, again and again: all of it is answered yes before and no after.
    asks: tuple[tuple[str, Callable[[], dict[str, Any]]], ...]
    revoke: Callable[[], Answer | None]

    def lines(self, count: int) -> list[Line]:
        return lines_to_each_process(self.shop.stack, count, key=self.key)

    def ask_all(self, line: Line) -> list[Answer]:
        return [line.agent("POST", path, body()) for path, body in self.asks]

    def revoke_until_told(self) -> float:
        """Revoke and repeat while that is not told everywhere; when it was in force at the latest (monotonic)."""

        def told() -> bool:
            answer = self.revoke()
            assert answer is None or answer.status == 200 or answer.code == "revocation_pending", answer
            return answer is None or answer.status == 200

        until(told)
        return time.monotonic()


def _victim(shop: LiveShop, agent: ReadyAgent, revoke: Callable[[], Answer | None]) -> Victim:
    asks: tuple[tuple[str, Callable[[], dict[str, Any]]], ...] = (
        ("/validate", dict),
        ("/authorize", lambda: {"feature": shop.search}),
        ("/authorize", lambda: shop.consume(unique("step"))),
    )
    return Victim(shop, agent.key, asks, revoke)


def _post(path: str) -> Callable[[LiveShop], Victim]:
    """A POST on the agent, its licence or its customer."""

    def make(shop: LiveShop) -> Victim:
        license = shop.license(shop.plan({"limit": "1000000"}))
        agent = shop.agent(license["id"])
        url = path.format(agent=agent.id, license=license["id"], customer=license["customer"])
        return _victim(shop, agent, lambda: shop.call("POST", url, {"reason": "leak"}))

    return make


def _key(shop: LiveShop) -> Victim:
    agent = shop.ready_agent({"limit": "1000000"})
    [key] = shop.call("GET", f"/agents/{agent.id}/keys")["data"]
    return _victim(shop, agent, lambda: shop.call("POST", f"/agents/{agent.id}/keys/{key['id']}/revoke", {}))


def _parent(action: str) -> Callable[[LiveShop], Victim]:
    def make(shop: LiveShop) -> Victim:
        grandparent = shop.ready_agent({"limit": "1000000"})
        parent = shop.agent(grandparent.license, parent_id=grandparent.id)
        child = shop.agent(grandparent.license, parent_id=parent.id)
        return _victim(shop, child, lambda: shop.call("POST", f"/agents/{grandparent.id}/{action}", {}))

    return make


def _license_patched(shop: LiveShop) -> Victim:
    agent = shop.ready_agent({"limit": "1000000"})
    over = {"starts_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-02T00:00:00Z"}
    return _victim(shop, agent, lambda: shop.call("PATCH", f"/licenses/{agent.license}", over))


def _feature_withdrawn(shop: LiveShop) -> Victim:
    plan = shop.plan()
    agent = shop.agent(shop.license(plan)["id"])
    asks = (("/authorize", lambda: {"feature": shop.search}),)
    return Victim(shop, agent.key, asks, lambda: shop.call("PATCH", f"/plans/{plan}", {"grants": []}))


def _publishable_key(shop: LiveShop) -> Victim:
    made = shop.made("/api-keys", {"name": "app", "kind": "publishable"})
    issued = shop.made("/licenses", {"customer": {"external_id": unique("customer")}, "plan": shop.plan()})
    asks = (("/validate", lambda: {"license_key": issued["license_key"]}),)
    return Victim(shop, made["key"], asks, lambda: shop.call("POST", f"/api-keys/{made['id']}/revoke", {}))


def _tenant(shop: LiveShop) -> Victim:
    """The operators' doing: there is no route for it."""
    from common.errors import RevocationPending
    from tenants.services.workspaces import suspend_tenant
    from tests.factories import ACTOR

    own = LiveShop(shop.stack)
    agent = own.ready_agent({"limit": "1000000"})

    def suspend() -> None:
        def told() -> bool:
            try:
                with own.stack.orm():
                    suspend_tenant(tenant_id=own.tenant.id, actor=ACTOR, reason="unpaid")
            except RevocationPending:
                return False
            return True

        until(told)

    return _victim(own, agent, suspend)


REVOCATIONS: dict[str, Callable[[LiveShop], Victim]] = {
    "agent revoked": _post("/agents/{agent}/revoke"),
    "agent suspended": _post("/agents/{agent}/suspend"),
    "agent key revoked": _key,
    "parent agent revoked": _parent("revoke"),
    "parent agent suspended": _parent("suspend"),
    "licence revoked": _post("/licenses/{license}/revoke"),
    "licence suspended": _post("/licenses/{license}/suspend"),
    "licence ended": _license_patched,
    "feature taken out of the plan": _feature_withdrawn,
    "customer suspended": _post("/customers/{customer}/suspend"),
    "workspace suspended": _tenant,
    "publishable key revoked": _publishable_key,
}
