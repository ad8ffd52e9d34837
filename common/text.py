"""Text that may be stored and shown: no NUL (PostgreSQL refuses it), no half of a character, no control characters."""

import unicodedata
from typing import Final

_REFUSED_CATEGORIES: Final = frozenset({"Cc", "Cs"})
_LINE_BREAKS: Final = frozenset("\t\n\r")


class TextError(ValueError):
    """A text that is refused; `code` is too_long or invalid."""

    def __init__(self, code: str, detail: str) -> None:
        """`detail` is a sentence for the caller."""
        super().__init__(detail)
        self.code = code
        self.detail = detail


def check_text(value: str, *, max_length: int, multiline: bool = False) -> str:
    """The same text, if it is at most `max_length` characters without NUL, lone surrogates and control characters.

    `multiline` lets tabs and line breaks through. Raises TextError.
    """
    if len(value) > max_length:
        raise TextError("too_long", f"At most {max_length} characters.")
    # Printable text holds neither controls nor surrogates; only the rest is looked at character by character.
    if not value.isprintable():
        allowed = _LINE_BREAKS if multiline else frozenset()
        for character in value:
            if unicodedata.category(character) in _REFUSED_CATEGORIES and character not in allowed:
                raise TextError(
                    "invalid",
                    "Control characters and broken characters are not allowed.",
                )
    return value
