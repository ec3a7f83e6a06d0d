"""What is trained on what, and how: the recipe of `allocentric train`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from allocentric.core import config
from allocentric.core.errors import SettingsError
from allocentric.datasets.chat import AnswerFormat
from allocentric.eval.frames import FramesPolicy

Part = Literal["vision", "merger", "embeddings", "language", "head"]
"""vision: the picture encoder; merger: what maps its features to the language model; embeddings: of tokens; language:
the layers of the language model; head: the map to the vocabulary, which many models share with the embeddings."""


class LoraSettings(config.Settings):
    """Low-rank adapters (arXiv 2106.09685) on the linear layers of the parts that are trained."""

    rank: int = Field(default=16, ge=1)
    """Of the two factors."""
    alpha: int = Field(default=32, ge=1)
    """The product of the factors is scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Of the adapters' inputs."""
    parts: tuple[Literal["vision", "merger", "language"], ...] = ("language",)
    """Which parts get adapters; all other weights stay as they are."""


class ModelSettings(config.Settings):
    """The checkpoint that is trained."""

    path: str
    """Folder with config.json, safetensors and processor, or a hub id; a run's `model` folder continues that run."""
    revision: str | None = None
    """Branch, tag or commit of a hub id; None is main."""
    dtype: Literal["auto", "float32", "bfloat16"] = "float32"
    """Of the weights in memory. float32 with precision bf16 is mixed precision; bfloat16 halves the memory and rounds
    small updates away."""
    attn_implementation: str | None = None
    """eager, sdpa, flash_attention_2 or allocentric:METHOD; roll-outs use the same, as they use the same model."""
    min_pixels: int | None = Field(default=None, ge=1)
    """Enlarge pictures below this; None keeps the checkpoint's."""
    max_pixels: int | None = Field(default=None, ge=1)
    """Shrink pictures above this; None keeps the checkpoint's."""
    system: str | None = None
    """System message of every conversation; None adds none beyond the chat template's."""
    chat_template: dict[str, Any] = Field(default_factory=dict)
    """Variables of the chat template ({"enable_thinking": false})."""
    freeze: tuple[Part, ...] = ()
    """Parts whose weights stay as they are."""
    lora: LoraSettings | None = None
    """Train adapters instead of weights; the final checkpoint has them merged."""


class EpisodeSettings(config.Settings):
    """Which episodes are played, and how."""

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
    first_episode: int = Field(default=0, ge=0)
    """Number of the first task (search) or seed (explore)."""
    episodes: int | None = Field(default=None, ge=1)
    """Only so many tasks (search), or seeds (explore, needed there)."""

    @model_validator(mode="after")
    def _whole(self) -> EpisodeSettings:
        if self.environment == "search" and self.folder is None:
            raise ValueError("search needs the folder of its tasks")
        if self.environment == "explore" and self.episodes is None:
            raise ValueError("explore needs the number of episodes")
        return self


class DemonstrationSettings(EpisodeSettings):
    """Episodes played by an expert, for sft; held-out episodes are played by the model, whatever the expert."""

    expert: Literal["sweep", "oracle"] = "oracle"
    """oracle: knows where the target is, and goes there. sweep (search): looks round until the target is in view, so
    that every action follows from what was seen. Both bring the target to the middle and submit the heading."""
    grid_rad: float | None = Field(default=None, gt=0)
    """Search: angles are multiples of this, a whole part of a right angle; None is whole degrees."""

    @model_validator(mode="after")
    def _fits(self) -> DemonstrationSettings:
        if self.grid_rad is not None and abs(math.remainder(math.pi / 2, self.grid_rad)) > 1e-3:
            raise ValueError(f"grid_rad must be a whole part of a right angle, got {self.grid_rad:g}")
        if self.environment == "explore" and self.expert == "sweep":
            raise ValueError("walks have the expert oracle")
        return self


class DataSettings(config.Settings):
    """What is learnt from, and how it is shown. Exactly one of `benchmark`, `set`, `items` and `episodes` names it."""

    benchmark: dict[str, Any] | None = None
    """`name` of a benchmark and its settings; asked and scored under `profile`."""
    set: Path | None = None
    """Folder that `allocentric make` wrote; worded as its chat records are, scored by `core.scoring`."""
    items: Path | None = None
    """JSON Lines of item records (`core.records.item_to_record`), picture paths relative to the file."""
    episodes: DemonstrationSettings | None = None
    """Whole episodes (sft, and held-out data of sft and turns)."""
    split: str | None = None
    """One split of a set folder; None takes all."""
    profile: str | None = None
    """Profile of the benchmark; None is its first."""
    kinds: tuple[str, ...] = ()
    """Only these question types; empty takes all."""
    answer: AnswerFormat = "short"
    """short: a letter, number or phrase. rationale: the derivation in <think>, then the answer in <answer>, which the
    question asks for. In every turn of an episode: what was seen, before the action. steps: the derivation alone,
    which ends in the answer, asked for in the words of `profile` where one is named."""
    frames: FramesPolicy = FramesPolicy(count=8)
    """Which pictures are shown; `as_video` shows them as one native video (sft only), `count: 0` trains blind."""
    limit: int | None = Field(default=None, ge=1)
    """Only this many items, drawn with the recipe's seed, as even over the question types as they allow; or this many
    episodes."""

    @model_validator(mode="after")
    def _one_source(self) -> DataSettings:
        given = [name for name in ("benchmark", "set", "items", "episodes") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"exactly one of benchmark, set, items and episodes names the data, got {given or 'none'}"
            )
        if self.split is not None and self.set is None:
            raise ValueError("split is of a set; a benchmark takes it among its own settings")
        return self


class HeldOutSettings(config.Settings):
    """Questions that are asked during training, greedily, and never trained on."""

    data: DataSettings
    """Which; as they are worded there."""
    every: int = Field(ge=1)
    """Optimiser steps between two evaluations; one is made before the first step and one after the last."""
    batch_size: int = Field(default=8, ge=1)
    """Prompts per forward pass."""
    max_new_tokens: int = Field(default=16, ge=1)
    """Longest answer, or text of a turn."""


class TrackerSettings(config.Settings):
    """Where curves are sent beside the run folder."""

    name: Literal["wandb", "trackio", "tensorboard"] = "wandb"
    """Its package must be installed."""
    project: str = "allocentric"
    """Of wandb and trackio."""
    online: bool = False
    """wandb only: send while training, which needs a login. False writes below the run folder; `wandb sync` sends."""


class TrainRecipe(config.Settings):
    """One training run. Steps are updates of the optimiser."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """First part of the run folder's name."""
    stage: dict[str, Any]
    """`name` of a stage (`allocentric list stages`) and its settings."""
    model: ModelSettings
    """What is trained."""
    data: DataSettings | None = None
    """What it learns from; stages with an environment bring their own tasks."""
    held_out: HeldOutSettings | None = None
    """What it is tried on meanwhile."""
    steps: int = Field(ge=1)
    """Updates of the optimiser."""
    batch_size: int = Field(default=1, ge=1)
    """Examples (completions for grpo) per process and forward pass."""
    accumulate: int = Field(default=1, ge=1)
    """Forward passes per update."""
    processes: int = Field(default=1, ge=1)
    """Processes that train together; another number at launch is an error, as it would be another batch."""
    device: Literal["cpu", "cuda"] = "cpu"
    """An absent device is an error."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the arithmetic."""
    learning_rate: float = Field(gt=0)
    """Largest."""
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    """How the learning rate falls after the warm-up."""
    warmup_steps: int = Field(default=0, ge=0)
    """Updates over which the learning rate rises from 0."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Of AdamW."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this norm."""
    checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time."""
    shuffle: bool = True
    """Draw the examples in random order, anew in each epoch; False keeps the order of the data (a curriculum)."""
    seed: int = 0
    """Of everything random."""
    log_every: int = Field(default=1, ge=1)
    """Steps between two lines of metrics."""
    save_every: int = Field(default=100, ge=1)
    """Steps between two checkpoints; a repeated command continues from the last complete one."""
    keep: int = Field(default=2, ge=2)
    """Checkpoints kept, the newest; two, so that one is intact while the next is written."""
    on_bad_sample: Literal["stop", "skip"] = "stop"
    """What a picture that can't be read or a prompt longer than the context does: stop names it and ends; skip leaves
    it out of its batch, counts it and shows the count (sft only)."""
    trainer: dict[str, Any] = Field(default_factory=dict)
    """Further fields of TRL's configuration of the stage, for what has no name here ({"optim": "adafactor"})."""
    tracker: TrackerSettings | None = None
    """None keeps curves in the run folder only."""


def require_data(recipe: TrainRecipe) -> DataSettings:
    """The recipe's data. SettingsError where a stage that needs them has none."""
    if recipe.data is None:
        raise SettingsError(f"{recipe.name}: the stage {recipe.stage.get('name')!r} needs `data`")
    return recipe.data
