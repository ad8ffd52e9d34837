"""Meters: what is taken, what is refused, and what can no longer change once events were recorded."""

from datetime import UTC, datetime
from typing import Any

import pytest

from common.errors import Conflict, Invalid, NotFound
from common.ids import encode_id
from metering.models import Meter
from metering.selectors.meters import find_meter, resolve_meter
from metering.services.meters import archive_meter, create_meter, update_meter
from tenants.domain.actors import Actor, worker
from tenants.models import AuditEntry, Epoch
from tests.metering.ledger_rows import Workspace

pytestmark = pytest.mark.django_db

ACTOR: Actor = worker("test")


def _epoch(workspace: Workspace) -> int:
    epoch = Epoch.objects.for_tenant(workspace.tenant).filter(kind="tenant").first()
    return epoch.version if epoch else 0


def test_create_meter__code_only__takes_the_defaults_and_is_audited() -> None:
    workspace = Workspace.make()

    meter = create_meter(tenant=workspace.tenant, actor=ACTOR, code="calls")

    meter.refresh_from_db()
    assert (meter.name, meter.unit, meter.aggregation) == ("calls", "unit", "sum")
    assert (meter.dimensions, meter.event_types, meter.derived) == ([], ["calls"], False)
    entry = AuditEntry.objects.get(action="meter.created")
    assert entry.target_id == meter.public_id
    assert entry.changes["code"] == [None, "calls"]
    assert _epoch(workspace) == 1


def test_create_meter__all_fields__are_kept() -> None:
    workspace = Workspace.make()

    meter = create_meter(
        tenant=workspace.tenant,
        actor=ACTOR,
        code="tool.calls",
        name="Tool calls",
        unit="call",
        aggregation="count",
        dimensions=["tool", "model_2"],
        event_types=["com.acme.tool", "tool.called"],
    )

    assert (meter.name, meter.unit, meter.aggregation) == ("Tool calls", "call", "count")
    assert meter.dimensions == ["tool", "model_2"]
    assert meter.event_types == ["com.acme.tool", "tool.called"]


@pytest.mark.parametrize(
    ("fields", "field", "code"),
    [
        ({"code": "Tokens"}, "code", "invalid"),
        ({"code": "mtr_01h455vb4pex5vsknk084sn02q"}, "code", "invalid"),
        ({"code": "c" * 65}, "code", "invalid"),
        ({"unit": "u" * 33}, "unit", "too_long"),
        ({"unit": "to\x00ken"}, "unit", "invalid"),
        ({"name": " "}, "name", "blank"),
        ({"aggregation": "median"}, "aggregation", "invalid"),
        ({"aggregation": "unique", "value_from": "user"}, "value_from", "dimension_unknown"),
        ({"aggregation": "count", "value_from": "user", "dimensions": ["user"]}, "value_from", "not_allowed"),
        (
            {"aggregation": "max", "value_from": "size", "dimensions": [{"name": "size", "type": "string"}]},
            *("value_from", "dimension_invalid"),
        ),
        (
            {"aggregation": "latest", "value_from": "size", "dimensions": [{"name": "size", "max_values": 3}]},
            *("value_from", "dimension_invalid"),
        ),
        ({"filter": {"status": "succeeded"}}, "filter.status", "dimension_unknown"),
        ({"dimensions": [{"name": "model", "type": "date"}]}, "dimensions.0.type", "invalid"),
        ({"dimensions": [{"name": "model", "max_values": 0}]}, "dimensions.0.max_values", "invalid"),
        ({"dimensions": [{"name": "model", "colour": "red"}]}, "dimensions.0.colour", "unknown_field"),
        ({"dimensions": [{"name": "model"}, "model"]}, "dimensions.1", "dimension_repeated"),
        ({"dimensions": [7]}, "dimensions.0", "dimension_name_invalid"),
        ({"dimensions": ["model", "Model"]}, "dimensions.1", "dimension_name_invalid"),
        ({"dimensions": ["model", "tool", "model"]}, "dimensions.2", "dimension_repeated"),
        ({"dimensions": [f"d{number}" for number in range(21)]}, "dimensions", "dimensions_too_many"),
        ({"dimensions": ["agent"]}, "dimensions.0", "dimension_reserved"),
        ({"dimensions": "model"}, "dimensions", "invalid"),
        ({"event_types": ["a", "a"]}, "event_types.1", "duplicate"),
        ({"event_types": [7]}, "event_types.0", "invalid"),
    ],
)
def test_create_meter__bad_field__is_refused_by_name(fields: dict[str, Any], field: str, code: str) -> None:
    workspace = Workspace.make()

    with pytest.raises(Invalid) as refusal:
        create_meter(tenant=workspace.tenant, actor=ACTOR, **{"code": "calls", **fields})

    assert [(error["field"], error["code"]) for error in refusal.value.errors] == [(field, code)]
    assert Meter.objects.filter(code="calls").count() == 0
    assert _epoch(workspace) == 0


def test_create_meter__with_types_filter_and_value__keeps_them() -> None:
    meter = create_meter(
        tenant=Workspace.make().tenant,
        actor=ACTOR,
        code="longest",
        aggregation="max",
        dimensions=["model", {"name": "seconds", "type": "number"}, {"name": "status", "max_values": 5}],
        value_from="seconds",
        filter={"status": "succeeded"},
    )

    meter.refresh_from_db()
    assert (meter.aggregation, meter.value_from, meter.filter) == ("max", "seconds", {"status": "succeeded"})
    assert meter.dimensions == ["model", {"name": "seconds", "type": "number"}, {"name": "status", "max_values": 5}]


def test_create_meter__twenty_dimensions__are_taken() -> None:
    names = [f"d{number}" for number in range(20)]
    meter = create_meter(tenant=Workspace.make().tenant, actor=ACTOR, code="calls", dimensions=names)
    assert meter.dimensions == names


def test_create_meter__taken_code__conflicts_also_with_an_archived_one() -> None:
    workspace = Workspace.make()
    archive_meter(tenant=workspace.tenant, meter_id=workspace.meter.id, actor=ACTOR)

    with pytest.raises(Conflict) as refusal:
        create_meter(tenant=workspace.tenant, actor=ACTOR, code="tokens")

    assert refusal.value.code == "code_taken"
    create_meter(tenant=Workspace.make("other-vendor").tenant, actor=ACTOR, code="calls")


def test_create_meter__event_type_of_another__conflicts() -> None:
    workspace = Workspace.make()
    first = create_meter(tenant=workspace.tenant, actor=ACTOR, code="calls", event_types=["llm.called"])

    with pytest.raises(Conflict) as refusal:
        create_meter(tenant=workspace.tenant, actor=ACTOR, code="steps", event_types=["step", "llm.called"])

    assert refusal.value.code == "event_type_taken"
    assert refusal.value.extra == {"meter": first.public_id}


def test_update_meter__before_any_event__everything_but_the_code_changes() -> None:
    workspace = Workspace.make()

    meter = update_meter(
        tenant=workspace.tenant,
        meter_id=workspace.meter.id,
        actor=ACTOR,
        code="tokens",
        name="All tokens",
        aggregation="count",
        dimensions=["tool"],
    )

    meter.refresh_from_db()
    assert (meter.name, meter.aggregation, meter.dimensions) == ("All tokens", "count", ["tool"])
    assert AuditEntry.objects.get(action="meter.updated").changes == {
        "name": ["Tokens", "All tokens"],
        "aggregation": ["sum", "count"],
        "dimensions": [["model"], ["tool"]],
    }
    with pytest.raises(Invalid) as refusal:
        update_meter(tenant=workspace.tenant, meter_id=meter.id, actor=ACTOR, code="other")
    assert refusal.value.errors[0]["code"] == "immutable"


def test_update_meter__nothing_new__leaves_no_trace() -> None:
    workspace = Workspace.make()

    update_meter(tenant=workspace.tenant, meter_id=workspace.meter.id, actor=ACTOR, name="Tokens")

    assert AuditEntry.objects.count() == 0
    assert _epoch(workspace) == 0


@pytest.mark.parametrize("changes", [{"aggregation": "count"}, {"dimensions": []}, {"dimensions": ["tool"]}])
def test_update_meter__after_an_event__what_it_counts_stays(changes: dict[str, Any]) -> None:
    workspace = Workspace.make()
    workspace.use("1")

    with pytest.raises(Conflict) as refusal:
        update_meter(tenant=workspace.tenant, meter_id=workspace.meter.id, actor=ACTOR, **changes)

    assert refusal.value.code == "meter_has_events"
    workspace.meter.refresh_from_db()
    assert (workspace.meter.aggregation, workspace.meter.dimensions) == ("sum", ["model"])


def test_update_meter__after_an_event__dimensions_can_be_added() -> None:
    workspace = Workspace.make()
    workspace.use("1")

    meter = update_meter(
        tenant=workspace.tenant, meter_id=workspace.meter.id, actor=ACTOR, dimensions=["tool", "model"], unit="t"
    )

    assert (meter.dimensions, meter.unit) == (["tool", "model"], "t")


def test_update_meter__dimension_that_a_quota_filters_by__stays() -> None:
    workspace = Workspace.make()
    workspace.quota(only={"model": "large"})

    with pytest.raises(Conflict) as refusal:
        update_meter(tenant=workspace.tenant, meter_id=workspace.meter.id, actor=ACTOR, dimensions=[])

    assert refusal.value.code == "dimension_in_use"


def test_archive_meter__in_use__conflicts_then_is_unknown() -> None:
    workspace = Workspace.make()
    quota = workspace.quota()

    with pytest.raises(Conflict) as refusal:
        archive_meter(tenant=workspace.tenant, meter_id=workspace.meter.id, actor=ACTOR)
    assert (refusal.value.code, refusal.value.extra) == (
        "meter_in_use",
        {"quotas": 1, "prices": 0, "rate_cards": 0},
    )

    quota.archived_at = datetime(2026, 11, 1, tzinfo=UTC)
    quota.save()
    archive_meter(tenant=workspace.tenant, meter_id=workspace.meter.id, actor=ACTOR)
    archive_meter(tenant=workspace.tenant, meter_id=workspace.meter.id, actor=ACTOR)

    assert find_meter(workspace.tenant, "tokens") is None
    assert AuditEntry.objects.filter(action="meter.archived").count() == 1
    with pytest.raises(Conflict):
        update_meter(tenant=workspace.tenant, meter_id=workspace.meter.id, actor=ACTOR, name="New")


def test_meters__of_another_tenant__are_not_there() -> None:
    mine, foreign = Workspace.make(), Workspace.make("other-vendor")

    with pytest.raises(NotFound):
        update_meter(tenant=mine.tenant, meter_id=foreign.meter.id, actor=ACTOR, name="Mine")
    with pytest.raises(NotFound):
        archive_meter(tenant=mine.tenant, meter_id=foreign.meter.id, actor=ACTOR)
    with pytest.raises(Invalid) as refusal:
        resolve_meter(mine.tenant, foreign.meter.public_id)
    assert refusal.value.errors[0]["code"] == "unknown_meter"
    assert resolve_meter(mine.tenant, mine.meter.public_id) == mine.meter
    assert find_meter(mine.tenant, encode_id("lic", mine.meter.id)) is None
