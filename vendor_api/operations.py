"""What each route does, said once: its scope, its body, its answer. Dispatch and OpenAPI both read it here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tenants.domain.scopes import Scope
from vendor_api.filters.base import ListFilter, Query
from vendor_api.serializers.base import Body, Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one route.

    `answer` is the shape of the answer (a page of it, if `paged`), `body` what is read, `query` what may
    stand in the query string beside a page's `limit` and `cursor`. `changes` reads the body as a PATCH.
    `otherwise` is another shape that the same answer may have. `once` False: a POST that changes nothing and looks
    at no idempotency key. `bulk` is the shape of the answer to many at once (`{"items": [...]}`), which is 200.
    `media_type` is what the answer is in; one that is no JSON has no shape. `other_media_types` it has if it is asked
    to. `accepted` says when the same shape is
    answered with 202, as a job goes on with the work. `uploads` are the media types of a body that is no JSON, each
    with an example; it is streamed, and read by the handler.
    """

    name: str
    summary: str
    tag: str
    scope: Scope | None
    answer: type[Shape] | None = None
    body: type[Body] | None = None
    query: type[Query] | None = None
    status: int = 200
    paged: bool = False
    changes: bool = False
    refusals: tuple[int, ...] = ()
    description: str = ""
    example: Mapping[str, Any] | None = None
    answer_description: str = ""
    otherwise: type[Shape] | None = None
    once: bool = True
    bulk: type[Shape] | None = None
    media_type: str = "application/json"
    other_media_types: tuple[str, ...] = ()
    accepted: str = ""
    uploads: Mapping[str, str] = field(default_factory=dict)

    @property
    def shape(self) -> type[Shape]:
        """The shape of the answer, for operations that have one."""
        if self.answer is None:
            raise LookupError(f"{self.name} answers without a body.")
        return self.answer

    @property
    def filters(self) -> type[ListFilter]:
        """The filters of a list, for operations that list."""
        if self.query is None or not issubclass(self.query, ListFilter):
            raise LookupError(f"{self.name} lists nothing.")
        return self.query


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of thing that is listed, made, read, changed and archived; builds the operations for it.

    `one` and `many` are its name in operation ids and sentences (`api key`, `api keys`).
    """

    one: str
    many: str
    tag: str
    shape: type[Shape]
    read: Scope
    write: Scope
    example: Mapping[str, Any] | None = field(default=None)

    def list(self, query: type[ListFilter], *, listed: type[Shape] | None = None, **more: Any) -> Operation:
        """GET of the collection: a page, newest first, of the resource or of what is `listed` instead."""
        return Operation(
            name=f"list_{_snake(self.many)}",
            summary=f"List {self.many}",
            tag=self.tag,
            scope=self.read,
            answer=listed or self.shape,
            query=query,
            paged=True,
            **more,
        )

    def create(self, body: type[Body], *, answer: type[Shape] | None = None, **more: Any) -> Operation:
        """POST to the collection: 201 with the resource, or with `answer`."""
        return Operation(
            **{
                "name": f"create_{_snake(self.one)}",
                "summary": f"Create {_article(self.one)}",
                "tag": self.tag,
                "scope": self.write,
                "answer": answer or self.shape,
                "body": body,
                "status": 201,
                "refusals": (409,),
                "example": self.example,
                **more,
            }
        )

    def retrieve(self) -> Operation:
        """GET of one."""
        return Operation(
            name=f"get_{_snake(self.one)}",
            summary=f"Read {_article(self.one)}",
            tag=self.tag,
            scope=self.read,
            answer=self.shape,
            refusals=(404,),
        )

    def change(self, body: type[Body], **more: Any) -> Operation:
        """PATCH of one: only what is sent is changed."""
        return Operation(
            name=f"update_{_snake(self.one)}",
            summary=f"Change {_article(self.one)}",
            tag=self.tag,
            scope=self.write,
            answer=self.shape,
            body=body,
            changes=True,
            refusals=(404, 409),
            **more,
        )

    def archive(self, **more: Any) -> Operation:
        """DELETE of one: it is archived, and stays readable by its id."""
        return Operation(
            **{
                "name": f"archive_{_snake(self.one)}",
                "summary": f"Archive {_article(self.one)}",
                "tag": self.tag,
                "scope": self.write,
                "status": 204,
                "refusals": (404, 409),
                **more,
            }
        )

    def act(self, verb: str, body: type[Body], *, answer: type[Shape] | None = None, **more: Any) -> Operation:
        """POST of an action on one: 200 with the resource, or with `answer`."""
        return Operation(
            **{
                "name": f"{_snake(verb)}_{_snake(self.one)}",
                "summary": f"{verb.capitalize()} {_article(self.one)}",
                "tag": self.tag,
                "scope": self.write,
                "answer": answer or self.shape,
                "body": body,
                "refusals": (404, 409),
                **more,
            }
        )


def _snake(words: str) -> str:
    return words.replace(" ", "_").replace("-", "_").lower()


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiouAEIOU' else 'a'} {noun}"
