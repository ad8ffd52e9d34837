"""The README's tour, pasted as it stands into a plain shell beside a running stack; its doors with their log-ins."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPCookieProcessor, Request, build_opener, urlopen

import pytest

from tests.docs.pages import page, shell_blocks
from tests.stack_fixtures import ROUND, LiveStack

pytestmark = pytest.mark.stack

_MARK = "@@ line"
#: The overage may take a minute; the rest takes seconds.
_PATIENCE = 150


class Tour:
    """What each line of each block printed. Blocks count from 1, as the tour's headings do."""

    def __init__(self, printed: dict[tuple[int, int], str]) -> None:
        self.printed = printed

    def text(self, block: int, line: int) -> str:
        """What one line printed."""
        return self.printed[block, line].strip()

    def answer(self, block: int, line: int) -> Any:
        """The JSON that one line printed."""
        return json.loads(self.text(block, line))


def paste(shell: str, *, folder: Path, name: str = "README.md", patience: float = _PATIENCE, **env: str) -> Tour:
    """Feed a page to a shell line by line, as a terminal would; nothing may be written to standard error."""
    script: list[str] = []
    for number, lines in enumerate(shell_blocks(page(name)), 1):
        for position, line in enumerate(lines, 1):
            script += [line, f"printf '\\n{_MARK} {number} {position}\\n'"]
    done = subprocess.run(
        [shell],
        input="\n".join(script) + "\n",
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **env},
        capture_output=True,
        text=True,
        timeout=patience,
        check=False,
    )
    assert done.stderr == "", done.stderr[-3000:]
    assert done.returncode == 0
    printed: dict[tuple[int, int], str] = {}
    waiting: list[str] = []
    for line in done.stdout.splitlines():
        if line.startswith(_MARK):
            number, position = map(int, line.removeprefix(_MARK).split())
            printed[number, position] = "\n".join(waiting)
            waiting = []
        else:
            waiting.append(line)
    return Tour(printed)


@pytest.fixture(scope="module")
def demo_stack(request: pytest.FixtureRequest) -> Iterator[LiveStack]:
    """A stack as `make run` starts it, with the demo vendor."""
    # The README's own begins with nothing and takes its time, as its reader's does.
    first = request.module.__name__ == __name__
    pace = {} if first else {"PERMETER_LONGEST_ROUND_SECONDS": ROUND}
    stack = LiveStack(PERMETER_QUICKSTART="1", from_nothing=first, **pace)
    try:
        yield stack.start()
    finally:
        stack.remove()


@pytest.fixture
def checkout(demo_stack: LiveStack, tmp_path: Path) -> Path:
    """A folder in which `var` is the stack's state, as in a checkout."""
    (tmp_path / "var").symlink_to(demo_stack.var_dir)
    return tmp_path


def test_tour__pasted_line_by_line__shows_what_the_readme_says(demo_stack: LiveStack, checkout: Path) -> None:
    tour = paste("sh", folder=checkout)

    assert (tour.answer(2, 1)["valid"], tour.answer(2, 1)["features"]["web_search"]) == (True, True)

    first, again = tour.answer(3, 2), tour.answer(3, 3)
    assert (first["allowed"], first["replayed"], again["allowed"], again["replayed"]) == (True, False, True, True)
    assert again["event_ids"] == first["event_ids"]
    assert again["quotas"] == first["quotas"]

    [held] = tour.answer(4, 2)["data"]
    assert held["usage"] == [{"meter": "tokens", "quantity": "5000", "dimensions": {"model": "large"}}]
    settled = tour.answer(4, 3)
    assert (settled["hold"]["status"], settled["hold"]["settled"]) == ("settled", ["870"])
    assert (used(settled) - used(first), settled["quotas"][0]["held"]) == (870, "0")

    report = tour.answer(5, 1)
    assert [result["status"] for result in report["results"]] == ["recorded", "duplicate", "rejected"]
    assert report["results"][2]["code"] == "unknown_meter"
    [quota] = tour.answer(5, 2)["data"]
    assert int(quota["used"]) - used(settled) == 1532

    prefixes = [tour.answer(6, line)["id"][:4] for line in range(1, 6)]
    assert prefixes == ["prd_", "fea_", "mtr_", "pln_", "pln_"]
    assert [tour.text(7, line) for line in range(1, 5)] == [""] * 4

    passed, refused = tour.answer(8, 1), tour.answer(8, 2)
    assert (passed["allowed"], passed["quotas"][0]["used"], passed["quotas"][0]["limit"]) == (True, "3000", "5000")
    assert (refused["allowed"], refused["code"], refused["codes"][0]["remaining"]) == (False, "quota_exceeded", "2000")
    assert (refused["event_ids"], refused["quotas"][0]["used"]) == ([], "3000")

    assert tour.answer(9, 1)["plan"].startswith("plus-")
    upgraded = tour.answer(9, 2)
    assert (upgraded["allowed"], upgraded["quotas"][0]["used"], upgraded["quotas"][0]["state"]) == (
        True,
        "6000",
        "overage",
    )
    [overage] = tour.answer(9, 3)["data"]
    assert (overage["status"], overage["quantity"], overage["amount"], overage["currency"]) == (
        *("open", "1000", "2.00", "USD"),
    )

    assert tour.answer(10, 1)["status"] == "suspended"
    stopped = tour.answer(10, 2)
    assert (stopped["allowed"], stopped["code"]) == (False, "license_suspended")
    assert tour.answer(10, 3)["status"] == "revoked"
    dead = tour.answer(10, 4)
    assert (dead["status"], dead["code"]) == (401, "unauthorized")

    assert demo_stack.manage("verify_ledger").returncode == 0


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_tour__pasted_again_into_bash_with_a_var_dir__works_as_the_first_time(
    demo_stack: LiveStack, tmp_path: Path
) -> None:
    tour = paste("bash", folder=tmp_path, VAR_DIR=str(demo_stack.var_dir))

    assert (tour.answer(3, 2)["replayed"], tour.answer(3, 3)["replayed"]) == (False, True)
    assert [tour.answer(8, line)["allowed"] for line in (1, 2)] == [True, False]
    assert tour.answer(9, 3)["data"][0]["amount"] == "2.00"
    assert tour.answer(10, 4)["status"] == 401


def used(answer: Any) -> int:
    """What the answer's first quota has counted."""
    return int(answer["quotas"][0]["used"])


@pytest.mark.parametrize(
    ("who", "door", "title"), [("vendor", "/dashboard/", "Overview"), ("operator", "/admin/", "Operators")]
)
def test_doors_of_people__log_ins_of_quickstart__open_them(
    demo_stack: LiveStack, who: str, door: str, title: str
) -> None:
    log_in = json.loads((demo_stack.var_dir / "quickstart.json").read_text())[who]
    cookies = CookieJar()
    browser = build_opener(HTTPCookieProcessor(cookies))

    asked = browser.open(demo_stack.url(door))
    assert urlsplit(asked.url).path == "/accounts/login/"
    token = next(cookie.value for cookie in cookies if cookie.name == "csrftoken")
    form = {"login": log_in["email"], "password": log_in["password"], "csrfmiddlewaretoken": token, "next": door}
    entered = browser.open(Request(asked.url, urlencode(form).encode(), {"Referer": asked.url}))

    assert (entered.status, urlsplit(entered.url).path) == (200, door)
    assert title in entered.read().decode().partition("<title>")[2].partition("</title>")[0]


def test_doors_of_programs__keys_of_quickstart__open_them(demo_stack: LiveStack) -> None:
    known = json.loads((demo_stack.var_dir / "quickstart.json").read_text())

    def ask(method: str, path: str, key: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(demo_stack.url(path), data, headers, method=method)) as answer:
            return json.load(answer)

    as_agent = ask("POST", "/agent/v1/validate", known["agent_key"], {})
    as_software = ask("POST", "/agent/v1/validate", known["publishable_key"], {"license_key": known["license_key"]})
    as_backend = ask("GET", f"/vendor/v1/agents/{known['agent_id']}", known["secret_key"])

    assert as_agent["agent"]["id"] == known["agent_id"]
    assert {as_agent["license"]["id"], as_software["license"]["id"], as_backend["license"]} == {known["license_id"]}
