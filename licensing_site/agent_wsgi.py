"""The server entry for the agents' door alone, where it is scaled apart from the pages."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "licensing_site.settings")
os.environ.setdefault("PERMETER_DATABASE_POOL", "8")

import django

django.setup(set_prefix=False)

from licensing_site.agent_handler import AgentHandler
from licensing_site.key_use_writer import start_key_use_writer
from licensing_site.refusal_writer import start_refusal_writer

application = AgentHandler()
start_key_use_writer()
start_refusal_writer()
