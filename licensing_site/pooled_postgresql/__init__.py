"""The web processes' database back end: Django's own for PostgreSQL, with a pool that notices broken connections."""
