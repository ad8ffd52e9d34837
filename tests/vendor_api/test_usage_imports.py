"""Usage that is uploaded: streamed into storage, done by a worker, told by a job."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from common.clock import real_clock
from metering.models import ImportPart, UsageEvent
from metering.services import import_uploads
from metering.services.import_uploads import purge_imports
from metering.services.running_jobs import run_job
from tenants.models import Job
from tests.factories import make_api_key
from tests.vendor_api.door import Answer, Door
from tests.vendor_api.shop import Shop

pytestmark = pytest.mark.django_db(transaction=True)

NDJSON = "application/x-ndjson"


@pytest.fixture
def shop(transactional_db: None) -> Shop:
    return Shop(Door())


def lines_for(shop: Shop, *quantities: Any, **more: Any) -> bytes:
    return b"".join(
        json.dumps({"id": f"e{n}", "meter": "tokens", "quantity": quantity, "agent": shop.agent["id"], **more}).encode()
        + b"\n"
        for n, quantity in enumerate(quantities)
    )


def upload(shop: Shop, body: bytes, content_type: str = NDJSON, **headers: str) -> Answer:
    return shop.door.call("POST", "/usage/import", raw=body, content_type=content_type, **headers)


def finished(shop: Shop, answer: Answer) -> Answer:
    assert answer.status == 202, answer
    while run_job():
        pass
    return shop.door.call("GET", f"/jobs/{answer['id']}")


def recorded() -> list[tuple[str, Decimal]]:
    return list(UsageEvent.objects.order_by("client_id").values_list("client_id", "quantity"))


@pytest.mark.parametrize("packed", [False, True])
def test_import__ndjson__is_a_job_that_records_it(shop: Shop, packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_uploads, "PART", 100)
    body = lines_for(shop, 1, 2, 3) + b"oops\n"
    sent = gzip.compress(body) if packed else body

    answer = upload(shop, sent, **({"Content_Encoding": "gzip"} if packed else {}))

    assert (answer["kind"], answer["status"], answer["result"]) == ("usage.import", "pending", None)
    assert ImportPart.objects.filter(tenant=shop.door.tenant).count() == -(-len(sent) // 100)
    job = finished(shop, answer)
    assert job["status"] == "succeeded"
    assert job["result"] == {"recorded": 3, "duplicates": 0, "conflicts": 0, "rejected": 1, "lines": 4}
    assert {name: job["progress"][name] for name in ("line", "recorded", "rejected")} == {
        "line": 4,
        "recorded": 3,
        "rejected": 1,
    }
    assert recorded() == [("e0", Decimal(1)), ("e1", Decimal(2)), ("e2", Decimal(3))]
    refused = shop.door.client.get(
        f"/vendor/v1/jobs/{job['id']}/rejected", headers={"Authorization": f"Bearer {shop.door.key}"}
    )
    assert refused.headers["Content-Type"] == NDJSON
    [line] = [json.loads(text) for text in b"".join(refused.streaming_content).splitlines()]
    assert (line["line"], line["status"], line["code"], line["content"]) == (4, "rejected", "malformed_json", "oops")
    assert list(ImportPart.objects.values_list("kind", flat=True)) == ["rejected"]


def test_import__csv__is_read_by_its_header(shop: Shop) -> None:
    body = f"id,meter,quantity,license\r\na,tokens,5,{shop.license['id']}\r\n".encode()

    job = finished(shop, upload(shop, body, "text/csv; charset=utf-8"))

    assert job["result"] == {"recorded": 1, "duplicates": 0, "conflicts": 0, "rejected": 0, "lines": 2}
    assert recorded() == [("a", Decimal(5))]


def test_import__cannot_be_read_on__job_fails_and_says_why(shop: Shop) -> None:
    job = finished(shop, upload(shop, gzip.compress(lines_for(shop, 1))[:-4]))

    assert (job["status"], job["error"]["code"]) == ("failed", "compression_invalid")
    assert job["progress"].get("recorded", 0) == len(recorded())
    assert not ImportPart.objects.filter(kind="body").exists()


@pytest.mark.parametrize(
    ("content_type", "headers", "status", "code"),
    [
        ("application/json", {}, 415, "unsupported_media_type"),
        (f"{NDJSON}; charset=latin-1", {}, 415, "unsupported_media_type"),
        (NDJSON, {"Content_Encoding": "br"}, 415, "unsupported_media_type"),
    ],
)
def test_import__kind_of_body_that_is_not_read__is_refused_and_nothing_kept(
    shop: Shop, content_type: str, headers: dict[str, str], status: int, code: str
) -> None:
    answer = upload(shop, b"{}\n", content_type, **headers)

    assert (answer.status, answer.code) == (status, code)
    assert not Job.objects.filter(tenant=shop.door.tenant).exists()
    assert not ImportPart.objects.exists()


@pytest.mark.parametrize(
    "body",
    [b'{"id": "e"}\n', b"x", b"\x1f", b"\x1f\x8b\x07not deflated", gzip.compress(b"")[:2] + b"a" * 90],
)
def test_import__says_gzip_and_is_none__is_refused_and_nothing_kept(shop: Shop, body: bytes) -> None:
    answer = upload(shop, body, Content_Encoding="gzip")

    assert (answer.status, answer.code) == (400, "compression_invalid")
    assert not Job.objects.filter(tenant=shop.door.tenant).exists()
    assert not ImportPart.objects.exists()


@pytest.mark.parametrize("over", [0, 1])
def test_import__longer_than_the_limit__is_413_and_nothing_kept(
    shop: Shop, over: int, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_uploads, "PART", 100)
    body = lines_for(shop, *range(20))
    settings.PERMETER_IMPORT_MAX_BYTES = len(body) - over

    answer = upload(shop, body)

    assert answer.status == (413 if over else 202)
    if over:
        assert (answer.code, answer["detail"]) == ("body_too_large", f"A body has at most {len(body) - 1} bytes.")
    assert Job.objects.filter(tenant=shop.door.tenant).exists() == ImportPart.objects.exists() == (not over)
    settings.PERMETER_IMPORT_MAX_BYTES = 0
    assert upload(shop, body).status == 202


def test_import__upload_that_is_not_kept_any_more__fails_instead_of_passing_for_whole(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_uploads, "PART", 100)
    answer = upload(shop, lines_for(shop, 1, 2, 3))
    ImportPart.objects.order_by("-number")[0].delete()

    job = finished(shop, answer)

    assert (job["status"], job["error"]["code"]) == ("failed", "upload_gone")
    assert not ImportPart.objects.filter(kind="body").exists()


def test_import__empty_body__is_400(shop: Shop) -> None:
    answer = shop.door.call("POST", "/usage/import", raw=b"", Content_Type=NDJSON)

    assert (answer.status, answer.code) == (400, "body_empty")


def test_import__same_idempotency_key__one_job_and_one_upload(shop: Shop) -> None:
    first = upload(shop, lines_for(shop, 1), Idempotency_Key="once")
    again = upload(shop, lines_for(shop, 1), Idempotency_Key="once")
    other = upload(shop, lines_for(shop, 2), Idempotency_Key="once")

    assert (first["id"], again.headers["Idempotency-Replayed"]) == (again["id"], "true")
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    assert Job.objects.filter(tenant=shop.door.tenant).count() == ImportPart.objects.count() == 1
    finished(shop, first)
    assert recorded() == [("e0", Decimal(1))]


@pytest.mark.parametrize(("scopes", "counted"), [(("usage:write",), 0), (("usage:write", "usage:backfill"), 1)])
def test_import__older_than_the_window__needs_the_scope(shop: Shop, scopes: tuple[str, ...], counted: int) -> None:
    key = make_api_key(shop.door.tenant, scopes=scopes).text
    old = (real_clock().now() - timedelta(days=60)).isoformat()

    answer = shop.door.call(
        "POST", "/usage/import", raw=lines_for(shop, 1, occurred_at=old), content_type=NDJSON, key=key
    )
    job = finished(shop, answer)

    assert (job["result"]["recorded"], job["result"]["rejected"]) == (counted, 1 - counted)
    assert len(recorded()) == counted


def test_import__agents_of_another_workspace__are_unknown(shop: Shop) -> None:
    stranger = Shop(Door())

    job = finished(shop, upload(shop, lines_for(stranger, 1)))

    assert job["result"]["rejected"] == 1
    assert recorded() == []
    assert stranger.door.call("GET", f"/jobs/{job['id']}/rejected").status == 404


def test_rejected__job_of_another_kind__is_404(shop: Shop) -> None:
    job = shop.door.post("/periods/close", {"before": "2026-01-01T00:00:00Z"})

    assert shop.door.call("GET", f"/jobs/{job['id']}/rejected").status == 404


def test_purge_imports__what_is_old__goes_and_the_rest_stays(shop: Shop) -> None:
    upload(shop, lines_for(shop, 1))
    upload(shop, lines_for(shop, 2))
    old = ImportPart.objects.order_by("id")[0]
    ImportPart.objects.filter(pk=old.pk).update(created_at=real_clock().now() - timedelta(days=8))

    assert purge_imports() == 1
    assert ImportPart.objects.count() == 1


@pytest.mark.parametrize(("scopes", "status"), [(("usage:write",), 422), (("usage:write", "usage:backfill"), 200)])
def test_record__lone_event_older_than_the_window__needs_the_scope(
    shop: Shop, scopes: tuple[str, ...], status: int
) -> None:
    key = make_api_key(shop.door.tenant, scopes=scopes).text
    old = (real_clock().now() - timedelta(days=60)).isoformat()
    event = {"id": "e", "meter": "tokens", "quantity": 1, "agent": shop.agent["id"], "occurred_at": old}

    assert shop.door.call("POST", "/usage", event, key=key).status == status
    assert len(recorded()) == (status == 200)
