"""An agent runs away from a real stack, through the real server, and a worker of its own accord stops it."""

from __future__ import annotations

import time

import pytest

from tests.http_client import Line
from tests.live_shop import unique
from tests.stack_fixtures import LiveStack

pytestmark = pytest.mark.stack

WITHIN = 60.0


def test_runaway__refused_by_its_quota_again_and_again__is_throttled_and_its_neighbour_never_notices(
    live_stack: LiveStack,
) -> None:
    from tests.factories import make_workspace
    from tests.vendor_api.door import Door
    from tests.vendor_api.shop import Shop

    with live_stack.orm():
        shop = Shop(door := Door(make_workspace(slug=unique("vendor"))))
        other = door.made("/agents", {"license": shop.license["id"], "name": "neighbour"})
        rule = {
            "rule": "refusal_share",
            "limit": "0.5",
            "action": "throttle",
            "window": 60,
            "minimum_calls": 20,
            "throttle_to": {"limit": 1, "window": 60},
        }
        assert door.patch("/plans/pro", {"runaway": [rule]}).status == 200
        door.made("/quotas", {"on": {"agent": shop.agent["id"]}, "meter": "tokens", "limit": 0, "period": "day"})
    usage = {"usage": [{"meter": "tokens", "quantity": "1"}]}
    looping, healthy = Line(live_stack, key=shop.agent_key), Line(live_stack, key=other["key"])
    vendor = Line(live_stack, key=door.key)
    began, throttle, answers = time.monotonic(), None, []
    while throttle is None and time.monotonic() < began + WITHIN:
        answers += [looping.agent("POST", "/authorize", {**usage, "id": unique("loop")}) for _ in range(10)]
        assert healthy.agent("POST", "/authorize", {**usage, "id": unique("step")}).says_yes
        throttle = vendor.vendor("GET", f"/agents/{shop.agent['id']}")["throttle"]

    assert throttle is not None
    assert {answer["code"] for answer in answers[:10]} == {"quota_exceeded"}
    [incident] = vendor.vendor("GET", "/runaway-incidents")["data"]
    assert (incident["agent"], incident["effect"]) == (shop.agent["id"], "throttled")
    assert incident["evidence"]["refusals"] > incident["evidence"]["calls"] / 2
    last = [looping.agent("POST", "/authorize", {**usage, "id": unique("late")}).status for _ in range(3)]
    assert last[-1] == 429
    assert healthy.agent("POST", "/authorize", {**usage, "id": unique("step")}).says_yes
    assert vendor.vendor("GET", f"/agents/{other['agent']['id']}")["throttle"] is None

    assert vendor.vendor("POST", f"/runaway-incidents/{incident['id']}/undo", {}).status == 200
    assert looping.agent("POST", "/authorize", {**usage, "id": unique("after")}).status == 200
