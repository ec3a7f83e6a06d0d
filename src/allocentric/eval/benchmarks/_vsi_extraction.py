r"""How three published scorers of VSI-Bench read a model's text. Rules only, written to be linear in the text.

first token   vision-x-nyu/thinking-in-space@51e089c, and EvolvingLMMs-Lab/lmms-eval@75571cf for options
first number  EvolvingLMMs-Lab/lmms-eval@75571cf for numbers
search        open-compass/VLMEvalKit@e8e78f0 (vlmeval/dataset/utils/spatial_bench/matching_func.py), without its judge

The published patterns of VLMEvalKit nest runs of optional spaces, which costs quadratic to cubic time on long blanks;
what they accept is described here by patterns without that.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable

from allocentric.core.types import Unreadable

_SHOWN = 24  # characters of a text quoted in a reason

# ------------------------------------------------------------------------------------------- first token, first number

_SMALL_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_SMALL_VALUES = {word: value for value, word in enumerate(_SMALL_WORDS)}
_TENS = ("thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORD_VALUES = _SMALL_VALUES | {word: 10 * ten for ten, word in enumerate(_TENS, start=3)}
_FIRST_NUMBER = re.compile(rf"-?\d+(?:\.\d+)?|\b(?:{'|'.join(_WORD_VALUES)})\b")


def first_token(text: str) -> str:
    """Everything before the first space, without dots at its end and blanks around it; "" if a space comes first."""
    return text.split(" ", 1)[0].rstrip(".").strip()


def letter_of_first_token(text: str) -> str | Unreadable:
    """The first token where it is one letter, upper case."""
    token = first_token(text)
    if len(token) == 1 and token.isalpha():
        return token.upper()
    return Unreadable(_first_token_reason(token, "an option's letter"))


def number_of_first_token(text: str) -> float | Unreadable:
    """The first token as Python's `float` reads it, NaN and infinities included."""
    token = first_token(text)
    try:
        return float(token)
    except ValueError:
        return Unreadable(_first_token_reason(token, "a number"))


def first_number(text: str) -> float | Unreadable:
    """The first number anywhere, in digits (sign, decimals) or as one English word (zero to twenty, then tens).

    The published record settles the words zero to nine, and that a word before digits wins; larger words are read
    alike. Compounds are not: "twenty-five" is 20.
    """
    found = _FIRST_NUMBER.search(text.lower())
    if found is None:
        return Unreadable("no number in the text")
    word = found.group()
    return float(_WORD_VALUES.get(word, word))


def _first_token_reason(token: str, wanted: str) -> str:
    if not token:
        return "the text starts with a space or is empty"
    shown = token if len(token) <= _SHOWN else token[:_SHOWN] + "…"
    return f"the first token {shown!r} is not {wanted}"


# ------------------------------------------------------------------------------------------------ VLMEvalKit: options

_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\ufeff"))
_TAIL_CHARACTERS = 800
_TAIL_LINES = 6

_ANSWER_OPENS = re.compile(r"<\s*answer\b", re.IGNORECASE)
_ANSWER_CLOSES = re.compile(r"<\s*/\s*answer\s*>", re.IGNORECASE)
_BLOCK_LETTER = re.compile(r"\s*([A-J])", re.IGNORECASE)
_LETTER_BEFORE_CLOSING = [
    re.compile(rf"(?<![A-Za-z])([A-F])\s*[)\]}}）】]?\s*</\s*{tag}\s*>", re.IGNORECASE) for tag in ("answer", "think")
]
_THINK_CLOSES = re.compile(r"</\s*think\s*>", re.IGNORECASE)
_THINK_OPENS = re.compile(r"<\s*think\s*>", re.IGNORECASE)

_OPTION_LISTED = re.compile(r"[*_>\-\s]*(?:option|选项)\s+[A-J]\s*[:：]", re.IGNORECASE)
_BEFORE_LONE_LETTER = "*_`>（）[]【】()"
_AFTER_LONE_LETTER = "*_`（）[]【】()"
_LONE_LETTER = re.compile(r"[A-Fa-f]")
_LABEL_AT_START = re.compile(r"([A-F])\s*[.．:：)\]】、-]\s", re.IGNORECASE)
_CAPITAL_TOKEN = re.compile(
    r"(?<![A-Za-z])([A-F])(?=[*_`）\]})]*(?:$|[\s.,:;!?)\]】》」』，。；、：）]))",
)
_CONCLUSION = re.compile(
    r"(?:answer(?:\s*is)?|答案|结论|所以|因此|选择?)\s*(?:[:：>＝=]\s*)?(?:[(\[{（【]\s*)?([A-F])(?!\w)",
    re.IGNORECASE,
)
_CAPITAL_ANYWHERE = re.compile(r"(?<![A-Za-z])([A-F])(?![A-Za-z])")


def letter_by_search(text: str) -> str | Unreadable:
    """VLMEvalKit's search for an option's letter, in its order.

    1. <answer> block that starts with a letter A-J (also of a word: "<answer>Both</answer>" is B);
    2. a letter A-F right before </answer>, then </think>, in the last 800 characters;
    3. the last 6 lines after the thinking, from the last up: the line is one letter, or starts with "b)" and the
       like, or holds one capital token A-F (once or repeated);
    4. the same in the last 800 characters of the whole text;
    5. the first letter after "answer", "answer is", "答案", "选" and the like ("the answer is a chair" is A);
    6. the only capital A-F that stands alone anywhere, listed options left out.
    """
    text = _visible(text)
    letter = (
        _letter_of_block(text)
        or _letter_before_closing(text[-_TAIL_CHARACTERS:])
        or _letter_of_lines(_after_thinking(text).splitlines()[-_TAIL_LINES:])
        or _letter_of_lines(text[-_TAIL_CHARACTERS:].splitlines()[-_TAIL_LINES:])
        or _letter_after_cue(text)
        or _only_capital(text)
    )
    return letter or Unreadable("no single option's letter in the text")


def _visible(text: str) -> str:
    text = text.strip()
    return text if text.isascii() else text.translate(_INVISIBLE)


def _letter_of_block(text: str) -> str | None:
    for start, last_closing in _answer_blocks(text):
        found = _BLOCK_LETTER.match(text, start)
        if found and found.end() <= last_closing:
            return found.group(1).upper()
    return None


def _answer_blocks(text: str) -> Iterable[tuple[int, int]]:
    """(where the content of each opening tag starts, where the text's last closing tag starts)."""
    if "<" not in text:  # the usual answer, and most of the time
        return
    last_closing = max((found.start() for found in _ANSWER_CLOSES.finditer(text)), default=-1)
    end_of_tag = -1
    for found in _ANSWER_OPENS.finditer(text):
        if found.end() <= end_of_tag:  # an unfinished tag before this one has the same content
            continue
        end_of_tag = text.find(">", found.end())
        if end_of_tag < 0 or end_of_tag >= last_closing:
            return
        yield end_of_tag + 1, last_closing


def _letter_before_closing(text: str) -> str | None:
    if "<" not in text:
        return None
    for pattern in _LETTER_BEFORE_CLOSING:
        if found := pattern.search(text):
            return found.group(1).upper()
    return None


def _after_thinking(text: str) -> str:
    """What follows the last </think>, else the last <think>, without blanks around it; else the text as it is."""
    for pattern in (_THINK_CLOSES, _THINK_OPENS) if "<" in text else ():
        ends = [found.end() for found in pattern.finditer(text)]
        if ends:
            return text[ends[-1] :].strip()
    return text


def _letter_of_lines(lines: list[str]) -> str | None:
    for line in reversed(lines):
        if letter := _letter_of_line(line.strip()):
            return letter
    return None


def _letter_of_line(line: str) -> str | None:
    if not line or _OPTION_LISTED.match(line):
        return None
    found = _LONE_LETTER.search(line)
    if found:
        before, after = line[: found.start()].strip(), line[found.end() :].strip()
        if not before.strip(_BEFORE_LONE_LETTER) and not after.strip(_AFTER_LONE_LETTER):
            return found.group().upper()
    if found := _LABEL_AT_START.match(line):
        return found.group(1).upper()
    tokens = set(_CAPITAL_TOKEN.findall(line))
    return tokens.pop() if len(tokens) == 1 else None


def _letter_after_cue(text: str) -> str | None:
    found = _CONCLUSION.search(text)
    return found.group(1).upper() if found else None


def _only_capital(text: str) -> str | None:
    lines = [line for line in text.splitlines() if not _OPTION_LISTED.match(line)]
    tokens = set(_CAPITAL_ANYWHERE.findall("\n".join(lines)))
    return tokens.pop() if len(tokens) == 1 else None


# ------------------------------------------------------------------------------------------------ VLMEvalKit: numbers

_NUMBER = re.compile(r"[-+]?(?:\d*\.\d+|\d+)(?:[eE][-+]?\d+)?")
_NUMBER_WORD = re.compile(rf"\b(?:{'|'.join(_SMALL_WORDS)})\b", re.IGNORECASE)
_SPACES = re.compile(r"\s*")


def last_number(text: str) -> float | Unreadable:
    """VLMEvalKit's search for a number: words zero to twenty become digits, then the first that succeeds of

    the number that starts an <answer> block, the last number after the thinking, the last number of the text. Of a
    text that is a bracketed list only the first element is read; a malformed one is unreadable.
    """
    try:
        text = _first_of_list(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return Unreadable("in square brackets, but not a list of values")
    text = _NUMBER_WORD.sub(_digits_of_word, _visible(text))
    number = _number_of_block(text)
    if number is None:
        found = _NUMBER.findall(_after_thinking(text)) or _NUMBER.findall(text)
        number = found[-1] if found else None
    return Unreadable("no number in the text") if number is None else float(number)


def _first_of_list(text: str) -> str:
    inner = text.strip()
    if not (inner.startswith("[") and inner.endswith("]")):
        return text
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a text's odd escapes are no concern of ours
        values = ast.literal_eval(text)  # literals only; nothing is run
    return str(values[0]) if isinstance(values, list) and values else text


def _digits_of_word(found: re.Match[str]) -> str:
    value = _SMALL_VALUES.get(found.group().lower())
    return found.group() if value is None else str(value)


def _number_of_block(text: str) -> str | None:
    for start, _ in _answer_blocks(text):
        blank = _SPACES.match(text, start)
        number = _NUMBER.match(text, blank.end() if blank else start)
        if number is None:
            continue
        next_tag = text.find("<", number.end())
        if next_tag >= 0 and _ANSWER_CLOSES.match(text, next_tag):
            return number.group()
    return None
