"""Epochs whose publisher died before it told anybody."""

from datetime import timedelta

import pytest

from common.clock import real_clock
from common.epochs import EpochKey, epoch_key
from common.ids import new_id
from common.valkey import current_run_id, valkey
from tenants.models import Epoch
from tenants.services.epochs import republish_recent
from tests.factories import make_workspace

pytestmark = pytest.mark.django_db(transaction=True)


def published(tenant, subject_id) -> int | None:
    found = valkey().get(epoch_key(tenant.id, current_run_id(), EpochKey("license", subject_id)))
    return None if found is None else int(found)


@pytest.mark.parametrize(("last_told", "heard"), [(timedelta(minutes=40), 7), (timedelta(minutes=1), None)])
def test_republish__bump_of_half_an_hour_ago__is_told_if_nobody_could_since(last_told, heard):
    tenant, subject_id, now = make_workspace(), new_id(), real_clock().now()
    republish_recent(now=now - last_told)
    Epoch.objects.create(
        tenant=tenant, kind="license", subject_id=subject_id, version=7, changed_at=now - timedelta(minutes=30)
    )
    republish_recent(now=now)
    assert published(tenant, subject_id) == heard


def test_republish__bump_of_just_now__is_told_whatever_was_told_before():
    tenant, subject_id, now = make_workspace(), new_id(), real_clock().now()
    republish_recent(now=now)
    Epoch.objects.create(tenant=tenant, kind="license", subject_id=subject_id, version=3, changed_at=now)
    assert republish_recent(now=now + timedelta(seconds=1)) >= 1
    assert published(tenant, subject_id) == 3
