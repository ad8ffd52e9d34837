"""Statements: their list, and the document itself."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from common.ids import Prefix
from vendor_api.serializers.base import Body, Shape
from vendor_api.serializers.common import ResourceShape
from vendor_api.serializers.fields import IdField, ReferenceField, TimeField


class StatementTotalShape(Shape):
    """Sums of rounded amounts, in one currency."""

    currency = serializers.CharField()
    overage = serializers.CharField()
    credits = serializers.CharField(help_text="Corrections and voids; below 0 where they give back.")
    total = serializers.CharField()


class StatementRowShape(ResourceShape):
    """A statement that was issued, without its lines."""

    id = IdField(Prefix.STATEMENT)
    number = serializers.IntegerField()
    customer = IdField(Prefix.CUSTOMER, source="customer_id")
    period_start = TimeField()
    period_end = TimeField()
    issued_at = TimeField()
    totals = StatementTotalShape(many=True)


class WorkingShape(Shape):
    """One step of a line's working, exact."""

    description = serializers.CharField()
    quantity = serializers.CharField()
    unit_price = serializers.CharField()
    amount = serializers.CharField()


class StatementLineShape(Shape):
    """`usage` had nothing over; `overage` is charged; `credit` corrects another overage; `void` takes one back."""

    kind = serializers.ChoiceField(choices=["usage", "overage", "credit", "void"])
    overage = serializers.CharField(allow_null=True)
    corrects = serializers.CharField(allow_null=True)
    license = serializers.CharField(allow_null=True)
    meter = serializers.CharField()
    period_start = serializers.CharField()
    period_end = serializers.CharField(allow_null=True)
    used = serializers.CharField()
    included = serializers.CharField()
    over = serializers.CharField()
    working = WorkingShape(many=True)
    amount = serializers.CharField(allow_null=True)
    currency = serializers.CharField(allow_blank=True)
    reason = serializers.CharField(allow_blank=True)


class StatementCustomerShape(Shape):
    """Whose statement it is, as the customer was then."""

    id = serializers.CharField()
    external_id = serializers.CharField()
    name = serializers.CharField(allow_blank=True)


class StatementShape(Shape):
    """A statement of a calendar month: the same to the byte ever after, once it is issued."""

    id = serializers.CharField(allow_null=True)
    number = serializers.IntegerField(allow_null=True)
    status = serializers.ChoiceField(choices=["draft", "issued"])
    vendor = serializers.CharField()
    customer = StatementCustomerShape()
    period_start = serializers.CharField()
    period_end = serializers.CharField()
    issued_at = serializers.CharField(allow_null=True)
    lines = StatementLineShape(many=True)
    totals = StatementTotalShape(many=True)


class IssueStatementBody(Body):
    """Whose, and any instant of the month."""

    customer = ReferenceField(help_text="Its id or external id.")
    period_start = TimeField(help_text="The calendar month in which it lies, in the workspace's timezone.")


STATEMENT_EXAMPLE: dict[str, Any] = {"customer": "acme", "period_start": "2026-10-01T00:00:00Z"}
