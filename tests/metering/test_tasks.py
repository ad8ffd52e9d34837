import pytest
from django.conf import settings

from licensing_site.celery import app
from metering import tasks
from metering.models import Balance, OverageRecord, UsageRollup
from tests.metering.ledger_rows import OCTOBER, Workspace

pytestmark = pytest.mark.django_db(transaction=True)


def test_beat_schedule__every_entry_of_metering__names_a_task_that_exists() -> None:
    app.loader.import_default_modules()
    scheduled = {name for name in settings.CELERY_BEAT_SCHEDULE if name.startswith("metering.")}

    assert scheduled <= set(app.tasks)
    assert {name for name in app.tasks if name.startswith("metering.")} - scheduled == {"metering.run_job"}
    assert settings.CELERY_BEAT_SCHEDULE["metering.roll_up_usage"]["schedule"] == 20


def test_tasks__all_of_them_twice__usage_becomes_one_final_bill() -> None:
    workspace = Workspace.make()
    workspace.price("1")
    workspace.use("3", workspace.balance(workspace.quota("0"), month=OCTOBER), at=OCTOBER)

    for task in (
        tasks.maintain_partitions,
        tasks.roll_up_usage,
        tasks.accrue_overage,
        tasks.close_periods,
        tasks.expire_holds,
        tasks.verify_ledger,
        tasks.run_waiting_jobs,
    ) * 2:
        task()

    assert UsageRollup.objects.count() == 2
    assert OverageRecord.objects.get().status == "finalized"
    assert Balance.objects.get().closed_at is not None
