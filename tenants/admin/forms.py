"""Forms whose saving is a call of a service."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import NON_FIELD_ERRORS
from django.forms import ModelForm, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from common.errors import Problem

_REFUSED = "_refused_by_service"


class ServiceForm(ModelForm):  # type: ignore[type-arg]
    """A model's form that repeats what a service refused, beside the fields that it named."""

    request: HttpRequest

    def clean(self) -> dict[str, Any]:
        """On the second run of a refused submission: the service's words."""
        cleaned = super().clean() or self.cleaned_data
        problem: Problem | None = getattr(self.request, _REFUSED, None)
        if problem is not None:
            for error in problem.errors:
                field = error["field"] if error["field"] in self.fields else NON_FIELD_ERRORS
                self.add_error(None if field == NON_FIELD_ERRORS else field, ValidationError(error["detail"]))
            if not problem.errors:
                raise ValidationError(problem.detail, code=problem.code)
        return cleaned


class ServiceFormMixin:
    """For admins whose saving and deleting call services: what they refuse is shown, and nothing has happened."""

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """The form's class, which knows the request."""
        form = super().get_form(request, obj, change=change, **kwargs)  # type: ignore[misc]
        return type(form.__name__, (form,), {"request": request})

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Saves; where the service refuses, the transaction is over, and the form is shown again with the reasons."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)  # type: ignore[misc,no-any-return]
        except Problem as problem:
            if request.method != "POST" or hasattr(request, _REFUSED):
                raise
            setattr(request, _REFUSED, problem)
            messages.error(request, problem.detail)
            return super().changeform_view(request, object_id, form_url, extra_context)  # type: ignore[misc,no-any-return]

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Deletes; where the service refuses, the row's page says why."""
        try:
            return super().delete_view(request, object_id, extra_context)  # type: ignore[misc,no-any-return]
        except Problem as problem:
            messages.error(request, problem.detail)
            return HttpResponseRedirect(f"{request.path.removesuffix('delete/')}change/")
