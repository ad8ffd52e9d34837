"""Where the time goes, on request: a flame graph of all processes, the statements that cost most, and slow plans."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from benchmarks import pace
from benchmarks.results import KEPT
from benchmarks.stack import BenchStack

FOLDER = KEPT / "profiles"
_STATEMENTS = """
SELECT round(total_exec_time) AS total_ms, calls, round((total_exec_time / calls)::numeric, 3) AS mean_ms, rows,
    regexp_replace(query, '\\s+', ' ', 'g') AS statement
FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY total_exec_time DESC LIMIT 30
"""


@contextmanager
def profiling(stack: BenchStack, group: str) -> Iterator[None]:
    """While the block runs: `GROUP/flames.svg`, `statements.txt` and `plans.log`; nothing without `--profile`.

    Profiling slows down what it looks at: figures of such a run are not for comparison.
    """
    if not pace.PROFILE:
        yield
        return
    folder = FOLDER / group
    folder.mkdir(parents=True, exist_ok=True)
    with psycopg.connect(stack.database_url(), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        connection.execute("SELECT pg_stat_statements_reset()")
    log = stack.var_dir / "log" / "postgres.log"
    begin = log.stat().st_size
    spy = _start_spy(folder / "flames.svg")
    try:
        yield
    finally:
        spy.send_signal(signal.SIGINT)
        spy.wait(60)
        (folder / "statements.txt").write_text(_costliest(stack.database_url()))
        with log.open("rb") as written:
            written.seek(begin)
            (folder / "plans.log").write_bytes(written.read())
        print(f"profiles: {folder}", file=sys.stderr, flush=True)


def _start_spy(to: Path) -> subprocess.Popen[bytes]:
    """On this process, which calls some use cases itself, and on all below it: the stack, and servers beside it."""
    command = [str(Path(sys.executable).parent / "py-spy"), "record", "--pid", str(os.getpid()), "--subprocesses"]
    command += ["--nonblocking", "--rate", "50", "--duration", "86400", "--output", str(to)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def _costliest(database_url: str) -> str:
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(_STATEMENTS).fetchall()
    return "".join("\t".join(map(str, row)) + "\n" for row in rows)
