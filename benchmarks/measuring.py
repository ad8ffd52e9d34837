"""Rounds of load from outside, one subject after the other, and what they cost on the way."""

from benchmarks import load, pace
from benchmarks.load import Question
from benchmarks.processes import cpu_seconds
from benchmarks.report import Load

#: More clients than cores could serve at once, each with pauses: nearly as independent as strangers.
STRANGERS = 128
#: A warm-up ends when its last second was less than so much quicker than the one before, or after so many.
SETTLED = 1.2
LONGEST_WARM_UP = pace.pick(8, 3)


def side_by_side(*questions: Question, clients: int = pace.CLIENTS, rounds: int | None = None) -> list[Load]:
    """Rounds A B C, A B C, ... after a warm-up of each.

    Any answer that is an error ends it, and so does a first answer that says no: refusals are cheaper.
    """
    for question in questions:
        load.ask_once(question)
        _warm_up(question, clients)
    loads = [Load() for _ in questions]
    for _ in range(rounds or pace.ROUNDS):
        for question, so_far in zip(questions, loads, strict=True):
            _add(so_far, question, clients)
    return loads


def at_part_load(question: Question, most: float, share: float = 0.7, seconds: int | None = None) -> Load:
    """Load at a share of the rate that 64 busy clients get: clients that pause between two questions."""
    rate = most * share
    so_far = Load()
    # What answering takes is part of each client's cycle: measured first, and taken from the pause.
    cycle = STRANGERS / rate * 1000
    first = _sent(question, STRANGERS, pace.WARM_UP, cycle)
    pause = max(0.5, cycle - max(0.0, STRANGERS / first.rate * 1000 - cycle))
    _add(so_far, question, STRANGERS, pause, seconds or pace.pick(6, 3))
    return so_far


def _warm_up(question: Question, clients: int) -> None:
    """Until it gets no quicker: every process has to get to know every caller, to prepare statements, to fill pools."""
    before = 0.0
    for _ in range(LONGEST_WARM_UP):
        rate = _sent(question, clients, pace.WARM_UP).rate
        if rate < SETTLED * before:
            return
        before = rate


def _add(so_far: Load, question: Question, clients: int, pause: float = 0.0, seconds: int | None = None) -> None:
    before = cpu_seconds()
    figures = _sent(question, clients, seconds, pause)
    used = cpu_seconds() - before
    so_far.rates.append(figures.rate)
    so_far.p50.append(figures.p50)
    so_far.p99.append(figures.p99)
    so_far.seconds += figures.seconds
    for kind, spent in (*used.items(), ("load_client", figures.cpu)):
        so_far.cpu[kind] = so_far.cpu.get(kind, 0.0) + spent


def _sent(question: Question, clients: int, seconds: int | None, pause: float = 0.0) -> load.Figures:
    figures = load.post(question, seconds=seconds, clients=clients, pause=pause)
    if figures.errors:
        raise RuntimeError(f"{figures.errors} errors at {question.url}")
    return figures
