"""The demo's people: an operator of the platform and the vendor's owner, with passwords made up on the first start."""

import secrets
from typing import NamedTuple

from allauth.account.models import EmailAddress

from tenants.models import User

OPERATOR = "operator@permeter.example"
VENDOR = "owner@demo-vendor.example"


class Login(NamedTuple):
    """How a person logs in."""

    email: str
    password: str


def ensure_login(email: str, *, known_password: str | None, operator: bool, name: str) -> tuple[User, Login]:
    """The person with a password that is known: the one of an earlier start if it still holds, else a new one."""
    user = User.objects.filter(email=email).first()
    if user is None:
        user = User.objects.create_user(email, None, name=name, is_staff=operator, is_superuser=operator)
    EmailAddress.objects.get_or_create(user=user, email=email, defaults={"verified": True, "primary": True})
    if known_password and user.check_password(known_password):
        return user, Login(email, known_password)
    password = secrets.token_urlsafe(12)
    user.set_password(password)
    user.save(update_fields=["password"])
    return user, Login(email, password)
