"""Bytes of an import on their way to lines: unpacked, cut into lines, never more than a piece of them in memory."""

import zlib
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

MAX_LINE: Final = 64 * 1024
"""The longest line in bytes; a longer one is rejected, and only so much of it is kept."""

PIECE: Final = 256 * 1024
_GZIP: Final = b"\x1f\x8b"
_WINDOW: Final = 31  # a gzip header, and the largest window
#: What text never comes to. The format itself reaches 1,032 to 1.
_MAX_RATIO: Final = 300
_RATIO_FROM: Final = 32 * 1024 * 1024

_UTF8_MARK: Final = b"\xef\xbb\xbf"
_FOREIGN: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
)


class ImportBroken(Exception):
    """The stream as a whole cannot be read on; what was committed before stays. `code` is stable."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class RawLine(NamedTuple):
    """A line without its end. `number` counts from 1; `end` is the offset after it in the unpacked stream.

    `too_long`: only the first `MAX_LINE` bytes are kept.
    """

    number: int
    end: int
    data: bytes
    too_long: bool = False


def unpacked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The text of the stream in UTF-8, without a byte order mark; gzip is recognised by its first bytes.

    Raises ImportBroken `compression_invalid`, `compression_ratio`, `encoding_unsupported`.
    """
    source = _from_beginning(iter(pieces))
    head = next(source, b"")
    for mark, name in _FOREIGN:
        if head.startswith(mark):
            raise ImportBroken("encoding_unsupported", f"An import is UTF-8, plain or gzip, not {name}.")
    whole = _chained(head, source)
    text = _gunzipped(whole) if head.startswith(_GZIP) else whole
    return _without_mark(text)


def surely_gzip(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes; none, or such as begin like gzip. Raises ImportBroken `compression_invalid`."""
    source = _from_beginning(iter(pieces))
    head = next(source, b"")
    if head and not _begins_as_gzip(head):
        raise ImportBroken("compression_invalid", "The body is no gzip, though its Content-Encoding says so.")
    return _chained(head, source)


def lines_of(text: Iterable[bytes]) -> Iterator[RawLine]:
    """The lines of a stream of bytes, blank ones included."""
    number = offset = 0
    kept: list[bytes] = []  # of a line that goes on in the next piece
    size = 0
    for piece in text:
        *ended, rest = piece.split(b"\n")
        if ended and kept:
            if size < MAX_LINE:
                kept.append(ended[0][: MAX_LINE + 1 - size])
            size += len(ended.pop(0))
            number += 1
            offset += size + 1
            yield _line(number, offset, b"".join(kept), size)
            kept, size = [], 0
        for data in ended:
            number += 1
            offset += len(data) + 1
            yield _line(number, offset, data, len(data))
        if rest:
            if size < MAX_LINE:
                kept.append(rest[: MAX_LINE + 1 - size])
            size += len(rest)
    if size:
        yield _line(number + 1, offset + size, b"".join(kept), size)


def _line(number: int, end: int, data: bytes, length: int) -> RawLine:
    if length > MAX_LINE:
        return RawLine(number, end, data[:MAX_LINE], too_long=True)
    return RawLine(number, end, data.removesuffix(b"\r"))


def _from_beginning(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Pieces of which the first is long enough to tell what the stream is."""
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= 8:
            break
    if head:
        yield head
    yield from pieces


def _chained(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from rest


def _without_mark(text: Iterator[bytes]) -> Iterator[bytes]:
    source = _from_beginning(text)
    yield next(source, b"").removeprefix(_UTF8_MARK)
    yield from source


def _begins_as_gzip(head: bytes) -> bool:
    try:
        zlib.decompressobj(_WINDOW).decompress(head, PIECE)
    except zlib.error:
        return False
    return head.startswith(_GZIP)


def _gunzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """All members of a gzip stream one after the other; padding with zeros at its end is passed over."""
    member = zlib.decompressobj(_WINDOW)
    begun = False
    taken = given = 0
    for piece in pieces:
        taken += len(piece)
        waiting = piece
        while waiting:
            if not begun and not waiting.strip(b"\0") and given:
                break
            begun = True
            try:
                out = member.decompress(waiting, PIECE)
            except zlib.error:
                raise ImportBroken("compression_invalid", "The gzip stream is damaged.") from None
            given += len(out)
            if given > _RATIO_FROM and given > taken * _MAX_RATIO:
                raise ImportBroken(
                    "compression_ratio", f"The gzip stream unpacks to more than {_MAX_RATIO} times its size."
                )
            if out:
                yield out
            waiting = member.unconsumed_tail
            if member.eof:
                waiting = member.unused_data
                member, begun = zlib.decompressobj(_WINDOW), False
    while begun and (out := member.decompress(member.unconsumed_tail, PIECE)):
        yield out
    if begun and not member.eof:
        raise ImportBroken("compression_invalid", "The gzip stream is cut off.")
