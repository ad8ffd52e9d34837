"""What each operation is refused with, as problem documents for the OpenAPI document: the exceptions themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from common.errors import (
    BadRequest,
    Conflict,
    FieldError,
    Forbidden,
    Invalid,
    NetworkNotAllowed,
    NotFound,
    PayloadTooLarge,
    Problem,
    RevocationPending,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)
from common.problems import problem_body
from vendor_api.operations import Operation

_REQUEST_ID: Final = "0c7f3b9e6a1d4c58b3f2a1907d5e6c48"
_STATES: Final = {"status": "revoked", "from": "revoked", "to": "active", "allowed": ["active", "suspended"]}
#: What changes a licence's state names the states.
_REVOKED: Final = Conflict(
    "license_revoked",
    "The license is revoked for good; only an active or suspended one can be reinstated.",
    extra=_STATES,
)
_NO_CHILD: Final = FieldError(
    field="features.0", code="exceeds_parent", detail="The parent does not have the feature 'web_search'."
)

#: What the state of things forbids, by code.
OF_STATE: Final[Mapping[str, Problem]] = {
    problem.code: problem
    for problem in (
        Conflict("agent_archived", "The agent's life is over and it was put away; it does not change any more."),
        Forbidden(
            "agent_limit_reached",
            "The license's plan allows 50 agents, and 50 live. Revoke one, or change the plan.",
            extra={"limit": 50, "current": 50},
        ),
        Conflict("agent_revoked", "The agent is revoked for good.", extra={"status": "revoked"}),
        Conflict("choice_in_use", "A grant gives the choice that would go."),
        Conflict("code_taken", "There is one with this code already, maybe an archived one."),
        Conflict("customer_suspended", "The customer is suspended. Ask the vendor to reinstate the customer."),
        Conflict("customer_archived", "The customer is archived. Reinstate it first."),
        Conflict("dimension_in_use", "A quota, price or rate card names a dimension that would go."),
        Conflict("event_type_taken", "Another meter takes these event types already."),
        Forbidden(
            "exceeds_parent", f"A child has at most what its parent has. {_NO_CHILD['detail']}", errors=[_NO_CHILD]
        ),
        Conflict("currency_changed", "The bill is in USD, the price in EUR. Void the overage instead."),
        Conflict("event_is_correction", "A void or an adjustment is not corrected: post another adjustment."),
        Conflict("external_id_taken", "There is a customer with this external_id already."),
        Conflict("feature_archived", "An archived feature does not change any more."),
        Conflict("id_conflict", "This id was used for something else. Take a new id for a new event."),
        Conflict(
            "id_ambiguous",
            "Several licenses have used this id: say which with license.",
            extra={"licenses": ["lic_01h455vb4pex5vsknk084sn02q", "lic_01h455vb4pex5vsknk084sn02r"]},
        ),
        Conflict("key_revoked", "The key is revoked for good. Make a new one."),
        Conflict("license_archived", "The license is archived and does not change any more."),
        Conflict("license_not_signed", "The license is carried as a key only: change its kind to both first."),
        Conflict("license_only_signed", "The license is of kind signed and carries no key. Change its kind."),
        Conflict("license_perpetual", "The license never expires: there is nothing to renew."),
        Conflict("license_revoked", "The license was revoked for good. Ask the vendor for a new one."),
        Conflict("license_suspended", "The license is suspended. Ask the vendor to reinstate it."),
        Conflict("license_expired", "The license expired at 2026-11-01T00:00:00Z. Renew it to go on."),
        Conflict("license_not_started", "The license begins at 2026-12-01T00:00:00Z. Try again then."),
        Conflict("meter_archived", "An archived meter does not change any more."),
        Conflict("meter_has_events", "Events were recorded on this meter: what it counts stays."),
        Conflict("meter_in_use", "Quotas, prices or rate cards name this meter: archive those first."),
        Forbidden("not_a_test_workspace", "Only the clock of a test workspace can be moved."),
        Conflict("overage_is_correction", "This corrects another record: void that one, or re-rate it."),
        Conflict(
            "overage_not_final",
            "Only a final overage is re-rated; this one is open. An open one follows its price.",
            extra={"status": "open"},
        ),
        Conflict("period_not_closed", "Periods of this month are not closed yet: POST periods/close first."),
        Conflict("period_not_over", "The month ends at 2026-12-01T00:00:00Z: until then there is a draft."),
        Conflict("plan_archived", "The plan is archived and does not change any more."),
        Conflict("plan_perpetual", "The plan has no term to renew by. Give expires_at."),
        Conflict("price_missing", "The plan has no price for this period. Give it one, or void the overage."),
        Conflict("product_archived", "An archived product does not change any more."),
        Conflict("quota_archived", "An archived quota does not change any more."),
        Conflict("quota_exists", "There is a quota already that counts the same."),
        Conflict("quota_priced", "A price of the plan bills this quota; take the price away first."),
        Conflict("top_up_voided", "A top-up that was voided does not change any more."),
        Forbidden(
            "scope_exceeds_own",
            "A key can only hand on scopes that it has; this one lacks licenses:write.",
            extra={"scopes": ["licenses:write"]},
        ),
    )
}
#: Which of them each operation meets.
MET_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "create_agent": (
        *("agent_limit_reached", "exceeds_parent"),
        *("license_revoked", "agent_revoked", "agent_archived"),
    ),
    "update_agent": ("agent_limit_reached", "exceeds_parent", "agent_revoked", "agent_archived"),
    "suspend_agent": ("agent_revoked", "agent_archived"),
    "resume_agent": ("agent_revoked", "agent_archived"),
    "throttle_agent": ("agent_revoked", "agent_archived"),
    "create_agent_key": ("agent_revoked", "agent_archived"),
    "update_agent_key": ("key_revoked",),
    "create_api_key": ("scope_exceeds_own",),
    "update_api_key": ("scope_exceeds_own", "key_revoked"),
    "create_customer": ("external_id_taken",),
    "update_customer": ("external_id_taken", "customer_archived"),
    "suspend_customer": ("customer_archived",),
    "create_product": ("code_taken",),
    "update_product": ("code_taken", "product_archived"),
    "create_feature": ("code_taken",),
    "update_feature": ("code_taken", "feature_archived", "choice_in_use"),
    "create_plan": ("code_taken",),
    "update_plan": ("code_taken", "plan_archived", "quota_exists"),
    "issue_license": ("customer_archived",),
    "update_license": ("license_archived",),
    "renew_license": ("license_perpetual", "plan_perpetual"),
    "transfer_license": ("customer_archived",),
    "rotate_license_key": ("license_only_signed",),
    "export_license_file": (
        *("license_revoked", "license_suspended", "license_expired", "license_not_started"),
        *("customer_suspended", "license_not_signed"),
    ),
    "create_meter": ("code_taken", "event_type_taken"),
    "create_llm_meters": ("code_taken", "event_type_taken"),
    "update_meter": ("meter_archived", "meter_has_events", "meter_in_use", "dimension_in_use", "event_type_taken"),
    "archive_meter": ("meter_in_use",),
    "create_quota": ("quota_exists",),
    "update_quota": ("quota_archived",),
    "archive_quota": ("quota_priced",),
    "update_top_up": ("top_up_voided",),
    "record_usage": ("id_conflict",),
    "issue_statement": ("period_not_over", "period_not_closed"),
    "void_usage": ("id_ambiguous", "event_is_correction"),
    "void_usage_by_id": ("id_ambiguous", "event_is_correction"),
    "void_overage": ("overage_is_correction",),
    "rerate_overage": ("overage_not_final", "price_missing", "currency_changed"),
    "move_test_clock": ("not_a_test_workspace",),
}
_NAMES_STATES: Final = frozenset(
    {"suspend_license", "reinstate_license", "renew_license", "transfer_license", "rotate_license_key"}
)


def refusal_examples(operation: Operation, method: str) -> dict[int, dict[str, dict[str, Any]]]:
    """By status and code, the problem documents that an operation can be answered with.

    A status that is not in here is not met: of those that a route names, one without a code is left out.
    """
    found: dict[int, dict[str, dict[str, Any]]] = {}
    for problem in _problems(operation, method):
        found.setdefault(problem.status, {}).setdefault(problem.code, problem_body(problem, _REQUEST_ID))
    return {status: found[status] for status in sorted(found)}


def share_examples(result: dict[str, Any], **_more: Any) -> dict[str, Any]:
    """A hook of drf-spectacular: each refusal stands once among the components, and operations point at it."""
    shared: dict[str, Any] = {}
    contents = (
        content
        for operations in result["paths"].values()
        for operation in operations.values()
        for status, answer in operation["responses"].items()
        if int(status) >= 400
        for content in answer["content"].values()
    )
    for content in contents:
        for name, example in content["examples"].items():
            scope = re.split(r"\W+", example["value"].get("scope", ""))
            called = first = name + "".join(word.capitalize() for word in scope)
            number = 1
            while shared.setdefault(called, example) != example:
                number += 1
                called = f"{first}{number}"
            content["examples"][name] = {"$ref": f"#/components/examples/{called}"}
    result["components"]["examples"] = dict(sorted(shared.items()))
    return result


def _problems(operation: Operation, method: str) -> list[Problem]:
    scope = str(operation.scope) if operation.scope else ""
    problems: list[Problem] = [
        Unauthorized(),
        Forbidden("insufficient_scope", f"This key lacks the scope {scope}.", extra={"scope": scope}),
        Forbidden("wrong_key_kind", "This door takes secret keys (pm_sk_) only."),
        NetworkNotAllowed(),
        Forbidden("tenant_suspended", "This workspace is suspended."),
        Unavailable(),
    ]
    if 404 in operation.refusals:
        problems.append(NotFound())
    if operation.body is not None:
        problems += [
            BadRequest("malformed_json", "The body is not JSON: line 1, column 2."),
            PayloadTooLarge("A body has at most 1048576 bytes."),
            UnsupportedMediaType("The body must be application/json."),
        ]
        problems.append(_fault(operation, "unknown_field", "This field is not known here."))
    if operation.uploads:
        problems += [
            BadRequest("body_empty", "The body is empty: send a line for each event."),
            BadRequest("body_incomplete", "The body broke off."),
            BadRequest("compression_invalid", "The body is no gzip, though its Content-Encoding says so."),
            PayloadTooLarge("A body has at most 10737418240 bytes."),
            UnsupportedMediaType(f"The body must be {' or '.join(operation.uploads)}."),
        ]
    if operation.query is not None:
        problems.append(_fault(operation, "unknown_parameter", "There is no such parameter here."))
    if method == "POST" and operation.once:
        problems += [
            BadRequest("idempotency_key_invalid", "An Idempotency-Key has 1 to 255 printable ASCII characters."),
            Conflict("idempotency_in_progress", "The first call with this Idempotency-Key is still running."),
            Invalid("This Idempotency-Key came with another request before.", code="idempotency_key_reused"),
        ]
    if scope.endswith(":write"):
        problems.append(RevocationPending())
    if operation.name in _NAMES_STATES:
        problems.append(_REVOKED)
    return problems + [OF_STATE[code] for code in MET_BY.get(operation.name, ())]


def _fault(operation: Operation, code: str, detail: str) -> Problem:
    if operation.body is not None and not operation.once:
        # AuthZEN knows no 422, and lets members through that it does not know.
        errors = [FieldError(field="subject", code="required", detail="This is needed.")]
        return BadRequest("invalid", "subject: This is needed.", errors=errors)
    errors = [FieldError(field="colour", code=code, detail=detail)]
    return Invalid(f"colour: {detail}", errors=errors)
