"""Whatever is sent, Django's views and the coalescing door answer the same: status, header fields and body."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from django.db import transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agent_api.use_cases import known_callers
from licenses.services.license_states import suspend_license
from tests.agent_door import AgentDoor, Answer, Vendor
from tests.factories import ACTOR, make_api_key

pytestmark = pytest.mark.django_db

#: What is made anew by each call: ids of its own, moments, seconds until something.
_FRESH = re.compile(r"(evt|hld)_[0-9a-z]{26}|\d{4}-\d\d-\d\dT[0-9:.]+(Z|\+00:00)|\b[0-9a-f]{8}-[0-9a-f-]{27}\b")
_SHELLS = (False, True)
NAMED = {"X-Request-Id": "asked-here"}


class Sent(NamedTuple):
    """One request."""

    path: str
    raw: bytes
    content_type: str
    headers: Mapping[str, str]


@dataclass
class World:
    """Keys and holds of every kind that a caller may come with."""

    keys: dict[str, str]
    holds: dict[str, str]


@pytest.fixture
def world() -> World:
    vendor = Vendor()
    license = vendor.license({"limit": "1000"}, {"meter": "calls", "limit": "3", "period": "day"}, hold_limit=9)
    parent = vendor.agent(license, name="parent")
    child = vendor.agent(license, parent.agent, name="child")
    suspended = vendor.license({"limit": "10"})
    keys = {
        "parent": parent.key_text,
        "child": child.key_text,
        "suspended": vendor.agent(suspended).key_text,
        "of the vendor": make_api_key(vendor.tenant).text,
        "stranger": Vendor().door({"limit": "5"}).key or "",
        "nobody": "pm_ak_nobody",
        "none": "",
    }
    suspend_license(tenant=vendor.tenant, license_id=suspended.id, actor=ACTOR)
    door = AgentDoor(child.key_text)

    def hold(quantity: str, **more: Any) -> str:
        usage = [{"meter": "tokens", "quantity": quantity, "dimensions": {"model": "large"}}]
        return str(door.post("/authorize", {"mode": "hold", "ttl": 300, "usage": usage, **more})["hold"]["id"])

    holds = {name: hold("20", on_excess=name) for name in ("count", "cap", "reject")}
    holds |= {"settled": hold("5"), "released": hold("5"), "of the parent": "", "unknown": "hld_" + "0" * 26}
    door.post(f"/holds/{holds['settled']}/settle", {"usage": [{"meter": "tokens", "quantity": "4"}]})
    door.post(f"/holds/{holds['released']}/release")
    door.key = parent.key_text
    holds |= {"of the parent": hold("7"), "no id": "rubbish", "of another kind": license.public_id}
    return World(keys, holds)


quantities = st.sampled_from(
    ["0", "1", "19.5", "20", "21", "979", "1e2", "-1", "", "1.0000000000001", "x", 3, 1.5, None]
)
dimensions = st.sampled_from([{}, {"model": "large"}, {"model": 7}, {"colour": "red"}, None, "x"])
lines = st.fixed_dictionaries(
    {"meter": st.sampled_from(["tokens", "calls", "nothing", ""]), "quantity": quantities},
    optional={"dimensions": dimensions, "surprise": st.just(1)},
)
usages = st.lists(lines, max_size=3)
ids = st.sampled_from(["step-1", "step-2", "", "x" * 256, "a\x00b", "é", 7, None])
features = st.lists(st.sampled_from(["web_search", "models", "unknown", "", 3]), max_size=3)
occurred = st.sampled_from(["2026-11-23T10:00:00Z", "2001-01-01T00:00:00Z", "2999-01-01T00:00:00+02:00", "soon", 5])
instances = st.sampled_from(["", "worker-1", "w" * 300, "no\tgood"])

bodies: dict[str, st.SearchStrategy[Any]] = {
    "/validate": st.fixed_dictionaries({}, optional={"features": features, "license_key": ids, "nonce": ids}),
    "/authorize": st.fixed_dictionaries(
        {},
        optional={
            "id": ids,
            "feature": st.sampled_from(["web_search", "models", "unknown", ""]),
            "value": st.sampled_from(["small", "huge", 3, None]),
            "mode": st.sampled_from(["check", "consume", "hold", "guess"]),
            "usage": usages,
            "ttl": st.sampled_from([0, 1, 60, 10**9, "60"]),
            "on_excess": st.sampled_from(["count", "cap", "reject", "sink"]),
        },
    ),
    "/usage": st.one_of(
        st.fixed_dictionaries(
            {"id": ids, "meter": st.sampled_from(["tokens", "calls", "nothing"]), "quantity": quantities},
            optional={"dimensions": dimensions, "occurred_at": occurred, "hold_id": ids},
        ),
        st.fixed_dictionaries({"events": st.lists(lines.map(lambda line: {"id": "e", **line}), max_size=4)}),
    ),
    "/holds/{hold}/settle": st.fixed_dictionaries({"usage": usages}, optional={"final": st.booleans(), "id": ids}),
    "/holds/{hold}/release": st.sampled_from([None, {}, {"x": 1}]),
    "/holds/{hold}/extend": st.fixed_dictionaries({}, optional={"ttl": st.sampled_from([1, 600, 0, -5, "x", 10**12])}),
}
broken = st.sampled_from([b"", b"{", b"[]", b"null", b'{"a":1e999}', b"\xff", b'{"id":"a","id":"b"}', b"[" * 2000])
content_types = st.sampled_from(["application/json"] * 6 + ["text/plain", "application/json; charset=latin1", ""])


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, Sent]:
    """A key and a hold by name, and what is sent."""
    path = draw(st.sampled_from(sorted(bodies)))
    body = draw(bodies[path])
    raw = draw(broken) if draw(st.integers(0, 9)) == 0 else b"" if body is None else json.dumps(body).encode()
    headers = dict(NAMED)
    if draw(st.integers(0, 4)) == 0:
        headers["Idempotency-Key"] = draw(st.sampled_from(["step-1", '"step-2"', "", "k" * 256]))
    if draw(st.integers(0, 4)) == 0:
        headers["Permeter-Instance"] = draw(instances)
    key = draw(
        st.sampled_from(["child"] * 6 + ["parent"] * 3 + ["of the vendor", "suspended", "stranger", "nobody", "none"])
    )
    hold = draw(
        st.sampled_from(
            ["count", "cap", "reject"] * 2
            + ["settled", "released", "of the parent", "unknown", "no id", "of another kind"]
        )
    )
    return key, hold, Sent(path, raw, draw(content_types), headers)


@given(asked=st.lists(requests(), min_size=1, max_size=3))
@example(asked=[("child", "cap", Sent("/holds/{hold}/settle", b'{"usage": []}', "application/json", NAMED))] * 2)
@settings(max_examples=150, deadline=timedelta(minutes=2), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_shells__any_requests__answer_the_same(
    world: World, asked: list[tuple[str, str, Sent]], monkeypatch: pytest.MonkeyPatch
) -> None:
    by_views, by_door = (_answers(world, asked, monkeypatch, coalescing=coalescing) for coalescing in _SHELLS)

    for door, views in zip(by_door, by_views, strict=True):
        assert door == views


def _answers(
    world: World, asked: list[tuple[str, str, Sent]], monkeypatch: pytest.MonkeyPatch, *, coalescing: bool
) -> list[Any]:
    """What these requests are answered, one after another; afterwards nothing has happened."""
    monkeypatch.setattr(AgentDoor, "coalescing", coalescing)
    known_callers.forget_all()
    with transaction.atomic():
        answers = [_plain(_answer(world, *each)) for each in asked]
        transaction.set_rollback(True)
    return answers


def _answer(world: World, key: str, hold: str, sent: Sent) -> Answer:
    return AgentDoor().call(
        "POST",
        sent.path.format(hold=world.holds[hold]),
        key=world.keys[key],
        raw=sent.raw,
        content_type=sent.content_type,
        headers=sent.headers,
    )


def _plain(answer: Answer) -> Any:
    """An answer without what no two calls have in common."""
    fields = {name.lower(): value for name, value in answer.headers.items() if not name.lower().startswith("ratelimit")}
    fields.pop("content-length", None)
    # The door has read every body; a view that refuses the key leaves it unread, and the connection with it.
    fields.pop("connection", None)
    return answer.status, fields, _FRESH.sub("…", json.dumps(answer.json))
