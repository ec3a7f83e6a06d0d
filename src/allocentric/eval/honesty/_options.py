"""Options in another order, wherever an item holds them: as a list, in the question's text, in published fields.

An item is only moved where that is sure to be right: its prompt changes, and under every profile the right option
stays right and another stays wrong. Options that speak of each other ("none of the above", "A and B") stay.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace

from allocentric.core.types import Choice, Item
from allocentric.eval.protocol import Benchmark
from allocentric.eval.wording import worded

_ABOUT_OTHERS = re.compile(
    r"\b(all|none|both|neither) of (the|these|them)\b|\bthe (above|options|choices)$|\b[A-H] (and|or|&) [A-H]\b",
    re.IGNORECASE,
)
_LABELLED = re.compile(r"\(?[A-Z][.):] ?")


def moved(item: Item, order: Sequence[int]) -> Item | None:
    """`item` with option `order[k]` at place k, or None where its options can't be found everywhere they are said."""
    assert isinstance(item.gold, Choice)
    choices = tuple(item.choices[old] for old in order)
    prompt = _prompt(item, choices)
    if prompt is None:
        return None
    gold = Choice(list(order).index(item.gold.index))
    extra = dict(item.extra)
    lines = extra.get("options")
    if isinstance(lines, list | tuple) and len(lines) == len(choices):
        extra["options"] = [_relabelled(str(lines[old]), str(lines[new])) for new, old in enumerate(order)]
    if extra.get("ground_truth") == chr(65 + item.gold.index):
        extra["ground_truth"] = chr(65 + gold.index)
    return replace(item, choices=choices, prompt=prompt, gold=gold, extra=extra)


def movable(benchmark: Benchmark, item: Item) -> bool:
    """Whether the options of `item` can be put in another order without changing what is right."""
    if not isinstance(item.gold, Choice) or len(item.choices) < 2 or len(set(item.choices)) < len(item.choices):
        return False
    if any(_ABOUT_OTHERS.search(choice) for choice in item.choices):
        return False
    turned = moved(item, [*range(1, len(item.choices)), 0])
    if turned is None:
        return False
    return all(_same(benchmark, item, turned, profile) for profile in benchmark.profiles)


def _same(benchmark: Benchmark, item: Item, turned: Item, profile: str) -> bool:
    """Whether the prompt changes, and the right option stays right and the next one wrong."""
    if benchmark.prompt_text(item, profile) == benchmark.prompt_text(turned, profile):
        return False
    return all(_scores(benchmark, one, profile) == (1.0, 0.0) for one in (item, turned))


def _scores(benchmark: Benchmark, item: Item, profile: str) -> tuple[float | None, float | None]:
    """What saying the right option is worth, and saying the one after it."""
    assert isinstance(item.gold, Choice)
    answers = item.gold, Choice((item.gold.index + 1) % len(item.choices))
    right, wrong = (benchmark.score(item, worded(benchmark, item, one, profile), profile).value for one in answers)
    return right, wrong


def _prompt(item: Item, choices: Sequence[str]) -> str | None:
    """The question with the options it lists itself in their new order; unchanged where it lists none."""
    spans = []
    for index, text in enumerate(item.choices):
        found = list(re.finditer(rf"\b{chr(65 + index)}\s*[.:)]\s*(?P<text>{re.escape(text)})", item.prompt))
        if found:
            spans.append(found[-1].span("text"))
    if not spans:
        return item.prompt
    if len(spans) != len(choices) or any(a[1] > b[0] for a, b in itertools.pairwise(spans)):
        return None
    prompt = item.prompt
    for (start, end), text in reversed(list(zip(spans, choices, strict=True))):
        prompt = prompt[:start] + text + prompt[end:]
    return prompt


def _relabelled(line: str, place: str) -> str:
    """The option of `line` under the letter of `place`."""
    label, here = _LABELLED.match(line), _LABELLED.match(place)
    return here.group() + line[label.end() :] if label and here else line
