"""Building the steps of one answer."""

from __future__ import annotations

from typing import Any

from allocentric.core.types import Step


class Derivation:
    """Collects the steps of one answer; `add` gives the reference that later steps use as input."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def add(self, op: str, output: Any, **inputs: Any) -> dict[str, int]:
        """Append a step and return {"step": its number}."""
        self.steps.append(Step(op=op, inputs=inputs, output=output))
        return {"step": len(self.steps) - 1}
