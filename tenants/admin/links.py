"""From public ids to the operators' pages of what they name."""

from uuid import UUID

from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from common.ids import Prefix, encode_id, parse_any_id

#: The page of each kind of id. Names of pages only: apps above this one are not imported.
PAGES: dict[str, str] = {
    Prefix.TENANT: "tenants_tenant",
    Prefix.USER: "tenants_user",
    Prefix.MEMBERSHIP: "tenants_membership",
    Prefix.INVITATION: "tenants_invitation",
    Prefix.CUSTOMER: "tenants_customer",
    Prefix.API_KEY: "tenants_apikey",
    Prefix.AUDIT: "tenants_auditentry",
    Prefix.MESSAGE: "tenants_outboxevent",
    Prefix.JOB: "tenants_job",
    Prefix.PRODUCT: "licenses_product",
    Prefix.FEATURE: "licenses_feature",
    Prefix.PLAN: "licenses_plan",
    Prefix.LICENSE: "licenses_license",
    Prefix.AGENT: "licenses_agent",
    Prefix.AGENT_KEY: "licenses_agentkey",
    Prefix.ACTIVATION: "licenses_activation",
    Prefix.SIGNING_KEY: "licenses_signingkey",
    Prefix.TOKEN: "licenses_issuedtoken",
    Prefix.METER: "metering_meter",
    Prefix.QUOTA: "metering_quota",
    Prefix.PRICE: "metering_price",
    Prefix.HOLD: "metering_hold",
    Prefix.EVENT: "metering_usageevent",
    Prefix.TOP_UP: "metering_topup",
    Prefix.OVERAGE: "metering_overagerecord",
    Prefix.BALANCE: "metering_balance",
    Prefix.RUNAWAY_POLICY: "metering_runawaypolicy",
    Prefix.RUNAWAY_INCIDENT: "metering_runawayincident",
    Prefix.ENDPOINT: "webhooks_webhookendpoint",
    Prefix.DELIVERY: "webhooks_webhookdelivery",
}

#: Whom quotas, balances and overages are about, by scope.
SUBJECTS: dict[str, Prefix] = {
    "agent": Prefix.AGENT,
    "license": Prefix.LICENSE,
    "customer": Prefix.CUSTOMER,
    "tenant": Prefix.TENANT,
}


def page_of(prefix: str, id: UUID) -> str | None:
    """The address of a row's page; None for a kind that has none."""
    name = PAGES.get(prefix)
    if name is None:
        return None
    try:
        return reverse(f"admin:{name}_change", args=[id])
    except NoReverseMatch:
        return None


def id_link(prefix: str, id: UUID | None, text: object = None) -> SafeString:
    """A public id (or `text`) that leads to its page."""
    if id is None:
        return code("–")
    public_id = encode_id(prefix, id)
    url = page_of(prefix, id)
    shown = code(public_id) if text is None else format_html("{}", text)
    return format_html('<a href="{}" class="text-link" title="{}">{}</a>', url, public_id, shown) if url else shown


def public_id_link(text: str) -> SafeString:
    """A link for a text that is a public id; any other text as it is."""
    parsed = parse_any_id(text)
    return id_link(*parsed) if parsed else code(text or "–")


def subject_link(scope: str, id: UUID) -> SafeString:
    """Whom a quota of this scope is about."""
    return id_link(SUBJECTS[scope], id) if scope in SUBJECTS else code(str(id))


def short_code(public_id: str) -> SafeString:
    """A public id as lists show it: its kind and its end, all of it in the title."""
    prefix, _, rest = public_id.partition("_")
    return format_html('<span class="pm-code" title="{}">{}_…{}</span>', public_id, prefix, rest[-6:])


def code(text: object) -> SafeString:
    """Ids, hints and hashes: in letters of one width."""
    return format_html('<span class="pm-code">{}</span>', text)
