"""Scoring profiles of VSI-Bench: three published scorers, each named after its origin and commit.

`official@51e089c`    vision-x-nyu/thinking-in-space: the first token, for options and numbers
`lmms-eval@75571cf`   EvolvingLMMs-Lab/lmms-eval: the first token for options, the first number anywhere for numbers
`vlmevalkit@e8e78f0`  open-compass/VLMEvalKit: a search through the text, without its optional judge model

Kept as published: a ground truth of 0 divides by zero in the first two (which stops them; here the item is left out of
the average) and is compared by absolute error in the third; a right option beyond F makes every unreadable text right
in the third. Both cannot happen on the published questions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TypeAlias, TypeVar

from allocentric.core.errors import SettingsError, suggestion
from allocentric.core.scoring import mra_of_error
from allocentric.core.types import Answer, Choice, Item, Number, Sampling, Score, Unreadable
from allocentric.eval.benchmarks import _vsi_extraction as extraction

ReadLetter: TypeAlias = Callable[[str], str | Unreadable]
ReadNumber: TypeAlias = Callable[[str], float | Unreadable]

_FRAMES = "These are frames of a video."
_LETTER = "Answer with the option's letter from the given choices directly."
_WORD_OR_PHRASE = "Please answer the question using a single word or phrase."
_ONE_NUMBER = "Do not response anything other than a single number!"
_ONE_FLOAT = "Answer briefly and directly in one float number."


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """One published way of asking and scoring."""

    name: str
    """Origin@commit."""
    options_header: bool
    """Whether a line "Options:" stands before the options."""
    number_request: str
    """Last line of a numeric question."""
    api_number_request: str
    """The same for models behind an API (`gemini_api` and `gpt4v` in the published configuration)."""
    sampling: Sampling
    """Decoding settings."""
    read_letter: ReadLetter
    """Text -> upper-case letter."""
    read_number: ReadNumber
    """Text -> number; NaN and infinities are numbers."""
    searches_gold: bool
    """Whether the right letter goes through `read_letter` too, where failing equals a prediction that fails."""
    absolute_error_at_zero: bool
    """Whether a ground truth of 0 is compared by absolute error."""


PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(
            name="official@51e089c",
            options_header=True,
            number_request=_WORD_OR_PHRASE,
            api_number_request=_ONE_NUMBER,
            sampling=Sampling(max_new_tokens=16),
            read_letter=extraction.letter_of_first_token,
            read_number=extraction.number_of_first_token,
            searches_gold=False,
            absolute_error_at_zero=False,
        ),
        Profile(
            name="lmms-eval@75571cf",
            options_header=True,
            number_request=_WORD_OR_PHRASE,
            api_number_request=_ONE_NUMBER,
            sampling=Sampling(max_new_tokens=16),
            read_letter=extraction.letter_of_first_token,
            read_number=extraction.first_number,
            searches_gold=False,
            absolute_error_at_zero=False,
        ),
        Profile(
            name="vlmevalkit@e8e78f0",
            options_header=False,
            number_request=_ONE_FLOAT,
            api_number_request=_ONE_FLOAT,
            sampling=Sampling(max_new_tokens=1024),  # unset there: every model's own limit holds
            read_letter=extraction.letter_by_search,
            read_number=extraction.last_number,
            searches_gold=True,
            absolute_error_at_zero=True,
        ),
    )
}
"""By name; the first is the default."""


def profile_called(name: str) -> Profile:
    """The profile, or SettingsError with a suggestion."""
    if name not in PROFILES:
        raise SettingsError(f"VSI-Bench has no profile {name!r}" + suggestion(name, PROFILES))
    return PROFILES[name]


def prompt_text(item: Item, profile: Profile, *, api: bool = False) -> str:
    """The user text as published, lines joined by single newlines. `api` takes the wording for API models."""
    if isinstance(item.gold, Choice):
        header = ["Options:"] if profile.options_header else []
        return "\n".join([_FRAMES, item.prompt, *header, *option_lines(item), _LETTER])
    return "\n".join([_FRAMES, item.prompt, profile.api_number_request if api else profile.number_request])


def option_lines(item: Item) -> list[str]:
    """The options with their letters, as published where the item holds that ("A. chair")."""
    published = item.extra.get("options")
    if published is not None:
        return [str(line) for line in published]
    return [f"{letter_of(index)}. {choice}" for index, choice in enumerate(item.choices)]


def letter_of(index: int) -> str:
    """Option letter of a position, "A" for 0."""
    return chr(ord("A") + index)


def chance(item: Item) -> float | None:
    """1 / number of options; None for numbers, where no uniform guess is defined."""
    return 1 / len(item.choices) if isinstance(item.gold, Choice) and item.choices else None


def score_text(item: Item, text: str, profile: Profile) -> Score:
    """Score a raw text as the profile's origin does.

    `Score.answer` is `Unreadable` where the profile reads no option or number, which it scores 0 like a wrong one.
    """
    gold = item.gold
    if isinstance(gold, Choice):
        return _score_choice(item, gold.index, _read(profile.read_letter, text), profile)
    if isinstance(gold, Number):
        return _score_number(_read(profile.read_number, text), gold.value, gold.unit, profile)
    raise TypeError(f"VSI-Bench has options and numbers, got the gold answer {item.gold!r}")


Value = TypeVar("Value")

_SHORT = 32
"""Characters of an answer that many items share ("B", "3.5 meters"): read once."""


def _read(read: Callable[[str], Value], text: str) -> Value:
    return _read_short(read, text) if len(text) <= _SHORT else read(text)


@lru_cache(maxsize=65536)
def _read_short(read: Callable[[str], Value], text: str) -> Value:
    return read(text)


def _score_choice(item: Item, index: int, letter: str | Unreadable, profile: Profile) -> Score:
    gold = _searched(profile.read_letter, index) if profile.searches_gold else letter_of(index)
    return _scored_choice(letter, gold, len(item.choices))


@lru_cache(maxsize=4096)
def _scored_choice(letter: str | Unreadable, gold: str | Unreadable, count: int) -> Score:
    """Few different scores are given to many items; they can't be changed, so they are shared."""
    hit = isinstance(letter, Unreadable) if isinstance(gold, Unreadable) else letter == gold
    return Score(value=float(hit), answer=_choice(letter, count), chance=1 / count if count else None)


@cache
def _searched(read_letter: ReadLetter, index: int) -> str | Unreadable:
    return read_letter(letter_of(index))


def _choice(letter: str | Unreadable, count: int) -> Answer | Unreadable:
    if isinstance(letter, Unreadable):
        return letter
    index = ord(letter[0]) - ord("A")
    if 0 <= index < count:
        return Choice(index)
    return Unreadable(f"{letter} is none of the options A-{letter_of(count - 1)}")


def _score_number(value: float | Unreadable, target: float, unit: str, profile: Profile) -> Score:
    if isinstance(value, Unreadable):
        return Score(value=0.0, answer=value)
    answer = Number(value, unit)
    if target == 0:
        at_zero = mra_of_error(abs(value)) if profile.absolute_error_at_zero else None
        return Score(value=at_zero, answer=answer)
    return Score(value=mra_of_error(abs(value - target) / target), answer=answer)
