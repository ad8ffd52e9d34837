"""How old and how new an event may be."""

from datetime import datetime

from django.conf import settings


def accepted_between(at: datetime, *, backfill: bool = False) -> tuple[datetime, datetime]:
    """The oldest and the newest time that an event may have which arrives `at` (workspace time).

    With `backfill` as far back as events are kept; ids are known for as long, so nothing counts twice.
    """
    window = settings.PERMETER_EVENT_RETENTION if backfill else settings.PERMETER_ACCEPTANCE_WINDOW
    return at - window, at + settings.PERMETER_FUTURE_TOLERANCE
