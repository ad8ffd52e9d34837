"""Usage objects of LLM providers: each token in one count."""

from typing import Any

import pytest

from metering.domain.llm_usage import TokenCounts, UsageFormat, UsageObjectError, token_counts


@pytest.mark.parametrize(
    ("form", "usage", "counts"),
    [
        (
            "openai_chat",
            {
                "prompt_tokens": 1200,
                "completion_tokens": 330,
                "total_tokens": 1530,
                "prompt_tokens_details": {"cached_tokens": 1000, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 130, "accepted_prediction_tokens": 0},
            },
            TokenCounts(input=200, output=200, cached_input=1000, reasoning=130),
        ),
        ("openai_chat", {"prompt_tokens": 9, "completion_tokens": 12}, TokenCounts(input=9, output=12)),
        (
            "openai_responses",
            {
                "input_tokens": 36,
                "input_tokens_details": {"cached_tokens": 6},
                "output_tokens": 87,
                "output_tokens_details": {"reasoning_tokens": 80},
                "total_tokens": 123,
            },
            TokenCounts(input=30, output=7, cached_input=6, reasoning=80),
        ),
        (
            "anthropic_messages",
            {
                "input_tokens": 21,
                "cache_creation_input_tokens": 188,
                "cache_read_input_tokens": 4000,
                "output_tokens": 393,
                "service_tier": "standard",
            },
            TokenCounts(input=21, output=393, cached_input=4000, cache_write=188),
        ),
        (
            "gemini",
            {
                "promptTokenCount": 100,
                "cachedContentTokenCount": 60,
                "candidatesTokenCount": 20,
                "thoughtsTokenCount": 30,
                "toolUsePromptTokenCount": 5,
                "totalTokenCount": 155,
            },
            TokenCounts(input=45, output=20, cached_input=60, reasoning=30),
        ),
        ("gemini", {}, TokenCounts()),
        ("openai_chat", {"prompt_tokens": None, "prompt_tokens_details": None}, TokenCounts()),
    ],
)
def test_token_counts__of_each_provider__count_each_token_once(form: str, usage: Any, counts: TokenCounts) -> None:
    assert token_counts(UsageFormat(form), usage) == counts


@pytest.mark.parametrize(
    ("usage", "field"),
    [
        ({"prompt_tokens": -1}, "prompt_tokens"),
        ({"prompt_tokens": 1.5}, "prompt_tokens"),
        ({"prompt_tokens": True}, "prompt_tokens"),
        ({"prompt_tokens": "7"}, "prompt_tokens"),
        ({"prompt_tokens": 10**15 + 1}, "prompt_tokens"),
        ({"prompt_tokens_details": 7}, "prompt_tokens_details"),
        (
            {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 6}},
            "prompt_tokens_details.cached_tokens",
        ),
    ],
)
def test_token_counts__that_are_none__are_refused_by_name(usage: Any, field: str) -> None:
    with pytest.raises(UsageObjectError) as refusal:
        token_counts(UsageFormat.OPENAI_CHAT, usage)
    assert refusal.value.field == field


@pytest.mark.parametrize("form", list(UsageFormat))
@pytest.mark.parametrize("usage", [{"total_tokens": 12}, {"inputTokens": 3}])
def test_token_counts__an_object_of_another_format__is_refused_and_does_not_count_as_nothing(
    form: UsageFormat, usage: Any
) -> None:
    with pytest.raises(UsageObjectError, match="this is another one") as refusal:
        token_counts(form, usage)
    assert refusal.value.field == ""


def test_token_counts__of_an_answer_without_tokens__are_none() -> None:
    assert (
        token_counts(UsageFormat.GEMINI, {})
        == token_counts(UsageFormat.GEMINI, {"promptTokenCount": 0})
        == TokenCounts()
    )


def test_by_meter__names_only_what_was_used() -> None:
    assert TokenCounts(input=3, reasoning=2).by_meter() == {"input_tokens": 3, "reasoning_tokens": 2}
