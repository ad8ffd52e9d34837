"""Signing keys, the signed licences that were handed out, and licence files."""

from __future__ import annotations

from typing import ClassVar

from django.http import HttpResponse

from common.ids import Prefix
from licenses.selectors.lookup import get_license
from licenses.selectors.signing import signing_keys_of, tokens_of
from licenses.services.license_files import export_license_file
from metering.services import leases
from tenants.domain.scopes import Scope
from vendor_api.filters.signing import SigningKeyFilter, TokenFilter
from vendor_api.operations import Operation, Resource
from vendor_api.serializers.common import ReasonBody
from vendor_api.serializers.signing import (
    FILE_EXAMPLE,
    ROTATE_EXAMPLE,
    LicenseFileBody,
    LicenseFileShape,
    RotateBody,
    SigningKeyShape,
    TokenShape,
)
from vendor_api.views.base import VendorView

_TAG = "Signed licences"

SIGNING_KEYS = Resource(
    one="signing key",
    many="signing keys",
    tag=_TAG,
    shape=SigningKeyShape,
    read=Scope.SIGNING_KEYS_READ,
    write=Scope.SIGNING_KEYS_WRITE,
)
TOKENS = Resource(
    one="token", many="tokens", tag=_TAG, shape=TokenShape, read=Scope.TOKENS_READ, write=Scope.TOKENS_WRITE
)


class SigningKeysView(VendorView):
    """/signing-keys"""

    operations: ClassVar = {"GET": SIGNING_KEYS.list(SigningKeyFilter)}

    def get(self) -> HttpResponse:
        return self.page(signing_keys_of(self.tenant))


class SigningKeyView(VendorView):
    """/signing-keys/{id}"""

    operations: ClassVar = {"GET": SIGNING_KEYS.retrieve()}

    def get(self, id: str) -> HttpResponse:
        return self.show(self.find(signing_keys_of(self.tenant), Prefix.SIGNING_KEY, id))


class RotateSigningKeyView(VendorView):
    """/signing-keys/rotate"""

    operations: ClassVar = {
        "POST": Operation(
            name="rotate_signing_key",
            summary="Sign with a new key from now on",
            description=(
                "Answers the new key. The old one stays in the key set until the last token that it signed has died;"
                " with `compromised` it leaves at once, and every token that it signed is revoked. Each call rotates"
                " once more, so send an Idempotency-Key."
            ),
            tag=_TAG,
            scope=Scope.SIGNING_KEYS_WRITE,
            answer=SigningKeyShape,
            body=RotateBody,
            example=ROTATE_EXAMPLE,
        )
    }

    def post(self) -> HttpResponse:
        return self.show(leases.rotate_signing_key(**self.who(), **self.body))


class RevokeSigningKeyView(VendorView):
    """/signing-keys/{id}/revoke"""

    operations: ClassVar = {
        "POST": SIGNING_KEYS.act(
            "revoke",
            ReasonBody,
            description=(
                "A compromised key: it leaves the key set at once and every token that it signed is revoked. If it"
                " was the one that signs, a new one takes its place."
            ),
        )
    }

    def post(self, id: str) -> HttpResponse:
        key = self.find(signing_keys_of(self.tenant), Prefix.SIGNING_KEY, id)
        return self.show(leases.revoke_signing_key(**self.who(), signing_key_id=key.id, **self.body))


class TokensView(VendorView):
    """/tokens"""

    operations: ClassVar = {"GET": TOKENS.list(TokenFilter)}

    def get(self) -> HttpResponse:
        return self.page(tokens_of(self.tenant))


class TokenView(VendorView):
    """/tokens/{id}"""

    operations: ClassVar = {"GET": TOKENS.retrieve()}

    def get(self, id: str) -> HttpResponse:
        return self.show(self.find(tokens_of(self.tenant), Prefix.TOKEN, id))


class RevokeTokenView(VendorView):
    """/tokens/{id}/revoke"""

    operations: ClassVar = {
        "POST": TOKENS.act(
            "revoke",
            ReasonBody,
            description="For good: the status list says so when this answers. A lease that it carries is given back.",
        )
    }

    def post(self, id: str) -> HttpResponse:
        token = self.find(tokens_of(self.tenant), Prefix.TOKEN, id)
        return self.show(leases.revoke_token(**self.who(), token_id=token.id, **self.body))


class LicenseFileView(VendorView):
    """/licenses/{id}/file"""

    operations: ClassVar = {
        "POST": Operation(
            name="export_license_file",
            summary="A signed licence as a file, for a machine that never connects",
            description=(
                "It ends with the license or a grant of it at the latest, is listed among the tokens, and can be"
                " revoked for whoever reads the status list. A license that does not hold is 409 with the reason's"
                " code, one of kind opaque 409 `license_not_signed`."
            ),
            tag=_TAG,
            scope=Scope.LICENSES_WRITE,
            answer=LicenseFileShape,
            body=LicenseFileBody,
            status=201,
            refusals=(404, 409),
            example=FILE_EXAMPLE,
        )
    }

    def post(self, id: str) -> HttpResponse:
        license = get_license(self.tenant, id)
        made = export_license_file(**self.who(), license_id=license.id, **self.body)
        return self.show(
            {
                "file": made.text,
                "token": made.token_text,
                "token_id": made.token.id,
                "fingerprint": made.fingerprint,
                "expires_at": made.token.expires_at,
            }
        )
