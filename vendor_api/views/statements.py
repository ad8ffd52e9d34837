"""Statements: issued ones as they were, and what a month comes to so far."""

from __future__ import annotations

from typing import ClassVar

from django.http import HttpResponse

from common.ids import Prefix
from licenses.selectors.lookup import get_customer
from metering.domain.statements import as_csv, as_json
from metering.models import Statement
from metering.selectors.statements import statements_of
from metering.services.statements import as_html, draft_statement, issue_statement, month_of
from tenants.domain.scopes import Scope
from tenants.selectors.customers import resolve_customer
from vendor_api.filters.statements import StatementFilter, StatementMonthFilter
from vendor_api.formats import CSV, HTML, format_of
from vendor_api.operations import Operation
from vendor_api.serializers.statements import (
    STATEMENT_EXAMPLE,
    IssueStatementBody,
    StatementRowShape,
    StatementShape,
)
from vendor_api.views.base import VendorView

_TAG = "Statements"


class _StatementView(VendorView):
    def found(self, id: str) -> Statement:
        statement: Statement = self.find(statements_of(self.tenant.id), Prefix.STATEMENT, id)
        return statement

    def text(self, text: str, media_type: str) -> HttpResponse:
        """What was stored, to the byte."""
        return HttpResponse(text.encode(), status=self.operation.status, content_type=f"{media_type}; charset=utf-8")

    def page_of(self, html: str, name: str) -> HttpResponse:
        """A page to print, as a file of its own: pages of this site may not bring styles along."""
        response = self.text(html, HTML)
        response.headers["Content-Disposition"] = f'attachment; filename="statement-{name}.html"'
        return response


class StatementsView(_StatementView):
    """/statements"""

    operations: ClassVar = {
        "GET": Operation(
            name="list_statements",
            summary="List statements",
            tag=_TAG,
            scope=Scope.OVERAGES_READ,
            answer=StatementRowShape,
            query=StatementFilter,
            paged=True,
        ),
        "POST": Operation(
            name="issue_statement",
            summary="Issue a statement",
            description=(
                "Of a customer's calendar month that is over and whose periods are closed; it bills what ended in it, "
                "and corrections and voids that earlier statements could not know. Closing periods issues what is due "
                "by itself. Issuing twice gives the same one."
            ),
            tag=_TAG,
            scope=Scope.OVERAGES_WRITE,
            body=IssueStatementBody,
            answer=StatementShape,
            status=201,
            refusals=(409,),
            example=STATEMENT_EXAMPLE,
        ),
    }

    def get(self) -> HttpResponse:
        return self.page(statements_of(self.tenant.id))

    def post(self) -> HttpResponse:
        customer = resolve_customer(self.tenant, self.body["customer"])
        statement = issue_statement(**self.who(), customer=customer, at=self.body["period_start"])
        return self.text(statement.as_json, "application/json")


class StatementView(_StatementView):
    """/statements/{id}"""

    operations: ClassVar = {
        "GET": Operation(
            name="get_statement",
            summary="Read a statement",
            description="As it was issued, to the byte.",
            tag=_TAG,
            scope=Scope.OVERAGES_READ,
            answer=StatementShape,
            refusals=(404,),
        )
    }

    def get(self, id: str) -> HttpResponse:
        return self.text(self.found(id).as_json, "application/json")


class StatementCsvView(_StatementView):
    """/statements/{id}/csv"""

    operations: ClassVar = {
        "GET": Operation(
            name="get_statement_csv",
            summary="Read a statement as CSV",
            description="As it was issued, to the byte.",
            tag=_TAG,
            scope=Scope.OVERAGES_READ,
            media_type="text/csv",
            refusals=(404,),
        )
    }

    def get(self, id: str) -> HttpResponse:
        return self.text(self.found(id).as_csv, "text/csv")


class StatementHtmlView(_StatementView):
    """/statements/{id}/html"""

    operations: ClassVar = {
        "GET": Operation(
            name="get_statement_html",
            summary="Read a statement as a page to print",
            description="As it was issued, to the byte.",
            tag=_TAG,
            scope=Scope.OVERAGES_READ,
            media_type="text/html",
            refusals=(404,),
        )
    }

    def get(self, id: str) -> HttpResponse:
        statement = self.found(id)
        return self.page_of(statement.as_html, str(statement.number))


class CustomerStatementView(_StatementView):
    """/customers/{id}/statement"""

    operations: ClassVar = {
        "GET": Operation(
            name="get_customer_statement",
            summary="Read a customer's statement of a month",
            description="The one that was issued, or else a draft of what the month comes to so far.",
            tag=_TAG,
            scope=Scope.OVERAGES_READ,
            answer=StatementShape,
            query=StatementMonthFilter,
            other_media_types=(CSV, HTML),
            refusals=(404,),
        )
    }

    def get(self, id: str) -> HttpResponse:
        customer = get_customer(self.tenant, id)
        asked = StatementMonthFilter(self.query, at=self.now())
        asked.check()
        at = asked.value("period_start") or self.now()
        window = month_of(self.tenant, at)
        issued = statements_of(self.tenant.id).filter(customer=customer, period_start=window.start).first()
        draft = {} if issued is not None else draft_statement(self.tenant, customer, at)
        match format_of(self.request, asked.value("format"), offered=("csv", "html")):
            case "csv":
                return self.text(issued.as_csv if issued else as_csv(draft), CSV)
            case "html":
                return self.page_of(
                    issued.as_html if issued else as_html(draft), str(issued.number) if issued else "draft"
                )
        return self.text(issued.as_json if issued else as_json(draft), "application/json")
