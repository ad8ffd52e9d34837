"""The clock of a workspace, as it is asked to go and as it is shown."""

from __future__ import annotations

from typing import Any, Final

from rest_framework import serializers

from common.ids import Prefix
from tenants.domain.enums import TenantMode
from vendor_api.serializers.base import Body, Shape
from vendor_api.serializers.fields import IdField, TimeField

CLOCK_EXAMPLE: Final[dict[str, Any]] = {"now": "2027-01-01T02:00:00Z"}


class TestClockBody(Body):
    """Move the test workspace's clock forward to this time."""

    __test__ = False

    now = TimeField(
        any_year=True, help_text="Later than what the clock shows, and at most 3660 days ahead of real time."
    )


class HappenedShape(Shape):
    """How often what happened while the clock was moved, as far as this call moved it."""

    stops = serializers.IntegerField(help_text="Instants at which something was due, and the last one.")
    periods_closed = serializers.IntegerField()
    overages_finalized = serializers.IntegerField()
    statements_issued = serializers.IntegerField(help_text="Of months that are over and closed.")
    holds_expired = serializers.IntegerField()
    activations_lapsed = serializers.IntegerField()
    expiries_announced = serializers.IntegerField(help_text="`license.expiring`.")
    licenses_expired = serializers.IntegerField()
    agents_archived = serializers.IntegerField()


class TestClockShape(Shape):
    """What time it is in the workspace. A live workspace's clock is real time."""

    __test__ = False

    mode = serializers.ChoiceField(choices=[each.value for each in TenantMode])
    now = TimeField()
    real_now = TimeField()
    ahead_seconds = serializers.IntegerField(help_text="Whole seconds ahead of real time.")
    happened = HappenedShape(allow_null=True, help_text="Null where nothing was moved.")
    job = IdField(Prefix.JOB, allow_null=True, help_text="What moves the clock the rest of its way; poll it.")
