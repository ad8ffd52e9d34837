"""Usage by the gigabyte: an upload that becomes a job, and the lines of it that were refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.http import parse_header_parameters

from common.errors import BadRequest, NotFound, UnsupportedMediaType
from common.http_json import stream_body
from common.ids import Prefix
from common.requests import idempotency_key_from
from metering.services.import_formats import ImportFormat
from metering.services.import_jobs import IMPORT_USAGE, upload_of
from metering.services.import_streams import ImportBroken, surely_gzip
from metering.services.import_uploads import KEPT_FOR, Upload, rejected_of
from tenants.domain.scopes import Scope, has_scope
from tenants.selectors.listing import jobs_of
from vendor_api.jobs import import_uploaded
from vendor_api.operations import Operation
from vendor_api.serializers.records import JobShape
from vendor_api.views.base import VendorView

NDJSON: Final = "application/x-ndjson"
CSV: Final = "text/csv"
_FORMATS: Final = {NDJSON: ImportFormat.NDJSON, "application/ndjson": ImportFormat.NDJSON, CSV: ImportFormat.CSV}

_EXAMPLES: Final = {
    NDJSON: (
        '{"id": "call-7f3a", "agent": "agt_01h455vb4pex5vsknk084sn02q", "meter": "tokens", "quantity": "1532", '
        '"occurred_at": "2026-11-23T09:00:00Z", "dimensions": {"model": "large"}}\n'
    ),
    CSV: (
        "id,agent,meter,quantity,occurred_at,dimensions.model\r\n"
        "call-7f3a,agt_01h455vb4pex5vsknk084sn02q,tokens,1532,2026-11-23T09:00:00Z,large\r\n"
    ),
}


class UsageImportView(VendorView):
    """/usage/import"""

    operations: ClassVar = {
        "POST": Operation(
            name="import_usage",
            summary="Import usage",
            description="A line is one event with `agent` or `license`; of CSV the first line names the columns, "
            "`dimensions.<name>` for each dimension. Plain or gzip: it is taken in as it comes, up to "
            "`PERMETER_IMPORT_MAX_BYTES` as they are sent (10 GiB unless the installation says otherwise), and "
            "answered with 202 and a job to poll at `/vendor/v1/jobs/{id}`, whose `progress` and `result` count what "
            "was recorded, duplicates, conflicts and rejected lines. What is wrong with a line is told at "
            "`/vendor/v1/jobs/{id}/rejected` and loses no other. Events older than the acceptance window need the "
            "scope `usage:backfill`, too, and are taken as far back as events are kept.",
            tag="Usage",
            scope=Scope.USAGE_WRITE,
            answer=JobShape,
            status=202,
            uploads=_EXAMPLES,
        )
    }

    def post(self) -> HttpResponse:
        format_ = _format(self.request)
        key = idempotency_key_from(self.request.META.get("HTTP_IDEMPOTENCY_KEY"))
        upload = Upload(self.tenant)
        taken = False
        try:
            upload.store(_sent(self.request))
            if not upload.size:
                raise BadRequest("body_empty", "The body is empty: send a line for each event.")

            def ask() -> HttpResponse:
                nonlocal taken
                backfill = has_scope(self.caller.key.scopes, Scope.USAGE_BACKFILL)
                job = import_uploaded(**self.who(), upload=upload, format_=format_, backfill=backfill)
                taken = True
                return self.show(job)

            # What the key stands for is the bytes; they are not kept in memory, but their digest is as good.
            sent = f"{format_} {upload.digest}".encode()
            return ask() if key is None else self.once(key, sent, ask)
        finally:
            if not taken:
                upload.discard()


class RejectedLinesView(VendorView):
    """/jobs/{id}/rejected"""

    operations: ClassVar = {
        "GET": Operation(
            name="list_rejected_lines",
            summary="Download the refused lines of an import",
            description="NDJSON: for each line that was not counted its number, its event's id, `status` (`rejected` "
            f"or `conflict`), `code`, `field`, `detail` and `content`. Kept for {KEPT_FOR.days} days.",
            tag="Jobs",
            scope=Scope.JOBS_READ,
            refusals=(404,),
            media_type=NDJSON,
        )
    }

    def get(self, id: str) -> StreamingHttpResponse:
        job = self.find(jobs_of(self.tenant.id), Prefix.JOB, id)
        if job.kind != IMPORT_USAGE:
            raise NotFound
        response = StreamingHttpResponse(rejected_of(self.tenant.id, upload_of(job)), content_type=NDJSON)
        response.headers["Content-Disposition"] = f'attachment; filename="{job.public_id}-rejected.ndjson"'
        return response


def _sent(request: HttpRequest) -> Iterator[bytes]:
    """The body, as much of it as is taken in. Raises PayloadTooLarge, BadRequest."""
    body = stream_body(request, max_bytes=settings.PERMETER_IMPORT_MAX_BYTES or None)
    if _encoding(request) != "gzip":
        return body
    try:
        return surely_gzip(body)
    except ImportBroken as broken:
        raise BadRequest(broken.code, broken.detail) from None


def _encoding(request: HttpRequest) -> str:
    return (request.META.get("HTTP_CONTENT_ENCODING") or "identity").strip().lower()


def _format(request: HttpRequest) -> ImportFormat:
    """What the body is. Raises UnsupportedMediaType."""
    media_type, parameters = parse_header_parameters(request.META.get("CONTENT_TYPE") or "")
    format_ = _FORMATS.get(media_type.strip().lower())
    if format_ is None:
        raise UnsupportedMediaType(f"An import is {NDJSON} or {CSV}.")
    if parameters.get("charset", "utf-8").lower() not in {"utf-8", "utf8"}:
        raise UnsupportedMediaType("The body must be UTF-8.")
    if _encoding(request) not in {"identity", "gzip"}:
        raise UnsupportedMediaType("The body is sent plain or as gzip.")
    return format_
