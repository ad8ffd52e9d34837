"""POSTs with an Idempotency-Key are done once, and answered alike."""

from __future__ import annotations

from threading import Event, Thread
from typing import Any

import pytest
from django.db import connections

from licenses.models import Product
from licenses.services import catalogue
from tests.trail import actions
from tests.vendor_api.door import Door
from tests.vendor_api.shop import Shop

BODY = {"code": "writer", "name": "Writer"}


def test_post__same_key_and_body__replays_the_first_answer(door: Door) -> None:
    first = door.post("/products", BODY, Idempotency_Key="k-1")
    again = door.post("/products", {"name": "Writer", "code": "writer"}, Idempotency_Key='"k-1"')

    assert (first.status, first.headers.get("Idempotency-Replayed")) == (201, None)
    assert (again.status, again.headers.get("Idempotency-Replayed")) == (201, "true")
    assert again.json == first.json
    assert actions(door.tenant, "product.") == ["product.created"]


def test_post__answer_holds_a_secret__replay_tells_it_again(shop: Shop) -> None:
    body = {"license": shop.license["id"], "name": "twin"}

    first = shop.door.post("/agents", body, Idempotency_Key="k-1")
    again = shop.door.post("/agents", body, Idempotency_Key="k-1")

    assert first["key"] == again["key"]
    assert len(shop.door.listed("/agents", name="twin")) == 1


@pytest.mark.parametrize("body", [{**BODY, "name": "Other"}, {"code": "other", "name": "Writer"}])
def test_post__same_key_and_another_body__is_refused_and_nothing_is_done(door: Door, body: dict[str, Any]) -> None:
    door.post("/products", BODY, Idempotency_Key="k-1")

    answer = door.post("/products", body, Idempotency_Key="k-1")

    assert (answer.status, answer.code) == (422, "idempotency_key_reused")
    assert [row["name"] for row in door.listed("/products")] == ["Writer"]


def test_post__same_key_at_another_route__is_refused(door: Door) -> None:
    door.post("/products", BODY, Idempotency_Key="k-1")

    assert door.post("/customers", BODY, Idempotency_Key="k-1").code == "idempotency_key_reused"


def test_post__same_key_of_another_caller__is_another_key(door: Door) -> None:
    first = door.post("/products", BODY, Idempotency_Key="k-1")
    elsewhere = Door().post("/products", BODY, Idempotency_Key="k-1")

    assert (first.status, elsewhere.status) == (201, 201)
    assert first["id"] != elsewhere["id"]


def test_post__refused_at_first__is_refused_alike_after_the_reason_is_gone(door: Door) -> None:
    body = {"product": "writer", "code": "drafts", "name": "Drafts", "kind": "switch"}

    first = door.post("/features", body, Idempotency_Key="k-1")
    door.made("/products", BODY)
    again = door.post("/features", body, Idempotency_Key="k-1")

    assert (first.status, again.status, again.headers["Idempotency-Replayed"]) == (422, 422, "true")
    assert again.json == first.json
    assert again.headers["Content-Type"] == "application/problem+json"
    assert door.post("/features", body, Idempotency_Key="k-2").status == 201


@pytest.mark.parametrize("key", ["x" * 256, '""', "two words", "k-1, k-2", '"open'])
def test_post__key_that_is_none__is_400(door: Door, key: str) -> None:
    answer = door.post("/products", BODY, Idempotency_Key=key)

    assert (answer.status, answer.code) == (400, "idempotency_key_invalid")
    assert not Product.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_post__first_call_still_running__is_409(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door()
    reached, go_on = Event(), Event()
    create = catalogue.create_product

    def slowly(**arguments: Any) -> Product:
        reached.set()
        go_on.wait(20)
        return create(**arguments)

    monkeypatch.setattr(catalogue, "create_product", slowly)
    answers = []

    def first() -> None:
        answers.append(door.post("/products", BODY, Idempotency_Key="k-1"))
        connections.close_all()

    thread = Thread(target=first)
    thread.start()
    assert reached.wait(20)
    second = door.post("/products", BODY, Idempotency_Key="k-1")
    go_on.set()
    thread.join(20)

    assert (second.status, second.code) == (409, "idempotency_in_progress")
    assert [answer.status for answer in answers] == [201]
    assert door.post("/products", BODY, Idempotency_Key="k-1").headers["Idempotency-Replayed"] == "true"


def test_patch__with_a_key__takes_no_notice_of_it(shop: Shop) -> None:
    path = f"/products/{shop.product['id']}"

    names = [shop.door.call("PATCH", path, {"name": name}, Idempotency_Key="k-1")["name"] for name in ("A", "B")]

    assert names == ["A", "B"]
