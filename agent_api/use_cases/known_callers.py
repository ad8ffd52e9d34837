"""Whom this process knows: snapshots of callers, found by a digest of their key, never by the key itself.

A snapshot is used only after the gate, or Postgres, has said that none of its epochs is behind; see `callers`.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import blake2b
from threading import Lock
from typing import Any, NamedTuple
from uuid import UUID

from cachetools import LRUCache
from django.conf import settings

from agent_api.wire.shapes import features_body
from common.addresses import is_within
from common.clock import real_clock
from common.crypto import KeyKind, parse_key
from common.epochs import EpochKey
from common.errors import Forbidden, NetworkNotAllowed, NotFound, Problem, Unauthorized
from common.ids import Prefix, encode_id
from licenses.domain.entitlements import effective_features
from licenses.domain.license_times import valid_until
from licenses.selectors.access import AccessSnapshot, load_by_agent_key, load_by_license_key
from licenses.services.gate import GateCommand
from licenses.services.key_uses import proved_agent_key, proved_license_key
from metering.domain.terms import Caller, MeterTerms
from metering.selectors.quota_statuses import CallerQuotas
from metering.selectors.terms import load_caller
from tenants.domain.enums import EpochKind
from tenants.selectors.api_keys import authenticate
from tenants.selectors.epochs import read_epochs
from tenants.services.key_digests import proved_api_key

#: So many callers are remembered; the one that was not seen for longest goes first.
CAPACITY = 20_000


class Credentials(NamedTuple):
    """What a caller shows: a key, and, with a publishable one, a licence key; and the address that it calls from.

    `instance` says which copy of an agent it is, if it says so.
    """

    token: str | None
    license_key: str | None = None
    address: str = ""
    instance: str = ""

    def __repr__(self) -> str:
        return "Credentials(…)"


class UnknownLicenseKey(NotFound):
    """404: a licence key that is unknown, malformed or another tenant's."""

    code = "license_key_unknown"

    def __init__(self, tenant_id: UUID) -> None:
        """`tenant_id`: at whose door it was shown."""
        super().__init__("There is no such license key here.")
        self.tenant_id = tenant_id


class Term(NamedTuple):
    """What holds of a licence in [start, end) whatever happens, as long as the snapshot does."""

    start: datetime
    end: datetime | None
    features: dict[str, Any]


@dataclass(slots=True, eq=False)
class KnownCaller:
    """A caller's snapshot with what follows from it. `loaded_at` is monotonic, taken before anything was read."""

    credentials_digest: bytes
    access: AccessSnapshot
    metering: Caller
    loaded_at: float
    quotas: CallerQuotas
    meters: Mapping[str, MeterTerms]
    meters_by_type: Mapping[str, MeterTerms]
    _term: Term | None = field(default=None, repr=False)
    _gate_command: GateCommand | None = field(default=None, repr=False)

    @classmethod
    def make(cls, digest: bytes, access: AccessSnapshot, loaded_at: float) -> "KnownCaller":
        """Bind the caller's metering terms to its snapshot; both were read after the snapshot's epochs."""
        caller = load_caller(access)
        meters = dict(caller.meters)
        meters |= {encode_id(Prefix.METER, meter.id): meter for meter in caller.meters.values()}
        by_type: dict[str, MeterTerms] = {}
        for meter in caller.meters.values():
            for event_type in meter.event_types:
                by_type.setdefault(event_type, meter)
        return cls(digest, access, caller, loaded_at, CallerQuotas(caller), meters, by_type)

    def term(self, at: datetime) -> Term:
        """Features at `at` (workspace time), and until when the clock alone changes nothing."""
        term = self._term
        if term is None or at < term.start or (term.end is not None and term.end <= at):
            facts = self.access.facts
            term = Term(at, valid_until(facts, at), features_body(effective_features(facts, at)))
            self._term = term
        return term

    def gate_command(self, cost: int) -> GateCommand:
        """What the gate is asked for a call of this caller."""
        command = self._gate_command
        if command is None or command.cost != cost:
            access = self.access
            command = self._gate_command = GateCommand(
                tenant_id=access.tenant_id,
                epoch_keys=access.epoch_keys,
                agent_id=access.agent_id,
                limits=access.limits,
                cost=cost,
                versions=access.versions,
            )
        return command

    def keeps_out(self, address: str) -> bool:
        """Whether the key is for certain networks, and this address lies in none of them."""
        networks = self.access.key_networks
        return bool(networks) and not is_within(address, networks)

    @property
    def limits_ended(self) -> bool:
        """Whether a throttle among its limits has ended by now, on the workspace's clock."""
        ends = self.access.limits_until
        return ends is not None and ends <= self.access.clock.now()

    @property
    def is_expired(self) -> bool:
        """Whether its key has ended by now, in real time."""
        ends = self.access.key_expires_at
        return ends is not None and ends <= real_clock().now()


_known: LRUCache[bytes, KnownCaller] = LRUCache(maxsize=CAPACITY)
_lock = Lock()


def find(credentials: Credentials) -> KnownCaller | Problem:
    """The caller's snapshot, perhaps one that is behind, or why there is none."""
    if credentials.token is None:
        return Unauthorized()
    digest = _digest(credentials)
    with _lock:
        known = _known.get(digest)
    max_age: float = settings.PERMETER_SNAPSHOT_MAX_AGE.total_seconds()
    # The end of a key may have been put off: no epoch is looked at for one that has ended.
    if known is None or known.is_expired or known.limits_ended or time.monotonic() - known.loaded_at > max_age:
        return load(credentials)
    return known


def load(credentials: Credentials) -> KnownCaller | Problem:
    """The caller's snapshot as Postgres has it now, remembered for the next calls; or why there is none."""
    if credentials.token is None:
        return Unauthorized()
    began = time.monotonic()
    digest = _digest(credentials)
    found = _read(credentials, credentials.token)
    known = found if isinstance(found, Problem) else KnownCaller.make(digest, found, began)
    with _lock:
        if isinstance(known, Problem):
            _known.pop(digest, None)
        else:
            _known[digest] = known
    if isinstance(known, Problem):
        return known
    return Unauthorized() if known.is_expired else known


def forget_all() -> None:
    """Begin anew, as a process that has just started."""
    with _lock:
        _known.clear()


def is_publishable(credentials: Credentials) -> bool:
    """Whether the key is of the kind that goes with a licence key."""
    parsed = parse_key(credentials.token or "")
    return parsed is not None and parsed.kind is KeyKind.PUBLISHABLE


def _read(credentials: Credentials, token: str) -> AccessSnapshot | Problem:
    parsed = parse_key(token)
    if parsed is None:
        return Unauthorized()
    if parsed.kind is KeyKind.AGENT:
        by_agent = load_by_agent_key(parsed)
        if by_agent is None:
            return Unauthorized()
        proved_agent_key(by_agent, parsed)
        return by_agent
    api_key = authenticate(token)
    if api_key is None:
        return Unauthorized()
    if api_key.networks and not is_within(credentials.address, api_key.networks):
        return NetworkNotAllowed()
    if parsed.kind is not KeyKind.PUBLISHABLE or credentials.license_key is None:
        return Forbidden("wrong_key_kind", "This key is of another kind than this call takes.")
    # The key's own epoch is read before the key, as everything else in a snapshot is.
    epoch_key = EpochKey(EpochKind.KEY, api_key.id)
    version = read_epochs({api_key.tenant_id: [epoch_key]})[api_key.tenant_id][epoch_key]
    api_key = authenticate(token)
    if api_key is None:
        return Unauthorized()
    access = load_by_license_key(api_key.tenant_id, credentials.license_key)
    if access is None:
        return UnknownLicenseKey(api_key.tenant_id)
    proved_api_key(api_key, parsed)
    proved_license_key(access, credentials.license_key)
    return replace(
        access,
        key_id=api_key.id,
        key_expires_at=api_key.expires_at,
        key_networks=tuple(api_key.networks),
        epoch_keys=(*access.epoch_keys, epoch_key),
        versions=(*access.versions, version),
    )


def _digest(credentials: Credentials) -> bytes:
    digest = blake2b(digest_size=16)
    for part in (credentials.token or "", credentials.license_key or ""):
        data = part.encode()
        digest.update(len(data).to_bytes(4, "big") + data)
    return digest.digest()
