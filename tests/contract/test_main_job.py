"""The main job on a running stack, as an agent, a vendor's backend and an operator see it."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from http.cookiejar import CookieJar
from random import Random
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

import pytest

from tests.http_client import PROBLEM, Line, in_parallel, until
from tests.live_shop import LiveShop, ReadyAgent, unique
from tests.stack_fixtures import LiveStack

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def shop(live_stack: LiveStack) -> LiveShop:
    return LiveShop(live_stack)


def line_of(shop: LiveShop, agent: ReadyAgent) -> Line:
    return Line(shop.stack, key=agent.key)


def test_agent__from_issued_to_metered__is_told_what_is_left(shop: LiveShop) -> None:
    agent = shop.ready_agent({"limit": "1000"})
    line = line_of(shop, agent)

    good = line.agent("POST", "/validate", {"features": [shop.search], "product": shop.product})
    used = line.agent("POST", "/usage", shop.event("first", 400))
    [quota] = line.agent("GET", "/quotas")["data"]
    own = line.agent("GET", "/self")

    assert (good.status, good["valid"], good["code"], good["codes"]) == (200, True, "valid", [])
    assert good["license"]["id"] == agent.license
    assert good["agent"]["id"] == agent.id
    assert (good["features"][shop.search], good["features"][shop.tools]) == (True, 20)
    assert set(good["features"][shop.models]) == {"small", "medium"}
    assert (used["recorded"], used["duplicates"], used["quotas"][0]["remaining"]) == (1, 0, "600")
    assert (quota["used"], quota["remaining"], quota["state"], quota["scope"]) == ("400", "600", "ok", "license")
    assert own.status == 200
    assert own["agent"]["id"] == agent.id


def test_authorize__not_granted__is_refused_with_the_reason(shop: LiveShop) -> None:
    agent = shop.ready_agent(grants=[{"feature": shop.models, "value": ["small"]}])
    line = line_of(shop, agent)

    codes = [
        line.agent("POST", "/authorize", asked)["code"]
        for asked in (
            {"feature": shop.search},
            {"feature": "never-heard-of"},
            {"feature": shop.models, "value": "large"},
            {"feature": shop.models, "value": "small"},
        )
    ]

    assert codes == ["feature_not_granted", "feature_not_granted", "feature_value_not_allowed", "allowed"]


def test_retries__eight_of_each_in_any_order__count_once(shop: LiveShop) -> None:
    agent = shop.ready_agent({"limit": "100000", "mode": "soft"})
    at = datetime.now(UTC).isoformat()
    ids = [f"call-{number}" for number in range(50)] * 8
    Random(3).shuffle(ids)

    def send(id: str) -> int:
        line = line_of(shop, agent)
        status = line.agent("POST", "/usage", shop.event(id, 3, occurred_at=at)).status
        line.close()
        return status

    statuses = in_parallel([lambda id=id: send(id) for id in ids])  # type: ignore[misc]

    assert set(statuses) == {200}
    assert line_of(shop, agent).agent("POST", "/validate", {})["quotas"][0]["used"] == "150"


def test_same_id__with_another_payload__is_409_and_counts_nothing(shop: LiveShop) -> None:
    agent = shop.ready_agent({"limit": "1000", "mode": "soft"})
    line = line_of(shop, agent)

    first = line.agent("POST", "/usage", shop.event("one", 5))
    other = line.agent("POST", "/usage", shop.event("one", 6))
    same = line.agent("POST", "/usage", {"id": "one", "meter": shop.meter, "quantity": 5.0})

    assert (first.status, other.status, other.code, same.status) == (200, 409, "id_conflict", 200)
    assert same["duplicates"] == 1
    assert line.agent("POST", "/validate", {})["quotas"][0]["used"] == "5"


def test_hold__settled_for_less__gives_the_rest_back_and_settling_again_is_the_same(shop: LiveShop) -> None:
    agent = shop.ready_agent({"limit": "1000"})
    line = line_of(shop, agent)

    held = line.agent("POST", "/authorize", shop.consume("job", 900, mode="hold", ttl=60))
    too_much = line.agent("POST", "/authorize", shop.consume("more", 101))
    hold = held["hold"]["id"]
    open_holds = line.agent("GET", "/holds")["data"]
    extended = line.agent("POST", f"/holds/{hold}/extend", {"ttl": 600})
    body = {"usage": [{"meter": shop.meter, "quantity": "870"}]}
    settled = [line.agent("POST", f"/holds/{hold}/settle", body) for _ in range(2)]
    otherwise = line.agent("POST", f"/holds/{hold}/settle", {"usage": [{"meter": shop.meter, "quantity": "1"}]})

    assert (held["allowed"], held["event_ids"], too_much["allowed"]) == (True, [], False)
    assert [each["id"] for each in open_holds] == [hold]
    assert extended["hold"]["expires_at"] > held["hold"]["expires_at"]
    assert [each.status for each in settled] == [200, 200]
    assert settled[0]["event_ids"] == settled[1]["event_ids"]
    assert (otherwise.status, otherwise.code) == (409, "hold_settled")
    [quota] = line.agent("POST", "/validate", {})["quotas"]
    assert (quota["used"], quota["held"], quota["remaining"]) == ("870", "0", "130")


def test_worker__soft_quota_passed__rolls_up_and_prices_the_excess(shop: LiveShop) -> None:
    price = {"meter": shop.meter, "currency": "USD", "model": "per_unit", "unit_price": "0.01"}
    agent = shop.ready_agent({"limit": "100", "mode": "soft"}, prices=[price])
    line = line_of(shop, agent)
    events = [shop.event(f"step-{n}", n, dimensions={"model": "small" if n % 2 else "large"}) for n in range(1, 26)]
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    # Two days, so that midnight may pass meanwhile.
    start, end = (f"{today + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}" for days in (0, 2))
    query = f"?meter={shop.meter}&license={agent.license}&from={start}&to={end}&group_by=agent,model"

    allowed = line.agent("POST", "/authorize", shop.consume("big", 25))
    sent = line.agent("POST", "/usage", {"events": events})

    assert (allowed["allowed"], sent["recorded"], sent["quotas"][0]["state"]) == (True, 25, "overage")
    usage = shop.call("GET", f"/usage{query}")
    assert (usage["total"], len(usage["data"])) == ("350", 3)

    def rolled_up() -> int:
        rows = shop.rows("SELECT sum(events) FROM metering_usagerollup WHERE tenant_id = %s AND size = 'day'")
        return int(rows[0][0] or 0)

    until(lambda: shop.call("GET", f"/overages?license={agent.license}")["data"], within=90, every=0.5)
    [overage] = shop.call("GET", f"/overages?license={agent.license}")["data"]
    assert (overage["quantity"], overage["amount"], overage["status"]) == ("250", "2.50", "open")
    until(lambda: rolled_up() == len(shop.events()))
    assert shop.call("GET", f"/usage{query}").json == usage.json


def test_batch__with_bad_neighbours__keeps_the_good_ones(shop: LiveShop) -> None:
    line = line_of(shop, shop.ready_agent())
    long_ago = (datetime.now(UTC) - timedelta(days=400)).isoformat()
    soon = (datetime.now(UTC) + timedelta(days=1)).isoformat()

    answer = line.agent(
        "POST",
        "/usage",
        {
            "events": [
                shop.event("good-1"),
                {"id": "x", "meter": "no-such-meter", "quantity": "1"},
                shop.event("negative", -1),
                shop.event("old", occurred_at=long_ago),
                shop.event("early", occurred_at=soon),
                shop.event("good-2", dimensions={"model": "large"}),
                shop.event("odd", dimensions={"color": "red"}),
            ]
        },
    )

    assert (answer.status, answer["recorded"], answer["rejected"]) == (200, 2, 5)
    assert [result.get("code") for result in answer["results"]] == [
        None,
        "unknown_meter",
        "quantity_negative",
        "event_too_old",
        "event_in_future",
        None,
        "dimension_unknown",
    ]


def test_cloud_events__a_batch__are_counted_by_source_and_id(shop: LiveShop) -> None:
    line = line_of(shop, shop.ready_agent({"limit": "100"}))
    event = {"specversion": "1.0", "type": shop.meter, "id": "1", "data": {"quantity": "7"}, "traceparent": "00-x"}
    kind = {"Content-Type": "application/cloudevents-batch+json"}
    batch = [event | {"source": "/a"}, event | {"source": "/b"}, event | {"source": "/a"}]

    answer = line.agent("POST", "/usage", batch, headers=kind)

    assert (answer["recorded"], answer["duplicates"], answer["quotas"][0]["used"]) == (2, 1, "14")


def test_usage__of_a_sub_agent__climbs_the_tree(shop: LiveShop) -> None:
    parent = shop.ready_agent({"limit": "100"})
    child = shop.agent(parent.license, parent_id=parent.id)
    shop.quota({"agent": parent.id}, limit="30")
    shop.quota({"agent": child.id}, limit="20")
    line = line_of(shop, child)

    first = line.agent("POST", "/authorize", shop.consume("one", 15))
    own = line.agent("POST", "/authorize", shop.consume("two", 10))
    shop.line.vendor("POST", "/usage", shop.event("by-vendor", 14, agent=parent.id))
    parents = line.agent("POST", "/authorize", shop.consume("three", 2))

    assert [quota["scope"] for quota in first["quotas"]] == ["agent", "agent", "license"]
    assert (first["allowed"], own["allowed"], own["codes"][0]["remaining"]) == (True, False, "5")
    assert (parents["allowed"], parents["codes"][0]["remaining"]) == (False, "1")


@pytest.mark.parametrize("what", ["agents", "licenses"])
def test_revoke__one_of_two_neighbours__leaves_the_other_alone(shop: LiveShop, what: str) -> None:
    plan = shop.plan()
    licenses = [shop.license(plan)["id"] for _ in range(2)]
    doomed = shop.agent(licenses[0])
    other = shop.agent(licenses[0 if what == "agents" else 1])
    target = doomed.id if what == "agents" else doomed.license
    doomed_lines, other_lines = shop.lines(doomed, 4), shop.lines(other, 4)
    for line in (*doomed_lines, *other_lines):
        assert line.agent("POST", "/validate", {})["valid"]

    revoked = shop.act(f"/{what}/{target}/revoke", {"reason": "leak"})
    late = [line.agent("POST", "/authorize", {"feature": shop.search}) for line in doomed_lines]

    assert revoked["status"] == "revoked"
    wanted = {(401, "unauthorized")} if what == "agents" else {(200, "license_revoked")}
    assert {(answer.status, answer["code"]) for answer in late} == wanted
    assert all(line.agent("POST", "/validate", {})["valid"] for line in other_lines)


def test_keys__rotated_with_an_overlap__both_work_until_it_ends(shop: LiveShop) -> None:
    agent = shop.ready_agent()
    new = shop.made(f"/agents/{agent.id}/keys", {"overlap": 3600})
    [fresh, old] = shop.call("GET", f"/agents/{agent.id}/keys")["data"]

    answers = [line_of(shop, agent._replace(key=key)).agent("POST", "/validate", {}) for key in (agent.key, new["key"])]
    at_once = shop.made(f"/agents/{agent.id}/keys", {"overlap": 0})
    later = [
        line_of(shop, agent._replace(key=key)).agent("POST", "/validate", {}).status
        for key in (agent.key, new["key"], at_once["key"])
    ]

    assert (fresh["expires_at"], old["expires_at"] is not None) == (None, True)
    assert [answer["agent"]["id"] for answer in answers] == [agent.id] * 2
    assert later == [401, 401, 200]


def test_rate_limit__used_up__is_429_with_a_hint_that_is_true(shop: LiveShop) -> None:
    agent = shop.ready_agent(rate_limits=[{"level": "agent", "limit": 10, "window": 20}])
    line = line_of(shop, agent)

    answers = [line.agent("POST", "/validate", {}) for _ in range(10)]
    while answers[-1].status == 200:
        answers.append(line.agent("POST", "/validate", {}))
    limited = answers[-1]

    assert {answer.status for answer in answers[:10]} == {200}
    assert all({"ratelimit", "ratelimit-policy"} <= answer.headers.keys() for answer in answers)
    assert (limited.status, limited.code, limited["level"]) == (429, "rate_limited", "agent")
    wait = int(limited.headers["retry-after"])
    assert 0 < wait <= 20
    time.sleep(wait)
    assert line.agent("POST", "/validate", {}).status == 200


def test_problems__of_both_doors__have_one_form_and_keys_one_answer(shop: LiveShop) -> None:
    agent = shop.ready_agent()
    line = Line(shop.stack)
    wrong = agent.key[:-1] + ("a" if agent.key[-1] != "a" else "b")

    dead = [line.agent("POST", "/validate", {}, key=key) for key in ("pm_ak_nonsense", wrong, "x")]
    of_another_kind = line.agent("POST", "/validate", {}, key=shop.key)
    traced = line.agent("POST", "/validate", {}, key=agent.key, headers={"X-Request-Id": "abc-123"})

    assert {(each.status, each.code, each["title"]) for each in dead} == {(401, "unauthorized", "Unauthorized")}
    assert (of_another_kind.status, of_another_kind.code) == (403, "wrong_key_kind")
    assert {each.headers["content-type"] for each in dead} == {PROBLEM}
    assert traced.headers["x-request-id"] == "abc-123"


def test_creation__with_an_idempotency_key__happens_once(shop: LiveShop) -> None:
    key = {"Idempotency-Key": unique("make")}
    body = {"code": unique("product"), "name": "One"}

    first, again = (shop.call("POST", "/products", body, headers=key) for _ in range(2))
    other = shop.call("POST", "/products", body | {"name": "Two"}, headers=key)

    assert (first.status, again.status, again["id"]) == (201, 201, first["id"])
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert (other.status, other.code) == (422, "idempotency_key_reused")


def test_audit__of_a_revocation__says_who_what_and_why(shop: LiveShop) -> None:
    agent = shop.ready_agent()
    answer = shop.call(
        "POST", f"/licenses/{agent.license}/revoke", {"reason": "unpaid"}, headers={"X-Request-Id": "req-77"}
    )
    assert answer.status == 200

    entries = shop.call("GET", f"/audit-entries?target={agent.license}&action=license.revoked")["data"]

    [entry] = entries
    assert (entry["reason"], entry["request_id"], entry["actor"]["kind"]) == ("unpaid", "req-77", "api_key")
    assert entry["target"] == {"kind": "license", "id": agent.license}
    assert re.fullmatch(r"[0-9a-f]{64}", entry["hash"])


def test_pages__for_everybody__open_and_name_no_outside_host(live_stack: LiveStack) -> None:
    line = Line(live_stack)
    for path in ("/", "/docs/api/", "/accounts/login/", "/livez", "/readyz"):
        answer = line.call("GET", path)
        assert answer.status == 200, path
        sources = re.findall(r'(?:src|href|action)="(https?://[^"]+)"', answer.raw.decode())
        assert not [each for each in sources if re.search(r"\.(js|css|woff2?|png|svg)(\?|$)", each)], path
    # Gateways ask with a vendor's key, so their paths stand in the vendors' document.
    for door, roots in (("agent", "/agent/v1/"), ("vendor", ("/vendor/v1/", "/access/v1/"))):
        document = line.call("GET", f"/openapi/{door}.json")
        assert document["openapi"].startswith("3.1")
        assert all(path.startswith(roots) for path in document["paths"])


def test_operator__logs_in__finds_every_section(live_stack: LiveStack) -> None:
    from allauth.account.models import EmailAddress

    from tests.factories import make_user

    email, password = f"{unique('operator')}@example.com", "an operator's long password"
    with live_stack.orm():
        user = make_user(email, password=password, is_staff=True, is_superuser=True)
        EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
    opener = build_opener(HTTPCookieProcessor(CookieJar()))
    page = opener.open(live_stack.url("/admin/"), timeout=30)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.read().decode())
    assert token is not None
    form = {"csrfmiddlewaretoken": token[1], "login": email, "password": password, "next": "/admin/"}
    asked = Request(page.url, data=urlencode(form).encode(), headers={"Referer": page.url})
    home = opener.open(asked, timeout=30).read().decode()

    for place in ("licenses/license", "licenses/agent", "metering/overagerecord", "tenants/auditentry"):
        assert f"/admin/{place}/" in home
        assert opener.open(live_stack.url(f"/admin/{place}/"), timeout=30).status == 200
