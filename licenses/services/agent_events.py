"""What vendors are told about their agents."""

from collections.abc import Iterable

from licenses.models import Agent
from tenants.services.outbox import OutgoingEvent, emit_events


def emit_agent_event(type: str, agent: Agent, *, reason: str = "") -> None:
    """Tell of one agent; its licence and customer are loaded."""
    emit_agent_events(type, [agent], reason=reason)


def emit_agent_events(type: str, agents: Iterable[Agent], *, reason: str = "") -> None:
    """Tell of several agents, whose licences and customers are loaded, in one insert."""
    emit_events(
        OutgoingEvent(
            tenant_id=agent.tenant_id,
            type=type,
            subject=agent.public_id,
            data={
                "agent": agent.public_id,
                "license": agent.license.public_id,
                "customer": agent.license.customer.public_id,
                "status": agent.status,
                "reason": reason,
            },
        )
        for agent in agents
    )
