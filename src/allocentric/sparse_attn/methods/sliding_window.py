"""Sliding window with sinks: the nearest keys of every query and the first of the sequence.

StreamingLLM, arXiv 2309.17453: without the first few keys, attention that has nowhere to go falls apart.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from allocentric.core import config
from allocentric.sparse_attn.contract import Call, Dims, Selector
from allocentric.sparse_attn.plan import Band


class Settings(config.Settings):
    """Sizes in tokens."""

    window: int = Field(default=4096, ge=1)
    """Keys at or before a query that it sees, itself included; without causality as many on either side."""
    sinks: int = Field(default=4, ge=0)
    """Keys at the start that every query sees."""


EXAMPLE = Settings(window=16, sinks=3)
EXHAUSTIVE = Settings(window=1 << 20, sinks=0)


class SlidingWindow(Selector):
    """The same band for every head."""

    name = "sliding_window"
    causal = True
    bidirectional = True
    streams = True

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings

    def plan(self, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, call: Call) -> Band:  # noqa: ARG002
        """The band; nothing is looked at."""
        return Band(extent=call.extent, window=self.settings.window, sinks=self.settings.sinks)


def build(settings: Settings, dims: Dims) -> SlidingWindow:  # noqa: ARG001
    """The method for one layer."""
    return SlidingWindow(settings)
