"""AuthZEN as a gateway calls it; every answer is held against the OpenAPI document made from the code."""

from __future__ import annotations

from typing import Any

from tests.vendor_api.door import Answer, Door


class Gateway:
    """A gateway with a secret key that may ask for decisions, and nothing else."""

    def __init__(self, door: Door) -> None:
        self.door = Door(door.tenant, scopes=("decisions:read",), prefix="/access/v1")

    def ask(self, subject: str, type: str, id: str, **more: Any) -> Answer:
        """One evaluation; `more` are properties of the resource."""
        return self.post("/evaluation", question(subject, type, id, **more))

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        return self.door.post(path, body, **headers)

    def decides(self, subject: str, type: str, id: str, **more: Any) -> bool:
        """The decision alone."""
        answer = self.ask(subject, type, id, **more)
        assert answer.status == 200, answer
        return bool(answer["decision"])


def question(subject: str, type: str, id: str, **properties: Any) -> dict[str, Any]:
    """An evaluation about an agent or a licence, by its id."""
    return {
        "subject": {"type": {"agt": "agent", "lic": "license"}.get(subject[:3], "user"), "id": subject},
        "action": {"name": "use"},
        "resource": {"type": type, "id": id} | ({"properties": properties} if properties else {}),
    }
