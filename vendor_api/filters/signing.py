"""Filters of signing keys and of signed licences."""

from __future__ import annotations

from common.ids import Prefix
from licenses.domain.enums import SigningKeyStatus
from vendor_api.filters.base import IdFilter, ListFilter, SwitchFilter, TextFilter, TimeFilter, WordFilter
from vendor_api.filters.resources import KeyFilter, words


class SigningKeyFilter(ListFilter):
    """Signing keys."""

    status = WordFilter(choices=words(SigningKeyStatus))
    kid = TextFilter()


class TokenFilter(KeyFilter):
    """Signed licences; `status` is that of the token itself."""

    license = IdFilter(field_name="license_id", prefix=Prefix.LICENSE)
    agent = IdFilter(field_name="agent_id", prefix=Prefix.AGENT)
    signing_key = IdFilter(field_name="signing_key_id", prefix=Prefix.SIGNING_KEY)
    offline_file = SwitchFilter()
    expires_after = TimeFilter(field_name="expires_at", lookup_expr="gte")
    expires_before = TimeFilter(field_name="expires_at", lookup_expr="lt")
