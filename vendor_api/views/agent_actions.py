"""Suspend, resume, revoke and throttle: an agent, a subtree, all of a licence's or of a customer's agents."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.http import HttpResponse

from licenses.selectors.lookup import get_agent, get_customer, get_license
from licenses.services import agent_groups
from licenses.services.agent_groups import Whom
from licenses.services.throttles import read_throttle
from tenants.domain.scopes import Scope
from vendor_api.operations import Operation
from vendor_api.serializers.agent_actions import (
    ActedAgentShape,
    AgentActionBody,
    AgentsChangedShape,
    RevokeAgentBody,
    ThrottleAgentBody,
    ThrottleAgentsBody,
)
from vendor_api.serializers.base import Beside, Body
from vendor_api.serializers.common import ReasonBody
from vendor_api.views.agents import AGENTS
from vendor_api.views.base import VendorView

_FOR_GOOD = "For good, with all agents below: their keys are dead when this answers."
_SUBTREE = " With `subtree` all agents below it, too, each by itself."
_THROTTLE = (
    "A further rate limit that holds for `for` seconds, or until `until`, or until it is lifted by a `limit` of null or"
    " by resuming. It never loosens another limit."
)


class _ActionView(VendorView):
    """What all of them share; `self.body` is what was asked."""

    def act(self, verb: str, whom: Whom) -> int:
        """Do it; how many agents changed."""
        asked: dict[str, Any] = dict(self.body)
        asked.pop("subtree", None)
        given = {"whom": whom, "reason": asked.pop("reason"), **self.who()}
        match verb:
            case "suspend":
                return agent_groups.suspend_agents(**given)
            case "resume":
                return agent_groups.resume_agents(**given)
            case "revoke":
                return agent_groups.revoke_agents(**given)
        asked["seconds"] = asked.pop("for", None)
        return agent_groups.throttle_agents(**given, throttle=read_throttle(self.tenant, **asked))


class _AgentActionView(_ActionView):
    verb: ClassVar[str]

    def post(self, id: str) -> HttpResponse:
        agent = get_agent(self.tenant, id)
        changed = self.act(self.verb, Whom(agent_id=agent.id, subtree=self.body["subtree"]))
        return self.show(Beside(get_agent(self.tenant, id), agents_changed=changed))


class SuspendAgentView(_AgentActionView):
    """/agents/{id}/suspend"""

    verb = "suspend"
    operations: ClassVar = {
        "POST": AGENTS.act(
            "suspend",
            AgentActionBody,
            answer=ActedAgentShape,
            description="Agents below it are refused with it; resuming it lets them go on." + _SUBTREE,
        )
    }


class ResumeAgentView(_AgentActionView):
    """/agents/{id}/resume"""

    verb = "resume"
    operations: ClassVar = {
        "POST": AGENTS.act(
            "resume", AgentActionBody, answer=ActedAgentShape, description="Lifts a throttle, too." + _SUBTREE
        )
    }


class RevokeAgentView(_AgentActionView):
    """/agents/{id}/revoke"""

    verb = "revoke"
    operations: ClassVar = {
        "POST": AGENTS.act("revoke", RevokeAgentBody, answer=ActedAgentShape, description=_FOR_GOOD)
    }


class ThrottleAgentView(_AgentActionView):
    """/agents/{id}/throttle"""

    verb = "throttle"
    operations: ClassVar = {
        "POST": AGENTS.act(
            "throttle",
            ThrottleAgentBody,
            answer=ActedAgentShape,
            description=_THROTTLE + _SUBTREE,
            example={"limit": 10, "window": 60, "for": 3600, "reason": "runs wild"},
        )
    }


def _operation(verb: str, of: str, body: type[Body], description: str) -> Operation:
    return Operation(
        name=f"{verb}_agents_of_{of}",
        summary=f"{verb.capitalize()} all agents of a {of}",
        tag=AGENTS.tag,
        scope=Scope.AGENTS_WRITE,
        body=body,
        answer=AgentsChangedShape,
        refusals=(404, 409),
        description=description,
    )


def _operations(of: str) -> dict[str, Operation]:
    return {
        "suspend": _operation("suspend", of, ReasonBody, "Each active one; others stay as they are."),
        "resume": _operation("resume", of, ReasonBody, "Ends suspensions and throttles."),
        "revoke": _operation("revoke", of, ReasonBody, "For good: their keys are dead when this answers."),
        "throttle": _operation("throttle", of, ThrottleAgentsBody, _THROTTLE),
    }


_OF_LICENSE, _OF_CUSTOMER = _operations("license"), _operations("customer")


class _LicenseAgentsView(_ActionView):
    verb: ClassVar[str]

    def post(self, id: str) -> HttpResponse:
        license_id: UUID = get_license(self.tenant, id).id
        return self.show({"agents_changed": self.act(self.verb, Whom(license_id=license_id))})


class _CustomerAgentsView(_ActionView):
    verb: ClassVar[str]

    def post(self, id: str) -> HttpResponse:
        customer_id: UUID = get_customer(self.tenant, id).id
        return self.show({"agents_changed": self.act(self.verb, Whom(customer_id=customer_id))})


class SuspendAgentsOfLicenseView(_LicenseAgentsView):
    """/licenses/{id}/agents/suspend"""

    verb = "suspend"
    operations: ClassVar = {"POST": _OF_LICENSE["suspend"]}


class ResumeAgentsOfLicenseView(_LicenseAgentsView):
    """/licenses/{id}/agents/resume"""

    verb = "resume"
    operations: ClassVar = {"POST": _OF_LICENSE["resume"]}


class RevokeAgentsOfLicenseView(_LicenseAgentsView):
    """/licenses/{id}/agents/revoke"""

    verb = "revoke"
    operations: ClassVar = {"POST": _OF_LICENSE["revoke"]}


class ThrottleAgentsOfLicenseView(_LicenseAgentsView):
    """/licenses/{id}/agents/throttle"""

    verb = "throttle"
    operations: ClassVar = {"POST": _OF_LICENSE["throttle"]}


class SuspendAgentsOfCustomerView(_CustomerAgentsView):
    """/customers/{id}/agents/suspend"""

    verb = "suspend"
    operations: ClassVar = {"POST": _OF_CUSTOMER["suspend"]}


class ResumeAgentsOfCustomerView(_CustomerAgentsView):
    """/customers/{id}/agents/resume"""

    verb = "resume"
    operations: ClassVar = {"POST": _OF_CUSTOMER["resume"]}


class RevokeAgentsOfCustomerView(_CustomerAgentsView):
    """/customers/{id}/agents/revoke"""

    verb = "revoke"
    operations: ClassVar = {"POST": _OF_CUSTOMER["revoke"]}


class ThrottleAgentsOfCustomerView(_CustomerAgentsView):
    """/customers/{id}/agents/throttle"""

    verb = "throttle"
    operations: ClassVar = {"POST": _OF_CUSTOMER["throttle"]}
