import pytest

from common.ids import new_id
from metering.models import EventId, UsageEvent
from metering.selectors import register_proofs
from metering.selectors.register_proofs import Fault, differing_ids
from tests.metering.ledger_rows import NOVEMBER, Workspace

pytestmark = pytest.mark.django_db(transaction=True)


def test_differing_ids__each_kind_of_fault__named_with_all_ids() -> None:
    workspace = Workspace.make()
    sound, unknown, gone, renamed, derived = (workspace.use("1", client_id=f"e{place}") for place in range(5))
    assert list(differing_ids(None, kept_since=None)) == []
    digest = {event.id: EventId.objects.get(event_ids=[event.id]).digest for event in (unknown, gone, renamed)}
    EventId.objects.filter(event_ids=[unknown.id]).delete()
    EventId.objects.filter(event_ids=[derived.id]).delete()
    UsageEvent.objects.filter(id=gone.id).delete()
    UsageEvent.objects.filter(id=renamed.id).update(client_id="x")
    UsageEvent.objects.filter(id=derived.id).update(derived_from=sound.id)

    tenant, license = workspace.tenant.id, workspace.license.id
    assert list(differing_ids([tenant], kept_since=None)) == [
        (Fault.UNREGISTERED, tenant, unknown.id, license, "e1", None),
        (Fault.REGISTERED_ONLY, tenant, gone.id, None, None, digest[gone.id]),
        (Fault.MISNAMED, tenant, renamed.id, license, "x", digest[renamed.id]),
    ]
    assert list(differing_ids([new_id()], kept_since=None)) == []
    # Its month is gone, and its id leaves with it.
    faults = [found.fault for found in differing_ids([tenant], kept_since=NOVEMBER.replace(month=12))]
    assert faults == [Fault.UNREGISTERED, Fault.MISNAMED]


def test_differing_ids__more_than_are_told__the_first_by_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(register_proofs, "_MOST", 3)
    monkeypatch.setattr(register_proofs, "_MOST_DIGESTS", 1)
    workspace = Workspace.make()
    events = sorted(workspace.use("1").id for _ in range(20))
    EventId.objects.all().delete()

    assert [found.event_id for found in differing_ids(None, kept_since=None)] == events[:3]
