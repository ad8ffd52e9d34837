"""Months of events that were dropped; and an index by which their ids are found in the register, cheap to write."""

from django.db import migrations, models

INDEX = """
CREATE INDEX event_id_occurred ON metering_eventid
USING brin (occurred_at) WITH (pages_per_range = 16, autosummarize = on)
"""


class Migration(migrations.Migration):
    dependencies = [
        ("metering", "0009_carried_and_brought"),
    ]

    operations = [
        migrations.CreateModel(
            name="DroppedMonth",
            fields=[
                (
                    "name",
                    models.CharField(help_text="The partition's.", max_length=63, primary_key=True, serialize=False),
                ),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                ("events", models.BigIntegerField()),
                ("exported_to", models.CharField(blank=True, max_length=4096)),
                ("sha256", models.CharField(blank=True, max_length=64)),
                ("dropped_at", models.DateTimeField()),
                ("ids_forgotten_at", models.DateTimeField(null=True)),
            ],
            options={
                "ordering": ("starts_at",),
            },
        ),
        migrations.RunSQL(INDEX, "DROP INDEX event_id_occurred"),
    ]
