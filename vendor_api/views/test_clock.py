"""The clock of a test workspace: read, and moved forward to rehearse what is to come."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

import msgspec
from django.http import HttpResponse

from common.clock import real_clock
from metering.services.clock_moves import STOPS_IN_CALL, Moved, move_clock_to
from tenants.domain.scopes import Scope
from tenants.models import Job
from tenants.selectors.workspaces import clock_offset_of
from vendor_api.jobs import ask_to_move_clock
from vendor_api.operations import Operation
from vendor_api.serializers.base import show
from vendor_api.serializers.test_clock import CLOCK_EXAMPLE, TestClockBody, TestClockShape
from vendor_api.views.base import VendorView


class TestClockView(VendorView):
    """/test-clock"""

    __test__ = False

    operations: ClassVar = {
        "GET": Operation(
            name="get_test_clock",
            summary="Read the workspace's clock",
            description="In a live workspace that is real time.",
            tag="Test clock",
            scope=Scope.TEST_CLOCK_READ,
            answer=TestClockShape,
        ),
        "POST": Operation(
            name="move_test_clock",
            summary="Move a test workspace's clock forward",
            description="Everything that is due on the way happens in order before the answer: periods close with "
            "their own overage, holds and activations end, licenses are announced and expire, spawned agents are put "
            "away, and webhook events are written. The clock never goes back, and only a test workspace has one. Rate "
            "limits, keys, tokens, idempotency keys and the audit trail stay on real time. A call that breaks off has "
            "moved the clock part of the way: call again.",
            tag="Test clock",
            scope=Scope.TEST_CLOCK_WRITE,
            body=TestClockBody,
            answer=TestClockShape,
            answer_description="The clock is there, and everything is done.",
            accepted="More than a hundred things lie on the way: `job` goes on with them, and `now` is how far it is.",
            example=CLOCK_EXAMPLE,
        ),
    }

    def get(self) -> HttpResponse:
        return self._answer(None, None, status=200)

    def post(self) -> HttpResponse:
        to = self.body["now"]
        moved = move_clock_to(**self.who(), to=to, stops=STOPS_IN_CALL)
        job = None if moved.arrived else ask_to_move_clock(**self.who(), now=to)
        return self._answer(moved, job, status=200 if job is None else 202)

    def _answer(self, moved: Moved | None, job: Job | None, *, status: int) -> HttpResponse:
        real_now, offset = real_clock().now(), clock_offset_of(self.tenant.id)
        clock: dict[str, Any] = {
            "mode": self.tenant.mode,
            "now": real_now + offset,
            "real_now": real_now,
            "ahead_seconds": offset // timedelta(seconds=1),
            "happened": moved.happened.as_dict() if moved else None,
            "job": job.id if job else None,
        }
        shown = show(self.operation.shape, clock, at=real_now + offset)
        return HttpResponse(msgspec.json.encode(shown), status=status, content_type="application/json")
