"""The server entry."""

import os
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.peers.diy_django.settings"

from django.core.wsgi import get_wsgi_application

application: Any = get_wsgi_application()
