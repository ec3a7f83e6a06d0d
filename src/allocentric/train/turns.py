"""Group-relative policy optimisation over whole episodes: search in panoramas, or walking, a picture in every turn.

Models of Qwen3-VL's kind call the environment's functions (`protocol: tools`); any chat model can write its action as
evaluation asks for it (`protocol: text`, read by the same versioned readers). All turns of an episode stand in one
sequence: the tokens a model wrote carry loss, what the environment said does not. An episode that is over is not asked
again. Rewards are those of the H* ablation (success, format, distance), each with a weight and logged apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from allocentric.agents.adapters import HeadAdapter, WalkAdapter
from allocentric.core import config
from allocentric.core.errors import DataError, SettingsError
from allocentric.envs.panorama_search import PanoramaSearch
from allocentric.train import environments
from allocentric.train.grpo import Sampler, require_groups
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


class Settings(Sampler):
    """Which episodes are played, and how. `max_new_tokens` counts all turns and pictures of an episode."""

    environment: Literal["search", "explore"] = "search"
    """Search in panoramas (`folder` of tasks, as `allocentric make-search` writes it), or walks in houses."""
    folder: Path | None = None
    """Of search tasks."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Of the environment ({"width_px": 128, "height_px": 72, "protocol": "strict-v1"})."""
    protocol: Literal["tools", "text"] = "text"
    """How the model acts."""
    version: str = "strict-v1"
    """Of the reader of texts: strict-v1, lenient-v1, hstar-v1."""
    max_turns: int = Field(default=5, ge=1)
    """Turns of an episode."""
    episodes: int | None = Field(default=None, ge=1)
    """Only the first so many tasks (search), or seeds from 0 on (explore, needed there)."""
    rewards: EpisodeRewards = EpisodeRewards()
    """What is paid."""

    @model_validator(mode="after")
    def _whole(self) -> Settings:
        if self.environment == "search" and self.folder is None:
            raise ValueError("search needs the folder of its tasks")
        if self.environment == "explore" and self.episodes is None:
            raise ValueError("explore needs the number of episodes")
        return self


def trainer(work: Work, settings: Settings) -> Any:
    """TRL's GRPOTrainer over episodes."""
    require_trl()
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    if settings.vllm != "off" and settings.protocol == "text":
        raise SettingsError("the text protocol is not drawn by vllm; set vllm: off, or protocol: tools")
    weights = {name: getattr(settings.rewards, name) for name in ("success", "format", "distance")}
    functions: list[Callable[..., list[float]]] = [success, format, distance]
    arguments = work.configure(
        GRPOConfig,
        **settings.arguments(work),
        max_tool_calling_iterations=settings.max_turns,
        reward_weights=list(weights.values()),
    )
    episodes = rows(settings)
    require_groups(work, settings.generations, len(episodes))
    processor = work.checkpoint.processor
    own_template = processor.chat_template
    if settings.protocol == "text":
        processor.chat_template = _tool_template()  # for TRL's own examination alone; see `played`
    try:
        made = built(
            lambda: played(watched(GRPOTrainer, work), settings)(
                model=work.checkpoint.model,
                processing_class=processor,
                args=arguments,
                reward_funcs=functions,
                train_dataset=Dataset.from_list(episodes),
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


class _UnpaidSearch(environments.SearchTools):
    """Without a reward of its own, which TRL would add to those of the recipe."""

    get_reward = None  # type: ignore[assignment]


class _UnpaidExplore(environments.ExploreTools):
    """Without a reward of its own."""

    get_reward = None  # type: ignore[assignment]


def factory(settings: Settings) -> Callable[[], Any]:
    """Makes environments; UserError for wrong settings or tasks, at once."""
    values: dict[str, Any] = {**settings.settings, "max_turns": settings.max_turns}
    if settings.protocol == "text":
        values["version"] = settings.version
    make: Callable[[], Any]
    if settings.environment == "search":
        assert settings.folder is not None
        search = _UnpaidSearch if settings.protocol == "tools" else environments.SearchText
        make = partial(search, settings.folder, **values)
    else:
        make = partial(_UnpaidExplore if settings.protocol == "tools" else environments.ExploreText, **values)
    make()
    return make


def rows(settings: Settings) -> list[dict[str, int]]:
    """One row per episode: the `task` or `seed` that `reset` takes."""
    if settings.environment == "explore":
        assert settings.episodes is not None
        return [{"seed": seed} for seed in range(settings.episodes)]
    assert settings.folder is not None
    tasks = range(len(PanoramaSearch(settings.folder, **settings.settings).tasks))
    return [{"task": task} for task in tasks][: settings.episodes]


def _prompts(settings: Settings) -> Callable[[Sequence[dict[str, Any]]], list[dict[str, Any]]]:
    """Rows with the words that open an episode; the first picture comes from `reset`."""
    form, version = settings.protocol, settings.version if settings.protocol == "text" else "strict-v1"
    questions = settings.settings.get("task") == "question"
    adapter = (
        HeadAdapter(form=form, version=version)
        if settings.environment == "search"
        else WalkAdapter(form=form, version=version, questions=questions)
    )
    told = adapter.system()
    if form == "tools":  # the chat template lists the functions
        told = told.partition("\n\n")[0]

    def show(given: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {
                **row,
                "prompt": [
                    {"role": "system", "content": [{"type": "text", "text": told}]},
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

    TRL (1.16) goes on until a model makes no call. Here a sequence whose last word is that the episode is over gets
    nothing more. For texts, all that is written in a turn is the argument of the one function `act`, and what the
    environment answers stands in a user's turn, both of which any chat template can render.
    """
    is_text = settings.protocol == "text"

    class Played(base):  # type: ignore[misc]
        """See `played`."""

        def __init__(self, *given: Any, **more: Any) -> None:
            super().__init__(*given, **more)
            if is_text:
                self._tokenizer.parse_response = _all_is_an_action(self._tokenizer)

        def _generate_single_turn(self, prompt_ids: Any, *rest: Any, **more: Any) -> Any:
            over = [_is_over(self._tokenizer, ids) for ids in prompt_ids]
            if all(over):
                return [[] for _ in prompt_ids], None
            drawn, chances = super()._generate_single_turn(prompt_ids, *rest, **more)
            drawn = [[] if done else ids for ids, done in zip(drawn, over, strict=True)]
            if chances is not None:
                chances = [[] if done else values for values, done in zip(chances, over, strict=True)]
            return drawn, chances

        def _get_tool_suffix_ids(self, tool_messages: Any) -> Any:
            return _user_turn_ids(self, tool_messages) if is_text else super()._get_tool_suffix_ids(tool_messages)

    Played.__name__ = base.__name__
    return Played


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


def _user_turn_ids(trainer: Any, tool_messages: Sequence[dict[str, Any]]) -> list[int]:
    """Tokens from the end of the model's turn to the beginning of its next, with what the environment said."""
    content = [part for message in tool_messages for part in _parts(message["content"])]
    begun = [
        {"role": "user", "content": [{"type": "text", "text": "-"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "-"}]},
    ]
    processor = trainer.processing_class
    full = processor.apply_chat_template(
        [[*begun, {"role": "user", "content": content}]],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        **trainer.chat_template_kwargs,
    )["input_ids"][0]
    before = processor.apply_chat_template(
        [begun], add_generation_prompt=False, tokenize=True, return_dict=True, **trainer.chat_template_kwargs
    )["input_ids"][0]
    end = max(place for place, token in enumerate(before) if token == trainer._tokenizer.eos_token_id) + 1
    if list(full[:end]) != list(before[:end]):
        raise DataError("the chat template renders turns differently once others follow; use protocol: tools")
    return list(full[end:])


def _parts(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _tool_template() -> str:
    """A chat template TRL knows to render calls."""
    import trl

    return (Path(trl.__file__).parent / "chat_templates" / "qwen3_vl.jinja").read_text(encoding="utf-8")
