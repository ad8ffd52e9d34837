"""The runaway guard's incidents, and setting them right."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpResponse

from common.ids import Prefix
from licenses.selectors.lookup import get_agent
from metering.domain.runaway import Measure, Rule
from metering.selectors.runaway import incidents_of
from metering.services.runaway_guard import standing_of
from metering.services.runaway_incidents import terms_of, undo_incident
from tenants.domain.scopes import Scope
from vendor_api.filters.runaway import RunawayIncidentFilter
from vendor_api.operations import Operation, Resource
from vendor_api.serializers.common import ReasonBody
from vendor_api.serializers.runaway import RunawayIncidentShape, RunawayStandingsShape
from vendor_api.views.base import VendorView

INCIDENTS = Resource(
    one="runaway incident",
    many="runaway incidents",
    tag="Runaway guard",
    shape=RunawayIncidentShape,
    read=Scope.RUNAWAY_INCIDENTS_READ,
    write=Scope.RUNAWAY_INCIDENTS_WRITE,
)
_UNDO = (
    "Takes back exactly what the guard did: resumes the agent that it suspended, or lifts the throttle that it set. "
    "What somebody has changed since stays. The agent's open incidents end, and their rules leave it alone for an hour."
)


class AgentRunawayView(VendorView):
    """/agents/{id}/runaway"""

    operations: ClassVar = {
        "GET": Operation(
            name="get_agent_runaway",
            summary="Read how an agent stands against the runaway guard's rules",
            description="Each rule that holds for it, its own or its plans', with what the guard sees now. An agent "
            "that is not active is not watched: nothing is listed.",
            tag=INCIDENTS.tag,
            scope=Scope.AGENTS_READ,
            answer=RunawayStandingsShape,
            refusals=(404,),
        )
    }

    def get(self, id: str) -> HttpResponse:
        agent = get_agent(self.tenant, id)
        standings = standing_of(tenant=self.tenant, agent_id=agent.id)
        return self.show({"data": [_standing(rule, measured) for rule, measured in standings]})


class RunawayIncidentsView(VendorView):
    """/runaway-incidents"""

    operations: ClassVar = {"GET": INCIDENTS.list(RunawayIncidentFilter)}

    def get(self) -> HttpResponse:
        return self.page(incidents_of(self.tenant.id))


class RunawayIncidentView(VendorView):
    """/runaway-incidents/{id}"""

    operations: ClassVar = {"GET": INCIDENTS.retrieve()}

    def get(self, id: str) -> HttpResponse:
        return self.show(self.find(incidents_of(self.tenant.id), Prefix.RUNAWAY_INCIDENT, id))


class UndoRunawayIncidentView(VendorView):
    """/runaway-incidents/{id}/undo"""

    operations: ClassVar = {
        "POST": INCIDENTS.act(
            "undo", ReasonBody, refusals=(404,), description=_UNDO, example={"reason": "A planned migration."}
        )
    }

    def post(self, id: str) -> HttpResponse:
        found = self.find(incidents_of(self.tenant.id), Prefix.RUNAWAY_INCIDENT, id)
        undo_incident(**self.who(), incident_id=found.pk, **self.body)
        return self.show(incidents_of(self.tenant.id).get(pk=found.pk))


def _standing(rule: Rule, measured: Measure | None) -> dict[str, Any]:
    terms = terms_of(rule)
    return {
        "terms": terms,
        "plan": terms["plan"],
        "observed": None if measured is None else measured.observed,
        "limit": None if measured is None else measured.threshold,
        "evidence": measured,
        "broken": measured is not None and measured.broken,
    }
