"""Lua scripts on Valkey: many calls in one flight, by their hash."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import redis
from redis.exceptions import NoScriptError

from common.valkey import ask_valkey

#: What a script's keys and arguments may be.
Text = str | bytes | int


class LuaScript:
    """A script's text and its SHA-1, the name that the server caches it under."""

    __slots__ = ("sha", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class ScriptCall(NamedTuple):
    """One call of a script. In a cluster all `keys` of a call must share a hash tag."""

    script: LuaScript
    keys: Sequence[Text]
    arguments: Sequence[Text]


def run_scripts(client: redis.Redis, calls: Sequence[ScriptCall], riders: Sequence[Sequence[Text]] = ()) -> list[Any]:
    """Run `calls` in one pipelined flight and return their answers in order; `riders` are plain commands on board.

    A server that does not know a script yet is taught it, and only the calls that it refused for that are
    sent again, so that none runs twice. Answers of riders are dropped. Raises redis.RedisError: some calls
    may have run then.
    """
    answers = _fly(client, calls, riders)
    refused = [index for index, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
    if refused:
        for text in {calls[index].script.text for index in refused}:
            client.script_load(text)
        again = _fly(client, [calls[index] for index in refused], ())
        for index, answer in zip(refused, again, strict=True):
            answers[index] = answer
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def _fly(client: redis.Redis, calls: Sequence[ScriptCall], riders: Sequence[Sequence[Text]]) -> list[Any]:
    if len(calls) == 1 and not riders:
        # The usual case, a request by itself.
        script, keys, arguments = calls[0]
        try:
            return [ask_valkey(client, ("EVALSHA", script.sha, len(keys), *keys, *arguments))]
        except redis.ResponseError as error:
            return [error]
    flight = client.pipeline(transaction=False)
    for script, keys, arguments in calls:
        flight.execute_command("EVALSHA", script.sha, len(keys), *keys, *arguments)  # type: ignore[no-untyped-call]
    for rider in riders:
        flight.execute_command(*rider)  # type: ignore[no-untyped-call]
    answers: list[Any] = flight.execute(raise_on_error=False)
    return answers[: len(calls)]
