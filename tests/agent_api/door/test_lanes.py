"""The coalescing door's lanes: who waits for whom, and who does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction

from agent_api.door import lanes as door_lanes
from agent_api.door.answering import Reply
from agent_api.door.application import Door
from agent_api.door.heads import Head, read_head
from agent_api.door.lanes import Lanes, WaitingCall
from metering.models import UsageEvent
from tenants.services.locks import lock_configuration
from tests.agent_door import Vendor
from tests.http_client import until

pytestmark = pytest.mark.django_db(transaction=True)

ONE = {"usage": [{"meter": "tokens", "quantity": "1"}]}


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    made = Lanes()
    made.start()
    yield made
    made.stop(30)


def call(path: str, key: str | None, body: Any = None, **fields: str) -> WaitingCall:
    """A call as it waits; made on the running loop."""
    data = b"" if body is None else json.dumps(body).encode()
    return WaitingCall(head_of(path, key, data, **fields), data, asyncio.get_running_loop().create_future())


def head_of(path: str, key: str | None, data: bytes, **fields: str) -> Head:
    head = read_head(scope_of(path, key, data, **fields))
    assert head is not None
    return head


def scope_of(path: str, key: str | None, data: bytes, **fields: str) -> dict[str, Any]:
    named = {"host": "testserver", "content-type": "application/json", "content-length": str(len(data)), **fields}
    if key is not None:
        named["authorization"] = f"Bearer {key}"
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]
    return {
        "type": "http",
        "method": "POST",
        "path": f"/agent/v1{path}",
        "headers": headers,
        "client": ("127.0.0.1", 1),
    }


async def replies(lanes: Lanes, calls: Sequence[WaitingCall]) -> list[Reply]:
    assert [lanes.submit(each) for each in calls] == [True] * len(calls)
    return await asyncio.wait_for(asyncio.gather(*(each.reply for each in calls)), 30)


def allowed(reply: Reply) -> bool:
    answer = json.loads(reply.body)
    return reply.status == 200 and answer["allowed"] is True


def test_lanes__calls_of_all_kinds_at_once__each_has_its_own_answer(lanes: Lanes) -> None:
    vendor = Vendor()
    first, second = vendor.door({"limit": "5"}), vendor.door({"limit": "5"})

    async def ask() -> list[Reply]:
        steps = [call("/authorize", first.key, {**ONE, "id": f"step-{number}"}) for number in range(8)]
        return await replies(
            lanes,
            [
                *steps,
                call("/authorize", second.key, ONE),
                call("/validate", second.key),
                call("/usage", second.key, {"id": "fact", "meter": "tokens", "quantity": "2"}),
                call("/validate", "pm_ak_nobody"),
                call("/authorize", second.key, {"nonsense": 1}),
            ],
        )

    found = asyncio.run(ask())

    assert [allowed(reply) for reply in found[:9]] == [True] * 5 + [False] * 3 + [True]
    assert [reply.status for reply in found[8:]] == [200, 200, 200, 401, 422]
    assert json.loads(found[10].body)["recorded"] == 1
    assert json.loads(found[12].body)["errors"][0]["field"] == "nonsense"
    assert UsageEvent.objects.count() == 7


def test_lanes__workspace_that_is_locked__holds_up_nobody_else(lanes: Lanes) -> None:
    busy, quiet = Vendor(), Vendor()
    waits, goes_on = busy.door({"limit": "5"}), quiet.door({"limit": "5"})

    async def ask() -> tuple[list[bool], list[bool]]:
        await replies(lanes, [call("/authorize", door.key, ONE) for door in (waits, goes_on)])
        with locked(busy):
            stuck = [call("/authorize", waits.key, ONE) for _ in range(2)]
            others = [call("/authorize", goes_on.key, ONE) for _ in range(2)]
            lanes.submit(stuck[0])
            lanes.submit(others[0])
            await asyncio.wait_for(others[0].reply, 30)
            # And those who come later.
            lanes.submit(stuck[1])
            lanes.submit(others[1])
            await asyncio.wait_for(others[1].reply, 30)
            nobody = [each.reply.done() for each in stuck]
        return nobody, [allowed(await asyncio.wait_for(each.reply, 30)) for each in stuck]

    assert asyncio.run(ask()) == ([False, False], [True, True])
    assert UsageEvent.objects.filter(tenant=busy.tenant).count() == 3
    assert UsageEvent.objects.filter(tenant=quiet.tenant).count() == 3


@contextmanager
def locked(vendor: Vendor) -> Iterator[None]:
    """Somebody changes the workspace's configuration and takes long over it."""
    with transaction.atomic():
        lock_configuration(vendor.tenant.id)
        yield


def test_lanes__too_many_wait__whoever_comes_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_lanes, "MOST_WAITING", 0)
    door = Door(_nobody)

    status, headers, body = asyncio.run(through(door, "/validate", None))

    assert (status, body["code"], headers["retry-after"]) == (503, "store_unreachable", "1")
    door.stop()


def test_lanes__stopped__what_waits_is_answered_and_nothing_more_is_taken() -> None:
    door = Vendor().door({"limit": "500"})
    lanes = Lanes()

    async def ask() -> tuple[list[Reply], bool]:
        waiting = [call("/authorize", door.key, ONE) for _ in range(100)]
        assert [lanes.submit(each) for each in waiting] == [True] * 100
        lanes.start()
        await asyncio.to_thread(lanes.stop, 30)
        found = await asyncio.wait_for(asyncio.gather(*(each.reply for each in waiting)), 30)
        return found, lanes.submit(call("/validate", door.key))

    found, taken = asyncio.run(ask())

    assert [allowed(reply) for reply in found] == [True] * 100
    assert UsageEvent.objects.count() == 100
    assert not taken


def test_lanes__connection_that_the_server_ended__is_replaced_unnoticed(lanes: Lanes) -> None:
    door = Vendor().door({"limit": "500"})

    def ask() -> list[Reply]:
        calls = [("/validate", None), ("/authorize", ONE)]
        return asyncio.run(both(lanes, [partial(call, path, door.key, body) for path, body in calls]))

    first = ask()
    end_all_connections_but_ours()

    assert [reply.status for reply in [*first, *ask()]] == [200] * 4
    assert UsageEvent.objects.count() == 2


async def both(lanes: Lanes, made: Sequence[Callable[[], WaitingCall]]) -> list[Reply]:
    return await replies(lanes, [make() for make in made])


def end_all_connections_but_ours() -> None:
    others = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_terminate_backend(pid) {others}")
        assert cursor.fetchall()

        def gone() -> bool:
            cursor.execute(f"SELECT count(*) {others}")
            return bool(cursor.fetchone() == (0,))

        until(gone)


@pytest.mark.parametrize(
    "unusual",
    [
        {"origin": "https://shop.example"},
        {"host": "elsewhere.example"},
        {"content_length": str(2**21)},
        {"content_length": "many"},
        {"transfer_encoding": "chunked"},
    ],
)
def test_head__unusual__is_left_to_django(unusual: dict[str, str]) -> None:
    assert read_head(scope_of("/validate", "k", b"", **unusual)) is None


def test_head__field_sent_twice__is_left_to_django() -> None:
    scope = scope_of("/validate", "k", b"")
    scope["headers"].append((b"authorization", b"Bearer other"))

    assert read_head(scope) is None
    assert read_head(scope_of("/holds", "k", b"")) is None


def test_head__http2_without_a_length__is_left_to_django() -> None:
    scope = {**scope_of("/validate", "k", b""), "http_version": "2"}
    assert read_head(scope) is not None
    scope["headers"] = [(name, value) for name, value in scope["headers"] if name != b"content-length"]

    assert read_head(scope) is None
    assert read_head({**scope, "http_version": "1.1"}) is not None


def test_head__other_paths_and_methods__are_left_to_django() -> None:
    assert read_head(scope_of("/holds", "k", b"")) is None
    assert read_head({**scope_of("/validate", "k", b""), "method": "GET"}) is None


def test_door__caller_who_goes_away__stops_nobody() -> None:
    door = Door(_nobody)
    sent: list[Any] = []

    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def note(message: Any) -> None:
        sent.append(message)

    asyncio.run(door(scope_of("/validate", None, b""), gone, note))

    assert sent == []
    assert asyncio.run(through(door, "/validate", None))[0] == 401
    door.stop()


async def through(door: Door, path: str, key: str | None, data: bytes = b"") -> tuple[int, dict[str, str], Any]:
    """Status, header fields and body of one request."""
    sent: list[Any] = []
    parts = [data[:5], data[5:]]

    async def receive() -> dict[str, Any]:
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    await door(scope_of(path, key, data), receive, send)
    start, body = sent
    return (
        start["status"],
        {name.decode(): value.decode() for name, value in start["headers"]},
        json.loads(body["body"]),
    )


async def _nobody(scope: Any, _receive: Any, _send: Any) -> None:
    raise AssertionError(f"nothing here is for Django: {scope['path']}")
