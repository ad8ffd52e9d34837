"""Wiring of the platform: settings, URLs, server entries, Celery and the embedded servers."""
