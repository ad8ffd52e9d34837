"""Laws of rating, and a second, naive way to work out each price, in fractions and without lines."""

from decimal import Decimal, localcontext
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from metering.domain.enums import PriceModel
from metering.domain.money import minor_units
from metering.domain.numbers import EXACT
from metering.domain.rating import PriceTerms, Tier, difference, rate

CURRENCIES = st.sampled_from(["USD", "JPY", "BHD", "CLF"])
ZERO = Decimal(0)


def decimals(most: int, places: int) -> st.SearchStrategy[Decimal]:
    return st.integers(0, most * 10**places).map(lambda number: Decimal(number).scaleb(-places))


quantities = decimals(400, 0) | decimals(400, 3) | decimals(10**12, 12)
prices = decimals(20, 0) | decimals(20, 6)
bounds = st.none() | decimals(500, 2)


@st.composite
def tiers(draw: st.DrawFn) -> tuple[Tier, ...]:
    ends = sorted(draw(st.sets(decimals(300, 1).filter(bool), max_size=5)))
    return tuple(Tier(end, draw(prices), draw(prices)) for end in [*ends, None])


@st.composite
def terms(draw: st.DrawFn, models: st.SearchStrategy[PriceModel] = st.sampled_from(PriceModel)) -> PriceTerms:  # noqa: B008
    model, minimum, maximum = draw(models), draw(bounds), draw(bounds)
    if minimum is not None and maximum is not None:
        minimum, maximum = sorted((minimum, maximum))
    tiered = model in (PriceModel.GRADUATED, PriceModel.VOLUME)
    package = model is PriceModel.PACKAGE
    return PriceTerms(
        model=model,
        currency=draw(CURRENCIES),
        unit_price=draw(prices) if model is PriceModel.PER_UNIT else None,
        package_size=draw(decimals(50, 1).filter(bool)) if package else None,
        package_price=draw(prices) if package else None,
        tiers=draw(tiers()) if tiered else (),
        included_units=draw(st.just(ZERO) | decimals(100, 1)),
        minimum=minimum,
        maximum=maximum,
    )


rising = st.sampled_from([PriceModel.PER_UNIT, PriceModel.PACKAGE, PriceModel.GRADUATED])


def naive(quantity: Decimal, price: PriceTerms) -> Fraction:
    units = Fraction(quantity) - Fraction(price.included_units)
    if units <= 0:
        return Fraction(0)
    if price.model is PriceModel.PER_UNIT:
        amount = units * Fraction(price.unit_price or 0)
    elif price.model is PriceModel.PACKAGE:
        amount = -(-units // Fraction(price.package_size or 1)) * Fraction(price.package_price or 0)
    elif price.model is PriceModel.VOLUME:
        tier = next(each for each in price.tiers if each.up_to is None or units <= Fraction(each.up_to))
        amount = units * Fraction(tier.unit_price) + Fraction(tier.flat_fee)
    else:
        # From the top: what lies above each tier's lower edge, less what the tiers above have taken.
        edges = [Fraction(0), *(Fraction(tier.up_to) for tier in price.tiers if tier.up_to is not None)]
        amount, left = Fraction(0), units
        for edge, tier in reversed(list(zip(edges, price.tiers, strict=True))):
            if left > edge:
                amount += (left - edge) * Fraction(tier.unit_price) + Fraction(tier.flat_fee)
                left = edge
    if price.minimum is not None:
        amount = max(amount, Fraction(price.minimum))
    if price.maximum is not None:
        amount = min(amount, Fraction(price.maximum))
    return amount


@given(quantity=quantities, price=terms())
def test_rate__any_terms__equals_the_naive_way(quantity: Decimal, price: PriceTerms) -> None:
    assert Fraction(rate(quantity, price).exact) == naive(quantity, price)


@given(quantity=quantities, price=terms())
def test_rate__any_terms__lines_are_exact_and_add_up(quantity: Decimal, price: PriceTerms) -> None:
    rated = rate(quantity, price)
    assert sum((Fraction(line.amount) for line in rated.lines), Fraction(0)) == Fraction(rated.exact)
    for line in rated.lines:
        assert Fraction(line.amount) == Fraction(line.quantity) * Fraction(line.unit_price)
        assert line.quantity != 0


@given(quantity=quantities, price=terms())
def test_rate__any_terms__is_rounded_once_half_away_from_zero(quantity: Decimal, price: PriceTerms) -> None:
    rated = rate(quantity, price)
    places = minor_units(price.currency)
    assert rated.amount.as_tuple().exponent == -places
    assert Fraction(rated.amount) == Fraction((naive(quantity, price) * 10**places * 2 + 1) // 2, 10**places)


@given(quantity=quantities, further=quantities, price=terms(rising))
def test_rate__more_units__never_cost_less(quantity: Decimal, further: Decimal, price: PriceTerms) -> None:
    assert rate(quantity, price).exact <= rate(quantity + further, price).exact


@given(parts=st.lists(quantities, min_size=1, max_size=5), price=terms())
def test_rate__parts_of_a_period__cost_together_what_the_whole_does(parts: list[Decimal], price: PriceTerms) -> None:
    already, exact, amount = ZERO, ZERO, ZERO
    for part in parts:
        rated = rate(part, price, already=already)
        assert sum((Fraction(line.amount) for line in rated.lines), Fraction(0)) == Fraction(rated.exact)
        with localcontext(EXACT):
            already, exact, amount = already + part, exact + rated.exact, amount + rated.amount
    whole = rate(already, price)
    assert (exact, amount) == (whole.exact, whole.amount)


@given(quantity=quantities, other=quantities, price=terms())
def test_difference__there_and_back__is_nothing(quantity: Decimal, other: Decimal, price: PriceTerms) -> None:
    one, two = rate(quantity, price), rate(other, price)
    there, back = difference(two, one), difference(one, two)
    assert (there.exact + back.exact, there.amount + back.amount) == (ZERO, ZERO)
    assert one.amount + there.amount == two.amount
    assert difference(one, one).lines == ()


@given(included=decimals(100, 1), price=terms())
def test_rate__nothing_over__costs_nothing(included: Decimal, price: PriceTerms) -> None:
    rated = rate(min(included, price.included_units), price)
    assert (rated.lines, rated.exact, rated.amount) == ((), ZERO, ZERO)
