"""The audit trail's hash chain: every entry gets a sequence number and a hash over all before it.

Entries are written unlinked, so that writers never queue; sealing follows within a second, or when the trail is
read. Only sealers take the lock on the chain's head, and an entry that commits late simply comes later.
The hash covers `personal_commitment` in place of the personal fields, which may be erased.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from common.canonical import canonical_json
from common.clock import real_clock
from tenants.models import AuditChain, AuditEntry, AuditSeal, Tenant, TenantQuerySet
from tenants.services.auditing import commitment
from tenants.services.each_workspace import EachWorkspace

GENESIS = bytes(32)
CHUNK = 500
#: Transactions are shorter than this; the sweep over everything finds what is not.
_LOOK_BACK = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ChainFault:
    """A place where the chain does not hold, and why."""

    sequence: int
    entry: str
    detail: str


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What `verify_chain` found. `unsealed` entries are a tail, not a fault."""

    sealed: int
    unsealed: int
    faults: tuple[ChainFault, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing was altered, removed or put in between."""
        return not self.faults


def seal_audit(tenant_id: UUID | None = None, *, everything: bool = False) -> int:
    """Seal what is not sealed yet, of one tenant or of all; how many entries were.

    Looks back an hour, or over all of the trail with `everything`. Safe to run twice and in parallel.
    Readers of the trail call it first, so that they never see a gap. Without a tenant it raises WorkspacesFailedError
    once all others are sealed.
    """
    since = None if everything else real_clock().now() - _LOOK_BACK
    if tenant_id is not None:
        return _seal_tenant(tenant_id, since)
    waiting = _unsealed(since).order_by().values_list("tenant_id", flat=True).distinct()
    sealed = 0
    each = EachWorkspace("seal_audit")
    for waiting_id in waiting:
        with each.of(waiting_id):
            sealed += _seal_tenant(waiting_id, since)
    each.tell()
    return sealed


def entry_hash(entry: AuditEntry, *, sequence: int, previous_hash: bytes) -> bytes:
    """SHA-256 over the previous hash and the entry's canonical JSON."""
    content = canonical_json(
        {
            "sequence": sequence,
            "id": entry.id,
            "tenant": entry.tenant_id,
            "at": entry.at,
            "actor": {"kind": entry.actor_kind, "id": entry.actor_id},
            "action": entry.action,
            "target": {"kind": entry.target_kind, "id": entry.target_id},
            "changes": entry.changes,
            "reason": entry.reason,
            "request_id": entry.request_id,
            "personal_commitment": bytes(entry.personal_commitment).hex(),
        }
    )
    return hashlib.sha256(previous_hash + content).digest()


def verify_chain(tenant: Tenant) -> ChainReport:
    """Recompute a tenant's whole chain from its entries, in one snapshot, and name every place where it breaks."""
    with transaction.atomic():
        # A sealer at work would look like a head that runs ahead.
        head = AuditChain.objects.select_for_update().filter(pk=tenant.pk).first()
        faults: list[ChainFault] = []
        sealed, last_hash = 0, GENESIS
        for seal in AuditSeal.objects.for_tenant(tenant).select_related("entry").order_by("sequence").iterator(1000):
            faults.extend(_faults_of(seal, after=(sealed, last_hash)))
            sealed, last_hash = seal.sequence, bytes(seal.hash)
        known = (head.sequence, bytes(head.hash)) if head else (0, GENESIS)
        if known != (sealed, last_hash):
            faults.append(ChainFault(known[0], "", "The chain's head is not its last seal: seals are missing."))
        unsealed = _unsealed(None).filter(tenant_id=tenant.pk).count()
        count = AuditSeal.objects.for_tenant(tenant).count()
    return ChainReport(sealed=count, unsealed=unsealed, faults=tuple(faults))


def _seal_tenant(tenant_id: UUID, since: datetime | None) -> int:
    sealed = 0
    while True:
        with transaction.atomic():
            AuditChain.objects.bulk_create([AuditChain(tenant_id=tenant_id)], ignore_conflicts=True)
            chain = AuditChain.objects.select_for_update().get(pk=tenant_id)
            entries = list(_unsealed(since).filter(tenant_id=tenant_id).order_by("id")[:CHUNK])
            seals = list(_next_seals(chain, entries))
            AuditSeal.objects.bulk_create(seals)
            if seals:
                chain.sequence, chain.hash = seals[-1].sequence, seals[-1].hash
                chain.save(update_fields=["sequence", "hash"])
        sealed += len(seals)
        if len(entries) < CHUNK:
            return sealed


def _next_seals(chain: AuditChain, entries: list[AuditEntry]) -> Iterator[AuditSeal]:
    sequence, previous = chain.sequence, bytes(chain.hash)
    now = real_clock().now()
    for entry in entries:
        sequence += 1
        digest = entry_hash(entry, sequence=sequence, previous_hash=previous)
        yield AuditSeal(
            entry=entry,
            tenant_id=chain.tenant_id,
            sequence=sequence,
            hash=digest,
            previous_hash=previous,
            sealed_at=now,
        )
        previous = digest


def _faults_of(seal: AuditSeal, *, after: tuple[int, bytes]) -> Iterator[ChainFault]:
    last_sequence, last_hash = after
    entry = seal.entry

    def fault(detail: str) -> ChainFault:
        return ChainFault(seal.sequence, entry.public_id, detail)

    if seal.sequence != last_sequence + 1:
        yield fault(f"It follows {last_sequence}: seals in between are missing.")
    elif bytes(seal.previous_hash) != last_hash:
        yield fault("It does not name the hash of the seal before it.")
    expected = entry_hash(entry, sequence=seal.sequence, previous_hash=bytes(seal.previous_hash))
    if entry.tenant_id != seal.tenant_id or expected != bytes(seal.hash):
        yield fault("The entry is not what was sealed.")
    # Without its salt the personal fields were erased, and there is nothing left to compare.
    if entry.salt is not None:
        stands_for = commitment(bytes(entry.salt), entry.actor_name, entry.address)
        if stands_for != bytes(entry.personal_commitment):
            yield fault("Name or address of the actor are not what was committed to.")


def _unsealed(since: datetime | None) -> TenantQuerySet[AuditEntry]:
    entries = AuditEntry.objects.filter(seal__isnull=True)
    return entries if since is None else entries.filter(id__gte=_first_id_at(since))


def _first_id_at(at: datetime) -> UUID:
    """The smallest UUIDv7 of this moment: ids are made on real time, and their index finds the recent ones."""
    return UUID(int=int(at.timestamp() * 1000) << 80)
