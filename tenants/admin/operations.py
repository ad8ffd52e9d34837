"""What operators do to rows: each is one call of a service, by a named operator, with a reason for the audit trail."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError, models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.enums import ActionVariant
from unfold.forms import ActionForm

from common.addresses import client_address
from common.errors import Problem, RevocationPending
from common.ids import Prefix, encode_id
from common.problems import exception_to_problem
from tenants.admin.base import OperatorAdmin
from tenants.domain.actors import Actor
from tenants.domain.enums import ActorKind

#: Each row is a transaction of its own; more than this is a job for the vendors' door.
MOST_AT_ONCE = 200
#: So many rows are named one by one in messages.
MOST_NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Something that an operator may do to a row.

    `run(row, actor, reason)` calls a service; `fits(row)` says whether the row's own page offers it; `effect` is what
    stops or goes on, for whom. What is `for_good` asks first, also from a list.
    """

    name: str
    label: str
    done: str
    icon: str
    effect: str
    run: Callable[[Any, Actor, str], object]
    fits: Callable[[Any], bool]
    for_good: bool = False


def operator_of(request: HttpRequest) -> Actor:
    """The operator behind a request, as the audit trail names them."""
    user: Any = request.user
    return Actor(
        kind=ActorKind.OPERATOR,
        id=encode_id(Prefix.USER, user.pk),
        name=user.email,
        address=client_address(request),
        request_id=getattr(request, "request_id", ""),
    )


class OperationForm(ActionForm):
    """The bar under a list: what to do with the selected rows, and why."""

    reason = forms.CharField(
        label="",
        required=False,
        widget=forms.TextInput(
            {
                "class": "bg-white/20 rounded-default px-2 py-1 pm-reason",
                "placeholder": "Reason, for the audit trail",
                "aria-label": "Reason, for the audit trail",
                "autocomplete": "off",
                "maxlength": "500",
                "x-show": "action",
            }
        ),
    )


class OperatedAdmin(OperatorAdmin):
    """A read-only page whose rows change by operations, from the list and from their own pages."""

    action_form = OperationForm
    operations: ClassVar[Sequence[Operation]] = ()

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever may change the model may run its operations."""
        permission = f"{self.opts.app_label}.change_{self.opts.model_name}"
        return request.user.has_perm(permission)

    def get_actions(self, request: HttpRequest) -> dict[str, tuple[Any, str, str]]:
        """Each operation on all selected rows."""
        actions: dict[str, tuple[Any, str, str]] = super().get_actions(request)
        if self.has_operate_permission(request):
            for operation in self.operations:
                name = f"{operation.name}_selected"
                label = f"{operation.label} selected {self.opts.verbose_name_plural}"
                actions[name] = (partial(_on_selected, operation=operation), name, label)
        return actions

    def get_urls(self) -> list[URLPattern]:
        """Each operation on a row's own page."""
        own = [
            path(
                f"<path:object_id>/{operation.name}/",
                self.admin_site.admin_view(partial(self.operation_view, operation=operation)),
                name=self._url_name(operation),
            )
            for operation in self.operations
        ]
        return [*own, *super().get_urls()]

    def operation_view(self, request: HttpRequest, object_id: str, operation: Operation) -> HttpResponse:
        """Asks for a reason, then does it."""
        row = self.get_object(request, unquote(object_id))
        if row is None:
            response: HttpResponse = self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
            return response
        if not self.has_operate_permission(request, row):
            raise PermissionDenied
        if request.method == "POST":
            self.operate(request, operation, [row])
            return HttpResponseRedirect(self._page(row))
        return self.ask(request, operation, [row], back=self._page(row))

    def ask(
        self, request: HttpRequest, operation: Operation, rows: Sequence[Any], *, back: str, action: str = ""
    ) -> TemplateResponse:
        """The page that says what will happen to which rows, and asks why."""
        noun = self.opts.verbose_name if len(rows) == 1 else self.opts.verbose_name_plural
        context = {
            **self.admin_site.each_context(request),
            "title": f"{operation.label} {rows[0] if len(rows) == 1 else f'{len(rows)} {noun}'}",
            "opts": self.opts,
            "operation": operation,
            "rows": [(self._page(row), row, _whose(row)) for row in rows],
            "noun": noun,
            "back": back,
            "action": action,
            "checkbox": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/operators/confirm.html", context)

    def operate(self, request: HttpRequest, operation: Operation, rows: Iterable[Any]) -> None:
        """Run an operation on each row by itself, and say what came of it."""
        actor, reason = operator_of(request), request.POST.get("reason", "").strip()
        done, pending, failed = [], [], []
        for row in rows:
            try:
                operation.run(row, actor, reason)
            except RevocationPending:
                pending.append(row)
            except (Problem, OperationalError, InterfaceError) as error:
                failed.append((row, error))
                continue
            else:
                done.append(row)
            self.log_change(request, row, f"{operation.done.capitalize()}. {reason}".strip())
        if done:
            noun = self.opts.verbose_name if len(done) == 1 else self.opts.verbose_name_plural
            what = f"{noun} {_name(done[0])}" if len(done) == 1 else f"{len(done)} {noun}"
            self.message_user(request, f"{operation.done.capitalize()} {what}.", messages.SUCCESS)
        for row in pending[:MOST_NAMED]:
            text = f"{_name(row)} is {operation.done}, but not every process knows yet. Repeat to see when they do."
            self.message_user(request, text, messages.WARNING)
        for row, problem in failed[:MOST_NAMED]:
            self.message_user(request, f"{_name(row)} was not {operation.done}: {_why(problem)}", messages.ERROR)
        if (more := max(len(pending), len(failed)) - MOST_NAMED) > 0:
            self.message_user(request, f"And {more} more.", messages.WARNING)

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        """The row's page with a button for each operation that fits it."""
        if obj is not None and self.has_operate_permission(request, obj):
            context["actions_detail"] = [
                {
                    "title": operation.label,
                    "icon": operation.icon,
                    "variant": ActionVariant.DANGER if operation.for_good else ActionVariant.DEFAULT,
                    "attrs": {},
                    "dialog": None,
                    "path": reverse(f"{self.admin_site.name}:{self._url_name(operation)}", args=[obj.pk]),
                }
                for operation in self.operations
                if operation.fits(obj)
            ]
        return super().render_change_form(request, context, add, change, form_url, obj)

    def list_url(self) -> str:
        """The address of the list."""
        return reverse(f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_changelist")

    def _page(self, row: Any) -> str:
        return reverse(f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_change", args=[row.pk])

    def _url_name(self, operation: Operation) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{operation.name}"


def _on_selected(
    model_admin: OperatedAdmin, request: HttpRequest, queryset: models.QuerySet[Any], *, operation: Operation
) -> HttpResponse | None:
    rows = list(queryset[: MOST_AT_ONCE + 1])
    if len(rows) > MOST_AT_ONCE:
        text = f"Select at most {MOST_AT_ONCE} {model_admin.opts.verbose_name_plural} at once. Nothing was changed."
        model_admin.message_user(request, text, messages.ERROR)
        return None
    if rows and operation.for_good and "confirmed" not in request.POST:
        return model_admin.ask(
            request, operation, rows, back=model_admin.list_url(), action=f"{operation.name}_selected"
        )
    model_admin.operate(request, operation, rows)
    return None


def _whose(row: Any) -> str:
    """The public id, unless that is its name, and the workspace."""
    parts = [row.public_id] if str(row) != row.public_id else []
    return " in ".join([*parts, str(row.tenant)]) if hasattr(row, "tenant") else " ".join(parts)


def _name(row: Any) -> str:
    return f"{row} ({row.public_id})" if str(row) != row.public_id else str(row)


def _why(error: Exception) -> str:
    problem = exception_to_problem(error)
    return f"{problem.detail} ({problem.code})" if problem is not None else "it failed."
