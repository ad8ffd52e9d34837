"""What to type first, for pages that are still empty."""

from __future__ import annotations

from django.conf import settings


def snippets() -> dict[str, str]:
    """curl calls for a first meter, licence and agent, with this server's address."""
    return {
        "first_meter": _post("meters", '{"code": "tokens", "name": "Tokens", "unit": "token", "aggregation": "sum"}'),
        "first_license": _post("licenses", '{"customer": {"external_id": "acme", "name": "Acme"}, "plan": "pro"}'),
        "first_agent": _post("agents", '{"license": "lic_...", "name": "writer"}'),
    }


def _post(resource: str, body: str) -> str:
    return (
        f"curl -X POST {settings.BASE_URL}/vendor/v1/{resource} \\\n"
        '  -H "Authorization: Bearer $SECRET_KEY" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"  -d '{body}'"
    )
