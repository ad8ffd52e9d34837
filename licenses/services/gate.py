"""The gate: rate limits, epochs and counters of a whole batch in one round trip to Valkey."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import redis
import structlog

from common.epochs import EpochKey, epoch_key
from common.valkey import current_run_id, valkey
from common.valkey_scripts import LuaScript, ScriptCall, Text, run_scripts
from licenses.domain.gcra import policy
from licenses.domain.rate_limits import GateLimit, LimitState, limit_state, tightest
from licenses.services import call_counts

log = structlog.get_logger(__name__)

_SCRIPT = LuaScript((Path(__file__).parent / "gate.lua").read_text())

#: A script holds up the whole server while it runs, so a large batch is cut into several.
_COMMANDS_A_CALL = 64

#: After a failure Valkey is left alone for so long: a server that swallows packets would cost each request a time-out.
_PAUSE = 0.5

_notes = call_counts.RefusalNotes()


class GateUnavailable(Exception):
    """Valkey cannot be asked: read epochs from Postgres and limit by `fallback_limits` instead."""


@dataclass(frozen=True, slots=True)
class GateCommand:
    """One call to let through.

    `epoch_keys` are those that its cached snapshot rests on. With `versions`, one for each, the limits are
    asked only if none of the epochs is missing or higher: a stale snapshot's limits may be wrong, and the call
    comes again with fresh ones. `agent_id` None counts nothing. A `cost` above a burst counts as the burst.
    """

    tenant_id: UUID
    epoch_keys: tuple[EpochKey, ...] = ()
    agent_id: UUID | None = None
    limits: tuple[GateLimit, ...] = ()
    cost: int = 1
    versions: tuple[int, ...] | None = None
    #: The script's call for this command alone, by run id: a caller who is known sends the same one again and again.
    lone: "dict[str, _Part]" = field(default_factory=dict, init=False, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """`epochs` as Valkey has them, one for each key; None: it does not know (cold), ask Postgres.

    `stale`: given `versions` were not current, so no limit was asked and nothing was counted.
    `limited`: the limit that refuses the call for longest, None: it may pass. `states`: all limits, in order.
    """

    epochs: tuple[int | None, ...]
    stale: bool
    limited: LimitState | None
    states: tuple[LimitState, ...]


def check_gate(
    commands: Sequence[GateCommand], *, now: int | None = None, riders: Sequence[Sequence[Text]] = ()
) -> list[GateVerdict]:
    """A verdict for each command, in order, for one pipelined flight whatever their number; `riders` fly with it.

    All limits of a command are checked first, then all are counted or none. Time is the server's;
    `now` (microseconds since 1970) replaces it in tests. Raises GateUnavailable if Valkey cannot be asked.
    """
    if not commands:
        return []
    _pause.check()
    try:
        verdicts = _fly(commands, riders, now)
    except redis.RedisError as error:
        _pause.begin()
        log.warning("gate.unavailable", error=type(error).__name__, detail=str(error))
        raise GateUnavailable(str(error)) from error
    return verdicts


def note_refusal(tenant_id: UUID, agent_id: UUID) -> None:
    """Count a call of this agent as refused, by its licence or a quota; `write_refusals` tells Valkey."""
    _notes.add(tenant_id, agent_id, minute=_minute(None))


def write_refusals() -> int:
    """Tell Valkey of the refusals that were noted since the last time, in one flight; how many those are.

    A thread of each server process calls this, so that no call waits for it. What cannot be delivered is kept for
    the next time. Raises redis.RedisError.
    """
    notes = _notes.take()
    if not notes:
        return 0
    try:
        call_counts.add_refusals(notes)
    except redis.RedisError:
        _notes.put_back(notes)
        raise
    return sum(notes.values())


def _fly(
    commands: Sequence[GateCommand],
    riders: Sequence[Sequence[Text]],
    now: int | None,
) -> list[GateVerdict]:
    run_id = current_run_id()
    if len(commands) == 1 and not riders:
        part = _lone_part(commands[0], run_id)
        [answer] = run_scripts(valkey(), [part.call(now)])
        return part.verdicts(answer, trusted=current_run_id() == run_id)
    positions: dict[UUID, list[int]] = {}
    for position, command in enumerate(commands):
        positions.setdefault(command.tenant_id, []).append(position)
    chunks = [
        of_tenant[start : start + _COMMANDS_A_CALL]
        for of_tenant in positions.values()
        for start in range(0, len(of_tenant), _COMMANDS_A_CALL)
    ]
    parts = [_Part([commands[position] for position in chunk], run_id) for chunk in chunks]
    answers = run_scripts(valkey(), [part.call(now) for part in parts], riders)
    # The flight may have made a new connection, to a server that began anew, perhaps from an older copy.
    same_server = current_run_id() == run_id
    verdicts: dict[int, GateVerdict] = {}
    for chunk, part, answer in zip(chunks, parts, answers, strict=True):
        verdicts.update(zip(chunk, part.verdicts(answer, trusted=same_server), strict=True))
    return [verdicts[position] for position in range(len(commands))]


def _lone_part(command: GateCommand, run_id: str) -> "_Part":
    part = command.lone.get(run_id)
    if part is None:
        # Those of servers that are gone make way.
        command.lone.clear()
        part = command.lone[run_id] = _Part([command], run_id)
    return part


class _Part:
    """Some commands of one tenant, as one call of the script."""

    __slots__ = ("_arguments", "_commands", "_epochs", "_keys", "_limiters", "_tenant_id")

    def __init__(self, commands: Sequence[GateCommand], run_id: str) -> None:
        self._commands = commands
        tenant_id = commands[0].tenant_id
        self._epochs: dict[EpochKey, int] = {}
        limiters: dict[str, int] = {}
        # Positions count from one, as Lua does.
        arguments: list[Text] = []
        for command in commands:
            places = [self._epochs.setdefault(key, len(self._epochs) + 1) for key in command.epoch_keys]
            arguments.append("" if command.agent_id is None else command.agent_id.hex)
            if command.versions is None:
                arguments.append(0)
            else:
                arguments.append(len(places))
                for place, version in zip(places, command.versions, strict=True):
                    arguments += (place, version)
            arguments.append(len(command.limits))
            for limit in command.limits:
                rule = policy(limit.limit, limit.window, limit.burst)
                place = limiters.setdefault(_limiter_key(tenant_id, limit), len(limiters) + 1)
                arguments += (place, rule.tolerance, rule.increment(command.cost))
        self._tenant_id = tenant_id
        self._keys: list[Text] = [epoch_key(tenant_id, run_id, key) for key in self._epochs]
        self._keys += limiters
        self._limiters = len(limiters)
        self._arguments = arguments

    def call(self, now: int | None) -> ScriptCall:
        """The call that asks for these commands at `now` (None: the server's time)."""
        keys = [*self._keys, call_counts.counts_key(self._tenant_id, _minute(now))]
        head = ("" if now is None else now, len(self._epochs), self._limiters, call_counts.LIFETIME)
        return ScriptCall(_SCRIPT, keys, [*head, *self._arguments])

    def verdicts(self, answer: Any, *, trusted: bool) -> list[GateVerdict]:
        """The script's answer, by command. Epochs of a server that cannot be trusted are cold."""
        epochs, numbers = answer
        known = [int(epoch) if trusted and epoch is not None else None for epoch in epochs]
        following = partial(next, iter(numbers))
        found: list[GateVerdict] = []
        for command in self._commands:
            # Versions that were compared with another server's are as good as not compared.
            stale = bool(following()) or (not trusted and command.versions is not None)
            states = tuple(
                limit_state(
                    limit,
                    policy(limit.limit, limit.window, limit.burst),
                    ahead=following(),
                    retry_after=following(),
                )
                for limit in command.limits
            )
            found.append(
                GateVerdict(
                    epochs=tuple(known[self._epochs[key] - 1] for key in command.epoch_keys),
                    stale=stale,
                    limited=tightest(states),
                    states=states,
                )
            )
        return found


class _Pause:
    """A short time in which Valkey is not tried again."""

    def __init__(self) -> None:
        self._until = 0.0

    def begin(self) -> None:
        self._until = time.monotonic() + _PAUSE

    def check(self) -> None:
        if time.monotonic() < self._until:
            raise GateUnavailable("Valkey failed a moment ago.")


_pause = _Pause()


def _limiter_key(tenant_id: UUID, limit: GateLimit) -> str:
    """Limit and window are part of the name: two limits on one subject never share a state."""
    return f"{{{tenant_id.hex}}}:l:{limit.subject_id.hex}:{limit.window}:{limit.limit}"


def _minute(now: int | None) -> int:
    return int(time.time() if now is None else now // 1_000_000) // 60
