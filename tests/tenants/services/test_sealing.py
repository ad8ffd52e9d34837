import pytest
from django.db import IntegrityError, connection, transaction

from tenants.models import AuditChain, AuditEntry, AuditSeal
from tenants.services import sealing
from tenants.services.sealing import GENESIS, seal_audit, verify_chain
from tests.factories import make_customer, make_workspace
from tests.parallel import at_once

pytestmark = pytest.mark.django_db


def tamper(sql, *arguments):
    """Write past the triggers, as somebody with the database's own password would."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(sql, arguments)
        cursor.execute("SET LOCAL session_replication_role = origin")


def trail(tenant):
    return list(AuditSeal.objects.for_tenant(tenant).order_by("sequence"))


def test_seal_audit__entries_of_two_workspaces__a_chain_each():
    one, two = make_workspace(), make_workspace()
    for tenant in (one, one, two):
        make_customer(tenant)
    assert seal_audit() == 5
    assert [seal.sequence for seal in trail(one)] == [1, 2, 3]
    assert [seal.sequence for seal in trail(two)] == [1, 2]
    first, second, third = trail(one)
    assert bytes(first.previous_hash) == GENESIS
    assert bytes(second.previous_hash) == bytes(first.hash)
    assert bytes(third.previous_hash) == bytes(second.hash)
    assert AuditChain.objects.get(pk=one.pk).sequence == 3
    assert seal_audit() == 0
    assert verify_chain(one) == sealing.ChainReport(sealed=3, unsealed=0, faults=())


def test_seal_audit__one_workspace__leaves_the_other():
    one, two = make_workspace(), make_workspace()
    assert seal_audit(one.id) == 1
    assert verify_chain(two) == sealing.ChainReport(sealed=0, unsealed=1, faults=())


def test_seal_audit__more_than_a_chunk__all_in_order(monkeypatch):
    monkeypatch.setattr(sealing, "CHUNK", 2)
    tenant = make_workspace()
    for _ in range(4):
        make_customer(tenant)
    assert seal_audit(tenant.id) == 5
    assert [seal.sequence for seal in trail(tenant)] == [1, 2, 3, 4, 5]
    assert verify_chain(tenant).holds


def test_seal_audit__entry_that_committed_very_late__found_by_the_sweep():
    tenant = make_workspace()
    old = "018f0000-0000-7000-8000-000000000001"
    tamper("UPDATE tenants_auditentry SET id = %s WHERE tenant_id = %s", old, tenant.id)
    assert seal_audit() == 0
    assert seal_audit(everything=True) == 1
    assert verify_chain(tenant).holds


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE tenants_auditentry SET reason = 'forged' WHERE id = %s",
        'UPDATE tenants_auditentry SET changes = \'{"name": [null, "forged"]}\' WHERE id = %s',
        "UPDATE tenants_auditentry SET at = at + interval '1 microsecond' WHERE id = %s",
        "UPDATE tenants_auditentry SET actor_id = 'usr_forged' WHERE id = %s",
        "UPDATE tenants_auditentry SET actor_name = 'Somebody Else' WHERE id = %s",
        "UPDATE tenants_auditentry SET address = '' WHERE id = %s",
        "UPDATE tenants_auditseal SET hash = decode(repeat('ab', 32), 'hex') WHERE entry_id = %s",
        "UPDATE tenants_auditseal SET sequence = 9 WHERE entry_id = %s",
        "DELETE FROM tenants_auditseal WHERE entry_id = %s",
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_verify_chain__something_was_altered__names_the_place(sql, place):
    tenant = make_workspace()
    make_customer(tenant)
    make_customer(tenant)
    seal_audit()
    tamper(sql, trail(tenant)[place].entry_id)
    assert not verify_chain(tenant).holds


def test_verify_chain__personal_fields_erased__still_holds():
    tenant = make_workspace()
    make_customer(tenant)
    seal_audit()
    AuditEntry.objects.for_tenant(tenant).update(actor_name="", address="", salt=None)
    assert verify_chain(tenant).holds


def test_audit_trail__changed_or_deleted__the_database_refuses():
    tenant = make_workspace()
    seal_audit()
    for forbidden in (
        lambda: AuditEntry.objects.update(reason="forged"),
        lambda: AuditEntry.objects.update(actor_name="Somebody Else"),
        lambda: AuditSeal.objects.update(sequence=7),
        lambda: AuditSeal.objects.all().delete(),
    ):
        with pytest.raises(Exception, match="append-only"), transaction.atomic():
            forbidden()
    assert verify_chain(tenant).holds


@pytest.mark.django_db(transaction=True)
def test_seal_audit__six_sealers_while_four_write__one_chain_without_gap():
    tenant = make_workspace()

    def write():
        for _ in range(10):
            make_customer(tenant)

    def seal():
        for _ in range(10):
            seal_audit(tenant.id)

    assert not [answer for answer in at_once([write] * 4 + [seal] * 6) if isinstance(answer, Exception)]
    seal_audit(tenant.id)
    assert [each.sequence for each in trail(tenant)] == list(range(1, 42))
    assert verify_chain(tenant).holds


def test_seal__twice_for_one_entry__the_database_refuses():
    tenant = make_workspace()
    seal_audit()
    [seal] = trail(tenant)
    copy = AuditSeal(
        entry_id=seal.entry_id,
        tenant=tenant,
        sequence=2,
        hash=seal.hash,
        previous_hash=seal.hash,
        sealed_at=seal.sealed_at,
    )
    with pytest.raises(IntegrityError), transaction.atomic():
        copy.save(force_insert=True)
