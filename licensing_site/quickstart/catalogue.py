"""What the demo vendor sells: a research agent in three plans, metered by token, call and task."""

from typing import Any

from licenses.models import Plan, Product
from licenses.services.catalogue import create_feature, create_product
from metering.models import Meter
from metering.services.meters import create_meter
from metering.services.plan_terms import create_plan_with_terms
from tenants.domain.actors import Actor
from tenants.models import Tenant

PRODUCT = "researcher"
STARTER, PRO, PER_TASK = "starter", "pro", "per_task"

FEATURES: list[dict[str, Any]] = [
    {"code": "web_search", "name": "Web search", "kind": "switch"},
    {"code": "max_tools", "name": "Tools at once", "kind": "limit"},
    {"code": "models", "name": "Models", "kind": "choice", "choices": ["small", "medium", "large"]},
]

METERS: list[dict[str, Any]] = [
    {"code": "tokens", "name": "Tokens", "unit": "token", "aggregation": "sum", "dimensions": ["model"]},
    {"code": "tool_calls", "name": "Tool calls", "unit": "call", "aggregation": "count", "dimensions": ["tool"]},
    {"code": "tasks", "name": "Finished tasks", "unit": "task", "aggregation": "sum", "dimensions": ["status"]},
]

PLANS: list[dict[str, Any]] = [
    {
        "code": STARTER,
        "name": "Starter: a hard cap",
        "term": {"months": 12},
        "agent_limit": 10,
        "grants": [
            {"feature": "web_search", "value": True},
            {"feature": "max_tools", "value": 5},
            {"feature": "models", "value": ["small"]},
        ],
        "quotas": [{"meter": "tokens", "limit": "400000", "period": "month", "mode": "hard"}],
    },
    {
        "code": PRO,
        "name": "Pro: tokens included, overage priced",
        "term": {"months": 12},
        "grace_days": 7,
        "grants": [
            {"feature": "web_search", "value": True},
            {"feature": "max_tools", "value": 20},
            {"feature": "models", "value": ["small", "medium", "large"]},
        ],
        "quotas": [{"meter": "tokens", "limit": "2000000", "period": "month", "mode": "soft"}],
        "prices": [{"meter": "tokens", "currency": "USD", "model": "per_unit", "unit_price": "0.000012"}],
    },
    {
        "code": PER_TASK,
        "name": "Pay per finished task",
        "grants": [
            {"feature": "web_search", "value": True},
            {"feature": "max_tools", "value": 10},
            {"feature": "models", "value": ["small", "large"]},
        ],
        "quotas": [{"meter": "tasks", "limit": "0", "period": "month", "mode": "soft"}],
        "prices": [{"meter": "tasks", "currency": "USD", "model": "per_unit", "unit_price": "0.35"}],
    },
]


def ensure_catalogue(tenant: Tenant, actor: Actor) -> None:
    """Product, features, meters and plans, as far as they are not there."""
    if not Product.objects.for_tenant(tenant).filter(code=PRODUCT).exists():
        product = create_product(tenant=tenant, actor=actor, code=PRODUCT, name="Researcher")
        for feature in FEATURES:
            create_feature(tenant=tenant, actor=actor, product=product, **feature)
    known = set(Meter.objects.for_tenant(tenant).values_list("code", flat=True))
    for meter in METERS:
        if meter["code"] not in known:
            create_meter(tenant=tenant, actor=actor, **meter)
    known = set(Plan.objects.for_tenant(tenant).values_list("code", flat=True))
    for plan in PLANS:
        if plan["code"] not in known:
            create_plan_with_terms(tenant=tenant, actor=actor, product=PRODUCT, **plan)
