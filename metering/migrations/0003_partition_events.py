"""The ledger's two tables in the shape that Django cannot say: partitioned events, and the register's key.

Both are empty here. The events' table is made anew from Django's own columns, so that the two never differ.
Hot-updated tables keep room in their pages, so that an update needs no new index entry.
"""

from django.db import migrations

EVENTS = """
ALTER TABLE metering_usageevent RENAME TO metering_usageevent_plain;
CREATE TABLE metering_usageevent (LIKE metering_usageevent_plain) PARTITION BY RANGE (occurred_at);
DROP TABLE metering_usageevent_plain;
ALTER TABLE metering_usageevent
    ALTER COLUMN xid SET DEFAULT pg_current_xact_id()::text::bigint,
    ALTER COLUMN dimensions SET DEFAULT '{}',
    ALTER COLUMN agent_path SET DEFAULT '{}',
    ALTER COLUMN flags SET DEFAULT '{}',
    ADD PRIMARY KEY (id, occurred_at);
CREATE INDEX event_of_license ON metering_usageevent (tenant_id, license_id, meter_id, occurred_at);
CREATE INDEX event_xid ON metering_usageevent USING brin (xid) WITH (pages_per_range = 16, autosummarize = on);
"""

EVENTS_BACK = """
ALTER TABLE metering_usageevent RENAME TO metering_usageevent_parted;
CREATE TABLE metering_usageevent (LIKE metering_usageevent_parted, PRIMARY KEY (id));
DROP TABLE metering_usageevent_parted;
CREATE INDEX event_of_license ON metering_usageevent (tenant_id, license_id, meter_id, occurred_at);
"""

REGISTER = """
ALTER TABLE metering_eventid DROP CONSTRAINT metering_eventid_pkey, ADD PRIMARY KEY (tenant_id, digest);
ALTER TABLE metering_eventid ALTER COLUMN event_ids SET DEFAULT '{}';
"""

REGISTER_BACK = """
ALTER TABLE metering_eventid DROP CONSTRAINT metering_eventid_pkey, ADD PRIMARY KEY (digest);
"""

HOT = """
ALTER TABLE metering_balance SET (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE metering_usagerollup SET (fillfactor = 80);
ALTER TABLE metering_holdline SET (fillfactor = 80);
"""


class Migration(migrations.Migration):
    dependencies = [("metering", "0002_initial")]

    operations = [
        migrations.RunSQL(EVENTS, EVENTS_BACK),
        migrations.RunSQL(REGISTER, REGISTER_BACK),
        migrations.RunSQL(HOT, migrations.RunSQL.noop),
    ]
