from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.ids import ALPHABET, Prefix, decode_id, encode_id, new_id, parse_any_id

KNOWN = [
    # From the TypeID specification's own list of valid ids.
    ("00000000-0000-0000-0000-000000000000", "00000000000000000000000000"),
    ("00000000-0000-0000-0000-000000000001", "00000000000000000000000001"),
    ("00000000-0000-0000-0000-000000000020", "00000000000000000000000010"),
    ("ffffffff-ffff-ffff-ffff-ffffffffffff", "7zzzzzzzzzzzzzzzzzzzzzzzzz"),
    ("0110c853-1d09-52d8-d73e-1194e95b5f19", "0123456789abcdefghjkmnpqrs"),
    ("01890a5d-ac96-774b-bcce-b302099a8057", "01h455vb4pex5vsknk084sn02q"),
]


@pytest.mark.parametrize(("uuid", "suffix"), KNOWN)
def test_encode_id__known_values__match_the_specification(uuid: str, suffix: str) -> None:
    assert encode_id("lic", UUID(uuid)) == f"lic_{suffix}"
    assert decode_id("lic", f"lic_{suffix}") == UUID(uuid)


@given(uuid=st.uuids(), prefix=st.sampled_from(Prefix))
def test_ids__any_uuid__round_trip(uuid: UUID, prefix: Prefix) -> None:
    text = encode_id(prefix, uuid)
    suffix = text.removeprefix(f"{prefix}_")
    assert len(suffix) == 26
    assert set(suffix) <= set(ALPHABET)
    assert suffix[0] <= "7"
    assert decode_id(prefix, text) == uuid
    assert parse_any_id(text) == (str(prefix), uuid)


@given(one=st.uuids(), other=st.uuids())
def test_encode_id__order_of_uuids__is_the_order_of_texts(one: UUID, other: UUID) -> None:
    assert (one.bytes < other.bytes) == (encode_id("lic", one) < encode_id("lic", other))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lic",
        "lic_",
        "agt_01h455vb4pex5vsknk084sn02q",
        "lic_01h455vb4pex5vsknk084sn02",
        "lic_01h455vb4pex5vsknk084sn02qq",
        "lic_81h455vb4pex5vsknk084sn02q",
        "lic_01H455VB4PEX5VSKNK084SN02Q",
        "lic_01h455vb4pex5vsknk084sn02u",
        "lic_01h455vb4pex5vsknk084sn0iq",
        "lic_01h455vb4pex5vsknk084sn02q\n",
        " lic_01h455vb4pex5vsknk084sn02q",
        "LIC_01h455vb4pex5vsknk084sn02q",
        "lic_٠1h455vb4pex5vsknk084sn02q",
        "lic-01h455vb4pex5vsknk084sn02q",
    ],
)
def test_decode_id__not_an_id_of_the_prefix__is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="not an id that starts with lic_"):
        decode_id("lic", text)


@pytest.mark.parametrize("text", ["pro", "lic_pro", "lice_01h455vb4pex5vsknk084sn02q", "li_01h455vb4pex5vsknk084sn02q"])
def test_parse_any_id__a_code__is_none(text: str) -> None:
    assert parse_any_id(text) is None


def test_parse_any_id__prefix_nobody_knows__is_an_id_all_the_same() -> None:
    assert parse_any_id("xyz_00000000000000000000000001") == ("xyz", UUID(int=1))


def test_prefixes__all__are_three_letters_and_differ() -> None:
    assert len({*Prefix}) == len(Prefix.__members__)
    assert all(len(prefix) == 3 and prefix.isalpha() and prefix.islower() for prefix in Prefix)


def test_new_id__many__are_uuid7_in_order() -> None:
    ids = [new_id() for _ in range(1000)]
    assert {type(made) for made in ids} == {UUID}
    assert {(made.version, made.variant) for made in ids} == {(7, "specified in RFC 4122")}
    assert sorted(set(ids)) == ids
