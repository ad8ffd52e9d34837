"""Top-ups follow a licence from plan to plan: to the quota of the new plan that counts the same as the old one's.

What they have covered in the running period goes with them, so that it is neither billed nor used up a second time.
"""

from collections.abc import Iterator
from uuid import UUID
from zoneinfo import ZoneInfo

from licenses.models import Agent
from licenses.selectors.access import AccessSnapshot, load_agent, load_license
from metering.domain.enums import Scope
from metering.domain.numbers import EXACT, ZERO
from metering.models import Balance, Quota, TopUp, TopUpBurn
from metering.selectors.quotas import counting, customer_groups, license_groups
from metering.selectors.terms import load_caller
from metering.services.balances import BalanceSpec, ensure_balances
from tenants.models import Tenant
from tenants.selectors.clocks import clock_of


class FollowingTopUps:
    """The plan quotas under a licence as they stood, by what they count; `follow` moves the top-ups of those gone.

    All of it under the configuration lock.
    """

    def __init__(self, tenant: Tenant, *, license_id: UUID, customer_id: UUID) -> None:
        self._tenant = tenant
        self._license_id = license_id
        self._customer_id = customer_id
        self._before = list(self._quotas())

    def follow(self) -> None:
        """Move the top-ups of quotas that no longer apply to those that count the same."""
        now = {counting(quota): quota for quota in self._quotas()}
        kept = {quota.key for quota in now.values()}
        for old in self._before:
            new = now.get(counting(old))
            if new is None or old.key in kept:
                continue
            subjects = self._subjects(Scope(old.scope))
            moved = TopUp.objects.for_tenant(self._tenant).filter(quota_key=old.key, subject_id__in=subjects)
            concerned = set(moved.values_list("subject_id", flat=True))
            moved.update(quota_key=new.key, quota=new)
            for subject_id in sorted(concerned):
                self._move_burns(old, new, subject_id)

    def _move_burns(self, old: Quota, new: Quota, subject_id: UUID) -> None:
        at = clock_of(self._tenant).now()
        balances = Balance.objects.for_tenant(self._tenant)
        covered = balances.filter(quota_key=old.key, subject_id=subject_id, closed_at__isnull=True, burned__gt=0)
        access = self._access(Scope(old.scope), subject_id)
        if access is None:
            return
        caller = load_caller(access)
        terms = next((each for each in caller.quotas if each.key == new.key and each.subject_id == subject_id), None)
        if terms is None:
            return
        window = terms.window(at, ZoneInfo(self._tenant.timezone))
        source = covered.filter(period_start=window.start).select_for_update().first()
        if source is None:
            return
        id = terms.balance_id(window)
        ensure_balances({id: BalanceSpec(caller, terms, window)})
        target = balances.select_for_update().get(id=id)
        for burn in TopUpBurn.objects.for_tenant(self._tenant).filter(balance=source):
            same = TopUpBurn.objects.for_tenant(self._tenant).filter(balance=target, top_up_id=burn.top_up_id).first()
            if same is None:
                burn.balance = target
                burn.save(update_fields=["balance", "updated_at"])
            else:
                same.quantity = EXACT.add(same.quantity, burn.quantity)
                same.save(update_fields=["quantity", "updated_at"])
                burn.delete()
        target.burned = EXACT.add(target.burned, source.burned)
        target.save(update_fields=["burned", "updated_at"])
        source.burned = ZERO
        source.save(update_fields=["burned", "updated_at"])

    def _access(self, scope: Scope, subject_id: UUID) -> AccessSnapshot | None:
        if scope is Scope.AGENT:
            return load_agent(self._tenant.id, subject_id)
        return load_license(self._tenant.id, self._license_id)

    def _subjects(self, scope: Scope) -> list[UUID]:
        match scope:
            case Scope.AGENT:
                agents = Agent.objects.for_tenant(self._tenant).filter(license_id=self._license_id)
                return list(agents.values_list("id", flat=True))
            case Scope.LICENSE:
                return [self._license_id]
            case _:
                return [self._customer_id]

    def _quotas(self) -> Iterator[Quota]:
        for group in license_groups(self._tenant, self._license_id):
            yield group[0]
        for group in customer_groups(self._tenant, self._customer_id):
            yield group[0]
