"""How the operators' admin looks and is found one's way in (django-unfold)."""

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy

#: The order of the house.
APPS = ("tenants", "licenses", "metering", "webhooks")


def _page(title: str, icon: str, app: str, model: str) -> dict[str, Any]:
    """A link of the side bar, for operators who may see what it leads to."""

    def may_see(request: HttpRequest) -> bool:
        return any(request.user.has_perm(f"{app}.{verb}_{model}") for verb in ("view", "change"))

    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{app}_{model}_changelist"),
        "permission": may_see,
    }


def _section(title: str, *pages: dict[str, Any], collapsible: bool = False) -> dict[str, Any]:
    return {"title": title, "separator": True, "collapsible": collapsible, "items": list(pages)}


NAVIGATION = [
    _section(
        "Who",
        _page("Workspaces", "domain", "tenants", "tenant"),
        _page("Customers", "groups", "tenants", "customer"),
        _page("API keys", "key", "tenants", "apikey"),
        _page("Users", "person", "tenants", "user"),
        _page("Memberships", "badge", "tenants", "membership"),
        _page("Invitations", "mail", "tenants", "invitation"),
        _page("Audit trail", "history", "tenants", "auditentry"),
        _page("Jobs", "work_history", "tenants", "job"),
    ),
    _section(
        "Is it allowed",
        _page("Licences", "verified_user", "licenses", "license"),
        _page("Agents", "smart_toy", "licenses", "agent"),
        _page("Agent keys", "vpn_key", "licenses", "agentkey"),
        _page("Runaway incidents", "crisis_alert", "metering", "runawayincident"),
        _page("Activations", "devices", "licenses", "activation"),
        _page("Products", "inventory_2", "licenses", "product"),
        _page("Plans", "sell", "licenses", "plan"),
        _page("Features", "toggle_on", "licenses", "feature"),
    ),
    _section(
        "How much",
        _page("Overages", "request_quote", "metering", "overagerecord"),
        _page("Events", "list_alt", "metering", "usageevent"),
        _page("Meters", "speed", "metering", "meter"),
        _page("Quotas", "data_usage", "metering", "quota"),
        _page("Balances", "account_balance", "metering", "balance"),
        _page("Holds", "lock_clock", "metering", "hold"),
        _page("Top-ups", "add_card", "metering", "topup"),
        _page("Prices", "payments", "metering", "price"),
    ),
    _section(
        "Webhooks",
        _page("Endpoints", "webhook", "webhooks", "webhookendpoint"),
        _page("Deliveries", "outgoing_mail", "webhooks", "webhookdelivery"),
        _page("Outbox", "outbox", "tenants", "outboxevent"),
    ),
    _section(
        "Records",
        _page("Signing keys", "draw", "licenses", "signingkey"),
        _page("Issued tokens", "token", "licenses", "issuedtoken"),
        _page("Roll-ups", "stacked_bar_chart", "metering", "usagerollup"),
        _page("Late entries", "schedule", "metering", "lateentry"),
        _page("Event ids", "fingerprint", "metering", "eventid"),
        _page("Runaway policies", "policy", "metering", "runawaypolicy"),
        _page("Call profiles", "monitoring", "metering", "callprofile"),
        _page("Seals", "approval", "tenants", "auditseal"),
        _page("Epochs", "update", "tenants", "epoch"),
        _page("Operators' log", "receipt_long", "admin", "logentry"),
        _page("Groups", "shield_person", "auth", "group"),
        collapsible=True,
    ),
]


def index(_request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The first page lists apps in the order of the house, what belongs to no room last."""

    def place(app: dict[str, Any]) -> int:
        return APPS.index(app["app_label"]) if app["app_label"] in APPS else len(APPS)

    return {**context, "app_list": sorted(context["app_list"], key=place), "title": "Operators"}


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Permeter",
    "SITE_HEADER": "Permeter",
    "SITE_SUBHEADER": "Operators, times in UTC",
    "SITE_SYMBOL": "speed",
    "SITE_URL": "/",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda _request: static("permeter/mark.svg")},
    ],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "BORDER_RADIUS": "6px",
    "STYLES": [lambda _request: static("permeter/css/admin.css")],
    "DASHBOARD_CALLBACK": "licensing_site.unfold.index",
    "COMMAND": {"search_callback": "tenants.admin.finding.find", "show_history": False},
    "SIDEBAR": {
        "show_search": True,
        "command_search": True,
        "show_all_applications": True,
        "navigation": NAVIGATION,
    },
    # Indigo, as everywhere in Permeter.
    "COLORS": {
        "primary": {
            "50": "oklch(96.2% .018 272.314)",
            "100": "oklch(93% .034 272.788)",
            "200": "oklch(87% .065 274.039)",
            "300": "oklch(78.5% .115 274.713)",
            "400": "oklch(67.3% .182 276.935)",
            "500": "oklch(58.5% .233 277.117)",
            "600": "oklch(51.1% .262 276.966)",
            "700": "oklch(45.7% .24 277.023)",
            "800": "oklch(39.8% .195 277.366)",
            "900": "oklch(35.9% .144 278.697)",
            "950": "oklch(25.7% .09 281.288)",
        },
    },
}
