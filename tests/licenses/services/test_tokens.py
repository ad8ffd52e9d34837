from __future__ import annotations

import multiprocessing
import os
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, connections

from common.clock import real_clock
from licenses.domain.token_terms import license_claims
from licenses.models import IssuedToken, License
from licenses.selectors.access import AccessSnapshot, load_agent, load_license
from licenses.selectors.signing import statuses_in_list
from licenses.services.agents import revoke_agent
from licenses.services.license_states import suspend_license
from licenses.services.status_lists import signed_status_list
from licenses.services.tokens import SignedLicense, StaleSnapshot, issue_token, revoke_token
from tests.factories import ACTOR, Shop, make_shop
from tests.parallel import at_once

pytestmark = pytest.mark.django_db(transaction=True)


def snapshot(shop: Shop) -> AccessSnapshot:
    access = load_agent(shop.tenant.id, shop.agent.id)
    assert access is not None
    return access


def issued(access: AccessSnapshot, **more: Any) -> SignedLicense:
    at = access.clock.now()
    ends: datetime = at + timedelta(hours=1)
    return issue_token(access=access, claims=license_claims(access.facts, at, audience=None), expires_at=ends, **more)


def statuses(shop: Shop, number: int = 1) -> dict[int, int]:
    return statuses_in_list(shop.tenant.id, number, now=real_clock().now(), closed=False)


def test_issue__list_half_full__goes_on_in_the_next_one() -> None:
    shop = make_shop()
    access = snapshot(shop)

    for _ in range(20):
        issued(access, places=16)

    places = list(IssuedToken.objects.order_by("created_at").values_list("list_number", "list_index"))
    assert [number for number, _ in places] == [1] * 8 + [2] * 8 + [3] * 4
    assert len(set(places)) == 20
    assert all(index < 16 for _, index in places)
    assert [index for _, index in places[:8]] != sorted(index for _, index in places[:8])


def test_issue__many_at_once__each_has_a_place_of_its_own() -> None:
    shop = make_shop()
    access = snapshot(shop)

    made = at_once([lambda: [issued(access, places=64) for _ in range(6)]] * 6)

    assert all(isinstance(each, list) for each in made), made
    places = list(IssuedToken.objects.values_list("list_number", "list_index"))
    assert (len(places), len(set(places))) == (36, 36)


def _issue_in_process(tenant_id: UUID, license_id: UUID) -> None:
    connections.close_all()
    try:
        access = load_license(tenant_id, license_id)
        assert access is not None
        for _ in range(8):
            issued(access, places=128)
    except Exception:  # noqa: BLE001 - the exit code tells the test
        os._exit(1)
    connections.close_all()
    os._exit(0)


def test_issue__by_several_processes__each_has_a_place_and_one_key_signs() -> None:
    from common import valkey

    shop = make_shop()
    connections.close_all()
    valkey._client.cache_clear()
    forked = multiprocessing.get_context("fork")
    processes = [
        forked.Process(target=_issue_in_process, args=(shop.tenant.id, shop.license.id), daemon=True) for _ in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    assert [process.exitcode for process in processes] == [0] * 4
    tokens = list(IssuedToken.objects.values_list("list_number", "list_index", "signing_key_id"))
    assert len({(number, index) for number, index, _ in tokens}) == 32
    assert len({key for _, _, key in tokens}) == 1


@pytest.mark.parametrize("change", [suspend_license, revoke_agent])
def test_issue__what_it_rests_on_has_changed_since__is_stale_and_leaves_nothing(change: Any) -> None:
    shop = make_shop()
    access = snapshot(shop)
    subject = {"license_id": shop.license.id} if change is suspend_license else {"agent_id": shop.agent.id}
    change(tenant=shop.tenant, actor=ACTOR, **subject)

    with pytest.raises(StaleSnapshot):
        issued(access)
    assert not IssuedToken.objects.exists()


def test_issue__beside_its_revocation__is_either_listed_or_never_made() -> None:
    for _ in range(8):
        shop = make_shop()
        access = snapshot(shop)

        made, _revoked = at_once(
            [
                lambda access=access: issued(access),  # type: ignore[misc]
                lambda shop=shop: revoke_agent(tenant=shop.tenant, agent_id=shop.agent.id, actor=ACTOR),  # type: ignore[misc]
            ]
        )

        tokens = IssuedToken.objects.for_tenant(shop.tenant)
        if isinstance(made, StaleSnapshot):
            assert not tokens.exists()
        else:
            assert isinstance(made, SignedLicense), made
            assert statuses(shop) == {made.token.list_index: 1}


def test_statuses__of_all_states__revoked_outweighs_suspended() -> None:
    shop = make_shop()
    access = snapshot(shop)
    kept, gone = issued(access).token, issued(access).token
    revoke_token(tenant=shop.tenant, token_id=gone.id, actor=ACTOR)
    assert statuses(shop) == {gone.list_index: 1}

    suspend_license(tenant=shop.tenant, license_id=shop.license.id, actor=ACTOR)
    assert statuses(shop) == {kept.list_index: 2, gone.list_index: 1}
    License.objects.update(status="revoked")
    assert statuses(shop) == {kept.list_index: 1, gone.list_index: 1}


def test_statuses__licence_shortened_after_the_signing__is_suspended_from_its_end_and_grace_on() -> None:
    shop = make_shop(plan={"grace_days": 2})
    token = issued(snapshot(shop)).token
    ends = real_clock().now()
    License.objects.update(expires_at=ends)

    def at(days: float) -> dict[int, int]:
        return statuses_in_list(shop.tenant.id, 1, now=ends + timedelta(days=days), closed=False)

    assert (at(1.99), at(2)) == ({}, {token.list_index: 2})


def test_status_list__nothing_changed__is_not_derived_anew() -> None:
    from django.test.utils import CaptureQueriesContext

    shop = make_shop()
    issued(snapshot(shop))

    def read() -> tuple[str, int]:
        with CaptureQueriesContext(connection) as queries:
            text = signed_status_list(shop.tenant, 1)
        return text, len(queries)

    # A list is made anew with each minute, so one of three readings in a row may begin one.
    readings = [read() for _ in range(3)]
    assert 0 in {count for _, count in readings[1:]}
    revoke_token(tenant=shop.tenant, token_id=IssuedToken.objects.get().id, actor=ACTOR)
    text, count = read()
    assert count > 0
    assert text not in {earlier for earlier, _ in readings}


def test_revoke_token__of_another_workspace__is_not_found() -> None:
    from common.errors import NotFound

    shop, other = make_shop(), make_shop()
    token = issued(snapshot(shop)).token

    with pytest.raises(NotFound):
        revoke_token(tenant=other.tenant, token_id=token.id, actor=ACTOR)
    assert statuses(shop) == {}
