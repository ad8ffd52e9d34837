"""A browser on the running stack. What a page writes to its console, or axe finds, fails the test that opened it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from tests.e2e.chromium import launch
from tests.stack_fixtures import LiveStack

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Not for longer: while Playwright's loop runs in this thread, other tests cannot run one of their own."""
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


class Visitor:
    """A person with a browser of their own."""

    def __init__(self, page: Page, stack: LiveStack) -> None:
        self.page = page
        self.stack = stack
        self.complaints: list[str] = []
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self._note("error", str(error)))

    def _note(self, kind: str, text: str) -> None:
        # The browser itself reports every answer above 399; the tests look at those themselves.
        if kind in {"error", "warning"} and not text.startswith("Failed to load resource"):
            self.complaints.append(text)

    def visit(self, path: str) -> None:
        self.page.goto(self.stack.url(path))
        self.page.wait_for_load_state("networkidle")

    def log_in(self, email: str) -> None:
        self.visit("/accounts/login/")
        self.page.fill("#id_login", email)
        self.page.fill("#id_password", PASSWORD)
        self.page.click("main button")
        self.page.wait_for_url("**/dashboard/**")

    def looks_right(self) -> None:
        """Nothing for axe to find, nothing wider than the window, no complaint in the console."""
        found = Axe().run(self.page).response["violations"]
        assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []
        assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert self.complaints == []


NewVisitor = Callable[..., Visitor]


@pytest.fixture
def visitor(chromium: Browser, live_stack: LiveStack) -> Iterator[NewVisitor]:
    """Makes visitors; `width`, `dark` and `scripts` say with what they come."""
    contexts = []

    def make(*, width: int = 1280, dark: bool = False, scripts: bool = True) -> Visitor:
        context = chromium.new_context(
            viewport={"width": width, "height": 800},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            java_script_enabled=scripts,
        )
        contexts.append(context)
        return Visitor(context.new_page(), live_stack)

    yield make
    for context in contexts:
        context.close()


class Place:
    """A workspace with usage, and its owner's e-mail address."""

    def __init__(self, stack: LiveStack) -> None:
        # Models can be imported only once Django is set up, which is after this file has been read.
        from allauth.account.models import EmailAddress

        from tests.dashboard.people import member
        from tests.factories import make_agent, make_shop

        with stack.orm():
            self.shop = make_shop()
            self.child = make_agent(self.shop.license, name="indexer", parent_id=self.shop.agent).agent
            user = member(self.shop.tenant)
            user.set_password(PASSWORD)
            user.save()
            EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
            self.email = user.email
        self.path = f"/dashboard/{self.shop.tenant.slug}/"


@pytest.fixture
def place(live_stack: LiveStack, monkeypatch: pytest.MonkeyPatch) -> Place:
    # Playwright's loop runs in this thread; Django would take the test for asynchronous code.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    return Place(live_stack)
