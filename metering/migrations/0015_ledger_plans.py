"""The ledger's functions keep their plans: to plan their statements anew for each call cost a third of a small batch.

PostgreSQL would, as it takes arrays of unknown length for dearer than they are. A plan that is kept has to hold for
tables of any size, so it never reads a whole one: what is small when a connection first plans may be large soon.
"""

from django.db import migrations

_FUNCTIONS = ("metering_open_batch", "metering_write_batch")
_KEEP = "SET plan_cache_mode = force_generic_plan SET enable_seqscan = off"
_FORGET = "RESET plan_cache_mode RESET enable_seqscan"


class Migration(migrations.Migration):
    dependencies = [("metering", "0014_events_that_correct")]

    operations = [
        migrations.RunSQL(f"ALTER FUNCTION {name} {_KEEP}", f"ALTER FUNCTION {name} {_FORGET}") for name in _FUNCTIONS
    ]
