from django.apps import AppConfig


class LicensingSiteConfig(AppConfig):
    name = "licensing_site"
    verbose_name = "Site"
