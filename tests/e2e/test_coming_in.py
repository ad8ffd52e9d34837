"""From the sign-up page alone to a workspace of one's own, as a new vendor would."""

from __future__ import annotations

import email
import re
import time
from email.policy import default
from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.conftest import PASSWORD, NewVisitor, Place
from tests.stack_fixtures import LiveStack

pytestmark = [pytest.mark.stack, pytest.mark.browser]


def link_in_mail(folder: Path, address: str, *, within: float = 10) -> str:
    """The link in the newest mail to this address."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        for path in sorted(folder.glob("*.eml"), reverse=True):
            message = email.message_from_bytes(path.read_bytes(), policy=default)
            if address in message["To"]:
                found = re.search(r"https?://\S+", message.get_body().get_content())
                assert found, message
                return found[0]
        time.sleep(0.1)
    pytest.fail(f"no mail to {address}")


def test_sign_up__new_vendor__confirms_the_address_and_gets_a_workspace(
    visitor: NewVisitor, live_stack: LiveStack
) -> None:
    someone = visitor()
    page, address = someone.page, f"new-{uuid4().hex[:8]}@example.com"
    someone.visit("/")
    someone.looks_right()
    page.click("text=Make a workspace")
    page.fill("#id_email", address)
    page.fill("#id_password1", PASSWORD)
    page.fill("#id_password2", PASSWORD)
    someone.looks_right()
    page.click("text=Sign up >> nth=-1")
    page.wait_for_selector("text=Confirm your address")
    someone.looks_right()

    page.goto(link_in_mail(live_stack.var_dir / "mail", address))
    page.click("text=Yes, confirm it")
    page.wait_for_url("**/dashboard/start/")
    page.fill("#id_name", "Rocket Works")
    someone.looks_right()
    page.click("text=Make it")
    page.wait_for_url("**/dashboard/rocket-works*/")
    assert "Rocket Works is ready" in page.inner_text("#notices")
    assert "Nothing is metered yet" in page.inner_text("#content")
    someone.looks_right()

    page.click(".switcher summary")
    page.click("text=Rocket Works (test)")
    page.wait_for_selector("text=nothing in it is ever billed")
    page.set_viewport_size({"width": 360, "height": 740})
    for path in ("", "licenses/", "agents/"):
        page.goto(re.sub(r"-test/.*", f"-test/{path}", page.url))
        someone.looks_right()


def test_password__forgotten__is_chosen_anew_by_the_link(
    visitor: NewVisitor, live_stack: LiveStack, place: Place
) -> None:
    someone = visitor()
    page, address = someone.page, place.email
    someone.visit("/accounts/login/")
    page.click("text=Forgot your password?")
    page.fill("#id_email", address)
    page.click("text=Send the link")
    page.wait_for_selector("text=Look into your mailbox")
    page.goto(link_in_mail(live_stack.var_dir / "mail", address))
    for field in ("#id_password1", "#id_password2"):
        page.fill(field, "another horse battery")
    someone.looks_right()
    page.click("text=Keep the new password")
    page.wait_for_selector("text=Your password is changed")


def test_log_in__wrong_password__keeps_the_address_and_says_so(visitor: NewVisitor, place: Place) -> None:
    someone = visitor(width=360, dark=True)
    page = someone.page
    someone.visit("/accounts/login/")
    page.fill("#id_login", place.email)
    page.fill("#id_password", "wrong")
    page.click("main button")
    page.wait_for_selector("[role=alert]")
    assert page.input_value("#id_login") == place.email
    someone.looks_right()
