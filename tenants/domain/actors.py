"""Who does something: the person, key, agent or worker that an audit entry names."""

from dataclasses import dataclass

from tenants.domain.enums import ActorKind


@dataclass(frozen=True, slots=True)
class Actor:
    """`id` is a public id (empty for workers); `name` and `address` are personal and can be erased."""

    kind: ActorKind
    id: str = ""
    name: str = ""
    address: str = ""
    request_id: str = ""


def worker(name: str) -> Actor:
    """The scheduled worker that runs the task of this name."""
    return Actor(kind=ActorKind.WORKER, name=name)
