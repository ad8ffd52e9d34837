"""A change of pepper from the first step to the last: no key stops working, and none is left behind unseen."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from agent_api.use_cases import known_callers
from common.crypto import KeyKind, mint_key
from licenses.models import AgentKey, License
from licenses.services.agent_states import revoke_agent
from licenses.services.issuing import rotate_license_key
from licensing_site import peppers
from licensing_site.management.commands.rotate_pepper import VARIABLE
from licensing_site.settings import _peppers
from licensing_site.state import StackState
from tenants.models import ApiKey
from tenants.services.key_digests import write_digests
from tests.agent_door import AgentDoor, Vendor
from tests.factories import ACTOR, issue, make_plan
from tests.vendor_api.door import Door

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _stack(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded stack's own secrets, and no pepper from the environment."""
    known_callers.forget_all()
    write_digests()
    for name in (VARIABLE, f"{VARIABLE}_FILE"):
        monkeypatch.delenv(name, raising=False)
    settings.VAR_DIR = tmp_path
    StackState(tmp_path).ensure_secrets()
    StackState(tmp_path).put_secret("key_peppers", peppers.render(settings.PERMETER_KEY_PEPPERS))


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    call_command("rotate_pepper", *arguments)
    return capsys.readouterr().out


def restart(settings: Settings) -> None:
    """What a restart does: read the peppers anew, and know nobody."""
    state = StackState(Path(settings.VAR_DIR))
    settings.PERMETER_KEY_PEPPERS = _peppers(json.loads(state.secrets_file.read_text())["key_peppers"])
    known_callers.forget_all()


def test_rotate_pepper__step_by_step__no_key_stops_working(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    vendor = Vendor()
    agent_key = vendor.agent(vendor.license()).key_text
    License.objects.update(key_digest=None, key_pepper_id="")  # a key that nobody has to show
    license_key = issue(make_plan(vendor.product)).license_key
    publishable = vendor.publishable_key()
    door = Door(vendor.tenant)

    def all_work() -> bool:
        statuses = (
            AgentDoor(agent_key).post("/validate").status,
            AgentDoor(publishable).post("/validate", {"license_key": license_key}).status,
            door.get("/customers").status,
        )
        return statuses == (200, 200, 200)

    assert all_work()
    assert write_digests() == 0

    assert "pepper 1 (current): 1 agent keys, 2 API keys, 1 license keys" in run(capsys=capsys)
    restart(settings)
    assert list(settings.PERMETER_KEY_PEPPERS) == ["1", "2"]
    assert all_work()
    assert write_digests() == 0

    assert "pepper 2 (waiting): no living keys" in run(capsys=capsys)
    restart(settings)
    assert list(settings.PERMETER_KEY_PEPPERS) == ["2", "1"]
    with pytest.raises(CommandError, match="4 living keys need pepper 1"):
        run("--retire", "1", capsys=capsys)
    assert all_work()
    assert AgentKey.objects.get().pepper_id == "1"  # not on the call's own time
    assert write_digests() == 4
    assert write_digests() == 0
    assert {row.pepper_id for row in (*AgentKey.objects.all(), *ApiKey.objects.all())} == {"2"}
    assert License.objects.exclude(key_digest=None).get().key_pepper_id == "2"

    assert "pepper 1 (old): no living keys" in run("--report", capsys=capsys)
    run("--retire", "1", capsys=capsys)
    restart(settings)
    assert list(settings.PERMETER_KEY_PEPPERS) == ["2"]
    assert all_work()


def test_rotate_pepper__processes_of_both_steps_at_once__all_take_all_keys(settings: Settings) -> None:
    """While processes restart one by one, some hash under the new pepper and others do not yet."""
    first = {"1": "old"}
    second = peppers.with_new(first)
    third = peppers.with_promoted(second, "2")
    settings.PERMETER_KEY_PEPPERS = first
    vendor = Vendor()
    key = vendor.agent(vendor.license()).key_text
    for rounds in ((first, second, first, second), (second, third, second, third)):
        for configured in rounds:
            settings.PERMETER_KEY_PEPPERS = configured
            known_callers.forget_all()
            assert AgentDoor(key).post("/validate").status == 200
            write_digests()


def test_rotate_pepper__license_key_rotated_meanwhile__the_new_one_stays(
    settings: Settings, django_capture_on_commit_callbacks: Any
) -> None:
    vendor = Vendor()
    issued = issue(make_plan(vendor.product))
    door = AgentDoor(vendor.publishable_key())
    settings.PERMETER_KEY_PEPPERS = peppers.with_promoted(peppers.with_new(settings.PERMETER_KEY_PEPPERS), "2")
    assert door.post("/validate", {"license_key": issued.license_key}).status == 200
    settings.PERMETER_KEY_PEPPERS = dict(reversed(settings.PERMETER_KEY_PEPPERS.items()))
    with django_capture_on_commit_callbacks(execute=True):
        fresh = rotate_license_key(tenant=vendor.tenant, license_id=issued.license.id, actor=ACTOR)
    write_digests()

    answers = [door.post("/validate", {"license_key": key}).status for key in (issued.license_key, fresh.license_key)]
    assert answers == [404, 200]


def test_rotate_pepper__keys_that_nobody_can_use__do_not_count(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    vendor = Vendor()
    made = vendor.agent(vendor.license())
    revoke_agent(tenant=vendor.tenant, agent_id=made.agent.id, actor=ACTOR)
    License.objects.update(status="revoked")
    assert "pepper 1 (current): no living keys" in run("--report", capsys=capsys)


def test_rotate_pepper__forced__retires_what_is_needed(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    vendor = Vendor()
    key = vendor.agent(vendor.license()).key_text
    settings.PERMETER_KEY_PEPPERS = {"2": "new", **settings.PERMETER_KEY_PEPPERS}
    run("--retire", "1", "--force", capsys=capsys)
    restart(settings)
    assert AgentDoor(key).post("/validate").status == 401
    assert "pepper 1 (unknown: its keys are dead): 1 agent keys" in run("--report", capsys=capsys)


@pytest.mark.parametrize("pepper_id", ["1", "7", ""])
def test_rotate_pepper__retire_what_is_current_or_unknown__is_refused(
    settings: Settings, pepper_id: str, tmp_path: Path
) -> None:
    before = (tmp_path / "secrets.json").read_text()
    with pytest.raises(CommandError, match=r"current one|no pepper"):
        call_command("rotate_pepper", "--retire", pepper_id)
    assert (tmp_path / "secrets.json").read_text() == before


def test_rotate_pepper__stack_has_not_been_restarted__is_refused(settings: Settings, tmp_path: Path) -> None:
    state = StackState(tmp_path)
    state.publish(base_url="http://127.0.0.1:1")
    os.utime(state.secrets_file, ns=(0, 0))
    call_command("rotate_pepper")
    os.utime(state.stack_file, ns=(1, 1))
    before = state.secrets_file.read_text()
    with pytest.raises(CommandError, match="Restart the stack first"):
        call_command("rotate_pepper")
    assert state.secrets_file.read_text() == before
    assert stat.S_IMODE(state.secrets_file.stat().st_mode) == 0o600


def test_rotate_pepper__peppers_come_from_elsewhere__says_what_to_set_and_writes_nothing(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (tmp_path / "secrets.json").read_text()
    monkeypatch.setenv(VARIABLE, peppers.render(settings.PERMETER_KEY_PEPPERS))
    told = run(capsys=capsys).strip().splitlines()[-1]
    assert told.startswith(f"{VARIABLE}=1={settings.PERMETER_KEY_PEPPERS['1']},2=")
    monkeypatch.setenv(f"{VARIABLE}_FILE", "/run/secrets/peppers")
    told = run(capsys=capsys)
    assert "Write into /run/secrets/peppers" in told
    assert _peppers(told.strip().splitlines()[-1])["1"] == settings.PERMETER_KEY_PEPPERS["1"]
    assert (tmp_path / "secrets.json").read_text() == before


@pytest.mark.parametrize(
    ("configured", "expected"),
    [
        ({"1": ""}, None),
        ({"1": "", "2": ""}, "2"),
        ({"2": "", "1": ""}, None),
        ({"a": "", "1": ""}, "1"),
        ({"1": "", "3": "", "2": ""}, "3"),
        ({"9": "", "10": ""}, "10"),
    ],
)
def test_waiting__numbers_only_rise__is_the_newest_that_is_not_current(
    configured: dict[str, str], expected: str | None
) -> None:
    assert peppers.waiting(configured) == expected


def test_with_new__any_peppers__number_is_fresh_and_the_list_reads_back(settings: Settings) -> None:
    for configured in ({"1": "a"}, {"2": "b", "1": "a"}, {"a": "x", "9": "y"}):
        wanted = peppers.with_new(configured)
        assert list(wanted)[:-1] == list(configured)
        assert peppers.waiting(wanted) == list(wanted)[-1]
        assert _peppers(peppers.render(wanted)) == wanted
    settings.PERMETER_KEY_PEPPERS = peppers.with_new({"1": "a"})
    assert mint_key(KeyKind.AGENT, test=False).pepper_id == "1"
