from datetime import timedelta
from threading import Event, Thread

import pytest
from django.db import connections

from common.clock import real_clock
from common.errors import Conflict, Invalid, RevocationPending
from tenants.models import Customer, IdempotencyRecord
from tenants.services.customers import create_customer, suspend_customer
from tenants.services.idempotency import Answer, fingerprint, purge_answers, run_once
from tests.factories import ACTOR, make_customer, make_workspace
from tests.parallel import at_once
from tests.trail import actions

pytestmark = pytest.mark.django_db

SEEN = fingerprint(method="POST", path="/vendor/v1/customers", body=b'{"external_id": "acme"}')


def answering(status=201, body=b'{"key": "pm_sk_secret"}', headers=None, effect=lambda: None):
    def produce():
        effect()
        return Answer(status, headers or {"Content-Type": "application/json"}, body)

    return produce


def test_fingerprint__same_meaning__same_bytes():
    def of(body, **request):
        return fingerprint(**{"method": "POST", "path": "/a", "body": body, **request})

    assert of(b'{"a": 1, "b": [2]}') == of(b'{"b":[2],"a":1}')
    different = [
        of(b'{"a": 1}'),
        of(b'{"a": 2}'),
        of(b'{"a": "1"}'),
        of(b'{"a": true}'),
        of(b'{"a": 1, "a": 1}'),
        of(b'{"a": NaN}'),
        of(b""),
        of(b"\xff"),
        of(b'{"a": "\\ud800"}'),
        of(b"[" * 200_000),
        of(b'{"a": 1}', path="/b"),
        of(b'{"a": 1}', method="PUT"),
    ]
    assert len(set(different)) == len(different)


def test_run_once__repeated__replays_and_does_nothing_again():
    tenant = make_workspace()
    effects = []
    names = {"tenant_id": tenant.id, "caller": "key_a", "key": "k-1", "fingerprint": SEEN}
    first = run_once(**names, produce=answering(effect=lambda: effects.append(1)))
    again = run_once(**names, produce=answering(body=b"other", effect=lambda: effects.append(2)))
    assert (first.replayed, again.replayed) == (False, True)
    assert first.answer == again.answer == Answer(201, {"Content-Type": "application/json"}, b'{"key": "pm_sk_secret"}')
    assert effects == [1]
    assert b"pm_sk_secret" not in bytes(IdempotencyRecord.objects.get().body)


def test_run_once__other_body__refused__other_caller_or_workspace__their_own():
    tenant = make_workspace()
    names = {"tenant_id": tenant.id, "caller": "key_a", "key": "k-1", "fingerprint": SEEN}
    run_once(**names, produce=answering())
    with pytest.raises(Invalid) as caught:
        run_once(**{**names, "fingerprint": bytes(32)}, produce=answering())
    assert (caught.value.status, caught.value.code) == (422, "idempotency_key_reused")
    assert run_once(**{**names, "caller": "key_b"}, produce=answering(200)).answer.status == 200
    assert run_once(**{**names, "tenant_id": make_workspace().id}, produce=answering(202)).answer.status == 202


@pytest.mark.parametrize("status", [429, 500, 503])
def test_run_once__passing_trouble__not_remembered(status):
    tenant = make_workspace()
    names = {"tenant_id": tenant.id, "caller": "key_a", "key": "k-1", "fingerprint": SEEN}
    assert run_once(**names, produce=answering(status)).answer.status == status
    assert run_once(**names, produce=answering(201)).answer.status == 201


def test_run_once__refusal__remembered_but_its_writes_are_not():
    tenant = make_workspace()
    names = {"tenant_id": tenant.id, "caller": "key_a", "key": "k-1", "fingerprint": SEEN}
    run_once(**names, produce=answering(409, effect=lambda: make_customer(tenant)))
    assert not Customer.objects.exists()
    assert actions(tenant, "customer") == []
    again = run_once(**names, produce=answering(201))
    assert (again.replayed, again.answer.status) == (True, 409)


def test_run_once__produce_breaks__nothing_is_kept():
    tenant = make_workspace()
    names = {"tenant_id": tenant.id, "caller": "key_a", "key": "k-1", "fingerprint": SEEN}

    def broken():
        make_customer(tenant)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_once(**names, produce=broken)
    assert not Customer.objects.exists()
    assert not IdempotencyRecord.objects.exists()


def test_run_once__after_24_hours__begins_anew():
    tenant = make_workspace()
    names = {"tenant_id": tenant.id, "caller": "key_a", "key": "k-1", "fingerprint": SEEN}
    run_once(**names, produce=answering(201))
    IdempotencyRecord.objects.update(expires_at=real_clock().now())
    again = run_once(**{**names, "fingerprint": bytes(32)}, produce=answering(200))
    assert (again.replayed, again.answer.status) == (False, 200)
    assert IdempotencyRecord.objects.count() == 1


def test_purge_answers__at_the_border__only_what_is_over():
    tenant = make_workspace()
    for key in ("a", "b"):
        run_once(tenant_id=tenant.id, caller="key_a", key=key, fingerprint=SEEN, produce=answering())
    now = real_clock().now() + timedelta(days=2)
    IdempotencyRecord.objects.filter(key="a").update(expires_at=now)
    IdempotencyRecord.objects.filter(key="b").update(expires_at=now + timedelta(microseconds=1))
    assert purge_answers(now=now) == 1
    assert IdempotencyRecord.objects.get().key == "b"


@pytest.mark.django_db(transaction=True)
def test_run_once__first_call_still_running__conflict_at_once():
    tenant = make_workspace()
    names = {"tenant_id": tenant.id, "caller": "key_a", "key": "k-1", "fingerprint": SEEN}
    inside, finish = Event(), Event()

    def slow():
        inside.set()
        finish.wait(10)

    def first():
        run_once(**names, produce=answering(effect=slow))
        connections.close_all()

    thread = Thread(target=first)
    thread.start()
    try:
        assert inside.wait(10)
        with pytest.raises(Conflict) as caught:
            run_once(**names, produce=answering())
        assert caught.value.code == "idempotency_in_progress"
    finally:
        finish.set()
        thread.join()
    assert run_once(**names, produce=answering()).replayed is True


@pytest.mark.django_db(transaction=True)
def test_run_once__sixteen_at_once__one_effect():
    tenant = make_workspace()
    names = {"tenant_id": tenant.id, "caller": "key_a", "key": "k-1", "fingerprint": SEEN}

    def create():
        create_customer(tenant=tenant, actor=ACTOR, external_id="acme")

    answers = at_once([lambda: run_once(**names, produce=answering(effect=create))] * 16)
    done = [answer for answer in answers if not isinstance(answer, Exception)]
    assert {type(answer) for answer in answers if isinstance(answer, Exception)} <= {Conflict}
    assert sum(not outcome.replayed for outcome in done) == 1
    assert Customer.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_run_once__valkey_away__the_replay_stays_pending_until_it_is_told(settings):
    customer = make_customer(make_workspace())
    tenant = customer.tenant
    names = {"tenant_id": tenant.id, "caller": "key_a", "key": "k-1", "fingerprint": SEEN}

    def suspend():
        suspend_customer(tenant=tenant, customer_id=customer.id, actor=ACTOR)

    real = settings.REDIS_URL
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    for _ in range(2):
        with pytest.raises(RevocationPending):
            run_once(**names, produce=answering(200, effect=suspend))
    settings.REDIS_URL = real
    outcome = run_once(**names, produce=answering(500))
    assert (outcome.replayed, outcome.answer.status) == (True, 200)
    assert actions(tenant, "customer.suspended") == ["customer.suspended"]
