"""Connections that die: the server ends this process's session just before or just after a statement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from django.db import OperationalError, connection


@dataclass
class Fault:
    """Before or after which statement of a command the connection dies; after it, its answer is lost, too."""

    statement: int
    after: bool
    struck: bool = False

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        self.statement -= 1
        if self.statement != 0:
            return execute(sql, params, many, context)
        self.struck = True
        driver = context["connection"].connection
        try:
            if self.after:
                execute(sql, params, many, context)
        finally:
            end_session(driver.info.backend_pid)
        if self.after:
            raise OperationalError("the connection died before the answer came")
        return execute(sql, params, many, context)


@contextmanager
def striking(fault: Fault | None) -> Iterator[None]:
    """The next command meets the fault, if there is one."""
    if fault is None:
        yield
        return
    with connection.execute_wrapper(fault):
        yield


def end_session(pid: int) -> None:
    """As an operator would, from a session of one's own; returns when it has ended."""
    with psycopg.connect(**connection.get_connection_params() | {"autocommit": True}) as server:
        server.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
