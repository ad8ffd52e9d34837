"""The register of ids held against the events, in one pass over both: each event is named, and under its own id.

Digests are made by the application, so each event's is made again here, while the database sends the next ones.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection
from psycopg import capabilities

from metering.domain.quota_keys import EventDigests

#: Rows of each kind that are reported at most.
_MOST: Final = 1000
#: Rows that the database sends at once, where the client's library can take them so.
_AT_ONCE: Final = 1000
#: Licences whose part of a digest is kept at hand.
_MOST_DIGESTS: Final = 100_000
_EVER: Final = datetime(1900, 1, 1, tzinfo=UTC)

# Texts are half as dear to read as UUIDs, and here every event is read.
_JOINED: Final = """
SELECT event.license_id::text, event.client_id, encode(uuid_send(named.digest), 'hex'),
       coalesce(event.id, named.id)::text, coalesce(event.tenant_id, named.tenant_id)::text
FROM (SELECT tenant_id, id, license_id, client_id, derived_from, kind FROM metering_usageevent
      WHERE {tenant}) AS event
FULL JOIN (SELECT tenant_id, digest, occurred_at, unnest(event_ids) AS id FROM metering_eventid
           WHERE {tenant}) AS named ON named.tenant_id = event.tenant_id AND named.id = event.id
WHERE CASE WHEN event.id IS NULL THEN named.occurred_at >= %(kept_since)s
           WHEN event.derived_from IS NOT NULL THEN false
           ELSE named.id IS NULL OR event.kind IN ('usage', 'consume') END
"""


class Fault(Enum):
    """What is wrong between an event and the register, in the order in which it is told."""

    UNREGISTERED = "no id names the event"
    REGISTERED_ONLY = "an id names an event that does not exist"
    MISNAMED = "the event's own id is another one"


class RegisterProof(NamedTuple):
    """An event that the register has not, or not so; `digest` is the register's key, where it names the event.

    Of an event that does not exist neither licence nor the caller's id are known.
    """

    fault: Fault
    tenant_id: UUID
    event_id: UUID
    license_id: UUID | None
    client_id: str | None
    digest: UUID | None


def differing_ids(tenants: Sequence[UUID] | None, *, kept_since: datetime | None) -> Iterator[RegisterProof]:
    """What differs between events and register, by kind of fault and event, of all workspaces or of some.

    Ids of events before `kept_since` may name what is not kept any more.
    """
    found: dict[Fault, list[RegisterProof]] = {fault: [] for fault in Fault}
    digests: dict[str, EventDigests] = {}
    for license_id, client_id, digest, event_id, tenant_id in _joined(tenants, kept_since or _EVER):
        if license_id is not None and digest is not None:
            of_license = digests.get(license_id)
            if of_license is None:
                if len(digests) >= _MOST_DIGESTS:
                    digests.clear()
                of_license = digests[license_id] = EventDigests(UUID(license_id))
            if of_license.of(client_id) == digest:
                continue
            fault = Fault.MISNAMED
        else:
            fault = Fault.UNREGISTERED if digest is None else Fault.REGISTERED_ONLY
        _keep(
            found[fault],
            RegisterProof(
                fault,
                UUID(tenant_id),
                UUID(event_id),
                license_id and UUID(license_id),
                client_id,
                digest and UUID(digest),
            ),
        )
    for proofs in found.values():
        yield from sorted(proofs, key=_by_event)[:_MOST]


def _keep(proofs: list[RegisterProof], proof: RegisterProof) -> None:
    """The first ones by event, however many there are."""
    proofs.append(proof)
    if len(proofs) >= 2 * _MOST:
        proofs.sort(key=_by_event)
        del proofs[_MOST:]


def _by_event(proof: RegisterProof) -> tuple[UUID, UUID]:
    return proof.event_id, proof.digest or proof.event_id


def _joined(tenants: Sequence[UUID] | None, kept_since: datetime) -> Iterator[tuple[Any, ...]]:
    """All rows as they come: nothing is kept of them on either side, and neither waits for the other."""
    condition = "tenant_id IS NOT NULL" if tenants is None else "tenant_id = ANY(%(tenants)s::uuid[])"
    asked = {"tenants": list(tenants or ()), "kept_since": kept_since}
    at_once = _AT_ONCE if capabilities.has_stream_chunked() else 1
    with connection.cursor() as cursor:
        yield from cursor.cursor.stream(_JOINED.replace("{tenant}", condition), asked, size=at_once)
