"""Child processes that never outlive their parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from licensing_site.embedded.account import Account

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def end_with_parent(number: signal.Signals) -> None:
    """Have the kernel send this process `number` when its parent dies, however it dies (Linux only).

    The setting survives `exec` and is lost when the user changes, so it is made after that.
    """
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)


def _before_exec(number: signal.Signals, parent: int) -> Callable[[], None]:
    def prepare() -> None:
        end_with_parent(number)
        if _libc is not None and os.getppid() != parent:
            os._exit(1)  # the parent died between the fork and the line above

    return prepare


def _private(path: str, flags: int) -> int:
    """Opens a log: it tells of addresses and people, so its owner alone may read it."""
    return os.open(path, flags, 0o600)


class Child:
    """One program in a session of its own, so that the terminal's Ctrl-C reaches the supervisor alone.

    `stop_signal` is what asks it to end in good order; its own children are in its group and end with it.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log_file: Path,
        stop_signal: signal.Signals = signal.SIGTERM,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        account: Account | None = None,
    ) -> None:
        self.name = name
        self.command = [str(part) for part in command]
        self.log_file = log_file
        self.stop_signal = stop_signal
        self.env = dict(env) if env is not None else None
        self.cwd = cwd
        self.account = account
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; raises `RuntimeError` where it was never started."""
        if self.process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self.process.pid

    def start(self) -> None:
        """Start the program; its output goes to the end of its log file."""
        with open(self.log_file, "ab", opener=_private) as output:
            os.fchmod(output.fileno(), 0o600)
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.env,
                cwd=self.cwd,
                start_new_session=True,
                preexec_fn=_before_exec(self.stop_signal, os.getpid()),  # noqa: PLW1509 - parents start no threads
                **(self.account.popen_arguments() if self.account else {}),
            )

    def exit_code(self) -> int | None:
        """None while it runs, else how it ended (negative: by that signal)."""
        return self.process.poll() if self.process else None

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self, *, within: float) -> None:
        """Ask it to end, wait up to `within` seconds, then kill what is left of its group."""
        if self.process is None:
            return
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(self.stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(within)
        self.kill_group()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)

    def kill_group(self) -> None:
        """Kill every process it started, which matters where the program itself was killed before it could."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def last_lines(self, count: int = 8) -> str:
        """The end of its log, for an error message."""
        try:
            text = self.log_file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-count:])


def is_alive(pid: int) -> bool:
    """Whether there is a process of this id that is more than a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return True


def command_of(pid: int) -> str:
    """The command line of a process; empty where it cannot be told."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        pass
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        shown = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return shown.stdout.strip()
    return ""


def wait_until_dead(pid: int, *, within: float) -> bool:
    """Wait for a process that is not ours to reap; whether it ended in time."""
    end = time.monotonic() + within
    while is_alive(pid):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
