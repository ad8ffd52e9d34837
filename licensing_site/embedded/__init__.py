"""Embedded servers: a real PostgreSQL and a real Valkey from wheels, with their state under `VAR_DIR`.

Both listen on a Unix socket in a folder of their own (no port is taken, nobody else on the machine gets in) and end
with the process that started them, also when that one is killed. As root, PostgreSQL runs as an ordinary user.
"""

from licensing_site.embedded.errors import EmbeddedError
from licensing_site.embedded.postgres import EmbeddedPostgres
from licensing_site.embedded.valkey import EmbeddedValkey

__all__ = ["EmbeddedError", "EmbeddedPostgres", "EmbeddedValkey"]
