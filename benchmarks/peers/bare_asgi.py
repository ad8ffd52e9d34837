"""A floor: an ASGI function that reads the body and answers constant JSON. Below this no ASGI server gets."""

from collections.abc import Awaitable, Callable
from typing import Any

_ANSWER = b'{"valid":true,"code":"valid","codes":[]}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_ANSWER)).encode())]


async def application(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _ANSWER})
