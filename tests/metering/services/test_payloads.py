"""The register's keys and fingerprints are stored: a change of what they are would make conflicts of retries."""

from decimal import Decimal
from uuid import UUID

from metering.domain.quota_keys import EventDigests, event_digest
from metering.services.payloads import UsagePayload, ask_fingerprint, usage_fingerprint

LICENSE, METER = UUID(int=1), UUID(int=2)
CALL = "5dd5f6d1033201f2c3314ef9ca967040"
LARGE = "9b3ce15683616bd0130cbc1e4f47880f"


def test_event_digest__licence_namespace_and_id__stay_what_the_register_holds():
    assert event_digest(LICENSE, b"", "call-1") == CALL
    assert event_digest(LICENSE, b"settle", "\u00e9") == "65f81e8e85c70ae97f17045178f1569a"


def test_event_digests__of_many_ids__are_those_of_each():
    digests = EventDigests(LICENSE)
    assert [digests.of("call-2"), digests.of("call-1")] == [event_digest(LICENSE, b"", "call-2"), CALL]


def test_usage_fingerprint__equal_quantities__are_one_payload():
    assert usage_fingerprint(METER, Decimal("1.50"), {"model": "large"}) == LARGE
    payload = UsagePayload(METER, {"model": "large"})
    assert [payload.fingerprint("1.5"), payload.fingerprint("2") == LARGE, payload.fingerprint("1.5")] == [
        LARGE,
        False,
        LARGE,
    ]


def test_ask_fingerprint__of_one_line__stays_what_the_register_holds():
    usage = [(METER, Decimal("1.50"), {"model": "large"})]
    found = ask_fingerprint(mode="consume", feature=None, value=None, usage=usage, on_excess=None)
    assert found == "5f80dc4081b01cbea471c1a938c745f9"
