"""The page of error codes lists what can be answered: neither more nor less."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

from rest_framework import serializers as drf

import vendor_api.serializers
from licenses.domain.enums import ReasonCode
from metering.domain.enums import HoldStatus
from tests.docs.error_codes import codes_in_source
from tests.docs.pages import first_column, page
from vendor_api.serializers.base import Body

PAGE = "docs/reference/error-codes.md"
#: What DRF calls the same as we do under another name, and what its fields say that ours refuse before.
RENAMED = {"not_a_list": "wrong_type"}
NEVER_REACHED = {"max_string_length", "min_length"}


def test_page_of_error_codes__compared_with_the_source__lists_exactly_what_can_be_answered() -> None:
    source = codes_in_source()
    known = source.keys() | _reasons() | _codes_of_forms() | _states_of_holds()
    listed = first_column(page(PAGE))

    missing = {code: source.get(code, "an enum or a form") for code in known - set(listed)}
    assert missing == {}, f"add these to {PAGE}"
    assert set(listed) - known == set(), f"nothing answers these any more; take them off {PAGE}"
    assert len(listed) == len(set(listed)), "a code is explained once"


def _reasons() -> set[str]:
    """`allowed` is no reason but the lack of one."""
    return {code.value for code in ReasonCode} | {"allowed"}


def _states_of_holds() -> set[str]:
    """A hold that is over says how, in the code."""
    return {f"hold_{status}" for status in HoldStatus if status is not HoldStatus.OPEN}


def _codes_of_forms() -> set[str]:
    """What the vendors' door's bodies can say of a field without a line of our own."""
    for module in pkgutil.iter_modules(vendor_api.serializers.__path__):
        importlib.import_module(f"vendor_api.serializers.{module.name}")
    codes = {code for body in _subclasses(Body) for field in _fields(body()) for code in field.error_messages}
    return {RENAMED.get(code, code) for code in codes - NEVER_REACHED}


def _subclasses(parent: type[Body]) -> Iterator[type[Body]]:
    for child in parent.__subclasses__():
        yield child
        yield from _subclasses(child)


def _fields(field: drf.Field) -> Iterator[drf.Field]:
    yield field
    inner = list(field.fields.values()) if isinstance(field, drf.Serializer) else [getattr(field, "child", None)]
    for each in inner:
        if each is not None:
            yield from _fields(each)
