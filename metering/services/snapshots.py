"""One snapshot of the database, read by one connection or by several at once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

from django.db import connection, transaction

T = TypeVar("T")

_READ = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
# Everything is joined with everything that belongs to it: hashes do that in one pass, whatever the planner guesses.
# Compiling queries does not pay: the detour over hash joins makes each look dear enough for it.
_PLAN = "SET LOCAL enable_nestloop = off; SET LOCAL jit = off; SET LOCAL work_mem = '64MB'"
# No month of events goes while this looks, as a snapshot does not hold what is dropped: so before the first read.
_KEEP = "LOCK TABLE metering_usageevent IN ACCESS SHARE MODE"


@contextmanager
def one_snapshot() -> Iterator[str]:
    """A read-only transaction of its own; gives the snapshot's name, for others to share while it lasts."""
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute(f"{_READ}; {_PLAN}; {_KEEP}")
            cursor.execute("SELECT pg_export_snapshot()")
            name: str = cursor.fetchone()[0]
        yield name


@contextmanager
def read_whole() -> Iterator[None]:
    """Inside a transaction: what is done meanwhile is planned as for a proof."""
    with connection.cursor() as cursor:
        cursor.execute(_PLAN)
        yield
        cursor.execute("SET LOCAL enable_nestloop = on; SET LOCAL work_mem TO DEFAULT")


@contextmanager
def found_by_key() -> Iterator[None]:
    """Inside a snapshot: what is read meanwhile is little, and found by its ids."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_nestloop = on")
        yield
        cursor.execute("SET LOCAL enable_nestloop = off")


def in_snapshot(name: str, work: Sequence[Callable[[], T]], *, at_once: int) -> list[T]:
    """Do all pieces of work in threads, each on a connection of its own that sees this snapshot; what each gave."""

    def run(piece: Callable[[], T]) -> T:
        try:
            with transaction.atomic(durable=True):
                with connection.cursor() as cursor:
                    cursor.execute(_READ)
                    cursor.execute("SET TRANSACTION SNAPSHOT %s", [name])
                    cursor.execute(_PLAN)
                return piece()
        finally:
            connection.close()

    with ThreadPoolExecutor(at_once, thread_name_prefix="proof") as pool:
        return list(pool.map(run, work))


def batches(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """The rows, so many at a time."""
    left = iter(rows)
    while found := list(islice(left, size)):
        yield found
