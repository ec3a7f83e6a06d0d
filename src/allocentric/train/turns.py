"""Group-relative policy optimisation over whole episodes: search in panoramas, or walking, a picture in every turn.

Models of Qwen3-VL's kind call the environment's functions (`protocol: tools`); any chat model can write its action as
evaluation asks for it (`protocol: text`, read by the same versioned readers). All turns of an episode stand in one
sequence: the tokens a model wrote carry loss, what the environment said does not. An episode that is over is not asked
again. Rewards are those of the H* ablation (success, format, distance), each with a weight and logged apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from allocentric.core import config
from allocentric.core.errors import SettingsError
from allocentric.train import environments
from allocentric.train.credit import CreditSettings, credited, require_attention
from allocentric.train.episodes import Scribe, episodes, factory, told
from allocentric.train.grpo import Sampler, pad_left, require_groups
from allocentric.train.recipe import EpisodeSettings
from allocentric.train.work import Work, built, require_trl, watched


class EpisodeRewards(config.Settings):
    """What an episode is paid; a weight of 0 switches a part off."""

    success: float = 1.0
    """1 for an episode that ends well."""
    format: float = 0.0
    """1 where every turn was an action that could be carried out."""
    distance: float = 0.0
    """How much nearer the goal is at the end than at first, in [-1, 1]: the angle from the head to the target
    over half a turn, or the way to the goal over what it was."""

    @model_validator(mode="after")
    def _some(self) -> EpisodeRewards:
        if not any((self.success, self.format, self.distance)):
            raise ValueError("every reward has the weight 0")
        return self


class Settings(Sampler, EpisodeSettings):
    """Which episodes are played, and what they are paid. `max_new_tokens` counts all turns and pictures of one."""

    turn_tokens: int | None = Field(default=None, ge=1)
    """Longest text of one turn; None is what is left of `max_new_tokens`."""
    rewards: EpisodeRewards = EpisodeRewards()
    """What is paid."""
    credit: CreditSettings | None = None
    """More weight for tokens that plan or that later ones lean on, seen in the attention; None weighs all alike."""


def trainer(work: Work, settings: Settings) -> Any:
    """TRL's GRPOTrainer over episodes."""
    require_trl()
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    if settings.vllm != "off" and settings.protocol == "text":
        raise SettingsError("the text protocol is not drawn by vllm; set vllm: off, or protocol: tools")
    base = watched(GRPOTrainer, work)
    if settings.credit is not None:
        require_attention(work)
        base = credited(base, settings.credit)
    weights = {name: getattr(settings.rewards, name) for name in ("success", "format", "distance")}
    functions: list[Callable[..., list[float]]] = [success, format, distance]
    arguments = work.configure(
        GRPOConfig,
        **settings.arguments(work),
        max_tool_calling_iterations=settings.max_turns,
        reward_weights=list(weights.values()),
    )
    pad_left(work)
    rows = episodes(settings).rows
    require_groups(work, settings.generations, len(rows))
    processor = work.checkpoint.processor
    own_template = processor.chat_template
    if settings.protocol == "text":
        processor.chat_template = _tool_template()  # for TRL's own examination alone; see `played`
    try:
        made = built(
            lambda: played(base, settings)(
                model=work.checkpoint.model,
                processing_class=processor,
                args=arguments,
                reward_funcs=functions,
                train_dataset=Dataset.from_list([dict(row) for row in rows]),
                environment_factory=factory(settings),
                peft_config=work.adapters(),
                callbacks=work.callbacks,
            )
        )
    finally:
        processor.chat_template = own_template
    made.data_collator = _prompts(settings)
    return made


# ------------------------------------------------------------------------------------------------------------ episodes


def _prompts(settings: Settings) -> Callable[[Sequence[dict[str, Any]]], list[dict[str, Any]]]:
    """Rows with the words that open an episode; the first picture comes from `reset`."""
    opening = told(settings)

    def show(given: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {
                **row,
                "prompt": [
                    {"role": "system", "content": [{"type": "text", "text": opening}]},
                    {"role": "user", "content": []},
                ],
                "item": "episode " + ", ".join(f"{name} {value}" for name, value in row.items()),
            }
            for row in given
        ]

    return show


def success(environments: Sequence[Any], **_: Any) -> list[float]:
    """1 for an episode that ended well."""
    return [float(env.succeeded) for env in environments]


def format(environments: Sequence[Any], **_: Any) -> list[float]:
    """1 where every turn was an action that could be carried out."""
    return [float(env.well_formed) for env in environments]


def distance(environments: Sequence[Any], **_: Any) -> list[float]:
    """Progress towards the goal."""
    return [float(env.progress) for env in environments]


# -------------------------------------------------------------------------------------------------------- the trainer


def played(base: Any, settings: Settings) -> Any:
    """A GRPO trainer that ends episodes, and, for the text protocol, hands every text to the environment.

    TRL (1.16) goes on until a model makes no call, and draws for every episode of a batch until the last text is
    written. Here what is over is not asked again. For texts, all that is written in a turn is the argument of the one
    function `act`, and what the environment answers stands in a user's turn, both of which any chat template can
    render.
    """
    is_text = settings.protocol == "text"

    class Played(base):  # type: ignore[misc]
        """See `played`."""

        def __init__(self, *given: Any, **more: Any) -> None:
            super().__init__(*given, **more)
            if is_text:
                self._tokenizer.parse_response = _all_is_an_action(self._tokenizer)
                self._scribe = Scribe(self.processing_class, settings, template=self.chat_template_kwargs)
            if settings.turn_tokens is not None and settings.vllm == "off":
                self.generation_config.max_new_tokens = settings.turn_tokens

        def _generate_single_turn(self, prompt_ids: Any, images: Any, fields: Any, *rest: Any, **more: Any) -> Any:
            playing = [place for place, ids in enumerate(prompt_ids) if not _is_over(self._tokenizer, ids)]
            drawn: list[list[int]] = [[] for _ in prompt_ids]
            if not playing:
                return drawn, None
            if len(playing) < len(prompt_ids):
                prompt_ids = [prompt_ids[place] for place in playing]
                fields = _of_rows(fields, images, playing)
                images = None if images is None else [images[place] for place in playing]
            said, chances = super()._generate_single_turn(prompt_ids, images, fields, *rest, **more)
            every: list[Any] | None = None if chances is None else [[] for _ in drawn]
            for row, place in enumerate(playing):
                drawn[place] = said[row]
                if every is not None:
                    every[place] = chances[row]
            return drawn, every

        def _get_tool_suffix_ids(self, tool_messages: Any) -> Any:
            if not is_text:
                return super()._get_tool_suffix_ids(tool_messages)
            contents = [message["content"] for message in tool_messages]
            parts = [
                part
                for content in contents
                for part in ([{"type": "text", "text": content}] if isinstance(content, str) else content)
            ]
            return self._scribe.reply(parts, "act")

    Played.__name__ = base.__name__
    return Played


def _of_rows(fields: dict[str, Any], images: Any, rows: Sequence[int]) -> dict[str, Any]:
    """What a batch holds of pictures, and values per token, of some of its rows."""
    import torch

    kept: dict[str, Any] = {}
    first = [0, *accumulate(len(pictures or ()) for pictures in images or ())]
    pictures = [picture for row in rows if images for picture in range(first[row], first[row + 1])]
    for name, value in fields.items():
        if name == "pixel_values":
            of_picture = value.split(fields["image_grid_thw"].prod(dim=1).tolist())
            kept[name] = torch.cat([of_picture[picture] for picture in pictures])
        elif name == "image_grid_thw":
            kept[name] = value[pictures]
        else:
            kept[name] = [value[row] for row in rows]
    return kept


def _is_over(tokenizer: Any, ids: Sequence[int]) -> bool:
    """Whether the last turn before the model's says that the episode is over."""
    said = tokenizer.decode(list(ids)[-160:])
    return environments.OVER in said.rpartition("<|im_start|>user")[2]


def _all_is_an_action(tokenizer: Any) -> Callable[..., dict[str, Any]]:
    def parse(ids: Any, **_: Any) -> dict[str, Any]:
        text = tokenizer.decode(ids, skip_special_tokens=True)
        call = {"type": "function", "function": {"name": "act", "arguments": {"text": text}}}
        return {"role": "assistant", "content": text, "tool_calls": [call]}

    return parse


def _tool_template() -> str:
    """A chat template TRL knows to render calls."""
    import trl

    return (Path(trl.__file__).parent / "chat_templates" / "qwen3_vl.jinja").read_text(encoding="utf-8")
