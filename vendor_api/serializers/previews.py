"""What an edit would do, as answered."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from rest_framework import serializers

from common.ids import Prefix, encode_id
from licenses.domain.comparing import Effect
from metering.domain.previews import Change, Preview, QuotaName, Tally
from vendor_api.serializers.base import Shape
from vendor_api.serializers.fields import AnyField, FilterField, IdField

_EFFECTS = [each.value for each in Effect]


class QuotaNameShape(Shape):
    """What a quota counts."""

    meter = serializers.CharField()
    scope = serializers.CharField()
    period = serializers.CharField()
    filter = FilterField()


class _SubjectShape(Shape):
    """What changes: one of the three."""

    feature = serializers.CharField(allow_null=True, help_text="A feature's code.")
    quota = QuotaNameShape(allow_null=True)
    limit = serializers.CharField(allow_null=True, help_text="Another field of the plan or the licence.")
    effect = serializers.ChoiceField(choices=_EFFECTS)


class TallyShape(_SubjectShape):
    """How many licences a change does the same to."""

    licenses = serializers.IntegerField()


class ChangeShape(_SubjectShape):
    """One change for one licence."""

    license = IdField(Prefix.LICENSE)
    before = AnyField(help_text="As it is now; null: there is none.")
    after = AnyField(help_text="As it would be; null: there would be none.")


class PreviewShape(Shape):
    """What the edit would do. Nothing was written."""

    dry_run = serializers.BooleanField()
    licenses_affected = serializers.IntegerField()
    summary = TallyShape(many=True)
    changes = ChangeShape(many=True)
    next_cursor = serializers.CharField(allow_null=True, help_text="Of the licences after these; null: none.")

    def to_representation(self, instance: Preview) -> dict[str, Any]:
        return {
            "dry_run": True,
            "licenses_affected": instance.licenses_affected,
            "summary": [_tally(each) for each in instance.summary],
            "changes": [
                _change(license_id, each) for license_id, changes in instance.changes.items() for each in changes
            ],
            "next_cursor": instance.next_cursor,
        }


def _tally(tally: Tally) -> dict[str, Any]:
    return {
        "feature": tally.feature,
        "quota": _quota(tally.quota),
        "limit": tally.limit,
        "effect": tally.effect.value,
        "licenses": tally.licenses,
    }


def _change(license_id: UUID, change: Change) -> dict[str, Any]:
    return {
        "license": encode_id(Prefix.LICENSE, license_id),
        "feature": change.feature,
        "quota": _quota(change.quota),
        "limit": change.limit,
        "before": change.before,
        "after": change.after,
        "effect": change.effect.value,
    }


def _quota(name: QuotaName | None) -> dict[str, Any] | None:
    return None if name is None else {**name._asdict(), "filter": dict(name.filter)}
