"""What is answered when no view did: problem documents on the API's paths, pages elsewhere."""

from __future__ import annotations

import sys

from django.http import HttpRequest, HttpResponse
from django.views import defaults
from django_ratelimit.exceptions import Ratelimited

from common.errors import BadRequest, Forbidden, NotFound, Problem
from common.problems import exception_to_problem, problem_response

API_PREFIXES = ("/agent/", "/vendor/", "/openapi/", "/t/", "/access/")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not is_api(request):
        return defaults.bad_request(request, exception)
    return answer(request, exception_to_problem(exception) or BadRequest("bad_request", "The request cannot be read."))


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, Ratelimited):
        return too_many(request)
    if not is_api(request):
        return defaults.permission_denied(request, exception)
    return answer(request, Forbidden("forbidden", "This is not allowed."))


def too_many(request: HttpRequest) -> HttpResponse:
    """429 for a log-in page that one address asked too often; its limits are counted by the minute."""
    page = defaults.permission_denied(request, Ratelimited(), template_name="429.html")
    page.status_code = 429
    page.headers["Retry-After"] = "60"
    return page


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not is_api(request):
        return defaults.page_not_found(request, exception)
    return answer(request, NotFound())


def server_error(request: HttpRequest) -> HttpResponse:
    """500, or 503 where a store did not answer: that passes, and the caller may try again."""
    error = sys.exc_info()[1]
    problem = (exception_to_problem(error) if error is not None else None) or Problem()
    if is_api(request):
        return answer(request, problem)
    unreachable = problem.status == 503
    page = defaults.server_error(request, template_name="503.html" if unreachable else "500.html")
    if unreachable:
        page.status_code = problem.status
        for name, value in problem.headers.items():
            page.headers[name] = value
    return page


def is_api(request: HttpRequest) -> bool:
    return request.path_info.startswith(API_PREFIXES)


def answer(request: HttpRequest, problem: Problem) -> HttpResponse:
    return problem_response(problem, getattr(request, "request_id", ""))
