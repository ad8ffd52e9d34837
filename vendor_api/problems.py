"""How this door refuses: every exception as a problem document."""

from __future__ import annotations

import structlog
from django.http import HttpResponse

from common.errors import NotFound, Problem
from common.problems import exception_to_problem, problem_response

log = structlog.get_logger(__name__)


def refusal(exc: Exception, request_id: str) -> HttpResponse:
    """The answer to a request that raised `exc`. What nobody foresaw is logged and answered with 500."""
    problem = exception_to_problem(exc)
    if problem is None:
        log.error("vendor_api.failed", exc_info=exc)
        problem = Problem("Something went wrong on our side. Nothing was done.")
    if isinstance(problem, NotFound):
        # What never was, what others own and what is no id at all must not be told apart, not even by a noun.
        problem = NotFound()
    return problem_response(problem, request_id)
