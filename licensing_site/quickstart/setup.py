"""Set the demo up, as far as it is not, and say how to get in: the content of `quickstart.json`."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from common.clock import real_clock
from common.crypto import license_key_digests, normalize_license_key, parse_key
from common.ids import Prefix, encode_id
from licenses.models import License
from licenses.selectors.access import load_by_agent_key
from licenses.services.agent_keys import create_agent_key
from licenses.services.issuing import rotate_license_key
from licensing_site.quickstart.catalogue import ensure_catalogue
from licensing_site.quickstart.customers import BUYERS, DEMO, Crew, ensure_crew
from licensing_site.quickstart.people import OPERATOR, VENDOR, ensure_login
from licensing_site.quickstart.usage import DAYS, record_month
from metering.services.partitions import maintain_partitions
from tenants.domain.actors import Actor, worker
from tenants.domain.enums import ApiKeyKind, TenantMode
from tenants.models import Tenant, User
from tenants.selectors.api_keys import authenticate
from tenants.services.api_keys import create_api_key
from tenants.services.workspaces import create_workspace

SLUG = "demo"
_STATE = "quickstart"


def set_up(known: Mapping[str, Any], *, say: Any = print) -> dict[str, Any]:
    """Make what is missing and return how to get in; `known` is what an earlier start wrote, or nothing.

    Secrets are shown once, so those of an earlier start are kept while they hold and replaced where they do not.
    """
    actor = worker("quickstart")
    maintain_partitions()
    _, operator = ensure_login(
        OPERATOR, known_password=_get(known, "operator", "password"), operator=True, name="Olga Operator"
    )
    owner, vendor = ensure_login(
        VENDOR, known_password=_get(known, "vendor", "password"), operator=False, name="Vera Vendor"
    )
    tenant = _workspace(actor, owner)
    ensure_catalogue(tenant, actor)
    until = _until(tenant)
    crews = [ensure_crew(tenant, actor, buyer, since=until - timedelta(days=DAYS + 1)) for buyer in BUYERS]
    if not tenant.settings[_STATE].get("recorded"):
        events = record_month(tenant, crews, until=until)
        _remember(tenant, recorded=True)
        say(f"recorded a month of usage: {events:,} events")
    crew = next(each for each in crews if each.buyer.external_id == DEMO)
    return {
        "base_url": settings.BASE_URL,
        "tenant": tenant.slug,
        "operator": operator._asdict(),
        "vendor": vendor._asdict(),
        "secret_key": _api_key(tenant, actor, known.get("secret_key"), kind=ApiKeyKind.SECRET),
        "test_secret_key": _api_key(tenant.test, actor, known.get("test_secret_key"), kind=ApiKeyKind.SECRET),
        "publishable_key": _api_key(tenant, actor, known.get("publishable_key"), kind=ApiKeyKind.PUBLISHABLE),
        "agent_key": _agent_key(tenant, actor, crew, known.get("agent_key")),
        "license_key": _license_key(tenant, actor, crew, known.get("license_key")),
        "license_id": encode_id(Prefix.LICENSE, crew.license_id),
        "agent_id": encode_id(Prefix.AGENT, crew.agents[crew.buyer.agents[1]]),
    }


def _workspace(actor: Actor, owner: User) -> Tenant:
    tenant = Tenant.objects.filter(slug=SLUG).first()
    if tenant is None:
        tenant = create_workspace(actor=actor, name="Demo Vendor", slug=SLUG, owner=owner)
    if not Tenant.objects.filter(live=tenant).exists():
        create_workspace(actor=actor, name="Demo Vendor (test)", slug=f"{SLUG}-test", mode=TenantMode.TEST, live=tenant)
    return tenant


def _until(tenant: Tenant) -> datetime:
    """Where the month of usage ends: fixed at the first start, so that a broken one goes on with the same events."""
    if _STATE not in tenant.settings:
        _remember(tenant, until=real_clock().now().replace(microsecond=0).isoformat())
    return datetime.fromisoformat(tenant.settings[_STATE]["until"]).astimezone(UTC)


def _remember(tenant: Tenant, **more: object) -> None:
    with transaction.atomic():
        locked = Tenant.objects.select_for_update().get(id=tenant.id)
        locked.settings = {**locked.settings, _STATE: {**locked.settings.get(_STATE, {}), **more}}
        locked.save(update_fields=["settings"])
    tenant.settings = locked.settings


def _api_key(tenant: Tenant, actor: Actor, known: str | None, *, kind: ApiKeyKind) -> str:
    if known and (found := authenticate(known)) is not None and found.tenant_id == tenant.id and found.kind == kind:
        return known
    scopes = ["*"] if kind == ApiKeyKind.SECRET else []
    return create_api_key(tenant=tenant, actor=actor, name=f"quickstart ({kind})", kind=kind, scopes=scopes).text


def _agent_key(tenant: Tenant, actor: Actor, crew: Crew, known: str | None) -> str:
    agent = crew.buyer.agents[1]
    parsed = parse_key(known) if known else None
    if known and parsed and (access := load_by_agent_key(parsed)) and access.agent_id == crew.agents[agent]:
        return known
    return crew.agent_keys.get(agent) or create_agent_key(tenant=tenant, agent_id=crew.agents[agent], actor=actor).text


def _license_key(tenant: Tenant, actor: Actor, crew: Crew, known: str | None) -> str:
    normalized = normalize_license_key(known) if known else None
    if known and normalized:
        digests = [digest for _, digest in license_key_digests(normalized)]
        if License.objects.for_tenant(tenant).filter(id=crew.license_id, key_digest__in=digests).exists():
            return known
    if crew.license_key:
        return crew.license_key
    rotated = rotate_license_key(tenant=tenant, license_id=crew.license_id, actor=actor, reason="quickstart")
    return rotated.license_key or ""


def _get(known: Mapping[str, Any], *path: str) -> Any:
    value: Any = known
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
