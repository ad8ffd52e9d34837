"""Celery beat's own application: it only sends names of tasks, so it loads neither Django's apps nor the tasks.

`celery --app licensing_site.beat beat` takes a third of the memory of a process that does.
"""

from celery import Celery

app = Celery("permeter", fixups=[], set_as_current=False)
app.config_from_object("licensing_site.settings", namespace="CELERY")
