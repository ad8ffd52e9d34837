"""Snapshots of those who are asked about, remembered between calls and never used when they are behind.

What is remembered is used only after the gate, or Postgres, has said that none of its epochs has moved; what is not
is read within the call. So a yes never rests on anything older than the call.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from threading import Lock
from typing import Final, NamedTuple
from uuid import UUID

from cachetools import LRUCache
from django.conf import settings

from common.epochs import EpochKey, warm_epochs_many
from licenses.selectors.access import AccessSnapshot, load_agent, load_license
from licenses.services.gate import GateCommand, GateUnavailable, GateVerdict, check_gate
from tenants.selectors.epochs import read_epochs

#: So many subjects are remembered; the one that was not asked about for longest goes first.
CAPACITY: Final = 20_000


class SubjectKey(NamedTuple):
    """An agent or a licence of a workspace."""

    tenant_id: UUID
    kind: str
    id: UUID


class _Known(NamedTuple):
    access: AccessSnapshot
    loaded_at: float


_known: LRUCache[SubjectKey, _Known] = LRUCache(maxsize=CAPACITY)
_lock = Lock()


def snapshots_of(keys: Collection[SubjectKey]) -> dict[SubjectKey, AccessSnapshot | None]:
    """A current snapshot of each; None where there is no such thing in that workspace.

    One flight to Valkey for all that are remembered; the others are read from Postgres.
    """
    remembered = _remembered(keys)
    current = _current(remembered)
    found: dict[SubjectKey, AccessSnapshot | None] = {
        key: remembered[key].access if key in current else _load(key) for key in keys
    }
    return found


def forget_all() -> None:
    """Begin anew, as a process that has just started."""
    with _lock:
        _known.clear()


def _remembered(keys: Collection[SubjectKey]) -> dict[SubjectKey, _Known]:
    youngest = time.monotonic() - settings.PERMETER_SNAPSHOT_MAX_AGE.total_seconds()
    with _lock:
        found = {key: known for key in keys if (known := _known.get(key)) is not None}
    return {key: known for key, known in found.items() if known.loaded_at > youngest}


def _current(remembered: dict[SubjectKey, _Known]) -> set[SubjectKey]:
    """Those whose snapshot holds nothing that has changed since."""
    if not remembered:
        return set()
    accesses = [known.access for known in remembered.values()]
    try:
        verdicts = check_gate(
            [
                GateCommand(access.tenant_id, epoch_keys=access.epoch_keys, versions=access.versions)
                for access in accesses
            ]
        )
    except GateUnavailable:
        return _current_by_postgres(remembered)
    warmed = _warm(accesses, verdicts)
    return {
        key
        for key, access, verdict in zip(remembered, accesses, verdicts, strict=True)
        if not verdict.stale or _is_current(access, verdict, warmed.get(access.tenant_id, {}))
    }


def _current_by_postgres(remembered: dict[SubjectKey, _Known]) -> set[SubjectKey]:
    wanted: dict[UUID, list[EpochKey]] = {}
    for known in remembered.values():
        wanted.setdefault(known.access.tenant_id, []).extend(known.access.epoch_keys)
    versions = read_epochs(wanted)
    return {
        key
        for key, known in remembered.items()
        if all(
            versions[key.tenant_id][epoch] <= version
            for epoch, version in zip(known.access.epoch_keys, known.access.versions, strict=True)
        )
    }


def _is_current(access: AccessSnapshot, verdict: GateVerdict, warmed: Mapping[EpochKey, int]) -> bool:
    """Whether a snapshot that Valkey could not vouch for is current all the same: it had lost some of the epochs."""
    versions = (
        seen if seen is not None else warmed.get(key)
        for key, seen in zip(access.epoch_keys, verdict.epochs, strict=True)
    )
    return all(now is not None and now <= version for now, version in zip(versions, access.versions, strict=True))


def _warm(accesses: Sequence[AccessSnapshot], verdicts: Sequence[GateVerdict]) -> Mapping[UUID, Mapping[EpochKey, int]]:
    """Tell Valkey of epochs that it has lost; what they are now, by tenant."""
    cold: dict[UUID, list[EpochKey]] = {}
    for access, verdict in zip(accesses, verdicts, strict=True):
        missing = [key for key, seen in zip(access.epoch_keys, verdict.epochs, strict=True) if seen is None]
        if missing:
            cold.setdefault(access.tenant_id, []).extend(missing)
    return warm_epochs_many(cold, read_epochs)


def _load(key: SubjectKey) -> AccessSnapshot | None:
    began = time.monotonic()
    access = (load_agent if key.kind == "agent" else load_license)(key.tenant_id, key.id)
    with _lock:
        if access is None:
            _known.pop(key, None)
        else:
            _known[key] = _Known(access, began)
    return access
