"""The reference pages and what they tell of: neither side knows more than the other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from licensing_site.environment import BASE_DIR
from tests.docs.pages import first_column, links, page, written_pages

SETTINGS_PAGE = "docs/reference/settings.md"
EVENTS_PAGE = "docs/reference/webhook-events.md"
#: What the environment holds for others, or is told by the stack to its own processes.
NOT_SETTINGS = {"DJANGO_SETTINGS_MODULE", "PATH", "PERMETER_WEB_THREADS"}


def test_page_of_settings__compared_with_the_source__lists_exactly_what_is_read() -> None:
    read = {name for path in (BASE_DIR / "licensing_site").rglob("*.py") for name in _variables(path.read_text())}
    assert sorted(first_column(page(SETTINGS_PAGE))) == sorted(read - NOT_SETTINGS)


def test_readme__settings__are_among_those_of_the_whole_list() -> None:
    section = page("README.md").partition("## Settings")[2].partition("\n## ")[0]
    listed = first_column(section)
    assert listed
    assert set(listed) <= set(first_column(page(SETTINGS_PAGE)))


def test_page_of_webhook_events__compared_with_the_source__lists_exactly_what_is_emitted() -> None:
    emitted = {
        type
        for app in ("tenants", "licenses", "metering", "webhooks")
        for path in (BASE_DIR / app).rglob("*.py")
        for type in _event_types(path.read_text())
    }
    assert sorted(first_column(page(EVENTS_PAGE))) == sorted(emitted)


@pytest.mark.parametrize("written", written_pages(), ids=lambda path: str(path.relative_to(BASE_DIR)))
def test_written_page__its_links__lead_to_files(written) -> None:
    lost = [target for target in links(written.read_text()) if not (written.parent / target).exists()]
    assert lost == []


@pytest.mark.parametrize("written", ["README.md", "CONTRIBUTING.md"])
def test_written_page__make_targets__exist(written: str) -> None:
    named = set(
        re.findall(r"\bmake ([a-z]+)\b", " ".join(re.findall(r"`[^`\n]+`|^    .+$", page(written), re.MULTILINE)))
    )
    targets = set(re.findall(r"^([a-z]+):.*## ", page("Makefile"), re.MULTILINE))
    assert named
    assert named <= targets


@pytest.mark.parametrize("written", ["README.md", "CONTRIBUTING.md", "docs/tutorial.md"])
def test_written_page__folders_and_modules_in_backticks__exist(written: str) -> None:
    named = set(re.findall(r"`((?:[a-z_]+/)+(?:[a-z_]+\.(?:py|lua|txt))?)`", page(written)))
    state = {"var/", "var/mail/", "postgres/", "log/", "mail/", "run/", "valkey/"}
    rooms = {"domain/", "models/", "selectors/", "services/", "admin/"}
    assert {name for name in named - state - rooms if not (BASE_DIR / name).exists()} == set()


def _variables(source: str) -> Iterator[str]:
    """Names of environment variables that are read: `env.str("X")`, `os.environ.get("X")`, `os.environ["X"]`."""
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)):
            continue
        called = ast.unparse(node.func)
        if re.fullmatch(r"env|env\.\w+|os\.environ\.get|sources\.(secret|address)|_number", called):
            yield str(node.args[0].value)


def _event_types(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        told: list[ast.expr] = []
        if called in {"emit_event", "OutgoingEvent"}:
            told = [keyword.value for keyword in node.keywords if keyword.arg == "type"]
        elif called in {"emit_agent_event", "emit_agent_events", "emit_activation_event", "activation_event"}:
            told = node.args[:1]
        elif called == "_move" and "emit_" in source:
            # Changes of state: the action of the audit entry is the type of the event.
            told = node.args[2:3]
        elif called == "_change" and "emit_" in source:
            told = node.args[3:4]
        for value in told:
            for part in ast.walk(value):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value
