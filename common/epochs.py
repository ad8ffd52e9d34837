"""Epochs in Valkey: how every process learns at once that something it has cached has changed.

An epoch is a version number that Postgres holds and raises with each change. Valkey holds a copy that can be
lost at any time; what must never happen is a copy that is too low. Four things see to that:

* keys carry the server's run id, so a server that restarted, perhaps from an older dump, starts empty;
* writing is a monotonic maximum, so an overtaken publisher changes nothing;
* a missing epoch means *cold*: the reader asks Postgres and fills it in, under a token that dies with the data.
  Somebody who read version 3, slept through the publishing of 4 and a flush, finds another token and asks again;
* copies expire after a day, and a reader who took longer than `_WARM_DEADLINE` asks again, so that no published
  version can have expired meanwhile.

The server must not evict keys (`maxmemory-policy noeviction`, its default).
"""

import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

import redis

from common.valkey import current_run_id, valkey
from common.valkey_scripts import LuaScript, ScriptCall, Text, run_scripts

_LIFETIME = 24 * 60 * 60
_WARM_DEADLINE = 60.0
_WARM_ATTEMPTS = 4
_KEYS_A_CALL = 500
_RUN_ID_DIGITS = 12

_RAISE = LuaScript("""
-- KEYS: epochs. ARGV: lifetime in seconds, then a version for each. Answers what each epoch is now.
local now = {}
for i = 1, #KEYS do
  local known = redis.call('GET', KEYS[i])
  local version = ARGV[i + 1]
  if known and tonumber(known) > tonumber(version) then version = known end
  redis.call('SET', KEYS[i], version, 'EX', ARGV[1])
  now[i] = version
end
return now
""")

_WARM = LuaScript("""
-- KEYS: the token, then epochs. ARGV: lifetime in seconds, the token, then a version for each epoch.
-- Answers what each epoch is now, or nil if the token is another one: the data was lost since it was read.
if redis.call('GET', KEYS[1]) ~= ARGV[2] then return nil end
local now = {}
for i = 2, #KEYS do
  local known = redis.call('GET', KEYS[i])
  local version = ARGV[i + 1]
  if known and tonumber(known) > tonumber(version) then version = known end
  redis.call('SET', KEYS[i], version, 'EX', ARGV[1])
  now[i - 1] = version
end
return now
""")


class EpochKey(NamedTuple):
    """What an epoch stands for: `tenant`, `customer`, `license`, `agent` or `key`, and its id."""

    kind: str
    id: UUID


#: Versions in Postgres of the epochs asked for, by tenant; an epoch without a row may be left out (version 0).
ReadFromPostgres = Callable[[Mapping[UUID, Sequence[EpochKey]]], Mapping[UUID, Mapping[EpochKey, int]]]


class EpochsUnpublished(Exception):
    """Valkey could not be told of a change that is committed; somebody has to go on telling it."""


def epoch_key(tenant_id: UUID, run_id: str, key: EpochKey) -> str:
    """The name of an epoch on the server with this run id; all keys of a tenant share a hash tag."""
    return f"{{{tenant_id.hex}}}:e:{run_id[:_RUN_ID_DIGITS]}:{key.kind}:{key.id.hex}"


def publish_epochs(pairs: Iterable[tuple[UUID, EpochKey, int]]) -> None:
    """Tell every process that these epochs (tenant, key, version) are at least at these versions.

    Call it after the commit: a version must never be seen before its data. When it returns, every gate check
    that begins later sees the versions. Telling twice, late or out of order does no harm.
    Raises EpochsUnpublished if Valkey cannot be reached; some may be published then.
    """
    by_tenant: dict[UUID, dict[EpochKey, int]] = {}
    for tenant_id, key, version in pairs:
        versions = by_tenant.setdefault(tenant_id, {})
        versions[key] = max(version, versions.get(key, 0))
    if not by_tenant:
        return
    try:
        for _ in range(_WARM_ATTEMPTS):
            run_id = current_run_id()
            calls = [
                _raise_call(tenant_id, run_id, part)
                for tenant_id, versions in by_tenant.items()
                for part in _parts(list(versions.items()))
            ]
            run_scripts(valkey(), calls)
            # The flight may have made a new connection, to a server that began anew: then it told nobody.
            if current_run_id() == run_id:
                return
    except redis.RedisError as error:
        raise EpochsUnpublished(str(error)) from error
    raise EpochsUnpublished("The server was replaced again and again while it was told.")


def warm_epochs(
    tenant_id: UUID,
    keys: Sequence[EpochKey],
    read_from_postgres: Callable[[Sequence[EpochKey]], Mapping[EpochKey, int]],
) -> dict[EpochKey, int]:
    """`warm_epochs_many` for one tenant."""
    warmed = warm_epochs_many({tenant_id: keys}, lambda wanted: {tenant_id: read_from_postgres(wanted[tenant_id])})
    return warmed[tenant_id]


def warm_epochs_many(
    wanted: Mapping[UUID, Sequence[EpochKey]], read_from_postgres: ReadFromPostgres
) -> dict[UUID, dict[EpochKey, int]]:
    """Current versions of epochs that Valkey has lost, which it is told on the way.

    Postgres is read after the call began, outside any snapshot that is older, so the versions are current
    whatever happens; if Valkey is away, or loses its data again and again, it stays cold and nothing is raised.
    """
    if not wanted:
        return {}
    found: dict[UUID, dict[EpochKey, int]] = {}
    pending = {tenant_id: list(dict.fromkeys(keys)) for tenant_id, keys in wanted.items()}
    for _ in range(_WARM_ATTEMPTS):
        began = time.monotonic()
        tokens = _tokens(list(pending))
        read = read_from_postgres(pending)
        for tenant_id, keys in pending.items():
            known = read.get(tenant_id, {})
            found[tenant_id] = {key: known.get(key, 0) for key in keys}
        if tokens is None:
            break
        if time.monotonic() - began > _WARM_DEADLINE:
            continue
        warmed = _publish_under(tokens, {tenant_id: found[tenant_id] for tenant_id in pending})
        if warmed is None:
            break
        found.update(warmed)
        pending = {tenant_id: keys for tenant_id, keys in pending.items() if tenant_id not in warmed}
        if not pending:
            break
    return found


class _Tokens(NamedTuple):
    run_id: str
    by_tenant: dict[UUID, str]


def _tokens(tenant_ids: Sequence[UUID]) -> _Tokens | None:
    """Each tenant's token, made if there is none; None if Valkey is away."""
    try:
        run_id = current_run_id()
        flight = valkey().pipeline(transaction=False)
        fresh = [secrets.token_hex(12) for _ in tenant_ids]
        for tenant_id, token in zip(tenant_ids, fresh, strict=True):
            flight.set(_token_key(tenant_id, run_id), token, nx=True, get=True, ex=_LIFETIME)
        found = flight.execute()
    except redis.RedisError:
        return None
    tokens = (
        known.decode() if isinstance(known, bytes) else known or new for known, new in zip(found, fresh, strict=True)
    )
    return _Tokens(run_id, dict(zip(tenant_ids, tokens, strict=True)))


def _publish_under(
    tokens: _Tokens, versions: Mapping[UUID, Mapping[EpochKey, int]]
) -> dict[UUID, dict[EpochKey, int]] | None:
    """What the epochs are now, of each tenant whose token still stands; None if Valkey is away."""
    calls: list[ScriptCall] = []
    asked: list[tuple[UUID, list[EpochKey]]] = []
    for tenant_id, known in versions.items():
        for part in _parts(list(known.items())):
            keys: list[Text] = [_token_key(tenant_id, tokens.run_id)]
            keys += [epoch_key(tenant_id, tokens.run_id, key) for key, _ in part]
            arguments: list[Text] = [_LIFETIME, tokens.by_tenant[tenant_id], *(version for _, version in part)]
            calls.append(ScriptCall(_WARM, keys, arguments))
            asked.append((tenant_id, [key for key, _ in part]))
    try:
        answers = run_scripts(valkey(), calls)
        if current_run_id() != tokens.run_id:
            return {}
    except redis.RedisError:
        return None
    warmed: dict[UUID, dict[EpochKey, int]] = {}
    refused: set[UUID] = set()
    for (tenant_id, part_keys), answer in zip(asked, answers, strict=True):
        if answer is None:
            refused.add(tenant_id)
        else:
            values = zip(part_keys, map(int, answer), strict=True)
            warmed.setdefault(tenant_id, {}).update(values)
    return {tenant_id: values for tenant_id, values in warmed.items() if tenant_id not in refused}


def _raise_call(tenant_id: UUID, run_id: str, part: Sequence[tuple[EpochKey, int]]) -> ScriptCall:
    keys = [epoch_key(tenant_id, run_id, key) for key, _ in part]
    return ScriptCall(_RAISE, keys, [_LIFETIME, *(version for _, version in part)])


def _token_key(tenant_id: UUID, run_id: str) -> str:
    return f"{{{tenant_id.hex}}}:token:{run_id[:_RUN_ID_DIGITS]}"


def _parts(items: list[tuple[EpochKey, int]]) -> Iterable[list[tuple[EpochKey, int]]]:
    """Pieces small enough not to hold up the server."""
    return (items[start : start + _KEYS_A_CALL] for start in range(0, len(items), _KEYS_A_CALL))
