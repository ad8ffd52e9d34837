from django.apps import AppConfig


class VendorApiConfig(AppConfig):
    name = "vendor_api"
    verbose_name = "Vendors' door"
