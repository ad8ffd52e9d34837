"""Floors: what the machine can do with less than the work. A bare ASGI function, a bare Valkey script, pgbench.

pgbench runs the ledger's own two functions with the arguments that the ledger gives them, captured from a call; only
the ids of events are fresh. What is left between it and the door is HTTP, decoding, keys, the gate and the decision.
"""

import re
import secrets
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmarks import pace
from benchmarks.cases.doors import AGENTS, CONSUME
from benchmarks.cases.ledger import authorize_many_of
from benchmarks.load import Question
from benchmarks.measuring import side_by_side
from benchmarks.report import Rounds, interleaved, line
from benchmarks.servers import serving
from benchmarks.stack import BenchStack
from benchmarks.world import THREE_LEVELS, make_shop
from licensing_site.embedded.postgres import packaged_programs

ASGI = "benchmarks.peers.bare_asgi:application"
#: Below the size from which on the ledger writes by COPY, so that one function call is all of it.
BATCH = 32
#: Calls in one flight to Valkey.
FLIGHT = 64
_FLIGHTS = pace.pick(300, 100)
_BARE_SCRIPT = "return redis.call('INCR', KEYS[1])"
#: Where the two functions take ids that must be fresh: digests and events' ids of the register, and of the events.
_DIGESTS, _REGISTERED, _EVENTS = 1, 6, 8


def run(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """Each floor beside what stands on it."""
    stack.django()
    yield from _asgi(stack)
    yield from _pgbench(stack)
    yield _valkey()


def _asgi(stack: BenchStack) -> Iterator[dict[str, Any]]:
    plain = make_shop(agents=AGENTS)
    with serving(ASGI, interface="asgi") as asgi, stack.bare_django() as django:
        floor, view, validate = side_by_side(
            Question(f"{asgi}/"),
            Question(f"{django}/"),
            Question(f"{stack.base_url}/agent/v1/validate", "{}", plain.keys),
            rounds=3,
        )
    yield line("bare_asgi_vs_bare_django", floor, "requests/s", "a bare Django view that returns constant JSON", view)
    yield line("validate_plain_vs_bare_asgi", validate, "requests/s", "an ASGI function that returns constant", floor)


def _pgbench(stack: BenchStack) -> Iterator[dict[str, Any]]:
    """authorize over three levels at the door, beside pgbench: a transaction a call, and one for 32 calls."""
    shop = make_shop(agents=AGENTS, licenses=AGENTS, levels=THREE_LEVELS)
    asked = make_shop(agents=AGENTS, licenses=AGENTS, levels=THREE_LEVELS)
    singles = [_transaction([key]) for key in shop.keys[:8]]
    # As many batches as the door has lanes, with agents of their own: one a process.
    batches = [_transaction(shop.keys[start : start + BATCH]) for start in (0, BATCH)]
    door, alone, together = Rounds(), Rounds(), Rounds()
    for _ in range(pace.pick(3, 2)):
        [load] = side_by_side(Question(f"{stack.base_url}/agent/v1/authorize", CONSUME, asked.keys), rounds=1)
        door.append(load.rates.median)
        alone.append(_transactions(stack, singles))
        together.append(BATCH * _transactions(stack, batches))
    yield line("authorize_vs_pgbench_a_transaction_each", door, "calls/s", "pgbench, the ledger's statements", alone)
    yield line(
        f"authorize_vs_pgbench_of_batches_of_{BATCH}", door, "calls/s", "pgbench, the ledger's statements", together
    )


def _transaction(keys: Sequence[str]) -> str:
    """What the ledger sends to PostgreSQL for one call with these agents' commands, as a script of pgbench."""
    from django.db import connection

    # Once unseen, so that the balances are there, and all is known.
    authorize_many_of(keys)
    seen: list[tuple[str, Sequence[Any]]] = []

    def note(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if "metering_open_batch" in sql or "metering_write_batch" in sql:
            seen.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        authorize_many_of(keys)
    if [("open" in sql, "write" in sql) for sql, _ in seen] != [(True, False), (False, True)]:
        raise RuntimeError(f"the ledger works otherwise by now: {[sql for sql, _ in seen]}")
    [(_, opening), (_, writing)] = seen
    opened = ", ".join(_literal(each) for each in opening)
    written = [_literal(each) for each in writing]
    fresh = f"FROM generate_series(1, {len(keys)})"
    written[_DIGESTS] = written[_EVENTS] = f"ARRAY(SELECT gen_random_uuid() {fresh})"
    written[_REGISTERED] = f"ARRAY(SELECT '{{' || gen_random_uuid() || '}}' {fresh})"
    return (
        f"BEGIN;\nSELECT * FROM metering_open_batch({opened});\n"
        f"SELECT metering_write_batch({', '.join(written)});\nCOMMIT;\n"
    )


def _literal(value: Any) -> str:
    """A parameter as it stands in SQL: array literals as they are, lists of texts as arrays."""
    if isinstance(value, list):
        return f"ARRAY[{', '.join(_literal(each) for each in value)}]::text[]"
    text = re.sub(r"'", "''", str(value))
    # A colon would begin a variable of pgbench, but one that it does not know it leaves alone.
    return f"'{text}'"


def _transactions(stack: BenchStack, scripts: Sequence[str]) -> float:
    """Transactions a second, a connection for each script."""
    with tempfile.TemporaryDirectory() as folder:
        command = [str(packaged_programs() / "pgbench"), "--no-vacuum", "--protocol=simple"]
        command += [f"--client={len(scripts)}", "--jobs=1", f"--time={pace.SECONDS}"]
        for place, script in enumerate(scripts):
            path = Path(folder) / f"{place}.sql"
            path.write_text(script)
            command += ["--file", str(path)]
        done = subprocess.run([*command, stack.database_url()], capture_output=True, text=True, check=False)
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    if found is None or done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return float(found[1])


def _valkey() -> dict[str, Any]:
    """The gate's calls a second, limits of two levels each, beside a script that only counts; both 64 in a flight."""
    from common.valkey import valkey
    from common.valkey_scripts import LuaScript, ScriptCall, run_scripts
    from licenses.domain.enums import LimitLevel
    from licenses.domain.rate_limits import GateLimit
    from licenses.services.gate import GateCommand, check_gate

    tenant = UUID(bytes=secrets.token_bytes(16))
    agents = [UUID(bytes=secrets.token_bytes(16)) for _ in range(FLIGHT)]
    commands = [
        GateCommand(
            tenant,
            agent_id=agent,
            limits=tuple(
                GateLimit(level, agent, limit=6_000_000, window=60, burst=6_000_000)
                for level in (LimitLevel.AGENT, LimitLevel.LICENSE)
            ),
        )
        for agent in agents
    ]
    script = LuaScript(_BARE_SCRIPT)
    calls = [ScriptCall(script, [f"bench:{agent.hex}"], []) for agent in agents]

    def rate(flight: Callable[[], object]) -> float:
        begun = time.perf_counter()
        for _ in range(_FLIGHTS):
            flight()
        return FLIGHT * _FLIGHTS / (time.perf_counter() - begun)

    gate, bare = interleaved(
        lambda: rate(lambda: check_gate(commands)), lambda: rate(lambda: run_scripts(valkey(), calls))
    )
    return line("gate_vs_bare_script", gate, "calls/s", "a script that counts, each call by itself in one flight", bare)
