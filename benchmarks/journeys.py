"""What agents do in turn, for Locust: `locust -f benchmarks/journeys.py`; PERMETER_BENCH_KEYS names a file of keys.

A look at what is left, steps that ask and count, an answer of a language model with a hold, and usage told afterwards.
"""

import itertools
import os
import uuid
from pathlib import Path
from typing import Any

from locust import between, task
from locust.contrib.fasthttp import FastHttpUser

METER = "tokens"
_keys = itertools.cycle(Path(os.environ["PERMETER_BENCH_KEYS"]).read_text().split())


class Agent(FastHttpUser):
    """An agent that thinks for some milliseconds between two steps."""

    wait_time = between(0.005, 0.03)

    def on_start(self) -> None:
        self.key = next(_keys)

    @task(10)
    def step(self) -> None:
        """May I, and it is counted."""
        asked = {"id": _id(), "usage": [{"meter": METER, "quantity": "3"}], "mode": "consume"}
        answer = self._post("/agent/v1/authorize", asked, name="authorize")
        if answer and not answer["allowed"]:
            raise RuntimeError(answer)

    @task(6)
    def validate(self) -> None:
        """Is the licence still good."""
        self._post("/agent/v1/validate", {"features": ["web_search"]}, name="validate")

    @task(3)
    def answer_of_a_model(self) -> None:
        """Hold the estimate, settle the truth."""
        asked = {"id": _id(), "usage": [{"meter": METER, "quantity": "4000"}], "mode": "hold", "ttl": 60}
        held = self._post("/agent/v1/authorize", asked, name="hold")
        if held:
            used = {"usage": [{"meter": METER, "quantity": "1532"}]}
            self._post(f"/agent/v1/holds/{held['hold']['id']}/settle", used, name="settle")

    @task(3)
    def report(self) -> None:
        """Twenty calls of a tool, told afterwards."""
        events = [{"id": _id(), "meter": METER, "quantity": "1", "dimensions": {"model": "large"}} for _ in range(20)]
        self._post("/agent/v1/usage", {"events": events}, name="usage, 20 events")

    @task(1)
    def look(self) -> None:
        """What is left."""
        self.client.get("/agent/v1/quotas", headers=self._headers(), name="quotas")

    def _post(self, path: str, body: dict[str, Any], *, name: str) -> Any:
        with self.client.post(path, json=body, headers=self._headers(), name=name, catch_response=True) as answer:
            if answer.status_code >= 400:
                answer.failure(f"{answer.status_code} {answer.text[:300]}")
                return None
            return answer.json()

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


def _id() -> str:
    return uuid.uuid4().hex
