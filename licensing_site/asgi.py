"""The server entry for everything: the coalescing door, and behind it Django by WSGI, in threads."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from a2wsgi import WSGIMiddleware

#: Django's threads in this process.
THREADS = int(os.environ.get("PERMETER_WEB_THREADS", "4"))
#: Threads for uploads, which take as long as their callers take to send them.
UPLOAD_THREADS = 2
#: One for the signs of life: who is asked whether it lives does not queue behind its work.
HEALTH_THREADS = 1

# A connection for each thread: those above, the door's lanes, and two that write down what was noticed.
_CONNECTIONS = THREADS + UPLOAD_THREADS + HEALTH_THREADS + 1 + 2 + 2
os.environ.setdefault("PERMETER_DATABASE_POOL", str(max(8, _CONNECTIONS)))

from licensing_site.wsgi import application as wsgi_application

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# Only now that Django is set up.
from agent_api.door.application import Door
from agent_api.door.handing_on import while_wanted


def _with_ending_bodies(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """A body here ends where it ends, also one that came in chunks without a length."""
    environ["wsgi.input_terminated"] = True
    return wsgi_application(environ, start_response)


def _in_threads(number: int) -> Any:
    application: Any = while_wanted(_with_ending_bodies)
    return WSGIMiddleware(application, workers=number)


_health = _in_threads(HEALTH_THREADS)
application = Door(
    _in_threads(THREADS),
    apart={"/livez": _health, "/readyz": _health, "/vendor/v1/usage/import": _in_threads(UPLOAD_THREADS)},
)
