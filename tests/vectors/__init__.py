"""Worked cases from other billing systems and their documentation; each names its source."""

import json
from functools import cache
from pathlib import Path
from typing import Any

Vector = dict[str, Any]


@cache
def all_metering_vectors() -> list[Vector]:
    """Every metering vector, in the file's order."""
    vectors: list[Vector] = json.loads((Path(__file__).parent / "metering.json").read_text(encoding="utf-8"))
    return vectors


@cache
def metering_vectors(*kinds: str) -> list[Vector]:
    """The metering vectors of these kinds, in the file's order."""
    return [vector for vector in all_metering_vectors() if vector["kind"] in kinds]


@cache
def jose_vectors() -> Any:
    """What the RFCs of JOSE and the draft of the Token Status List show as examples."""
    return json.loads((Path(__file__).parent / "jose.json").read_text(encoding="utf-8"))


@cache
def authzen_vectors() -> Any:
    """What the OpenID AuthZEN Authorization API 1.0 shows as examples."""
    return json.loads((Path(__file__).parent / "authzen.json").read_text(encoding="utf-8"))
