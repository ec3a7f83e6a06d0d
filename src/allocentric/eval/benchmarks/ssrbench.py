"""SSRBench: spatial reasoning with rationales; no scorer is published."""

from __future__ import annotations

from typing import NoReturn

from allocentric.core import config
from allocentric.eval.benchmarks._published import refuse

REASON = (
    'yliu-cs/SSR marks the benchmark "Coming Soon"; the hub has yliu-cs/SSRBench, but tasks, prompt and '
    "scorer are not published (arXiv 2505.12448)"
)


class Settings(config.Settings):
    """None: there is nothing to ask."""


def build(settings: Settings) -> NoReturn:
    """Refuse with the reason."""
    del settings
    refuse("ssrbench", REASON)
