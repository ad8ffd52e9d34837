"""What a batch's balances have beside their rows, under lock: top-ups, rolling windows, what periods carry over.

Only batches with such balances come here; all others neither pay a statement nor wait for one.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from common.ids import new_id
from metering.domain.allowances import Beside, RollingWindow, TopUpState, burns_of, in_order
from metering.domain.balance_states import BalanceState
from metering.domain.numbers import EXACT, ZERO, sum_exact
from metering.domain.periods import rolling_buckets
from metering.domain.terms import QuotaTerms
from metering.selectors.windows import AskedWindow, read_windows
from metering.services.array_literals import numbers, uuids
from metering.services.balances import BalanceSpec
from metering.services.rolling import window_lock
from metering.services.targets import Targets
from tenants.services.locks import sorted_lock_numbers

# Nobody makes or voids a top-up meanwhile: that takes the configuration lock, which the batch has shared.
_LOCK_TOP_UPS = """
SELECT top_up.id, top_up.quota_key, top_up.subject_id, top_up.amount - top_up.used, top_up.starts_at, top_up.expires_at,
    top_up.priority, top_up.created_at
FROM metering_topup AS top_up
WHERE top_up.tenant_id = ANY(%s::uuid[])
  AND (top_up.quota_key, top_up.subject_id) IN (SELECT * FROM unnest(%s::uuid[], %s::uuid[]))
  AND top_up.voided_at IS NULL AND top_up.used < top_up.amount
  AND (top_up.expires_at IS NULL OR top_up.expires_at > %s)
ORDER BY top_up.id FOR UPDATE
"""

_USE_TOP_UPS = """
UPDATE metering_topup AS top_up SET used = top_up.used + burnt.quantity, updated_at = clock_timestamp()
FROM unnest(%s::uuid[], %s::numeric[]) AS burnt (id, quantity) WHERE top_up.id = burnt.id
"""

_BURN = """
INSERT INTO metering_topupburn (id, tenant_id, top_up_id, balance_id, quantity, created_at, updated_at)
SELECT burnt.id, top_up.tenant_id, top_up.id, burnt.balance, burnt.quantity, clock_timestamp(), clock_timestamp()
FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::numeric[]) AS burnt (id, top_up, balance, quantity)
JOIN metering_topup AS top_up ON top_up.id = burnt.top_up
ON CONFLICT (tenant_id, top_up_id, balance_id) DO UPDATE
SET quantity = metering_topupburn.quantity + excluded.quantity, updated_at = clock_timestamp()
"""

_CARRIED = "SELECT id, carried, brought FROM metering_balance WHERE id = ANY(%s::uuid[])"

_CARRY = """
UPDATE metering_balance AS balance SET carried = new.carried, brought = new.brought, updated_at = clock_timestamp()
FROM unnest(%s::uuid[], %s::numeric[], %s::numeric[]) AS new (id, carried, brought) WHERE balance.id = new.id
"""

_LOCK_WINDOWS = "SELECT pg_advisory_xact_lock(number) FROM unnest(%s::bigint[]) AS wanted (number)"

#: A quota key with its subject: what top-ups and rolling windows belong to.
_Owner = tuple[UUID, UUID]


class Special:
    """The special balances of one batch, inside its transaction."""

    def __init__(self, targets: Targets, balances: Mapping[UUID, BalanceState]) -> None:
        self._targets = targets
        self._balances = balances
        self._specs: dict[UUID, BalanceSpec] = {id: targets.specs[id] for id in sorted(targets.special)}
        self._top_ups: list[TopUpState] = []

    def lock(self) -> bool:
        """Lock top-ups and find what is carried over.

        False if a balance that takes what another one leaves came to be while the locks were waited for: do it again.
        """
        for id in self._specs:
            self._balances[id].beside = Beside()
        topped_up = {_owner(spec.quota) for spec in self._specs.values() if spec.quota.topped_up}
        if topped_up:
            self._lock_top_ups(topped_up)
        carrying = {id for id, spec in self._specs.items() if spec.quota.carry_over is not None}
        return self._carry(carrying) if carrying else True

    def lock_windows(self) -> bool:
        """Let nobody else count in these rolling windows until the commit, and read them; whether there are any.

        The lock is one of the window's own: its sub-buckets are many, and some do not exist yet.
        """
        rolling = {id: spec for id, spec in self._specs.items() if spec.quota.rolling_seconds is not None}
        if not rolling:
            return False
        owners: dict[_Owner, tuple[QuotaTerms, UUID, datetime, datetime]] = {}
        for id, spec in rolling.items():
            quota, at = spec.quota, self._targets.at_of[id]
            first = rolling_buckets(quota.rolling_seconds or 0, min(at, spec.window.start)).window_start
            _, _, earliest, latest = owners.get(_owner(quota), (quota, spec.caller.tenant_id, first, at))
            owners[_owner(quota)] = (quota, spec.caller.tenant_id, min(first, earliest), max(at, latest))
        with connection.cursor() as cursor:
            cursor.execute(_LOCK_WINDOWS, [numbers(sorted_lock_numbers(window_lock(*owner) for owner in owners))])
        # A statement of its own, so that it sees what those have committed whom the lock made it wait for.
        windows: dict[_Owner, RollingWindow] = {}
        told: dict[_Owner, set[int]] = {}
        for key, (quota, *_) in owners.items():
            windows[key], told[key] = RollingWindow(quota.rolling_seconds or 0, {}, ZERO), set()
        asked = [AskedWindow(tenant_id, *owner, first, at) for owner, (_, tenant_id, first, at) in owners.items()]
        for row in read_windows(asked):
            window = windows[row.owner]
            state = self._balances.get(row.balance_id)
            used, held = (row.used, row.held) if state is None else (state.used, state.held)
            if row.attached:
                window.used[row.start] = used
            window.held = EXACT.add(window.held, held)
            told[row.owner].update(row.fired)
            if state is not None:
                state.beside = Beside(top_ups=state.beside.top_ups if state.beside else (), bucket=row.start)
                state.beside.window = window
        for owner, window in windows.items():
            window.told = frozenset(told[owner])
        for id, spec in rolling.items():
            beside = self._balances[id].beside
            if beside is not None:
                beside.window, beside.bucket = windows[_owner(spec.quota)], spec.window.start
        return True

    def write(self) -> None:
        """Store what top-ups covered and what is carried over now. Balances themselves are the ledger's."""
        burns = burns_of(self._top_ups)
        if burns:
            self._burn(burns)
        moved = [
            (balance.id, balance.beside)
            for balance in self._balances.values()
            if balance.beside is not None and balance.beside.moved
        ]
        if moved:
            columns = [
                uuids(id for id, _ in moved),
                numbers(beside.carried for _, beside in moved),
                numbers(beside.brought for _, beside in moved),
            ]
            with connection.cursor() as cursor:
                cursor.execute(_CARRY, columns)

    def _lock_top_ups(self, owners: Iterable[_Owner]) -> None:
        asked = sorted(owners)
        tenants = {spec.caller.tenant_id for spec in self._specs.values()}
        earliest = min(self._targets.at_of[id] for id in self._specs)
        found: dict[_Owner, list[TopUpState]] = {owner: [] for owner in asked}
        with connection.cursor() as cursor:
            cursor.execute(
                _LOCK_TOP_UPS, [uuids(tenants), uuids(key for key, _ in asked), uuids(id for _, id in asked), earliest]
            )
            for id, key, subject_id, left, starts_at, expires_at, priority, made_at in cursor.fetchall():
                found[key, subject_id].append(TopUpState(id, left, starts_at, expires_at, priority, made_at))
        ordered = {owner: in_order(top_ups) for owner, top_ups in found.items()}
        for id, spec in self._specs.items():
            beside = self._balances[id].beside
            if spec.quota.topped_up and beside is not None:
                beside.top_ups = ordered[_owner(spec.quota)]
        self._top_ups = [top_up for top_ups in ordered.values() for top_up in top_ups]

    def _carry(self, carrying: set[UUID]) -> bool:
        after = {id: following for id, following in self._targets.after.items() if id in carrying}
        with connection.cursor() as cursor:
            cursor.execute(_CARRIED, [uuids({*carrying, *after.values()})])
            rows = {id: (carried, brought) for id, carried, brought in cursor.fetchall()}
        if any(id not in self._balances for id in rows):
            return False
        for id, (carried, brought) in rows.items():
            state = self._balances[id]
            if state.beside is None:
                state.beside = Beside()
            state.beside.carried, state.beside.brought = carried, carried if brought is None else brought
        for id, following in after.items():
            carry_over = self._specs[id].quota.carry_over
            state, successor = self._balances[id], self._balances.get(following)
            if successor is not None and state.beside is not None and successor.beside is not None and carry_over:
                state.beside.after = successor
                successor.beside.carry_most = carry_over.most
        return True

    def _burn(self, burns: Mapping[tuple[UUID, UUID], Decimal]) -> None:
        used = [(top_up.id, sum_exact(top_up.burnt.values())) for top_up in self._top_ups if top_up.burnt]
        columns: list[Any] = [
            uuids(new_id() for _ in burns),
            uuids(id for id, _ in burns),
            uuids(balance_id for _, balance_id in burns),
            numbers(burns.values()),
        ]
        with connection.cursor() as cursor:
            cursor.execute(_USE_TOP_UPS, [uuids(id for id, _ in used), numbers(quantity for _, quantity in used)])
            cursor.execute(_BURN, columns)


def _owner(quota: QuotaTerms) -> _Owner:
    return quota.key, quota.subject_id
