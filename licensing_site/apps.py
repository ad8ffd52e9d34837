from importlib import import_module

from django.apps import AppConfig


class LicensingSiteConfig(AppConfig):
    name = "licensing_site"
    verbose_name = "Site"

    def ready(self) -> None:
        """Make Celery's application the current one, wherever Django runs: `shared_task` sends through it."""
        import_module("licensing_site.celery")
