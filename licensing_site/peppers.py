"""What keys are hashed with, as the settings hold it: which pepper comes next, and how the list reads after each step.

A pepper has to be known everywhere before anything is hashed under it. So it goes to the end of the list first
(`with_new`), to the front once every process has it (`with_promoted`), and out when nothing needs it (`without`).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping


def render(peppers: Mapping[str, str]) -> str:
    """The list as `PERMETER_KEY_PEPPERS` has it."""
    return ",".join(f"{pepper_id}={secret}" for pepper_id, secret in peppers.items())


def waiting(peppers: Mapping[str, str]) -> str | None:
    """The pepper that is known and shall become the current one; None if there is none. Numbers only ever rise."""
    current, *others = peppers
    newer = [each for each in others if _number(each) > _number(current)]
    return max(newer, key=_number, default=None)


def with_new(peppers: Mapping[str, str]) -> dict[str, str]:
    """With a new pepper at the end: known, and not used yet."""
    number = max(map(_number, peppers)) + 1
    return {**peppers, str(number): secrets.token_urlsafe(32)}


def with_promoted(peppers: Mapping[str, str], pepper_id: str) -> dict[str, str]:
    """With this one in front: keys are hashed under it from now on."""
    return {pepper_id: peppers[pepper_id], **peppers}


def without(peppers: Mapping[str, str], pepper_id: str) -> dict[str, str]:
    """Without this one: what is hashed under it is dead."""
    return {each: secret for each, secret in peppers.items() if each != pepper_id}


def _number(pepper_id: str) -> int:
    return int(pepper_id) if pepper_id.isascii() and pepper_id.isdigit() else 0
