"""Whether an event was taken back is asked of every event that counts on a meter that does not add up: the few that
correct others are found by themselves. An event that corrects none has no entry.
"""

from django.db import migrations

FORWARDS = """
CREATE INDEX event_corrects ON metering_usageevent (tenant_id, corrects) WHERE corrects IS NOT NULL
"""


class Migration(migrations.Migration):
    dependencies = [("metering", "0013_events_by_time")]

    operations = [migrations.RunSQL(FORWARDS, "DROP INDEX event_corrects")]
