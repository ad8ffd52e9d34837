"""Events of a stretch of time are found without their licence: they come nearly in their order, so a summary of each
few pages does, and costs next to nothing when events are written.
"""

from django.db import migrations

FORWARDS = """
CREATE INDEX event_occurred_at ON metering_usageevent
USING brin (occurred_at) WITH (pages_per_range = 32, autosummarize = on)
"""


class Migration(migrations.Migration):
    dependencies = [("metering", "0012_rollup_of_customer")]

    operations = [migrations.RunSQL(FORWARDS, "DROP INDEX event_occurred_at")]
