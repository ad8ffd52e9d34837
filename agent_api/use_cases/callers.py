"""Letting callers in: whose key it is, whether what is cached of them is current, whether their rates allow it.

One flight to Valkey for a whole batch. What is behind or cold is read anew and asked again; without Valkey Postgres
is asked for the epochs and this process limits by itself.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from uuid import UUID

from agent_api.use_cases.known_callers import (
    Credentials,
    KnownCaller,
    UnknownLicenseKey,
    find,
    is_publishable,
    load,
)
from common.epochs import EpochKey, warm_epochs_many
from common.errors import Forbidden, Invalid, NetworkNotAllowed, Problem, RateLimited, Unauthorized, Unavailable
from common.ratelimit_headers import RateLimitState, rate_limit_fields
from common.valkey_scripts import Text
from licenses.domain.rate_limits import LimitState
from licenses.services.fallback_limits import fallback_limiter
from licenses.services.gate import GateUnavailable, GateVerdict, check_gate
from licenses.services.instances import MAX_LABEL, is_label, seen
from licenses.services.key_guesses import Guess, check_guesses
from licenses.services.key_uses import saw_caller
from tenants.selectors.epochs import read_epochs

_ROUNDS = 4

P = TypeVar("P")


class TooManyUnknownKeys(RateLimited):
    """429: too many licence keys that do not exist were shown from this address."""

    code = "too_many_unknown_keys"

    def __init__(self, retry_after: int) -> None:
        """`retry_after` in seconds."""
        detail = "Too many license keys that do not exist came from here. Check yours, and wait."
        super().__init__(detail, retry_after=retry_after)


@dataclass(frozen=True, slots=True)
class Ask(Generic[P]):
    """One call. `plan` works out what it comes to from the snapshot alone, or why its fields do not hold.

    A call whose fields do not hold costs nothing. `publishable` lets a publishable key with a licence key in.
    """

    credentials: Credentials
    plan: Callable[[KnownCaller], P | Problem]
    cost: int = 1
    publishable: bool = False


@dataclass(frozen=True, slots=True)
class Admission(Generic[P]):
    """A caller who is let in, with its plan; `states` of its rate limits, `fields` for the answer's header."""

    known: KnownCaller
    plan: P
    states: tuple[LimitState, ...] = ()
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Waiting(Generic[P]):
    """A call that has not been decided yet; `plan` is of the snapshot `known`."""

    place: int
    ask: Ask[P]
    known: KnownCaller
    plan: P | Problem

    @property
    def cost(self) -> int:
        return 0 if isinstance(self.plan, Problem) else self.ask.cost


def admit_many(asks: Sequence[Ask[P]]) -> list[Admission[P] | Problem]:
    """An admission or a refusal for each call, in order; whoever is let in has a snapshot that is current.

    Unauthorized for any key that is unknown or dead, Forbidden `wrong_key_kind` or `network_not_allowed`, NotFound
    `license_key_unknown`, what the plan refuses, RateLimited (who guesses licence keys, too). Raises Unavailable if
    Postgres is needed and away.
    """
    began = time.monotonic()
    callers: dict[Credentials, KnownCaller | Problem] = {}
    results: list[Admission[P] | Problem] = [Unavailable()] * len(asks)
    waiting: list[_Waiting[P]] = []
    for ask in asks:
        if ask.credentials not in callers:
            callers[ask.credentials] = _find(ask)
    _slow_down_guesses(callers)
    for place, ask in enumerate(asks):
        _plan(place, ask, callers[ask.credentials], results, waiting)
    riders = _seen(waiting)
    for _ in range(_ROUNDS):
        if not waiting:
            return results
        try:
            verdicts = check_gate([each.known.gate_command(each.cost) for each in waiting], riders=riders)
        except GateUnavailable:
            break
        riders = []
        stale = []
        for each, verdict in zip(waiting, verdicts, strict=True):
            if verdict.stale:
                stale.append((each, verdict))
            else:
                results[each.place] = _result(each, verdict)
        waiting = _renewed(stale, callers, results)
    if waiting:
        _admit_without_valkey(waiting, began, callers, results)
    return results


def check_caller(credentials: Credentials, *, publishable: bool = False) -> dict[str, str]:
    """Make sure that somebody may call here at all, before their body is found fault with → rate-limit fields.

    Raises Unauthorized, Forbidden; costs the caller nothing.
    """
    if publishable and credentials.license_key is None and is_publishable(credentials):
        # Which licence it is would have stood in the body.
        found = load(credentials)
        if isinstance(found, Unauthorized | NetworkNotAllowed):
            raise found
        return {}
    [admission] = admit_many([Ask(credentials, lambda _: None, cost=0, publishable=publishable)])
    if isinstance(admission, Admission):
        return admission.fields
    if admission.status in {401, 403}:
        raise admission
    return admission.headers


def renew(callers: Iterable[tuple[Credentials, KnownCaller]]) -> dict[int, KnownCaller | Problem]:
    """Snapshots read anew for callers whose old ones the ledger found behind, by the old one's identity."""
    fresh: dict[Credentials, KnownCaller | Problem] = {}
    renewed: dict[int, KnownCaller | Problem] = {}
    for credentials, known in callers:
        if credentials not in fresh:
            fresh[credentials] = load(credentials)
        renewed[id(known)] = fresh[credentials]
    return renewed


def _find(ask: Ask[P]) -> KnownCaller | Problem:
    if not ask.publishable:
        return find(ask.credentials._replace(license_key=None))
    found = find(ask.credentials)
    if isinstance(found, Forbidden) and found.code == "wrong_key_kind" and is_publishable(ask.credentials):
        return Invalid.field("license_key", "required", "A publishable key goes with a license key.")
    return found


def _slow_down_guesses(callers: dict[Credentials, KnownCaller | Problem]) -> None:
    """Those who show licence keys wait if too many were wrong, whether this one is right or not."""
    guesses: dict[Credentials, Guess] = {}
    for credentials, found in callers.items():
        if credentials.license_key is None:
            continue
        if isinstance(found, UnknownLicenseKey):
            guesses[credentials] = Guess(found.tenant_id, credentials.address, wrong=True)
        elif isinstance(found, KnownCaller) and not found.access.agent_path:
            guesses[credentials] = Guess(found.access.tenant_id, credentials.address, wrong=False)
    if not guesses:
        return
    for credentials, wait in zip(guesses, check_guesses(list(guesses.values())), strict=True):
        if wait:
            callers[credentials] = TooManyUnknownKeys(wait)


def _plan(
    place: int,
    ask: Ask[P],
    found: KnownCaller | Problem,
    results: list[Admission[P] | Problem],
    waiting: list[_Waiting[P]],
) -> None:
    if isinstance(found, Problem):
        results[place] = found
    else:
        outside = found.keeps_out(ask.credentials.address)
        unsaid = ask.credentials.instance and not is_label(ask.credentials.instance)
        plan = NetworkNotAllowed() if outside else _no_label() if unsaid else ask.plan(found)
        waiting.append(_Waiting(place, ask, found, plan))


def _no_label() -> Problem:
    detail = f"An instance is called by 1 to {MAX_LABEL} printable ASCII characters."
    return Invalid.field("Permeter-Instance", "instance_invalid", detail)


def _seen(waiting: Sequence[_Waiting[P]]) -> list[list[Text]]:
    """Word of the copies that call, for the flight that they cause anyway."""
    return [
        seen(each.known.access.tenant_id, each.known.access.agent_id, each.ask.credentials.instance)
        for each in waiting
        if each.ask.credentials.instance
        and each.known.access.agent_id is not None
        and not isinstance(each.plan, Problem)
        and each.cost
    ]


def _result(waiting: _Waiting[P], verdict: GateVerdict) -> Admission[P] | Problem:
    saw_caller(waiting.known.access)
    fields = _fields(verdict.states)
    problem: Problem | None = None
    if isinstance(waiting.plan, Problem):
        problem = waiting.plan
    elif verdict.limited is not None:
        problem = _limited(verdict.limited, verdict.states)
    if problem is not None:
        problem.headers |= fields
        return problem
    return Admission(waiting.known, waiting.plan, verdict.states, fields)  # type: ignore[arg-type] # no Problem, see above


def _renewed(
    stale: Sequence[tuple[_Waiting[P], GateVerdict]],
    callers: dict[Credentials, KnownCaller | Problem],
    results: list[Admission[P] | Problem],
) -> list[_Waiting[P]]:
    """Read anew what has changed, and tell Valkey of epochs that it had lost."""
    if not stale:
        return []
    cold: dict[UUID, list[EpochKey]] = {}
    for each, verdict in stale:
        access = each.known.access
        missing = [key for key, version in zip(access.epoch_keys, verdict.epochs, strict=True) if version is None]
        if missing:
            cold.setdefault(access.tenant_id, []).extend(missing)
    warmed = warm_epochs_many(cold, read_epochs)
    waiting: list[_Waiting[P]] = []
    loaded: set[Credentials] = set()
    for each, verdict in stale:
        access, credentials = each.known.access, each.ask.credentials
        current = warmed.get(access.tenant_id, {})
        behind = any(
            (current.get(key, 0) if seen is None else seen) > version
            for key, seen, version in zip(access.epoch_keys, verdict.epochs, access.versions, strict=True)
        )
        if behind and credentials not in loaded:
            loaded.add(credentials)
            callers[credentials] = load(credentials)
        found = callers[credentials]
        if found is each.known:
            waiting.append(each)
        else:
            _plan(each.place, each.ask, found, results, waiting)
    return waiting


def _admit_without_valkey(
    waiting: Sequence[_Waiting[P]],
    began: float,
    callers: dict[Credentials, KnownCaller | Problem],
    results: list[Admission[P] | Problem],
) -> None:
    """Valkey is away: Postgres says what is current, in one query; what was read since the call began is anyway."""
    older = [each for each in waiting if each.known.loaded_at < began]
    wanted: dict[UUID, list[EpochKey]] = {}
    for each in older:
        wanted.setdefault(each.known.access.tenant_id, []).extend(each.known.access.epoch_keys)
    current = read_epochs(wanted) if wanted else {}
    ready: list[_Waiting[P]] = []
    loaded: set[Credentials] = set()
    for each in waiting:
        access, credentials = each.known.access, each.ask.credentials
        versions = current.get(access.tenant_id, {})
        if each.known.loaded_at < began and any(
            versions[key] > version for key, version in zip(access.epoch_keys, access.versions, strict=True)
        ):
            if credentials not in loaded:
                loaded.add(credentials)
                callers[credentials] = load(credentials)
            _plan(each.place, each.ask, callers[credentials], results, ready)
        else:
            ready.append(each)
    verdicts = fallback_limiter().check([each.known.gate_command(each.cost) for each in ready])
    for each, verdict in zip(ready, verdicts, strict=True):
        results[each.place] = _result(each, verdict)


def _limited(limited: LimitState, states: Sequence[LimitState]) -> RateLimited:
    names = _policy_names(states)
    return RateLimited(
        f"The {limited.level.value}'s rate limit of {limited.limit} in {limited.window} seconds ran out.",
        level=limited.level.value,
        # Never earlier than the field says that there is more.
        retry_after=max(limited.retry_after, limited.reset_seconds),
        violated=[name for name, state in zip(names, states, strict=True) if state.retry_after],
    )


def _fields(states: Sequence[LimitState]) -> dict[str, str]:
    if not states:
        return {}
    return rate_limit_fields(
        RateLimitState(name, state.limit, state.window, state.remaining, state.reset_seconds)
        for name, state in zip(_policy_names(states), states, strict=True)
    )


def _policy_names(states: Sequence[LimitState]) -> list[str]:
    """The level's word; a further limit of the same level has a number, since names tell policies apart."""
    names: list[str] = []
    seen: dict[str, int] = {}
    for state in states:
        level = state.level.value
        seen[level] = seen.get(level, 0) + 1
        names.append(level if seen[level] == 1 else f"{level}-{seen[level]}")
    return names


__all__ = ["Admission", "Ask", "Credentials", "KnownCaller", "admit_many", "check_caller", "renew"]
