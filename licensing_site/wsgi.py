"""The server entry for everything: `/agent/v1/` through its short chain, all else through the full one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "licensing_site.settings")
os.environ.setdefault("PERMETER_DATABASE_POOL", "8")

from django.core.wsgi import get_wsgi_application

full_application = get_wsgi_application()

from licensing_site.agent_handler import AgentHandler
from licensing_site.key_use_writer import start_key_use_writer
from licensing_site.memory import spare_the_collector
from licensing_site.refusal_writer import start_refusal_writer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

agent_application = AgentHandler()
start_key_use_writer()
start_refusal_writer()
spare_the_collector()


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """One process serves both chains; which one is decided by the path alone."""
    if environ.get("PATH_INFO", "").startswith("/agent/v1/"):
        return agent_application(environ, start_response)
    return full_application(environ, start_response)
