import pytest
from cryptography.fernet import Fernet
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings

from common.crypto import UnsealError, seal, unseal

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


@pytest.fixture(autouse=True)
def keys(settings: Settings) -> None:
    settings.PERMETER_ENCRYPTION_KEYS = [OLD]


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_seal__anything__is_unsealed_to_the_same(plain: bytes) -> None:
    sealed = seal(plain)
    assert unseal(sealed) == plain
    assert unseal(memoryview(sealed)) == plain


def test_seal__a_secret__cannot_be_read_and_never_looks_the_same() -> None:
    assert b"secret" not in seal(b"secret")
    assert seal(b"secret") != seal(b"secret")


def test_unseal__key_rotated__opens_old_and_new(settings: Settings) -> None:
    before = seal(b"secret")
    settings.PERMETER_ENCRYPTION_KEYS = [NEW, OLD]
    after = seal(b"secret")
    assert (unseal(before), unseal(after)) == (b"secret", b"secret")
    settings.PERMETER_ENCRYPTION_KEYS = [NEW]
    assert unseal(after) == b"secret"
    with pytest.raises(UnsealError):
        unseal(before)


def test_unseal__damaged__is_refused() -> None:
    sealed = bytearray(seal(b"secret"))
    sealed[20] ^= 1
    for damaged in (bytes(sealed), b"", b"nonsense"):
        with pytest.raises(UnsealError):
            unseal(damaged)
