"""Episodes -> what models are told and the tokens they are told it in; the same for demonstrations and reinforcement.

All turns of an episode stand in one sequence: the opening (the words, the task and the first picture), then in turn
what the model wrote and the reply of the environment. Texts are never tokenized again with what follows them, so that
a demonstration is token for token what `turns` would feed if the model had written the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from allocentric.agents.actions_tools import ToolCall, parse_call
from allocentric.agents.adapters import HeadAdapter, WalkAdapter
from allocentric.core.errors import DataError
from allocentric.core.records import digest
from allocentric.core.types import Unreadable
from allocentric.envs.panorama.tasks import record_from_annotation
from allocentric.envs.panorama_search import PanoramaSearch
from allocentric.train import environments
from allocentric.train.environments import Block
from allocentric.train.recipe import EpisodeSettings

Row = Mapping[str, int]
"""The `task` or `seed` that `reset` takes."""


class UnpaidSearch(environments.SearchTools):
    """Without a reward of its own, which TRL would add to those of the recipe."""

    get_reward = None  # type: ignore[assignment]


class UnpaidExplore(environments.ExploreTools):
    """Without a reward of its own."""

    get_reward = None  # type: ignore[assignment]


@dataclass(frozen=True, kw_only=True)
class Episodes:
    """Which episodes there are."""

    settings: EpisodeSettings
    """Where they come from and how they are played."""
    rows: tuple[Row, ...]
    """One per episode."""
    ids: tuple[str, ...]
    """One per episode; the same episode has the same id in any recipe."""
    content: str
    """Digest of the tasks and the sizes of their pictures."""

    def record(self) -> dict[str, Any]:
        """Number and digests."""
        return {"count": len(self.rows), "items_sha256": digest(self.ids), "pictures_sha256": self.content}


def episodes(settings: EpisodeSettings, *, limit: int | None = None, seed: int = 0) -> Episodes:
    """The episodes of the settings; `limit` of them drawn with `seed`, in their order.

    Raises:
        UserError: wrong settings or tasks, or there are none from `first_episode` on.
    """
    first, count = settings.first_episode, settings.episodes
    if settings.environment == "explore":
        assert count is not None
        known = {k: f"walk {digest(settings.settings)[:8]} {k}" for k in range(first, first + count)}
        key, contents = "seed", [""] * (first + count)
    else:
        assert settings.folder is not None
        tasks = PanoramaSearch(settings.folder, **settings.settings).tasks
        last = len(tasks) if count is None else min(first + count, len(tasks))
        known = {
            k: f"{tasks[k].scene_id} {tasks[k].annotation.task} {tasks[k].start_yaw:g}" for k in range(first, last)
        }
        contents = [f"{record_from_annotation(task.annotation)} {task.panorama.stat().st_size}" for task in tasks]
        key = "task"
    if not known:
        raise DataError(f"{settings.folder} has no task number {first}")
    numbers = list(known)
    if limit is not None and limit < len(numbers):
        drawn = np.random.default_rng([seed, 0xE415]).permutation(len(numbers))[:limit]
        numbers = [numbers[place] for place in sorted(drawn)]
    return Episodes(
        settings=settings,
        rows=tuple({key: number} for number in numbers),
        ids=tuple(known[number] for number in numbers),
        content=digest([contents[number] for number in numbers]),
    )


def factory(settings: EpisodeSettings) -> Callable[[], Any]:
    """Makes environments; UserError for wrong settings or tasks, at once."""
    values: dict[str, Any] = {**settings.settings, "max_turns": settings.max_turns}
    if settings.protocol == "text":
        values["version"] = settings.version
    make: Callable[[], Any]
    if settings.environment == "search":
        assert settings.folder is not None
        search = UnpaidSearch if settings.protocol == "tools" else environments.SearchText
        make = partial(search, settings.folder, **values)
    else:
        make = partial(UnpaidExplore if settings.protocol == "tools" else environments.ExploreText, **values)
    make()
    return make


def told(settings: EpisodeSettings) -> str:
    """The words that open every episode; a chat template adds the functions where they are called."""
    form, version = settings.protocol, settings.version if settings.protocol == "text" else "strict-v1"
    questions = settings.settings.get("task") == "question"
    adapter = (
        HeadAdapter(form=form, version=version)
        if settings.environment == "search"
        else WalkAdapter(form=form, version=version, questions=questions)
    )
    words = adapter.system()
    return words.partition("\n\n")[0] if form == "tools" else words


def tools_of(environment: Any) -> list[Callable[..., Any]]:
    """The functions of an environment, by name, as TRL finds them."""
    names = [name for name, _ in inspect.getmembers(type(environment), predicate=inspect.isfunction)]
    hidden = ("reset", "get_reward")
    return [getattr(environment, name) for name in names if name not in hidden and not name.startswith("_")]


def carried_out(environment: Any, settings: EpisodeSettings, text: str) -> tuple[list[Block] | str, str] | None:
    """What an environment says to a text of the model, and the name of the function that answered.

    None where functions are to be called and none is: the episode ends there.
    """
    if settings.protocol == "text":
        return _called(environment, ToolCall("act", {"text": text}))
    call = parse_call(text, "lenient-v1")
    return None if isinstance(call, Unreadable) else _called(environment, call)


def _called(environment: Any, call: ToolCall) -> tuple[list[Block] | str, str]:
    known = {function.__name__: function for function in tools_of(environment)}
    try:
        if call.name not in known:
            raise ValueError(f"Tool {call.name} not found.")
        return known[call.name](**call.arguments), call.name
    except (ValueError, TypeError) as error:  # as TRL tells it the model
        return str({"error": str(error)}), call.name


# -------------------------------------------------------------------------------------------------------------- tokens


class Scribe:
    """Openings and replies as token ids of one checkpoint."""

    def __init__(
        self, processor: Any, settings: EpisodeSettings, *, template: Mapping[str, Any] | None = None
    ) -> None:
        """`template` holds variables of the chat template."""
        self._processor, self._settings = processor, settings
        self._template = dict(template or {})
        self._known: dict[Any, list[int]] = {}

    def opening(self, blocks: Sequence[Block], tools: Sequence[Callable[..., Any]] = ()) -> list[int]:
        """From the first token to where the model begins to write."""
        messages = [
            {"role": "system", "content": [{"type": "text", "text": told(self._settings)}]},
            {"role": "user", "content": list(blocks)},
        ]
        more = {"tools": list(tools)} if tools else {}
        return self._tokens(messages, add_generation_prompt=True, **more)

    def reply(self, content: Sequence[Block] | str, function: str) -> list[int]:
        """From the end of the model's turn to the beginning of its next, with what the environment said.

        Raises:
            DataError: the chat template renders a turn differently once others follow.
        """
        blocks: list[Block] = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
        # Replies repeat: of a picture, only its size tells in the tokens.
        key = (function, *(block.get("text") or block["image"].size for block in blocks))
        if key not in self._known:
            self._known[key] = self._reply(blocks, function)
        return list(self._known[key])

    def _reply(self, blocks: list[Block], function: str) -> list[int]:
        begun, message = _dialogue(self._settings.protocol, blocks, function)
        before = self._tokens(begun)
        full = self._tokens([*begun, message], add_generation_prompt=True)
        ends = [place for place, token in enumerate(before) if token == self._processor.tokenizer.eos_token_id]
        end = ends[-1] + 1
        if full[:end] != before[:end]:
            raise DataError("the chat template renders turns differently once others follow; use protocol: tools")
        return full[end:]

    def _tokens(self, messages: list[dict[str, Any]], **more: Any) -> list[int]:
        made = self._processor.apply_chat_template(
            [messages], tokenize=True, return_dict=True, **({"add_generation_prompt": False} | more), **self._template
        )
        return list(made["input_ids"][0])


def _dialogue(protocol: str, blocks: list[Block], function: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A short dialogue and the message whose tokens are wanted, by the protocol."""

    def says(role: str, text: str) -> dict[str, Any]:
        return {"role": role, "content": [{"type": "text", "text": text}]}

    if protocol == "text":
        return [says("user", "-"), says("assistant", "-")], {"role": "user", "content": blocks}
    call = {"type": "function", "function": {"name": function, "arguments": {}}}
    begun = [says("user", "dummy"), says("assistant", "") | {"tool_calls": [call]}]
    return begun, {"role": "tool", "name": function, "content": blocks}


def pictures_of(blocks: Sequence[Block] | str) -> list[Any]:
    """The pictures among blocks, in order."""
    return [] if isinstance(blocks, str) else [block["image"] for block in blocks if block["type"] == "image"]


def model_inputs(processor: Any, ids: Sequence[Sequence[int]], pictures: Sequence[Any], image_token: int) -> Any:
    """A batch of sequences, padded on the left, with their pictures in order; tensors by name of the model's input."""
    import torch

    width = max(map(len, ids))
    pad = processor.tokenizer.pad_token_id
    ids_BL = torch.tensor([[pad] * (width - len(row)) + list(row) for row in ids])
    mask_BL = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids])
    inputs = {"input_ids": ids_BL, "attention_mask": mask_BL, "mm_token_type_ids": (ids_BL == image_token).long()}
    if pictures:
        inputs |= processor.image_processor(images=list(pictures), return_tensors="pt")
    return inputs
