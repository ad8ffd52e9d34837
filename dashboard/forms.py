"""Forms of the dashboard; what they hold is checked again by the services that they call."""

from __future__ import annotations

from typing import Final
from zoneinfo import available_timezones

from django import forms
from django.utils.text import slugify

from tenants.domain.enums import ApiKeyKind
from tenants.domain.slugs import RESERVED_SLUGS

MAX_SLUG: Final = 48
CURRENCIES: Final = {
    "USD": "US dollar",
    "EUR": "Euro",
    "GBP": "Pound sterling",
    "CHF": "Swiss franc",
    "SEK": "Swedish krona",
    "NOK": "Norwegian krone",
    "DKK": "Danish krone",
    "PLN": "Polish zloty",
    "CZK": "Czech koruna",
    "JPY": "Japanese yen",
    "INR": "Indian rupee",
    "SGD": "Singapore dollar",
    "AUD": "Australian dollar",
    "CAD": "Canadian dollar",
    "BRL": "Brazilian real",
    "ZAR": "South African rand",
}


def timezones() -> list[tuple[str, str]]:
    """Timezones by the names of their places; UTC first."""
    places = sorted(name for name in available_timezones() if "/" in name and not name.startswith(("Etc/", "SystemV/")))
    return [("UTC", "UTC"), *((name, name.replace("_", " ")) for name in places)]


class StartForm(forms.Form):
    """What a new workspace needs to be told."""

    name = forms.CharField(
        label="Name of the workspace",
        max_length=200,
        help_text="Your company or product. Customers do not see it.",
        widget=forms.TextInput(attrs={"autofocus": True, "autocomplete": "organization"}),
    )
    timezone = forms.ChoiceField(
        label="Timezone",
        choices=timezones,
        help_text="Days and months of usage begin by it. It cannot be changed later.",
        widget=forms.Select(attrs={"data-guess-timezone": True}),
    )
    currency = forms.ChoiceField(
        label="Currency",
        choices=[(code, f"{code} · {name}") for code, name in CURRENCIES.items()],
        help_text="Of prices and overage. It cannot be changed later.",
    )

    def clean_name(self) -> str:
        """A name that leaves nothing for its address is refused by nobody: the address is made up then."""
        name: str = self.cleaned_data["name"].strip()
        return name


class ApiKeyForm(forms.Form):
    """What a new API key needs to be told."""

    name = forms.CharField(
        label="Name",
        max_length=200,
        help_text="Where it is used, such as “billing backend”, so that you know it later.",
    )
    kind = forms.ChoiceField(
        label="Kind",
        choices=[
            (ApiKeyKind.SECRET.value, "Secret: for your backend, may do everything"),
            (ApiKeyKind.PUBLISHABLE.value, "Publishable: for shipped software, may validate and activate only"),
        ],
    )


def slug_for(name: str) -> str:
    """The address part for a workspace's name: `acme-robotics`; never one that names a page."""
    slug = slugify(name).replace("_", "-")[:MAX_SLUG].strip("-") or "workspace"
    return f"{slug}-workspace" if slug in RESERVED_SLUGS else slug
