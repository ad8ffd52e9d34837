"""What nobody should send, to every route that reads a body, through the real server: problem documents, no 5xx."""

from __future__ import annotations

import gzip
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from common.ids import Prefix, decode_id, encode_id, new_id
from tests.http_client import Answer, Line
from tests.live_shop import unique
from tests.security.routes import Route, all_routes
from tests.stack_fixtures import LiveStack

pytestmark = pytest.mark.stack

MEBIBYTE = 1024 * 1024
BAD_KEY = (401, "unauthorized")

#: Bodies that are no JSON object of any route: (status, code), or only the statuses that make sense.
BROKEN: dict[str, tuple[bytes, set[tuple[int, str]]]] = {
    "cut off": (b'{"id":', {(400, "malformed_json")}),
    "one brace": (b"{", {(400, "malformed_json")}),
    "two values": (b"{} {}", {(400, "malformed_json")}),
    "no UTF-8": (b'{"id":"\xff\xfe"}', {(400, "malformed_json")}),
    "UTF-16": ('{"id":"x"}'.encode("utf-16"), {(400, "malformed_json")}),
    "NUL bytes": (b"\x00" * 20, {(400, "malformed_json")}),
    "single quotes": (b"{'id':'x'}", {(400, "malformed_json")}),
    "NaN": (b'{"id":NaN}', {(400, "malformed_json")}),
    "Infinity": (b'{"id":-Infinity}', {(400, "malformed_json")}),
    "a number beyond doubles": (b'{"id":1e999}', {(400, "malformed_json"), (422, "invalid")}),
    "ten thousand digits": (b'{"id":' + b"9" * 10_000 + b"}", {(400, "malformed_json"), (422, "invalid")}),
    "half a surrogate pair": (b'{"no_such":"\\ud800"}', {(400, "malformed_json"), (422, "invalid")}),
    "half a surrogate pair as a name": (b'{"\\ud800":1}', {(400, "malformed_json"), (422, "invalid")}),
    "a list": (b"[]", {(422, "invalid")}),
    "a text": (b'"x"', {(422, "invalid")}),
    "a number": (b"7", {(422, "invalid")}),
    "true": (b"true", {(422, "invalid")}),
    "null": (b"null", {(422, "invalid")}),
    "a deep list": (b"[" * 20_000, {(400, "malformed_json"), (422, "invalid")}),
    "a deep object": (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, {(400, "malformed_json"), (422, "invalid")}),
    "an unknown field": (b'{"no_such_field":1}', {(422, "invalid")}),
    "an unknown field that is long": (b'{"' + b"x" * 100_000 + b'":1}', {(422, "invalid")}),
    "many unknown fields": (json.dumps({f"f{n}": n for n in range(3000)}).encode(), {(422, "invalid")}),
    "more than a mebibyte": (b'{"id":"' + b"x" * MEBIBYTE + b'"}', {(413, "body_too_large")}),
}

WEIRD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    1e300,
    2**63,
    10**30,
    "",
    " ",
    "-1",
    "NaN",
    "Infinity",
    "1e400",
    "0." + "1" * 13,
    "1" + "0" * 19,
    "\x00",
    "a\x00b",
    "\u202e",
    "x" * 5000,
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999+14:00",
    "2026-13-45T99:99:99Z",
    "2026-11-23T09:00:00",
    [],
    [[]],
    [None],
    ["x"] * 2000,
    {},
    {"\x00": 1},
    {"a": {"b": {}}},
    {"rolling": -1},
)
#: Cannot be written by `json.dumps`.
WEIRD_TEXTS = ('"\\ud800"', "1e999", "-0", "1E-400", "9" * 400)


@dataclass(frozen=True, slots=True)
class Offer:
    """A vendor with one of each, under the names that the examples of the documents use."""

    stack: LiveStack
    tenant_id: Any
    key: str
    agent_key: str
    ids: dict[str, str]

    def line(self, route: Route) -> Line:
        return Line(self.stack, key=self.agent_key if route.door == "agent" else self.key)

    def url(self, route: Route) -> str:
        texts = {name: self.ids[kind] for name, kind in route.parameters}
        return f"/{route.door}/v1{route.filled(**texts)}"

    def named(self, example: Any) -> Any:
        """An example with the ids of this workspace."""
        text = json.dumps(example)
        for prefix, kind in (("lic", "licenses"), ("agt", "agents"), ("cus", "customers")):
            text = re.sub(rf"{prefix}_[0-9a-z]{{26}}", self.ids[kind], text)
        return json.loads(text)

    def count(self, table: str) -> int:
        with self.stack.connect() as connection:
            [(found,)] = connection.execute(
                f"SELECT count(*) FROM {table} WHERE tenant_id = %s", [self.tenant_id]
            ).fetchall()
        return int(found)


@pytest.fixture(scope="module")
def offer(live_stack: LiveStack) -> Offer:
    from tests.agent_door import AgentDoor
    from tests.factories import make_workspace
    from tests.vendor_api.door import Door
    from tests.vendor_api.shop import Shop

    with live_stack.orm():
        shop = Shop(door := Door(make_workspace(slug=unique("vendor"))))
        held = AgentDoor(shop.agent_key).post(
            "/authorize", {"usage": [{"meter": "tokens", "quantity": "1"}], "mode": "hold", "ttl": 3600}
        )
        quota = door.made(
            "/quotas", {"on": {"agent": shop.agent["id"]}, "meter": "tokens", "limit": 10**9, "period": "day"}
        )
        top_up = door.made("/top-ups", {"quota": quota["id"], "amount": "1"})
        activated = AgentDoor(shop.agent_key).post("/activations", {"fingerprint": "host-7"})
        signed = AgentDoor(shop.agent_key).post("/tokens", {})
        key = door.made("/api-keys", {"name": "app", "kind": "publishable"})
        [incident] = _run_away(door, shop.agent["id"])
        ids = {
            "products": shop.product["id"],
            "features": shop.models["id"],
            "meters": shop.meter["id"],
            "plans": shop.plan["id"],
            "customers": shop.customer["id"],
            "licenses": shop.license["id"],
            "agents": shop.agent["id"],
            "keys": door.listed(f"/agents/{shop.agent['id']}/keys")[0]["id"],
            "holds": held["hold"]["id"],
            "activations": activated["id"],
            "tokens": signed["token_id"],
            "signing-keys": door.listed("/signing-keys")[0]["id"],
            "quotas": quota["id"],
            "top-ups": top_up["id"],
            # A body is looked at before what it is about.
            "usage": encode_id(Prefix.EVENT, new_id()),
            "overages": encode_id(Prefix.OVERAGE, new_id()),
            "api-keys": key["id"],
            "runaway-incidents": incident["id"],
        }
    return Offer(live_stack, door.tenant.id, door.key, shop.agent_key, ids)


def _run_away(door: Any, agent_id: str) -> list[Any]:
    """The incidents of an agent that called more than once within a minute."""
    from metering.services.runaway_guard import watch_agents
    from tests.metering.runaway_world import count

    rule = {"rule": "calls_per_minute", "limit": 1, "action": "notify"}
    assert door.patch(f"/agents/{agent_id}", {"runaway": [rule]}).status == 200
    now = datetime.now(UTC)
    count(door.tenant.id, decode_id(Prefix.AGENT, agent_id), 2, at=now)
    watch_agents(now=now)
    incidents: list[Any] = door.listed("/runaway-incidents", agent=agent_id)
    return incidents


def reading_routes() -> list[tuple[Route, str]]:
    """Every route and method that reads a body."""
    return [
        (route, method)
        for route in all_routes()
        for method, operation in route.operations.items()
        if method in {"POST", "PATCH", "PUT"}
        and (getattr(operation, "body", None) is not None or getattr(operation, "bodies", None))
    ]


def check_all(offer: Offer, checks: Callable[[Line, Route, str], Iterator[str]]) -> None:
    """Run the checks on every route, some at a time; all that does not hold is told at once.

    What counts goes first: under configurations that change without pause it would have to begin anew all the time.
    """

    def check(route: Route, method: str) -> list[str]:
        line = offer.line(route)
        try:
            return [f"{method} {route}: {fault}" for fault in checks(line, route, method)]
        finally:
            line.close()

    counting, others = [], []
    for pair in reading_routes():
        (counting if pair[0].door == "agent" or pair[0].path == "/usage" else others).append(pair)
    found: list[str] = []
    with ThreadPoolExecutor(6) as pool:
        for pairs in (counting, others):
            found += [each for part in pool.map(lambda pair: check(*pair), pairs) for each in part]
    assert not found, "\n".join(found)


def fault_of(answer: Answer, wanted: set[tuple[int, str]]) -> str | None:
    try:
        seen = (answer.status, answer.code)
    except (AssertionError, KeyError, ValueError) as error:
        return f"no problem document: {answer.status} {answer.raw[:200]!r} {error}"
    return None if seen in wanted else f"{seen} instead of {sorted(wanted)}"


def of_door(route: Route, wanted: set[tuple[int, str]]) -> set[tuple[int, str]]:
    """AuthZEN knows no 422, and lets members through that it does not know."""
    return {(400 if status == 422 else status, code) for status, code in wanted} if route.door == "access" else wanted


def test_bodies__broken__are_refused_on_every_route_and_nothing_is_counted(offer: Offer) -> None:
    events, audit = offer.count("metering_usageevent"), offer.count("tenants_auditentry")

    def broken(line: Line, route: Route, method: str) -> Iterator[str]:
        for name, (raw, wanted) in BROKEN.items():
            answer = line.call(method, offer.url(route), raw=raw)
            if fault := fault_of(answer, of_door(route, wanted)):
                yield f"{name}: {fault}"
            elif name == "an unknown field" and route.door != "access":
                errors = answer["errors"]
                if "no_such_field" not in {error["field"] for error in errors}:
                    yield f"{name}: is not named: {errors}"

    check_all(offer, broken)
    assert (offer.count("metering_usageevent"), offer.count("tenants_auditentry")) == (events, audit)


def test_headers__that_do_not_fit__are_refused_on_every_route(offer: Offer) -> None:
    events, audit = offer.count("metering_usageevent"), offer.count("tenants_auditentry")
    plain = [("Content-Type", "application/json")]
    body = b'{"no_such_field":1}'
    cases: dict[str, tuple[list[tuple[str, str]], bytes, set[tuple[int, str]]]] = {
        "a text": ([("Content-Type", "text/plain")], body, {(415, "unsupported_media_type")}),
        "a form": ([("Content-Type", "application/x-www-form-urlencoded")], b"a=1", {(415, "unsupported_media_type")}),
        "no kind": ([("Content-Type", "")], body, {(415, "unsupported_media_type")}),
        "another charset": (
            [("Content-Type", "application/json; charset=utf-16")],
            body,
            {(415, "unsupported_media_type")},
        ),
        # The server hands on one of them, and the body is refused whichever that is.
        "two kinds": (
            [*plain, ("Content-Type", "text/plain")],
            body,
            {(415, "unsupported_media_type"), (422, "invalid")},
        ),
        "compressed": (
            [*plain, ("Content-Encoding", "gzip")],
            gzip.compress(body),
            {(415, "unsupported_media_type")},
        ),
        "an idempotency key that is long": (
            [*plain, ("Idempotency-Key", "k" * 256)],
            b"{}",
            {(400, "idempotency_key_invalid")},
        ),
        "an idempotency key that is empty": (
            [*plain, ("Idempotency-Key", "")],
            b"{}",
            {(400, "idempotency_key_invalid")},
        ),
        "two idempotency keys": (
            [*plain, ("Idempotency-Key", "one"), ("Idempotency-Key", "two")],
            b"{}",
            {(400, "idempotency_key_invalid")},
        ),
        "too much in chunks": (
            [*plain, ("Transfer-Encoding", "chunked")],
            b"".join(b"8000\r\n" + b"x" * 0x8000 + b"\r\n" for _ in range(40)) + b"0\r\n\r\n",
            {(413, "body_too_large")},
        ),
        "broken JSON in chunks": (
            [*plain, ("Transfer-Encoding", "chunked")],
            b'3\r\n{"a\r\n0\r\n\r\n',
            {(400, "malformed_json")},
        ),
    }

    def refused(line: Line, route: Route, method: str) -> Iterator[str]:
        for name, (headers, raw, wanted) in cases.items():
            if "idempotency" in name and not takes_idempotency_key(route, method):
                continue
            sent = b'{"events":[]}' if raw == b"{}" and route.path == "/usage" else raw
            answer = line.call(method, offer.url(route), raw=sent, headers=headers)
            if fault := fault_of(answer, of_door(route, wanted)):
                yield f"{name}: {fault}"

    check_all(offer, refused)
    assert (offer.count("metering_usageevent"), offer.count("tenants_auditentry")) == (events, audit)


def takes_idempotency_key(route: Route, method: str) -> bool:
    """`validate` ignores it, usage events have ids of their own; a change is idempotent by nature."""
    if route.door == "vendor":
        return method == "POST"
    return route.path in {"/authorize", "/holds/{hold}/settle"}


def test_keys__that_are_none__get_one_answer_on_every_route(offer: Offer) -> None:
    from tenants.models import Tenant
    from tenants.services.api_keys import revoke_api_key
    from tests.factories import ACTOR, make_api_key

    with offer.stack.orm():
        tenant = Tenant.objects.get(id=offer.tenant_id)
        revoked = make_api_key(tenant)
        revoke_api_key(tenant=tenant, api_key_id=revoked.api_key.id, actor=ACTOR)
    admin = Line(offer.stack, key=offer.key)
    made = admin.vendor("POST", f"/agents/{offer.ids['agents']}/keys", {}).json
    assert admin.vendor("POST", f"/agents/{offer.ids['agents']}/keys/{made['id']}/revoke", {}).status == 200
    dead = {"agent": made["key"], "vendor": revoked.text, "access": revoked.text}

    def refused(line: Line, route: Route, method: str) -> Iterator[str]:
        key = line.key or ""
        other = "a" if key[-1] != "a" else "b"
        middle = len(key) // 2
        keys: dict[str, Sequence[tuple[str, str]]] = {
            "none": [],
            "an empty one": [("Authorization", "")],
            "another scheme": [("Authorization", f"Basic {key}")],
            "no scheme": [("Authorization", key)],
            "cut short": [("Authorization", f"Bearer {key[:-1]}")],
            "only its beginning": [("Authorization", f"Bearer {key[:9]}")],
            "a wrong checksum": [("Authorization", f"Bearer {key[:-1]}{other}")],
            "a wrong letter within": [("Authorization", f"Bearer {key[:middle]}{other}{key[middle + 1 :]}")],
            "another case": [("Authorization", f"Bearer {key.upper()}")],
            "something behind it": [("Authorization", f"Bearer {key}x")],
            "two in one": [("Authorization", f"Bearer {key} {key}")],
            "twice": [("Authorization", f"Bearer {key}"), ("Authorization", f"Bearer {key}")],
            "letters beyond ASCII": [("Authorization", "Bearer pm_ak_\xe9\xe8")],
            "a long one": [("Authorization", "Bearer " + "x" * 8000)],
            "a revoked one": [("Authorization", f"Bearer {dead[route.door]}")],
        }
        seen = set()
        for name, headers in keys.items():
            answer = line.call(method, offer.url(route), raw=b"{", headers=headers, key="")
            if fault := fault_of(answer, {BAD_KEY}):
                yield f"{name}: {fault}"
            else:
                body = answer.json
                seen.add((body["type"], body["title"], body["detail"], answer.headers.get("www-authenticate")))
        if len(seen) != 1:
            yield f"answers differ: {seen}"
        of_another_kind = dead["vendor"] and (offer.key if route.door == "agent" else offer.agent_key)
        answer = line.call(method, offer.url(route), raw=b"{", key=of_another_kind)
        if answer.status not in {401, 403}:
            yield f"a key of another kind: {answer.status}"

    check_all(offer, refused)


def test_methods__unknown_to_a_route__are_405_with_allow(offer: Offer) -> None:
    faults = []
    for route in all_routes():
        line = offer.line(route)
        url = offer.url(route) if all(kind in offer.ids for _, kind in route.parameters) else None
        for method in ("PUT", "DELETE", "PATCH", "BREW", "GET", "POST"):
            if url is None or method in route.operations:
                continue
            answer = line.call(method, url)
            fault = fault_of(answer, {(405, "method_not_allowed")})
            allowed = {each.strip() for each in answer.headers.get("allow", "").split(",")}
            if fault or allowed - {"HEAD", "OPTIONS"} != set(route.operations):
                faults.append(f"{method} {route}: {fault} allow={allowed}")
        line.close()
    assert not faults, "\n".join(faults)


def test_body__larger_than_allowed_from_a_plain_client__is_413_before_the_connection_goes(offer: Offer) -> None:
    for door, path, key in (("agent", "/usage", offer.agent_key), ("vendor", "/licenses", offer.key)):
        request = urllib.request.Request(
            offer.stack.url(f"/{door}/v1{path}"),
            data=b" " * (4 * MEBIBYTE),
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=30)
        assert (refused.value.code, json.load(refused.value)["code"]) == (413, "body_too_large")


def test_body__not_read_because_nobody_may_call__closes_the_connection_and_says_so(offer: Offer) -> None:
    line = Line(offer.stack)
    for path in ("/agent/v1/activations", "/vendor/v1/licenses"):
        answers = [line.call("POST", path, raw=b" " * 300_000) for _ in range(10)]
        assert {(answer.status, answer.headers["connection"]) for answer in answers} == {(401, "close")}


@pytest.mark.parametrize("path", ["/agent/v1/nonsense", "/vendor/v1/nonsense", "/agent/v1/", "/vendor/v1/licenses/%00"])
def test_paths__that_lead_nowhere__are_problem_documents(offer: Offer, path: str) -> None:
    key = offer.agent_key if "/agent/" in path else offer.key
    for url in (path, f"{path}%F0%9F%90%8D", f"{path}/%ff", path + "x" * 4000):
        answer = Line(offer.stack, key=key).call("GET", url)
        assert (answer.status, answer.code) == (404, "not_found"), url


def test_fields__each_replaced_by_something_weird__never_fail_and_count_only_what_was_answered(offer: Offer) -> None:
    events_before = offer.count("metering_usageevent")
    counted: list[int] = []
    voids: set[str] = set()

    def weird(line: Line, route: Route, method: str) -> Iterator[str]:
        for example in examples_of(route, method):
            # The vendors' bodies are many and large: each of their parts is tried with a third of the values.
            for raw in variations(offer.named(example), step=1 if route.door == "agent" else 3):
                answer = line.call(method, offer.url(route), raw=raw)
                if answer.status >= 500:
                    yield f"{answer.status}: {raw[:200]!r} {answer.raw[:300]!r}"
                elif answer.status >= 400:
                    if fault := fault_of(answer, {(answer.status, answer.json.get("code"))}):
                        yield f"{raw[:200]!r}: {fault}"
                else:
                    counted.append(events_in(answer.json))
                    # What goes out elsewhere meanwhile may be taken back here, by whichever of two voids comes first.
                    voids.update(each["void_id"] for each in answer.json.get("reversed", ()))

    check_all(offer, weird)
    assert offer.count("metering_usageevent") - events_before == sum(counted) + len(voids)


def examples_of(route: Route, method: str) -> list[Any]:
    """What the documents show of this route's bodies."""
    operation = route.operations[method]
    if route.door == "agent":
        return [each.value for each in operation.requests][:2]
    return [operation.example] if operation.example is not None else []


def variations(example: Any, *, step: int) -> Iterator[bytes]:
    """The example with each of its parts, one at a time, replaced by weird values: every `step`th of them, in turn."""
    mark = "\ue000replaced"
    written = [*map(json.dumps, WEIRD), *WEIRD_TEXTS]
    for number, path in enumerate(paths_in(example)):
        text = json.dumps(replaced(example, path, mark))
        for value in written[number % step :: step]:
            yield text.replace(json.dumps(mark), value).encode()


def paths_in(value: Any, prefix: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if prefix:
        yield prefix
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from paths_in(inner, (*prefix, name))
    elif isinstance(value, list) and value:
        yield from paths_in(value[0], (*prefix, 0))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def events_in(body: Any) -> int:
    """How many events an answer says that it has counted anew."""
    if "recorded" in body:
        return int(body["recorded"])
    return 0 if body.get("replayed") else len(body.get("event_ids", ()))
