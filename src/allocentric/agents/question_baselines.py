"""Answers that cost nothing, for environments that ask items: those of the scripted models, as policies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

from allocentric.agents.models import scripted
from allocentric.core.types import Item, Model, Prompt

Name = Literal["random", "constant", "frequency", "oracle"]
NAMES: tuple[Name, ...] = ("random", "constant", "frequency", "oracle")
"""Weakest first; see `agents.models.scripted.Settings.policy`."""


class ScriptedAnswers:
    """Answers every question as a scripted model does, without looking; the episode's seed draws at random."""

    def __init__(
        self, name: Name, items: Iterable[Item], asked: Callable[[], Item | None], action: Callable[[str], Any]
    ) -> None:
        """What is answered and how.

        Args:
            name: Of the scripted model.
            items: All that may be asked; `frequency` counts their gold answers.
            asked: The item that is asked now; None where none is.
            action: The environment's action that says a text.
        """
        self._name: Name = name
        self._items = {item.id: item for item in items}
        self._asked, self._action = asked, action
        self._model = self._built(0)

    def reset(self, seed: int) -> None:
        """Begin the draws of an episode."""
        if self._name == "random":
            self._model = self._built(seed)

    def act(self, observation: Any) -> Any:  # noqa: ARG002 - blind
        """The answer; an empty text where nothing is asked."""
        item = self._asked()
        if item is None:
            return self._action("")
        (response,) = self._model.generate([Prompt(item_id=item.id, text="")])
        assert response.error is None, response.error
        return self._action(response.text)

    def _built(self, seed: int) -> Model:
        return scripted.build(scripted.Settings(policy=self._name, seed=seed), items=self._items)
