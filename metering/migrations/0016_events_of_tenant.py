"""The newest events of a whole workspace are read from their end, whatever their number and that of all others.

Events come nearly in their order, so that new entries go to the same few pages of the index.
"""

from django.db import migrations

FORWARDS = "CREATE INDEX event_of_tenant ON metering_usageevent (tenant_id, occurred_at)"


class Migration(migrations.Migration):
    dependencies = [("metering", "0015_ledger_plans")]

    operations = [migrations.RunSQL(FORWARDS, "DROP INDEX event_of_tenant")]
