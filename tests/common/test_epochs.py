"""Publishing and warming epochs against a real Valkey of its own."""

from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from common.epochs import EpochKey, EpochsUnpublished, epoch_key, publish_epochs, warm_epochs, warm_epochs_many
from common.valkey import current_run_id
from tests.own_valkey import OwnValkey

KEY = EpochKey("license", UUID(int=3))


@pytest.fixture(scope="module")
def server() -> Iterator[OwnValkey]:
    with OwnValkey() as own:
        yield own


@pytest.fixture(autouse=True)
def use_it(server: OwnValkey, settings: Settings) -> None:
    settings.REDIS_URL = server.url


def stored(server: OwnValkey, tenant_id: UUID, key: EpochKey = KEY) -> int | None:
    with server.client() as client:
        value = client.get(epoch_key(tenant_id, current_run_id(), key))
    return None if value is None else int(value)


@profile(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(versions=st.lists(st.integers(0, 2**52), min_size=1, max_size=8))
def test_publish_epochs__any_order__the_highest_stays(server: OwnValkey, versions: list[int]) -> None:
    tenant_id = uuid4()
    for version in versions:
        publish_epochs([(tenant_id, KEY, version)])

    assert stored(server, tenant_id) == max(versions)


def test_publish_epochs__many_tenants_and_keys__all_are_told_and_expire_in_a_day(server: OwnValkey) -> None:
    pairs = [(uuid4(), EpochKey("agent", uuid4()), number) for number in range(5)]
    one = uuid4()
    pairs += [(one, EpochKey("key", UUID(int=number)), number) for number in range(1200)]

    publish_epochs([*pairs, (one, EpochKey("key", UUID(int=7)), 2)])

    assert [stored(server, tenant_id, key) for tenant_id, key, _ in pairs] == [version for _, _, version in pairs]
    with server.client() as client:
        assert 86_000 < client.ttl(epoch_key(one, current_run_id(), EpochKey("key", UUID(int=7)))) <= 86_400


def test_publish_epochs__server_away__raises_until_it_is_back(settings: Settings) -> None:
    tenant_id = uuid4()
    with OwnValkey() as own:
        settings.REDIS_URL = own.url
        publish_epochs([(tenant_id, KEY, 1)])
        own.stop()
        with pytest.raises(EpochsUnpublished):
            publish_epochs([(tenant_id, KEY, 2)])
        own.start()
        publish_epochs([(tenant_id, KEY, 2)])
        assert stored(own, tenant_id) == 2


def test_publish_epochs__server_replaced_in_mid_flight__the_new_run_is_told(settings: Settings) -> None:
    tenant_id = uuid4()
    with OwnValkey() as own:
        settings.REDIS_URL = own.url
        publish_epochs([(tenant_id, KEY, 1)])
        before = current_run_id()
        own.stop()
        own.start()

        publish_epochs([(tenant_id, KEY, 2)])

        assert current_run_id() != before
        assert stored(own, tenant_id) == 2


def test_warm_epochs__cold__publishes_what_postgres_says_and_zero_for_no_row(server: OwnValkey) -> None:
    tenant_id, other = uuid4(), EpochKey("tenant", uuid4())

    assert warm_epochs(tenant_id, [KEY, other, KEY], lambda keys: {KEY: 3}) == {KEY: 3, other: 0}

    assert (stored(server, tenant_id), stored(server, tenant_id, other)) == (3, 0)


def test_warm_epochs__somebody_published_more_meanwhile__answers_that() -> None:
    tenant_id = uuid4()

    def read(keys: Sequence[EpochKey]) -> dict[EpochKey, int]:
        publish_epochs([(tenant_id, KEY, 4)])
        return {KEY: 3}

    assert warm_epochs(tenant_id, [KEY], read) == {KEY: 4}


def test_warm_epochs__read_before_a_commit_and_a_flush__the_old_version_is_never_published(server: OwnValkey) -> None:
    tenant_id = uuid4()
    in_postgres = {KEY: 3}
    reads: list[int] = []

    def read(keys: Sequence[EpochKey]) -> dict[EpochKey, int]:
        found = dict(in_postgres)
        if not reads:
            # After this read: another process commits 4, tells Valkey, and Valkey is flushed.
            in_postgres[KEY] = 4
            publish_epochs([(tenant_id, KEY, 4)])
            with server.client() as client:
                client.flushall()
        reads.append(found[KEY])
        return found

    assert warm_epochs(tenant_id, [KEY], read) == {KEY: 4}
    assert reads == [3, 4]
    assert stored(server, tenant_id) == 4


def test_warm_epochs__flushed_and_made_anew_by_another_reader__is_noticed_too(server: OwnValkey) -> None:
    tenant_id = uuid4()
    versions = iter([3, 4])

    def read(keys: Sequence[EpochKey]) -> dict[EpochKey, int]:
        version = next(versions)
        if version == 3:
            with server.client() as client:
                client.flushall()
            warm_epochs(tenant_id, [EpochKey("agent", uuid4())], lambda keys: {})
        return {KEY: version}

    assert warm_epochs(tenant_id, [KEY], read) == {KEY: 4}


def test_warm_epochs__server_restarted_in_between__asks_again(settings: Settings) -> None:
    tenant_id = uuid4()
    versions = iter([3, 4])
    with OwnValkey() as own:
        settings.REDIS_URL = own.url

        def read(keys: Sequence[EpochKey]) -> dict[EpochKey, int]:
            version = next(versions)
            if version == 3:
                # Even if the dump brings the token back, it belongs to another run.
                own.keep()
                own.stop()
                own.start()
            return {KEY: version}

        assert warm_epochs(tenant_id, [KEY], read) == {KEY: 4}
        assert stored(own, tenant_id) == 4


def test_warm_epochs__flushed_every_time__gives_up_warming_and_answers_from_postgres(server: OwnValkey) -> None:
    tenant_id = uuid4()
    reads: list[int] = []

    def read(keys: Sequence[EpochKey]) -> dict[EpochKey, int]:
        reads.append(1)
        with server.client() as client:
            client.flushall()
        return {KEY: len(reads)}

    assert warm_epochs(tenant_id, [KEY], read) == {KEY: 4}
    assert stored(server, tenant_id) is None


def test_warm_epochs__server_away__answers_from_postgres(settings: Settings) -> None:
    settings.REDIS_URL = "unix:///nowhere"

    assert warm_epochs(uuid4(), [KEY], lambda keys: {KEY: 3}) == {KEY: 3}


def test_warm_epochs_many__several_tenants__one_read_for_all(server: OwnValkey) -> None:
    tenants = [uuid4() for _ in range(3)]
    asked = []

    def read(wanted: Mapping[UUID, Sequence[EpochKey]]) -> dict[UUID, dict[EpochKey, int]]:
        asked.append(set(wanted))
        return {tenant_id: {KEY: place} for place, tenant_id in enumerate(tenants) if place}

    found = warm_epochs_many({tenant_id: [KEY] for tenant_id in tenants}, read)

    assert found == {tenant_id: {KEY: place} for place, tenant_id in enumerate(tenants)}
    assert asked == [set(tenants)]
    assert warm_epochs_many({}, read) == {}
