"""What a balance that may have to be made is of."""

from dataclasses import dataclass
from uuid import UUID

from metering.domain.enums import Scope
from metering.domain.periods import Window
from metering.domain.terms import Caller, QuotaTerms
from metering.selectors.usage_values import BalanceScope


@dataclass(frozen=True, slots=True)
class BalanceSpec:
    """A balance that may have to be made: a quota, its period, and for whom."""

    caller: Caller
    quota: QuotaTerms
    window: Window

    @property
    def license_id(self) -> UUID | None:
        """Set where the subject is a licence or an agent below one."""
        return self.caller.license_id if self.quota.scope in (Scope.AGENT, Scope.LICENSE) else None

    @property
    def customer_id(self) -> UUID | None:
        return None if self.quota.scope is Scope.TENANT else self.caller.customer_id

    def scope_of(self, id: UUID) -> BalanceScope:
        """Which events count in it; `id` is the balance's."""
        caller = self.caller
        return BalanceScope.of(
            self.quota, id, tenant_id=caller.tenant_id, license_id=caller.license_id, window=self.window
        )
