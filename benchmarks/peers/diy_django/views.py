"""authorize: key, rate limits, idempotency key, three quotas checked and counted, a durable event."""

from typing import Any

from django.db import transaction
from django.db.models import F
from django_ratelimit.core import is_ratelimited
from rest_framework import serializers
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_api_key.permissions import KeyParser

from benchmarks.peers.diy_django.models import AgentKey, Quota, UsageEvent

RATE = "6000000/m"


class QuotaExceeded(Exception):
    """Undoes the event that was written first."""


class UsageSerializer(serializers.Serializer[Any]):
    meter = serializers.CharField(max_length=50)
    quantity = serializers.DecimalField(max_digits=24, decimal_places=6, min_value=0)


class AuthorizeSerializer(serializers.Serializer[Any]):
    id = serializers.CharField(max_length=100)
    usage = UsageSerializer(many=True, allow_empty=False, max_length=1)


class HasAgentKey(BasePermission):
    """The package's check, with all that the view needs fetched in the same query."""

    parser = KeyParser()

    def has_permission(self, request: Request, view: Any) -> bool:
        text = self.parser.get(request) or ""
        found = (
            AgentKey.objects.get_usable_keys()
            .select_related("agent__license")
            .filter(prefix=text.partition(".")[0])
            .first()
        )
        if found is None or not found.is_valid(text) or found.has_expired or not found.agent.license.active:
            return False
        view.agent = found.agent
        return True


class AuthorizeView(APIView):
    permission_classes = [HasAgentKey]

    def post(self, request: Request) -> Response:
        agent = self.agent
        for level, subject_id in (("agent", agent.id), ("license", agent.license_id)):
            limited = is_ratelimited(
                request, group=level, key=lambda *_, of=subject_id: str(of), rate=RATE, increment=True
            )
            if limited:
                return Response({"allowed": False, "code": "rate_limited"}, status=429)
        asked = AuthorizeSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        [usage] = asked.validated_data["usage"]
        try:
            replayed = _count(agent, asked.validated_data["id"], usage["meter"], usage["quantity"])
        except QuotaExceeded:
            return Response({"allowed": False, "code": "quota_exceeded"})
        return Response({"allowed": True, "replayed": replayed, "id": asked.validated_data["id"]})


def _count(agent: Any, id: str, meter: str, quantity: Any) -> bool:
    """Count it on three levels in one transaction; True where it was counted before."""
    levels = (("agent", agent.id), ("license", agent.license_id), ("customer", agent.license.customer_id))
    with transaction.atomic():
        _, created = UsageEvent.objects.get_or_create(
            license_id=agent.license_id,
            idempotency_key=id,
            defaults={"agent_id": agent.id, "meter": meter, "quantity": quantity},
        )
        if not created:
            return True
        for level, subject_id in levels:
            counted = Quota.objects.filter(
                meter=meter, level=level, subject_id=subject_id, used__lte=F("limit") - quantity
            ).update(used=F("used") + quantity)
            if not counted:
                raise QuotaExceeded
    return False
