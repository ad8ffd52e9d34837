"""Which activation stands for the machine or copy that a caller says to be: read anew for every call, in one query.

A snapshot says only whether a licence has activations at all, so that those without cost nothing. What is released is
gone for the next call, with no epoch in between.
"""

from collections.abc import Sequence

from agent_api.use_cases.callers import KnownCaller
from agent_api.wire.answers import ActivationBody
from agent_api.wire.shapes import public_id
from common.errors import Invalid
from common.ids import Prefix
from licenses.domain.facts import ActivationFacts
from licenses.selectors.activations import AskedActivation, find_activations


def standing_activations(
    callers: Sequence[tuple[KnownCaller, str | None, str | None]],
) -> list[ActivationFacts | None]:
    """The activation for each (caller, fingerprint, instance), in order; nothing is read where nothing can be found."""
    asked: dict[int, AskedActivation] = {}
    for place, (known, fingerprint, instance) in enumerate(callers):
        if (fingerprint is None and instance is None) or not known.access.facts.has_activations:
            continue
        access = known.access
        asked[place] = AskedActivation(
            access.tenant_id, access.facts.license.id, access.agent_id, fingerprint, instance
        )
    found = dict(zip(asked, find_activations(list(asked.values())), strict=True)) if asked else {}
    return [found.get(place) for place in range(len(callers))]


def check_names(known: KnownCaller, fingerprint: str | None, instance: str | None) -> Invalid | None:
    """Why a caller cannot be both, or no copy of an agent."""
    if instance is None:
        return None
    if fingerprint is not None:
        return Invalid.field("instance", "one_of", "An activation is for a machine or for a copy: send one of the two.")
    if not known.access.agent_path:
        return Invalid.field("instance", "only_for_agents", "Copies are told apart below an agent: use an agent's key.")
    return None


def activation_body(activation: ActivationFacts | None) -> ActivationBody | None:
    """The activation as `validate` shows it."""
    if activation is None:
        return None
    return ActivationBody(
        id=public_id(Prefix.ACTIVATION, activation.id),
        fingerprint=activation.fingerprint,
        instance=activation.instance,
        expires_at=activation.expires_at,
    )
