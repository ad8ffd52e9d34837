"""Keys, passwords and their digests are where they must be and nowhere else: no log, no table, no cache, no answer."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from typing import Any
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

import psutil
import pytest

from tests.http_client import Line
from tests.live_shop import LiveShop, unique
from tests.stack_fixtures import LiveStack
from tests.stores import SECRETS

PASSWORD = "correct horse battery staple 4711"
WRONG_PASSWORD = "Tr0ub4dor and 3 more words"

#: The only columns that may hold a digest of a key.
DIGESTS = {("licenses_agentkey", "digest"), ("tenants_apikey", "digest"), ("licenses_license", "key_digest")}


@dataclass
class Used:
    """What was secret in a run: texts that must not turn up, and digests that have one place."""

    shop: LiveShop
    texts: dict[str, str] = field(default_factory=dict)
    digests: list[bytes] = field(default_factory=list)

    def forbidden(self) -> dict[str, bytes]:
        """By name, every form in which a secret could turn up."""
        found = {name: text.encode() for name, text in self.texts.items()}
        for number, digest in enumerate(self.digests):
            found[f"digest {number} in hex"] = digest.hex().encode()
            found[f"digest {number} in base 64"] = b64encode(digest)
            found[f"digest {number}"] = digest
        return found

    def leaks(self, content: bytes) -> list[str]:
        return [name for name, secret in self.forbidden().items() if secret in content]


@pytest.fixture(scope="module")
def used(live_stack: LiveStack) -> Used:
    """A run in which every secret is made, used, misused and put where it does not belong."""
    shop = LiveShop(live_stack)
    used = Used(shop)
    line = shop.line
    plan = shop.plan({"limit": "5"})
    body = {"customer": {"external_id": unique("customer")}, "plan": plan}
    issued = line.vendor("POST", "/licenses", body, headers={"Idempotency-Key": "issue-1"}).json
    replayed = line.vendor("POST", "/licenses", body, headers={"Idempotency-Key": "issue-1"})
    assert replayed["license_key"] == issued["license_key"]
    rotated = shop.act(f"/licenses/{issued['license']['id']}/rotate-key")
    agent_body = {"license": issued["license"]["id"], "name": "indexer"}
    agent = line.vendor("POST", "/agents", agent_body, headers={"Idempotency-Key": "agent-1"}).json
    further = shop.made(f"/agents/{agent['agent']['id']}/keys", {})
    secret = shop.made("/api-keys", {"name": "reader", "scopes": ["licenses:read"]})
    publishable = shop.made("/api-keys", {"name": "app", "kind": "publishable"})
    keys = {
        "API key": shop.key,
        "agent key": agent["key"],
        "further agent key": further["key"],
        "further API key": secret["key"],
        "publishable key": publishable["key"],
    }
    # The part that is secret: id and checksum around it are shown in hints.
    used.texts = {name: secret_part(text) for name, text in keys.items()}
    used.texts |= {"licence key": issued["license_key"], "new licence key": rotated["license_key"]}
    used.texts |= {f"{name} without dashes": used.texts[name].replace("-", "") for name in list(used.texts)[-2:]}
    used.texts |= {"password": PASSWORD, "wrong password": WRONG_PASSWORD}
    used.texts |= {name: text.rpartition("=")[2] or text for name, text in SECRETS.items()}

    for key in keys.values():
        for path in ("/agent/v1/validate", "/vendor/v1/licenses"):
            line.call("POST", path, {}, key=key)
            line.call("POST", path, {}, key=key[:-1])
            line.call("POST", path, {}, key=key[:-1] + "!")
            line.call("GET", f"{path}?key={key}", key=key)
            line.call("POST", path, {"id": key, "name": key, key: 1}, key=key)
            line.call("POST", path, raw=f'{{"{key}'.encode(), key=key)
            line.call("POST", path, {}, key=key, headers={"X-Request-Id": key, "User-Agent": key, "Referer": key})
    for text in (issued["license_key"], rotated["license_key"], "00000-00000-00000-00000-00000"):
        line.agent("POST", "/validate", {"license_key": text}, key=publishable["key"])
        line.agent("POST", "/authorize", {"license_key": text}, key=agent["key"])
        line.agent("GET", f"/self?license_key={text}", key=agent["key"])
    shop.act(f"/agents/{agent['agent']['id']}/keys/{further['id']}/revoke")
    line.vendor("GET", "/licenses", key=further["key"])
    log_in(live_stack, PASSWORD, exists=True)
    log_in(live_stack, WRONG_PASSWORD, exists=False)
    rows: list[tuple[Any]] = []
    for table, column in DIGESTS:
        rows += shop.rows(f"SELECT {column} FROM {table} WHERE tenant_id = %s AND {column} IS NOT NULL")
    used.digests = [bytes(digest) for (digest,) in rows]
    assert len(used.digests) >= 6
    return used


def secret_part(key: str) -> str:
    """The 32 characters of a key that are secret."""
    return key.rpartition("_")[2][:32]


def log_in(stack: LiveStack, password: str, *, exists: bool) -> None:
    """A person's log-in over the page, with a password that is right where they exist."""
    email = f"{unique('person')}@example.com"
    if exists:
        from allauth.account.models import EmailAddress

        from tests.factories import make_user

        with stack.orm():
            user = make_user(email, password=password)
            EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
    opener = build_opener(HTTPCookieProcessor(CookieJar()))
    page = opener.open(stack.url("/accounts/login/"), timeout=30)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.read().decode())
    assert token is not None
    form = urlencode({"csrfmiddlewaretoken": token[1], "login": email, "password": password}).encode()
    answer = opener.open(Request(page.url, data=form, headers={"Referer": page.url}), timeout=30)
    assert ("/accounts/" in answer.url) is not exists, answer.url


@pytest.mark.stack
def test_logs__of_every_program__hold_no_secret(used: Used) -> None:
    folder = used.shop.stack.var_dir / "log"
    logs = sorted(folder.glob("*.log*"))
    assert {"web.log", "worker.log", "beat.log", "postgres.log", "valkey.log"} <= {log.name for log in logs}
    assert {log.name: used.leaks(log.read_bytes()) for log in logs} == {log.name: [] for log in logs}
    assert used.leaks("".join(used.shop.stack.lines).encode()) == []


@pytest.mark.stack
def test_database__every_table__holds_no_secret_and_digests_in_their_columns_only(used: Used) -> None:
    faults: list[str] = []
    with used.shop.stack.connect() as connection:
        columns = connection.execute(
            "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
            " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
            " AND a.attnum > 0 AND NOT a.attisdropped"
        ).fetchall()
        assert len(columns) > 300
        for table, column in columns:
            if (table, column) in DIGESTS:
                continue
            rows = connection.execute(f'SELECT string_agg("{column}"::text, E\'\\n\') FROM "{table}"').fetchone()
            assert rows is not None
            faults += [f"{table}.{column}: {leak}" for leak in used.leaks((rows[0] or "").encode())]
    assert faults == []


@pytest.mark.stack
def test_valkey__every_key__holds_no_secret(used: Used) -> None:
    valkey = used.shop.stack.valkey()
    content = b"\n".join(key + b" " + (valkey.dump(key) or b"") for key in valkey.scan_iter(count=1000))
    assert content
    assert used.leaks(content) == []


@pytest.mark.stack
def test_processes__command_lines__hold_no_secret(used: Used) -> None:
    lines = []
    for process in used.shop.stack.everything():
        try:
            lines.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    assert used.leaks("\n".join(lines).encode()) == []


@pytest.mark.stack
def test_answers__of_every_list__hold_no_secret(used: Used) -> None:
    line = Line(used.shop.stack, key=used.shop.key)
    content = [
        line.vendor("GET", f"/{path}?limit=200").raw
        for path in ("licenses", "agents", "api-keys", "audit-entries", "customers", "plans", "jobs", "holds")
    ]
    agents = line.vendor("GET", "/agents")["data"]
    content += [line.vendor("GET", f"/agents/{agent['id']}/keys").raw for agent in agents]
    # Their own digests are hashes of audit entries and nobody's secret.
    assert used.leaks(b"\n".join(content)) == []


@pytest.mark.django_db
def test_reprs__of_what_carries_a_key__do_not_show_it() -> None:
    from agent_api.use_cases.callers import Credentials
    from agent_api.use_cases.validating import ValidateCommand
    from agent_api.wire.requests import ValidateRequest
    from common.crypto import KeyKind, mint_key, parse_key
    from licenses.services.agent_keys import create_agent_key
    from licenses.services.issuing import issue_license
    from tests.factories import ACTOR, make_agent, make_api_key, make_customer, make_shop

    shop = make_shop()
    agent, api_key = make_agent(shop.license), make_api_key(shop.tenant)
    further = create_agent_key(tenant=shop.tenant, actor=ACTOR, agent_id=agent.agent.id)
    issued = issue_license(tenant=shop.tenant, actor=ACTOR, customer=make_customer(shop.tenant), plan=shop.plan)
    minted = mint_key(KeyKind.AGENT, test=False)
    asked = ValidateRequest(license_key=issued.license_key)
    credentials = Credentials(agent.key_text, issued.license_key)
    shown = "\n".join(
        map(
            repr,
            (
                agent,
                api_key,
                further,
                issued,
                minted,
                parse_key(minted.text),
                asked,
                credentials,
                ValidateCommand(credentials, asked),
                agent.key,
                api_key.api_key,
                issued.license,
            ),
        )
    )

    texts = [agent.key_text, api_key.text, further.text, minted.text]
    assert not [text for text in texts if secret_part(text) in shown]
    assert str(issued.license_key) not in shown
    assert not [each for each in (agent.key.digest, api_key.api_key.digest) if bytes(each).hex() in shown]
    assert "digest" not in shown
