"""allauth's forms in the words and the capitals of the other pages."""

from __future__ import annotations

from typing import Any, Final

from allauth.account import forms

LABELS: Final = {
    "Email": "E-mail",
    "Current Password": "Current password",
    "New Password": "New password",
    "New Password (again)": "New password (again)",
}


class _Worded:
    """Labels as `LABELS` has them; all else is allauth's."""

    fields: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.label = LABELS.get(str(field.label), field.label)


class LoginForm(_Worded, forms.LoginForm):
    """Log in."""


class SignupForm(_Worded, forms.SignupForm):
    """Sign up."""


class AddEmailForm(_Worded, forms.AddEmailForm):
    """Another address."""


class ChangePasswordForm(_Worded, forms.ChangePasswordForm):
    """Change the password."""


class ResetPasswordForm(_Worded, forms.ResetPasswordForm):
    """Ask for a link."""


class ResetPasswordKeyForm(_Worded, forms.ResetPasswordKeyForm):
    """Follow the link."""
