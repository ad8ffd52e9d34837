"""The whole of metering against a plain model: any interleaving gives the same verdicts, balances and bills.

The model (`metering_model.book`) is written from the rules and adds everything up anew each time it is asked; the
product runs on its real stores, through its own doors and workers' tasks. `MODEL_EXAMPLES` and `MODEL_STEPS` in the
environment ask for longer runs, `MODEL_SEED` for other ones than always the same.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.property.metering_model.machine import MeteringMachine

pytestmark = pytest.mark.django_db(transaction=True)

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "6"))
STEPS = int(os.environ.get("MODEL_STEPS", "25"))
SEED = os.environ.get("MODEL_SEED")
SHRINK = os.environ.get("MODEL_SHRINK", "1") == "1"


def test_metering__any_interleaving__agrees_with_the_plain_model() -> None:
    profile = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=SEED is None,
        database=None,
        print_blob=True,
        phases=[Phase.generate, *([Phase.shrink] if SHRINK else [])],
        suppress_health_check=list(HealthCheck),
    )
    machine: Any = MeteringMachine if SEED is None else seed(int(SEED))(MeteringMachine)
    run_state_machine_as_test(machine, settings=profile)
