from __future__ import annotations

import logging

import pytest

from licensing_site.logs import REDACTED, redact_secrets

LOGGER = logging.getLogger()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("password", "hunter2"),
        ("secret_key", "x"),
        ("authorization", "Bearer x"),
        ("note", "key pm_ak_abcdef_0123456789"),
        ("note", "pm_test_sk_abc_def sent"),
        ("event", "whsec_MfKQ9r8GKYqrTwjU"),
        ("exception", "KeyError: 7Q2VX-1A9BC-DEFGH-JKMNP-QRSTV"),
    ],
)
def test_redact_secrets__secret_by_name_or_by_shape__is_never_written(name: str, value: str) -> None:
    [written] = redact_secrets(LOGGER, "info", {name: value}).values()
    assert REDACTED in written
    assert not any(word in written for word in value.split() if len(word) > 10)


@pytest.mark.parametrize(
    ("name", "value"),
    [("token_id", "tok_01h455vb4pex5vsknk084sn02q"), ("event", "license.revoked"), ("tokens", "1532")],
)
def test_redact_secrets__ids_and_events__are_left_alone(name: str, value: str) -> None:
    assert redact_secrets(LOGGER, "info", {name: value}) == {name: value}
