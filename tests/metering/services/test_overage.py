from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from licenses.models import LicenseTransfer
from metering.domain.enums import OverageStatus, Period, PriceModel, QuotaMode, Scope
from metering.models import Balance, OverageRecord, Price, Quota
from metering.services.overage import accrue_overage
from tenants.domain.enums import EpochKind
from tenants.models import Customer, Epoch
from tests.metering.ledger_rows import DECEMBER, NOVEMBER, OCTOBER, Workspace

pytestmark = pytest.mark.django_db(transaction=True)

MIDDLE = NOVEMBER + timedelta(days=10)


def changed(workspace: Workspace) -> None:
    """What every change of terms does: bump an epoch."""
    Epoch.objects.create(
        tenant=workspace.tenant, kind=EpochKind.TENANT, subject_id=workspace.tenant.id, changed_at=datetime.now(UTC)
    )


def record() -> OverageRecord:
    return OverageRecord.objects.get()


def test_accrue_overage__one_unit_over__record_at_once_with_exact_lines_and_rounded_amount() -> None:
    workspace = Workspace.make()
    quota = workspace.quota("100")
    price = workspace.price("0.002")
    balance = workspace.balance(quota)
    workspace.use("100", balance)
    assert accrue_overage(now=MIDDLE) == 0
    assert not OverageRecord.objects.exists()

    workspace.use("1", balance)
    assert accrue_overage(now=MIDDLE) == 1

    found = record()
    assert (found.status, found.limit, found.used, found.quantity) == ("open", Decimal(100), Decimal(101), Decimal(1))
    assert (found.amount, found.currency) == (Decimal("0.00"), "USD")
    assert found.lines == [{"description": "Units", "quantity": "1", "unit_price": "0.002", "amount": "0.002"}]
    assert found.price == {
        "id": price.public_id,
        "model": "per_unit",
        "currency": "USD",
        "unit_price": "0.002",
        "included_units": "0",
    }
    assert (found.period_start, found.period_end) == (NOVEMBER, DECEMBER)
    assert (found.quota, found.license, found.customer) == (quota, workspace.license, workspace.customer)


def test_accrue_overage__usage_goes_on__same_record_grows_and_rounds_half_away_from_zero() -> None:
    workspace = Workspace.make()
    balance = workspace.balance(workspace.quota("0"))
    workspace.price("0.0001")
    workspace.use("49", balance)
    accrue_overage(now=MIDDLE)
    first = record()
    workspace.use("1", balance)
    accrue_overage(now=MIDDLE)

    assert first.amount == Decimal("0.00")
    assert (record().id, record().quantity, record().amount) == (first.id, Decimal(50), Decimal("0.01"))


def test_accrue_overage__nothing_new__nothing_written() -> None:
    workspace = Workspace.make()
    balance = workspace.balance(workspace.quota("0"))
    workspace.price()
    workspace.use("5", balance)
    accrue_overage(now=MIDDLE)
    before = record().updated_at

    assert accrue_overage(now=MIDDLE) == 0
    assert accrue_overage(now=MIDDLE, everything=True) == 0
    assert record().updated_at == before


def test_accrue_overage__void_brings_usage_under_the_limit__record_is_gone() -> None:
    workspace = Workspace.make()
    balance = workspace.balance(workspace.quota("10"))
    workspace.price()
    workspace.use("12", balance)
    accrue_overage(now=MIDDLE)
    workspace.use("-12", balance)
    accrue_overage(now=MIDDLE)

    assert not OverageRecord.objects.exists()


def test_accrue_overage__limit_raised_and_lowered__record_follows() -> None:
    workspace = Workspace.make()
    quota = workspace.quota("10")
    balance = workspace.balance(quota)
    workspace.price()
    workspace.use("12", balance)
    accrue_overage(now=datetime.now(UTC))

    Quota.objects.update(limit=20)
    changed(workspace)
    accrue_overage(now=datetime.now(UTC))
    assert not OverageRecord.objects.exists()

    Quota.objects.update(limit=5)
    accrue_overage(now=datetime.now(UTC))
    assert record().quantity == Decimal(7)


@pytest.mark.parametrize(
    "terms",
    [
        {"mode": QuotaMode.HARD},
        {"scope": Scope.CUSTOMER},
        {"scope": Scope.AGENT},
        {"only": {"model": "large"}},
    ],
)
def test_accrue_overage__quota_that_is_not_billed__no_record(terms: dict[str, object]) -> None:
    workspace = Workspace.make()
    balance = workspace.balance(workspace.quota("1", **terms))  # type: ignore[arg-type]
    workspace.price()
    workspace.use("5", balance)

    assert accrue_overage(now=MIDDLE) == 0
    assert not OverageRecord.objects.exists()


def test_accrue_overage__add_on_counts_the_same__its_limit_adds_to_the_base_plans() -> None:
    workspace = Workspace.make()
    base = workspace.quota("100")
    workspace.quota("50", plan=workspace.add_on())
    workspace.quota("1000", plan=workspace.add_on("daily"), period=Period.DAY)
    workspace.price()
    balance = workspace.balance(base)
    workspace.use("160", balance)

    accrue_overage(now=MIDDLE)

    assert (record().limit, record().quantity) == (Decimal(150), Decimal(10))


def test_accrue_overage__dated_prices__the_one_in_force_at_the_periods_start() -> None:
    workspace = Workspace.make()
    balance = workspace.balance(workspace.quota("0"))
    workspace.price("1")
    workspace.price("2", starts_at=OCTOBER)
    workspace.price("3", starts_at=NOVEMBER)
    workspace.price("4", starts_at=NOVEMBER + timedelta(microseconds=1))
    workspace.price("5", starts_at=NOVEMBER, archived_at=NOVEMBER - timedelta(days=1))
    workspace.use("10", balance)

    accrue_overage(now=MIDDLE)

    assert record().amount == Decimal("30.00")


def test_accrue_overage__price_taken_away_in_the_middle__still_holds_for_the_period() -> None:
    workspace = Workspace.make()
    balance = workspace.balance(workspace.quota("0"))
    workspace.price("1", archived_at=MIDDLE)
    workspace.use("10", balance)

    accrue_overage(now=MIDDLE)

    assert record().amount == Decimal("10.00")


def test_accrue_overage__graduated_price_with_included_units__exact_lines() -> None:
    workspace = Workspace.make()
    balance = workspace.balance(workspace.quota("0"))
    workspace.price(
        model=PriceModel.GRADUATED,
        unit_price=None,
        included_units=Decimal(5),
        tiers=[
            {"up_to": "10", "unit_price": "0.333", "flat_fee": "0"},
            {"up_to": None, "unit_price": "0.1", "flat_fee": "2"},
        ],
    )
    workspace.use("20.5", balance)

    accrue_overage(now=MIDDLE)

    assert [(line["quantity"], line["unit_price"], line["amount"]) for line in record().lines] == [
        ("10", "0.333", "3.33"),
        ("5.5", "0.1", "0.55"),
        ("1", "2", "2"),
    ]
    assert record().amount == Decimal("5.88")


def test_accrue_overage__plan_changed__billed_once_on_the_new_plan() -> None:
    workspace = Workspace.make()
    old = workspace.balance(workspace.quota("100"))
    workspace.price()
    workspace.use("150", old)
    accrue_overage(now=MIDDLE)

    plan = workspace.change_plan("max")
    Balance.objects.filter(pk=old.pk).update(detached_at=MIDDLE)
    new = workspace.balance(workspace.quota("120", plan=plan), "150")
    workspace.price("0.001", plan=plan)
    workspace.use("5", new)
    accrue_overage(now=MIDDLE)

    assert (record().balance_id, record().quantity, record().limit) == (new.id, Decimal(35), Decimal(120))


def test_accrue_overage__plan_changed_to_one_without_a_price__what_was_over_stays_billed() -> None:
    workspace = Workspace.make()
    old = workspace.balance(workspace.quota("100"))
    workspace.price()
    workspace.use("150", old)
    plan = workspace.change_plan("free")
    Balance.objects.filter(pk=old.pk).update(detached_at=MIDDLE)
    workspace.balance(workspace.quota("120", plan=plan), "150")

    accrue_overage(now=MIDDLE)

    assert (record().balance_id, record().quantity) == (old.id, Decimal(50))


def test_accrue_overage__plan_changed_after_the_end__the_old_plan_bills_the_ended_period() -> None:
    workspace = Workspace.make()
    old = workspace.balance(workspace.quota("100"))
    workspace.price()
    workspace.use("150", old)
    plan = workspace.change_plan("max")
    Balance.objects.filter(pk=old.pk).update(detached_at=DECEMBER + timedelta(minutes=10))
    late = workspace.balance(workspace.quota("0", plan=plan), "151")
    workspace.price("9", plan=plan)
    workspace.use("1", late, old)

    accrue_overage(now=DECEMBER + timedelta(minutes=20))

    assert (record().balance_id, record().quantity) == (old.id, Decimal(51))


def test_accrue_overage__license_handed_over__who_holds_it_at_the_end_pays() -> None:
    workspace = Workspace.make()
    balance = workspace.balance(workspace.quota("0"))
    workspace.price()
    workspace.use("5", balance)
    accrue_overage(now=MIDDLE)
    second = Customer.objects.create(tenant=workspace.tenant, external_id="c2")
    third = Customer.objects.create(tenant=workspace.tenant, external_id="c3")

    workspace.license.customer = second
    workspace.license.save()
    workspace.use("1", balance)
    accrue_overage(now=DECEMBER - timedelta(seconds=1))
    assert record().customer == second

    workspace.license.customer = third
    workspace.license.save()
    LicenseTransfer.objects.create(
        tenant=workspace.tenant, license=workspace.license, giver=second, taker=third, at=DECEMBER
    )
    workspace.use("1", balance)
    accrue_overage(now=DECEMBER)
    assert (record().customer, record().used) == (second, Decimal(7))


def test_accrue_overage__closed_or_voided_period__left_alone() -> None:
    workspace = Workspace.make()
    quota = workspace.quota("0")
    workspace.price()
    closed = workspace.balance(quota, month=OCTOBER)
    waived = workspace.balance(quota)
    workspace.use("5", closed, waived)
    accrue_overage(now=MIDDLE)
    OverageRecord.objects.filter(balance_id=waived.id).update(status=OverageStatus.VOIDED)
    OverageRecord.objects.filter(balance_id=closed.id).update(status=OverageStatus.FINALIZED)
    Balance.objects.filter(pk=closed.pk).update(closed_at=MIDDLE)
    workspace.use("5", closed, waived)

    assert accrue_overage(now=MIDDLE, everything=True) == 0
    assert set(OverageRecord.objects.values_list("status", "used")) == {
        ("voided", Decimal(5)),
        ("finalized", Decimal(5)),
    }


def test_accrue_overage__price_that_cannot_be_applied__others_are_still_rated() -> None:
    broken, sound = Workspace.make("broken"), Workspace.make("sound")
    for workspace in (broken, sound):
        workspace.price("1")
        workspace.use("5", workspace.balance(workspace.quota("0")))
    Price.objects.filter(tenant=broken.tenant).update(unit_price=None)

    accrue_overage(now=MIDDLE)

    assert record().tenant == sound.tenant


def test_accrue_overage__lifetime_quota__one_record_without_end() -> None:
    workspace = Workspace.make()
    balance = workspace.balance(workspace.quota("10", period=Period.LIFETIME))
    workspace.price("1")
    workspace.use("15", balance)

    accrue_overage(now=MIDDLE)

    assert (record().period_end, record().amount) == (None, Decimal("5.00"))


def test_accrue_overage__many_licenses__all_of_them_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metering.services.overage.CHUNK", 2)
    for number in range(5):
        workspace = Workspace.make(f"vendor-{number}")
        workspace.price("1")
        workspace.use(str(number + 1), workspace.balance(workspace.quota("0")))

    assert accrue_overage(now=MIDDLE) == 5
    assert sorted(OverageRecord.objects.values_list("amount", flat=True)) == [Decimal(n) for n in range(1, 6)]
