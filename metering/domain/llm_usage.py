"""The usage objects of common LLM providers as counts of tokens, each token in one of them.

Providers draw the lines differently. OpenAI and Gemini count cached tokens among the input, Anthropic beside it; OpenAI
counts reasoning among the output, Gemini beside it, Anthropic does not tell it apart. Here every token is in exactly
one count, so that each has one price and all of them add up to what the provider bills.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

MAX_TOKENS: Final = 10**15


class UsageFormat(StrEnum):
    """Whose usage object it is."""

    OPENAI_CHAT = "openai_chat"
    OPENAI_RESPONSES = "openai_responses"
    ANTHROPIC_MESSAGES = "anthropic_messages"
    GEMINI = "gemini"

    @property
    def provider(self) -> str:
        """The value of the dimension `provider`, unless said otherwise."""
        return {"openai": "openai", "anthropic": "anthropic", "gemini": "google"}[self.value.partition("_")[0]]


# What a usage object of a format has at least one of, unless it is empty.
_NAMES: Final[Mapping[UsageFormat, tuple[str, ...]]] = {
    UsageFormat.OPENAI_CHAT: ("prompt_tokens", "completion_tokens"),
    UsageFormat.OPENAI_RESPONSES: ("input_tokens", "output_tokens"),
    UsageFormat.ANTHROPIC_MESSAGES: ("input_tokens", "output_tokens"),
    UsageFormat.GEMINI: ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount"),
}


class UsageObjectError(ValueError):
    """A usage object that cannot be read; `field` is the place in it, empty for all of it."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field
        self.detail = detail


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Tokens by how they are priced; no token is in two of them."""

    input: int = 0
    output: int = 0
    cached_input: int = 0
    cache_write: int = 0
    reasoning: int = 0

    def by_meter(self) -> dict[str, int]:
        """The counts that are not 0, by the template's meters."""
        counts = {
            "input_tokens": self.input,
            "output_tokens": self.output,
            "cached_input_tokens": self.cached_input,
            "cache_write_tokens": self.cache_write,
            "reasoning_tokens": self.reasoning,
        }
        return {meter: count for meter, count in counts.items() if count}


def token_counts(form: UsageFormat, usage: Mapping[str, Any]) -> TokenCounts:
    """The tokens of one answer of a provider; what the object does not name is 0.

    `usage` is what the provider sends as `usage` (OpenAI, Anthropic) or `usageMetadata` (Gemini). Raises
    UsageObjectError for counts that are none, for parts that are more than the whole, and for an object of another
    format: it would come to no tokens at all, and nobody would notice that nothing is counted.
    """
    counts = _read(form, usage)
    if usage and not any(name in usage for name in _NAMES[form]):
        raise UsageObjectError("", f"A usage object of {form} has {' or '.join(_NAMES[form])}: this is another one.")
    return counts


def _read(form: UsageFormat, usage: Mapping[str, Any]) -> TokenCounts:
    match form:
        case UsageFormat.OPENAI_CHAT:
            return _openai(usage, "prompt_tokens", "completion_tokens")
        case UsageFormat.OPENAI_RESPONSES:
            return _openai(usage, "input_tokens", "output_tokens")
        case UsageFormat.ANTHROPIC_MESSAGES:
            return TokenCounts(
                input=_count(usage, "input_tokens"),
                output=_count(usage, "output_tokens"),
                cached_input=_count(usage, "cache_read_input_tokens"),
                cache_write=_count(usage, "cache_creation_input_tokens"),
            )
        case UsageFormat.GEMINI:
            cached = _count(usage, "cachedContentTokenCount")
            prompt = _count(usage, "promptTokenCount")
            return TokenCounts(
                input=_rest(prompt, cached, "cachedContentTokenCount") + _count(usage, "toolUsePromptTokenCount"),
                output=_count(usage, "candidatesTokenCount"),
                cached_input=cached,
                reasoning=_count(usage, "thoughtsTokenCount"),
            )


def _openai(usage: Mapping[str, Any], input: str, output: str) -> TokenCounts:
    cached = _detail(usage, f"{input}_details", "cached_tokens")
    reasoning = _detail(usage, f"{output}_details", "reasoning_tokens")
    return TokenCounts(
        input=_rest(_count(usage, input), cached, f"{input}_details.cached_tokens"),
        output=_rest(_count(usage, output), reasoning, f"{output}_details.reasoning_tokens"),
        cached_input=cached,
        reasoning=reasoning,
    )


def _detail(usage: Mapping[str, Any], details: str, name: str) -> int:
    found = usage.get(details)
    if found is None:
        return 0
    if not isinstance(found, Mapping):
        raise UsageObjectError(details, "This is an object.")
    return _count(found, name, f"{details}.{name}")


def _count(usage: Mapping[str, Any], name: str, field: str | None = None) -> int:
    value = usage.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_TOKENS:
        raise UsageObjectError(field or name, "A count of tokens is a whole number of 0 or more.")
    return value


def _rest(whole: int, part: int, field: str) -> int:
    if part > whole:
        raise UsageObjectError(field, "A part has no more tokens than the whole.")
    return whole - part
