"""Wiring of the platform: settings, URLs, server entries, Celery and the embedded servers."""

from licensing_site.celery import app as celery_app

__all__ = ["celery_app"]
