from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("licenses", "0003_renewals_and_transfers"),
    ]

    operations = [
        migrations.AddField(
            model_name="agent",
            name="hold_limit",
            field=models.PositiveIntegerField(
                blank=True, help_text="Open holds at once, those of agents below it included.", null=True
            ),
        ),
        migrations.AddField(
            model_name="license",
            name="hold_limit",
            field=models.PositiveIntegerField(
                blank=True, help_text="Open holds at once, instead of the plan's.", null=True
            ),
        ),
    ]
