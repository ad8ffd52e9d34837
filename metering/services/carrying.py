"""What a new balance begins with where its quota carries over what was left: worked out once, when it is made.

What changes in the period before later on, for as long as that is open, the ledger carries on in the same transaction.
So the periods before are locked here, and whoever counts in one of them after that finds the new balance.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import F

from metering.domain.allowances import carried_of
from metering.domain.enums import Scope
from metering.domain.numbers import EXACT, ZERO
from metering.domain.terms import CarryOver
from metering.models import Balance, Quota
from metering.selectors.carrying import Before, before, brought_into
from metering.services.array_literals import numbers
from metering.services.rolling import window_lock
from metering.services.specs import BalanceSpec
from tenants.services.locks import sorted_lock_numbers

_LOCK_MAKERS = "SELECT pg_advisory_xact_lock(number) FROM unnest(%s::bigint[]) AS wanted (number)"


class Carried(NamedTuple):
    """What a balance is given: all that the period before left, and what of it counts."""

    brought: Decimal | None = None
    carried: Decimal = ZERO


def carried_into(specs: Mapping[UUID, BalanceSpec], used: Mapping[UUID, Decimal]) -> dict[UUID, Carried]:
    """What these balances, which do not exist yet and have `used` so much, begin with.

    Their predecessors stay locked until the commit.
    """
    carrying = {id: spec for id, spec in specs.items() if spec.quota.carry_over is not None}
    if not carrying:
        return {}
    _lock_makers(carrying)
    found = _lock_predecessors(carrying)
    made: dict[tuple[UUID, UUID], Before] = {}
    carried: dict[UUID, Carried] = {}
    for id, spec in sorted(carrying.items(), key=lambda item: item[1].window.start):
        quota = spec.quota
        owner = (quota.key, quota.subject_id)
        stored, new = found.get(id), made.get(owner)
        last = new if new is not None and (stored is None or new.start > stored.start) else stored
        brought = brought_into(quota, spec.window, last, spec.caller.timezone)
        carried[id] = Carried(brought, carried_of(brought, quota.carry_over.most if quota.carry_over else None))
        made[owner] = Before(id, spec.window.start, used[id], carried[id].carried, ZERO)
    return carried


def _lock_makers(specs: Mapping[UUID, BalanceSpec]) -> None:
    """Let nobody else make a balance of these quotas and subjects until the commit.

    A balance before a new one that does not exist yet cannot be locked: it would be made, and used, unseen.
    """
    locks = {window_lock(spec.quota.key, spec.quota.subject_id) for spec in specs.values()}
    with connection.cursor() as cursor:
        cursor.execute(_LOCK_MAKERS, [numbers(sorted_lock_numbers(locks))])


def carry_over_of(balance: Balance) -> CarryOver | None:
    """How a balance's quota carries over, or did when it last held: for one that holds for its subject no more."""
    quotas = Quota.objects.for_tenant(balance.tenant_id).filter(key=balance.quota_key)
    if balance.plan_id is not None:
        quotas = quotas.filter(plan_id=balance.plan_id)
    elif balance.scope != Scope.TENANT:
        quotas = quotas.filter(**{f"{balance.scope}_id": balance.subject_id})
    quota = quotas.order_by(F("archived_at").desc(nulls_first=True), "-created_at").first()
    if quota is None or quota.carry_over_since is None:
        return None
    return CarryOver(quota.carry_over_limit if quota.carry_over else ZERO, quota.carry_over_since)


def pass_on(balance: Balance, more: Decimal, carry_over: CarryOver) -> None:
    """A period left `more` (or, if negative, less) than was known: carry that on until a period is closed.

    Under the configuration lock, so that nobody counts meanwhile; the ledger itself does so in its own batches.
    """
    while more and balance.period_end is not None and balance.period_end > carry_over.since:
        following = (
            Balance.objects.for_tenant(balance.tenant_id)
            .select_for_update()
            .filter(
                quota_key=balance.quota_key,
                subject_id=balance.subject_id,
                period_start=balance.period_end,
                brought__isnull=False,
                closed_at__isnull=True,
            )
            .first()
        )
        if following is None or following.brought is None:
            return
        following.brought = EXACT.add(following.brought, more)
        carried = carried_of(following.brought, carry_over.most)
        more = EXACT.subtract(carried, following.carried)
        following.carried = carried
        following.save(update_fields=["brought", "carried", "updated_at"])
        balance = following


def _lock_predecessors(specs: Mapping[UUID, BalanceSpec]) -> dict[UUID, Before]:
    """The last balance before each of these, once all of them are locked in the order of their ids."""
    while True:
        seen = {id: last.id for id, last in _predecessors(specs)}
        list(Balance.objects.filter(id__in=seen.values()).order_by("id").select_for_update().values_list("id"))
        found = dict(_predecessors(specs))
        if {id: last.id for id, last in found.items()} == seen:
            return found


def _predecessors(specs: Mapping[UUID, BalanceSpec]) -> Iterator[tuple[UUID, Before]]:
    for id, spec in specs.items():
        caller = spec.caller
        last = before(caller.tenant_id, spec.quota, spec.window, timezone=caller.timezone, license_id=caller.license_id)
        if last is not None:
            yield id, last
