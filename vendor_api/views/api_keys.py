"""API keys."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpResponse

from common.errors import Forbidden
from common.ids import Prefix
from tenants.domain.scopes import Scope, exceeding_scopes
from tenants.selectors.listing import api_keys_of
from tenants.services import api_keys
from vendor_api.filters.resources import ApiKeyFilter
from vendor_api.operations import Resource
from vendor_api.serializers.api_keys import API_KEY_EXAMPLE, ApiKeyBody, ApiKeyShape, CreatedApiKeyShape
from vendor_api.serializers.base import Beside
from vendor_api.serializers.common import ReasonBody
from vendor_api.views.base import VendorView

API_KEYS = Resource(
    one="API key",
    many="API keys",
    tag="API keys",
    shape=ApiKeyShape,
    read=Scope.API_KEYS_READ,
    write=Scope.API_KEYS_WRITE,
    example=API_KEY_EXAMPLE,
)


class ApiKeyRoute(VendorView):
    """What both routes of keys share."""

    def handed_on(self) -> dict[str, Any]:
        """The body, if the caller has all of the scopes in it itself. Raises Forbidden `scope_exceeds_own`."""
        lacking = exceeding_scopes(self.caller.key.scopes, self.body.get("scopes", ()))
        if lacking:
            detail = f"A key can only hand on scopes that it has; this one lacks {', '.join(lacking)}."
            raise Forbidden("scope_exceeds_own", detail, extra={"scopes": lacking})
        sent: dict[str, Any] = self.body
        return sent


class ApiKeysView(ApiKeyRoute):
    """/api-keys"""

    operations: ClassVar = {
        "GET": API_KEYS.list(ApiKeyFilter),
        "POST": API_KEYS.create(
            ApiKeyBody,
            answer=CreatedApiKeyShape,
            description="The key is in this answer only. A scope that the caller lacks: 403 `scope_exceeds_own`.",
        ),
    }

    def get(self) -> HttpResponse:
        return self.page(api_keys_of(self.tenant.id))

    def post(self) -> HttpResponse:
        created = api_keys.create_api_key(**self.who(), **self.handed_on())
        return self.show(Beside(created.api_key, key=created.text))


class ApiKeyView(ApiKeyRoute):
    """/api-keys/{id}"""

    operations: ClassVar = {
        "GET": API_KEYS.retrieve(),
        "PATCH": API_KEYS.change(ApiKeyBody, description="The kind stays as it is."),
        "DELETE": API_KEYS.archive(
            name="delete_api_key", summary="Revoke an API key", description="For good; it stays readable by its id."
        ),
    }

    def get(self, id: str) -> HttpResponse:
        return self.show(self.find(api_keys_of(self.tenant.id), Prefix.API_KEY, id))

    def patch(self, id: str) -> HttpResponse:
        key = self.find(api_keys_of(self.tenant.id), Prefix.API_KEY, id)
        return self.show(api_keys.update_api_key(**self.who(), api_key_id=key.id, **self.handed_on()))

    def delete(self, id: str) -> HttpResponse:
        key = self.find(api_keys_of(self.tenant.id), Prefix.API_KEY, id)
        api_keys.revoke_api_key(**self.who(), api_key_id=key.id)
        return self.gone()


class RevokeApiKeyView(VendorView):
    """/api-keys/{id}/revoke"""

    operations: ClassVar = {"POST": API_KEYS.act("revoke", ReasonBody)}

    def post(self, id: str) -> HttpResponse:
        key = self.find(api_keys_of(self.tenant.id), Prefix.API_KEY, id)
        return self.show(api_keys.revoke_api_key(**self.who(), api_key_id=key.id, **self.body))
