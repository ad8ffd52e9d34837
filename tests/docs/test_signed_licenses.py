"""The pages on signed licences, pasted into a plain shell beside a running stack, show what they say."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

import pytest

from licensing_site.environment import BASE_DIR
from tests.docs.pages import page
from tests.docs.test_readme import checkout, demo_stack, paste
from tests.stack_fixtures import LiveStack

__all__ = ["checkout", "demo_stack"]

REFERENCE = "docs/reference/signed-licenses.md"


def _equip(checkout: Path) -> None:
    for name in (".venv", "docs"):
        if not (checkout / name).exists():
            (checkout / name).symlink_to(BASE_DIR / name)


@pytest.mark.stack
def test_air_gapped__pasted_line_by_line__shows_what_it_says(demo_stack: LiveStack, checkout: Path) -> None:
    _equip(checkout)

    shown = paste("sh", folder=checkout, name="docs/how-to/license-an-air-gapped-machine.md")

    held = shown.answer(5, 1)
    assert (held["valid"], held["claims"]["fingerprint"]) == (True, "plant-7-controller")
    assert [shown.text(5, line).partition(":")[0] for line in (2, 3, 5)] == [
        "fingerprint_mismatch",
        "token_expired",
        "token_malformed",
    ]
    assert shown.answer(6, 1)["data"][0]["offline_file"] is True
    assert shown.answer(6, 2)["status"] == "revoked"
    assert shown.text(6, 5).startswith("license_revoked: ")


@pytest.mark.stack
def test_opaque_or_signed__pasted_line_by_line__shows_what_it_says(demo_stack: LiveStack, checkout: Path) -> None:
    _equip(checkout)

    shown = paste("sh", folder=checkout, name="docs/how-to/choose-opaque-or-signed.md")

    assert shown.answer(2, 1)["valid"] is True
    claims = shown.answer(3, 4)["claims"]
    assert claims["exp"] - claims["iat"] in {599, 600}
    assert 0 <= int(shown.text(4, 3)) <= 61
    assert shown.answer(4, 4)["status"] == "revoked"
    assert shown.text(4, 6).startswith("license_revoked: ")
    [hold] = [hold for hold in shown.answer(5, 3)["data"] if hold["usage"][0]["quantity"] == "50"]
    assert hold["status"] == "open"
    assert shown.answer(6, 1)["recorded"] == 2
    assert shown.answer(6, 2)["duplicates"] == 1
    released = shown.answer(6, 3)["hold"]
    assert (released["id"], released["status"], released["settled"]) == (hold["id"], "released", ["25"])
    assert shown.answer(6, 4)["status"] == "revoked"


def test_reference__compared_with_the_source__names_exactly_what_a_verifier_refuses() -> None:
    sources = [BASE_DIR / f"licenses/domain/{name}.py" for name in ("jose", "status_list", "license_tokens")]
    raised = {
        call.args[0].value
        for source in sources
        for call in ast.walk(ast.parse(source.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "InvalidToken"
        and isinstance(call.args[0], ast.Constant)
    }
    of_the_script = set(re.findall(r'NotValid\(\s*"(\w+)"', page("docs/verify_license.py")))
    table = page(REFERENCE).partition("## What a verifier refuses")[2].partition("## Keys")[0]
    listed = {code for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for code in re.findall(r"`(\w+)`", row)}

    assert listed == raised
    assert of_the_script <= raised


def test_script__vendors_word__is_stated_on_every_page_that_runs_it() -> None:
    for name in ("license-an-air-gapped-machine", "choose-opaque-or-signed"):
        for line in page(f"docs/how-to/{name}.md").splitlines():
            if "docs/verify_license.py " in line:
                assert "--jwks keys.json" in line
                assert "--issuer" in line


@pytest.mark.parametrize("x", ["AAAA", "not base64url!", 5, None, ["AAAA"]])
def test_script__key_set_with_a_broken_key__uses_the_others(x: object) -> None:
    script = runpy.run_path(str(BASE_DIR / "docs/verify_license.py"))
    good = {"kty": "OKP", "crv": "Ed25519", "kid": "good", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}

    assert list(script["read_keys"]({"keys": [{**good, "kid": "broken", "x": x}, good]})) == ["good"]
    with pytest.raises(script["NotValid"], match=r"^jwks_malformed: "):
        script["read_keys"]({"keys": [{**good, "x": x}]})


@pytest.mark.parametrize("jwks", [None, [], 5, {"keys": 5}, {"keys": [5]}])
def test_script__no_key_set__says_so(jwks: object) -> None:
    script = runpy.run_path(str(BASE_DIR / "docs/verify_license.py"))

    with pytest.raises(script["NotValid"], match=r"^jwks_malformed: "):
        script["read_keys"](jwks)


def test_reference__claims__are_those_that_are_signed() -> None:
    table = page(REFERENCE).partition("## Claims")[2].partition("## Status lists")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)

    named = {claim for row in rows for claim in re.findall(r"`(\w+)`", row)}
    assert named == {
        *("iss", "sub", "aud", "iat", "nbf", "exp", "jti", "license", "customer", "product", "plan", "features"),
        *("quotas", "act", "cnf", "fingerprint", "lease", "status"),
    }
