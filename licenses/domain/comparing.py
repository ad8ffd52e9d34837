"""Two states of what a licence promises, compared: does its holder lose something, gain something, or neither?"""

from decimal import Decimal
from enum import StrEnum

from licenses.domain.entitlements import EffectiveFeature
from licenses.domain.facts import FeatureValue


class Effect(StrEnum):
    """What a change means to whoever holds the licence."""

    LOSES = "loses"
    GAINS = "gains"
    CHANGES = "changes"


def feature_effect(before: EffectiveFeature | None, after: EffectiveFeature | None) -> Effect | None:
    """Of a feature's value: on is more than off, a higher limit more than a lower one, a superset more than its part.

    A feature that nothing grants is one that is off. None: it stays.
    """
    old, new = _value(before), _value(after)
    if isinstance(old, frozenset) or isinstance(new, frozenset):
        return _of_choices(old or frozenset(), new or frozenset())
    return amount_effect(_number(old), _number(new))


def amount_effect(before: int | Decimal | None, after: int | Decimal | None) -> Effect | None:
    """Of an allowance, of which more is better; None is no limit at all."""
    if before == after:
        return None
    if after is None:
        return Effect.GAINS
    return Effect.LOSES if before is None or after < before else Effect.GAINS


def united_effect(*effects: Effect | None) -> Effect | None:
    """Of several changes together: mere change where some lose and some gain."""
    found = {effect for effect in effects if effect is not None}
    if not found:
        return None
    return found.pop() if len(found) == 1 else Effect.CHANGES


def _of_choices(before: FeatureValue, after: FeatureValue) -> Effect | None:
    old = before if isinstance(before, frozenset) else frozenset[str]()
    new = after if isinstance(after, frozenset) else frozenset[str]()
    if old == new:
        return None
    if new < old:
        return Effect.LOSES
    return Effect.GAINS if old < new else Effect.CHANGES


def _value(feature: EffectiveFeature | None) -> FeatureValue:
    return False if feature is None else feature.value


def _number(value: FeatureValue) -> int | Decimal:
    return value if isinstance(value, int | Decimal) else 0
