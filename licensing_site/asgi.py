"""The server entry for everything: the coalescing door, and behind it Django by WSGI, in threads."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from a2wsgi import WSGIMiddleware

from licensing_site.wsgi import application as wsgi_application

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: Django's threads in this process.
THREADS = int(os.environ.get("PERMETER_WEB_THREADS", "4"))

# Only now that Django is set up.
from agent_api.door.application import Door


def _with_ending_bodies(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """A body here ends where it ends, also one that came in chunks without a length."""
    environ["wsgi.input_terminated"] = True
    return wsgi_application(environ, start_response)


django_application: Any = _with_ending_bodies
application = Door(WSGIMiddleware(django_application, workers=THREADS))
