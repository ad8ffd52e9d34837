"""Is it allowed: products, plans, licences, agents, activations, signed licences."""

from licenses.models.agents import Activation, Agent, AgentKey
from licenses.models.catalogue import Feature, Plan, PlanGrant, Product
from licenses.models.license import License, LicenseGrant, LicensePlan
from licenses.models.signing import IssuedToken, SigningKey
from licenses.models.transfer import LicenseTransfer

__all__ = [
    "Activation",
    "Agent",
    "AgentKey",
    "Feature",
    "IssuedToken",
    "License",
    "LicenseGrant",
    "LicensePlan",
    "LicenseTransfer",
    "Plan",
    "PlanGrant",
    "Product",
    "SigningKey",
]
