"""Finding activations: those that answer a caller's fingerprint or instance, and those that a list is made of."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from django.db.models import Q

from licenses.domain.facts import ActivationFacts
from licenses.models import Activation
from licenses.selectors.access import AccessSnapshot
from tenants.models import TenantQuerySet


class AskedActivation(NamedTuple):
    """The machine or the agent's copy that somebody says to be; one of the two names is None."""

    tenant_id: UUID
    license_id: UUID
    agent_id: UUID | None
    fingerprint: str | None
    instance: str | None


def find_activations(asked: Sequence[AskedActivation]) -> list[ActivationFacts | None]:
    """The activation that stands for each of `asked`, lapsed ones too, in order and in one query; none for none."""
    if not asked:
        return []
    wanted = Q()
    fingerprints = {each.fingerprint for each in asked if each.fingerprint is not None}
    instances = {each.instance for each in asked if each.instance is not None}
    if fingerprints:
        wanted |= Q(fingerprint__in=fingerprints)
    if instances:
        agents = {each.agent_id for each in asked if each.instance is not None}
        wanted |= Q(instance__in=instances, agent_id__in=agents)
    rows = Activation.objects.filter(
        wanted,
        tenant_id__in={each.tenant_id for each in asked},
        license_id__in={each.license_id for each in asked},
        released_at__isnull=True,
    ).values_list("id", "tenant_id", "license_id", "agent_id", "fingerprint", "instance", "expires_at")
    found = {
        AskedActivation(tenant_id, license_id, agent_id if instance is not None else None, fingerprint, instance): (
            ActivationFacts(id=id, fingerprint=fingerprint, instance=instance, expires_at=expires_at)
        )
        for id, tenant_id, license_id, agent_id, fingerprint, instance, expires_at in rows
    }
    return [found.get(each if each.instance is not None else each._replace(agent_id=None)) for each in asked]


def activations_of(tenant_id: UUID) -> TenantQuerySet[Activation]:
    """All activations, released ones too."""
    return Activation.objects.for_tenant(tenant_id)


def activation_of(
    access: AccessSnapshot, fingerprint: str | None, instance: str | None = None
) -> ActivationFacts | None:
    """The activation that stands for one caller's machine or copy."""
    facts = access.facts
    if not facts.has_activations or (fingerprint is None and instance is None):
        return None
    [found] = find_activations(
        [AskedActivation(access.tenant_id, facts.license.id, access.agent_id, fingerprint, instance)]
    )
    return found
