"""The app's label, which its tables begin with."""

from django.apps import AppConfig


class DiyConfig(AppConfig):
    name = "benchmarks.peers.diy_django"
    label = "diy"
