"""`python -m licensing_site.stack`: run the stack of a `VAR_DIR`, prove its ledger, or remove its state.

    run      start everything, print `ready URL`, keep it running until Ctrl-C or SIGTERM
    verify   on the running stack: recompute balances, roll-ups and overage from the raw events
    clean    remove the state of a stack that does not run

From the environment come `VAR_DIR` (default `var/`), `PORT` (8000), `HOST_ADDRESS` (127.0.0.1),
`PERMETER_WEB_PROCESSES` (2), `PERMETER_BLOCKING_THREADS` (4), `DATABASE_URL` and `REDIS_URL` (instead of the embedded
servers) and `PERMETER_QUICKSTART=0` (no demo data).
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

from licensing_site.embedded import EmbeddedError
from licensing_site.embedded.processes import end_with_parent
from licensing_site.environment import BASE_DIR, read_json, read_var_dir
from licensing_site.state import StackState
from licensing_site.supervisor import BLOCKING_THREADS, StackOptions, Supervisor

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOOK_EVERY = 0.2


class StopRequestedError(BaseException):
    """Somebody asked the stack to stop; raised wherever the main thread happens to be."""


def say(text: str) -> None:
    """A line for whoever watches the terminal, or reads the pipe."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m licensing_site.stack", description=__doc__)
    parser.add_argument("action", choices=["run", "verify", "clean"])
    action = parser.parse_args(arguments).action
    try:
        return {"run": run, "verify": verify, "clean": clean}[action]()
    except EmbeddedError as error:
        sys.stderr.write(f"permeter: {error}\n")
        return 1


def run() -> int:
    """Run until asked to stop. 0 when it ended as asked."""
    if "MAKELEVEL" in os.environ:
        # Whoever kills `make` means the stack.
        end_with_parent(signal.SIGTERM)
    for number in STOP_SIGNALS:
        signal.signal(number, _request_stop)
    supervisor = Supervisor(_options(), say=lambda text: say(f"permeter: {text}"))
    try:
        supervisor.start()
        _welcome(supervisor)
        while True:
            time.sleep(LOOK_EVERY)
            supervisor.watch()
    except StopRequestedError:
        say("permeter: stopping")
    finally:
        # From here on only a second request counts, and that one means at once.
        for number in STOP_SIGNALS:
            signal.signal(number, lambda *_: os._exit(130))
        supervisor.stop()
    say("permeter: stopped")
    return 0


def verify() -> int:
    """Run `verify_ledger` against the running stack; its exit status."""
    state = StackState(read_var_dir())
    if not (os.environ.get("DATABASE_URL") or state.running()):
        raise EmbeddedError(
            f"No stack runs on {state.var_dir}: start it with `make run`, or set VAR_DIR or DATABASE_URL."
        )
    return subprocess.run([sys.executable, BASE_DIR / "manage.py", "verify_ledger"], check=False).returncode


def clean() -> int:
    """Remove the whole `VAR_DIR`, and the data folder that it leads to."""
    state = StackState(read_var_dir())
    if not state.var_dir.exists():
        return 0
    if not any((state.var_dir / name).exists() for name in ("stack.lock", "secrets.json", "quickstart.json")):
        raise EmbeddedError(f"{state.var_dir} does not look like the state of a stack; nothing was removed.")
    state.lock()
    data = state.var_dir / "postgres"
    if data.is_symlink():
        shutil.rmtree(data.resolve(), ignore_errors=True)
    shutil.rmtree(state.var_dir)
    return 0


def _request_stop(_number: int, _frame: FrameType | None) -> None:
    raise StopRequestedError


def _options() -> StackOptions:
    return StackOptions(
        var_dir=read_var_dir(),
        host=os.environ.get("HOST_ADDRESS") or "127.0.0.1",
        port=_number("PORT", 8000),
        web_processes=_number("PERMETER_WEB_PROCESSES", 2),
        blocking_threads=_number("PERMETER_BLOCKING_THREADS", BLOCKING_THREADS),
        quickstart=os.environ.get("PERMETER_QUICKSTART", "1") != "0",
    )


def _number(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise EmbeddedError(f"{name} is a number from 1 to 65535, not {text!r}.")
    return int(text)


def _welcome(supervisor: Supervisor) -> None:
    base_url = supervisor.env["BASE_URL"]
    known = read_json(supervisor.state.quickstart_file)
    lines = [f"ready {base_url}/"]
    for door, path, who in (("Operators", "/admin/", "operator"), ("Vendor", "/dashboard/", "vendor")):
        if who in known:
            lines.append(f"  {door:<10} {base_url}{path:<12} {known[who]['email']}  {known[who]['password']}")
    for door, path, key in (("Backend", "/vendor/v1", "secret_key"), ("Agent", "/agent/v1", "agent_key")):
        if key in known:
            lines.append(f"  {door:<10} {base_url}{path:<12} {known[key]}")
    lines.append(f"  Logs       {supervisor.options.var_dir / 'log'}   Ctrl-C ends all of it")
    say("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
