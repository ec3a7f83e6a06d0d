"""What a stage builds its trainer from: checkpoint, data, arguments; and what every trainer of ours watches."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from allocentric.agents.models import _checkpoint, hf
from allocentric.core import config
from allocentric.core.catalog import STAGES
from allocentric.core.config import resolved, settings_from_mapping
from allocentric.core.errors import DataError, MissingPackageError, SettingsError, UserError, suggestion
from allocentric.core.runlog import RunLog
from allocentric.train.data import Encoder, PictureCheck, Questions, model_settings, questions
from allocentric.train.demonstrations import Demonstrations, demonstrations
from allocentric.train.episodes import Episodes, episodes
from allocentric.train.recipe import DataSettings, EpisodeSettings, LoraSettings, TrainRecipe
from allocentric.train.sharded import averaged_head

_OURS = {
    "output_dir", "max_steps", "num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps",
    "learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay", "max_grad_norm", "gradient_checkpointing",
    "bf16", "fp16", "seed", "data_seed", "logging_steps", "logging_strategy", "save_steps", "save_strategy",
    "save_total_limit", "eval_strategy", "eval_steps", "report_to", "use_cpu", "remove_unused_columns",
    "resume_from_checkpoint", "run_name", "disable_tqdm", "shuffle_dataset",
}  # fmt: skip
"""Arguments of trainers that the recipe sets under names of its own, or that would break a run folder."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A recipe with everything resolved."""

    recipe: TrainRecipe
    """As given."""
    stage: str
    """Entry of the stage catalog."""
    stage_settings: config.Settings
    """Of the stage."""
    questions: Questions | None
    """What is learnt from, where the recipe's data are questions."""
    demonstrations: Demonstrations | None
    """What is learnt from, where they are episodes."""
    played: Episodes | None
    """What the stage plays, where it has episodes of its own."""
    held_out: Questions | Episodes | None
    """What is asked or played meanwhile."""
    settings: dict[str, Any]
    """Every setting in force, as JSON values; itself a recipe. Its hash names the run folder."""


def plan(recipe: TrainRecipe) -> Job:
    """Load the data and resolve every setting; no model is loaded.

    Raises:
        UserError: an unknown stage or setting (with a suggestion), data that can't be read, or the same item both
            trained on and held out.
    """
    if not isinstance(recipe.stage.get("name"), str):
        raise SettingsError(f"stage: expected a `name`{suggestion('', STAGES.names())}")
    name = STAGES.resolve(recipe.stage["name"])
    given = {key: value for key, value in recipe.stage.items() if key != "name"}
    stage_settings = settings_from_mapping(STAGES.load(name).Settings, given, where=f"stage {name}")
    data = recipe.data
    shown = None if data is None or data.episodes is None else demonstrations(data, seed=recipe.seed)
    learnt = None if data is None or shown is not None else questions(data, seed=recipe.seed)
    played = episodes(stage_settings) if isinstance(stage_settings, EpisodeSettings) else None
    held_out = None if recipe.held_out is None else _held_out(recipe.held_out.data, seed=recipe.seed)
    if held_out is not None:
        used = {name for part in (shown, learnt, played) if part is not None for name in part.ids}
        both = used & set(held_out.ids)
        if both:
            raise SettingsError(f"{len(both)} held-out items are trained on, {min(both)} among them; use other splits")
    return Job(
        recipe=recipe,
        stage=name,
        stage_settings=stage_settings,
        questions=learnt,
        demonstrations=shown,
        played=played,
        held_out=held_out,
        settings={**resolved(recipe), "stage": {"name": name, **resolved(stage_settings)}},
    )


def _held_out(settings: DataSettings, *, seed: int) -> Questions | Episodes:
    if settings.episodes is None:
        return questions(settings, seed=seed)
    return episodes(settings.episodes, limit=settings.limit, seed=seed)


class Work:
    """One process at work on a job: what it has loaded, and where it writes."""

    def __init__(self, job: Job, folder: Path, log: RunLog | None) -> None:
        """`log` is None in all processes but the first, which alone writes."""
        self.job, self.recipe, self.folder, self.log = job, job.recipe, folder, log
        self.callbacks: list[Any] = []

    @property
    def questions(self) -> Questions:
        """The training data. SettingsError where the recipe has none, or episodes."""
        if self.job.questions is None:
            wanted = "`data`" if self.job.demonstrations is None else "questions as `data`; episodes are for sft"
            raise SettingsError(f"the stage {self.job.stage} needs {wanted}")
        return self.job.questions

    @cached_property
    def checkpoint(self) -> _checkpoint.Checkpoint:
        """Model and processor, the frozen parts frozen."""
        wanted = self.recipe.model
        _checkpoint._check_device(self.recipe.device)
        loaded = _checkpoint.load(
            wanted.path,
            revision=wanted.revision,
            dtype=wanted.dtype,
            device="cpu",  # the trainer moves it to where this process computes
            attn_implementation=wanted.attn_implementation,
        )
        hf._limit_pixels(loaded, self.model_settings)
        freeze(loaded.model, wanted.freeze)
        return loaded

    @cached_property
    def model_settings(self) -> hf.Settings:
        """How evaluation builds the prompts of this checkpoint."""
        return model_settings(self.recipe.model)

    @cached_property
    def encoder(self) -> Encoder:
        """Questions to tokens."""
        most = getattr(self.checkpoint.model.config.get_text_config(), "max_position_embeddings", None)
        return Encoder(self.checkpoint.processor, self.model_settings, context=most)

    @cached_property
    def check(self) -> PictureCheck:
        """Watches the forward passes of the model from its first use on."""
        return PictureCheck(self.checkpoint.model)

    def configure(self, config_class: Any, **own: Any) -> Any:
        """TRL's configuration: what the recipe says, what the stage says (`own`), then the recipe's `trainer`.

        Raises:
            SettingsError: `trainer` names a field that isn't there or has a name in the recipe, or TRL refuses.
        """
        known = {field.name for field in dataclasses.fields(config_class)}
        for name in self.recipe.trainer:
            if name not in known:
                raise SettingsError(f"trainer: {config_class.__name__} has no field {name!r}{suggestion(name, known)}")
            if name in _OURS or name in own:
                raise SettingsError(f"trainer: {name} is set by the recipe or its stage under a name of its own")
        try:
            return config_class(**{**self._arguments(), **own, **self.recipe.trainer})
        except (ValueError, TypeError) as error:
            raise SettingsError(f"TRL refuses these settings: {_checkpoint.one_line(error)}") from None

    def _arguments(self) -> dict[str, Any]:
        recipe = self.recipe
        return {
            "output_dir": str(self.folder / "checkpoints"),
            "max_steps": recipe.steps,
            "per_device_train_batch_size": recipe.batch_size,
            "gradient_accumulation_steps": recipe.accumulate,
            "learning_rate": recipe.learning_rate,
            "lr_scheduler_type": recipe.schedule if recipe.schedule != "constant" else "constant_with_warmup",
            "warmup_steps": recipe.warmup_steps,
            "weight_decay": recipe.weight_decay,
            "max_grad_norm": recipe.max_grad_norm,
            "gradient_checkpointing": recipe.checkpointing,
            "bf16": recipe.precision == "bf16",
            "seed": recipe.seed,
            "logging_steps": recipe.log_every,
            "logging_nan_inf_filter": False,
            "save_strategy": "steps",
            "save_steps": recipe.save_every,
            "save_total_limit": recipe.keep,
            "report_to": [] if recipe.tracker is None else [recipe.tracker.name],
            "run_name": self.folder.name,
            "use_cpu": recipe.device == "cpu",
            "dataloader_pin_memory": recipe.device != "cpu",
            "remove_unused_columns": False,
            "disable_tqdm": True,
        }

    def adapters(self) -> Any:
        """PEFT's configuration, None where all weights are trained."""
        lora = self.recipe.model.lora
        return None if lora is None else _adapters(self.checkpoint.model, lora)

    def say(self, line: str) -> None:
        """One line into log.txt, from the first process only."""
        if self.log is not None:
            self.log.say(line)

    def keep(self, records: list[tuple[str, Mapping[str, Any]]]) -> None:
        """Records into samples.jsonl, from the first process only."""
        if self.log is not None and records:
            self.log.append(records)


def world() -> tuple[int, int]:
    """Rank of this process and their number, as accelerate and torchrun tell."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


# ------------------------------------------------------------------------------------------------------------- parts


def part_of(name: str) -> str:
    """The part of a vision-language model that a parameter belongs to, by its name."""
    if "merger" in name or "multi_modal_projector" in name or "connector" in name:
        return "merger"
    if "visual" in name or "vision_tower" in name or "vision_model" in name:
        return "vision"
    if "lm_head" in name:
        return "head"
    return "embeddings" if "embed_tokens" in name else "language"


def freeze(model: Any, parts: tuple[str, ...]) -> None:
    """Take parts out of training. UserError where a part has no weights of its own, or nothing is left."""
    for part in parts:
        mine = [parameter for name, parameter in model.named_parameters() if part_of(name) == part]
        if not mine:
            raise UserError(f"model.freeze: this checkpoint has no weights of its own in {part!r}")
        for parameter in mine:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UserError("model.freeze: every weight is frozen; there is nothing to train")


def _adapters(model: Any, lora: LoraSettings) -> Any:
    import torch

    try:
        from peft import LoraConfig
    except ModuleNotFoundError:
        raise MissingPackageError("peft", needed_for="model.lora", extra="train") from None
    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    targets = [name for name in linear if part_of(name) in lora.parts]
    if not targets:
        raise UserError(f"model.lora: this checkpoint has no linear layers in {', '.join(lora.parts)}")
    return LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets, task_type="CAUSAL_LM"
    )


# ----------------------------------------------------------------------------------------------------------- watching


def watched(base: Any, work: Work) -> Any:
    """A trainer class of TRL's that stops at a loss that is no number, names the rows at hand and counts skips.

    The last three methods are called by trainers that draw completions.
    """
    import torch
    from transformers import PreTrainedModel

    check = work.check

    class Watched(base):  # type: ignore[misc]
        """See `watched`."""

        def training_step(self, model: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
            loss = super().training_step(model, inputs, *rest, **more)
            if not torch.isfinite(loss):
                rows = ", ".join(check.item_ids) or "unknown items"
                raise UserError(
                    f"the loss is {loss.item()} at step {self.state.global_step + 1} ({rows}); the last checkpoint is "
                    "intact: lower learning_rate or max_grad_norm in a new recipe that starts from it"
                )
            return loss

        def compute_loss(self, model: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
            check.item_ids = inputs.pop("item_ids", check.item_ids)
            skipped = inputs.pop("skipped", {})
            for item_id, reason in skipped.items():
                work.say(f"skipped item {item_id}: {reason}")
            work.keep([(f"skipped/{item_id}", {"reason": reason}) for item_id, reason in skipped.items()])
            with averaged_head(self):
                return super().compute_loss(model, inputs, *rest, **more)

        def _load_from_checkpoint(self, resume_from_checkpoint: Any, model: Any = None) -> None:
            """Weights of a checkpoint by the names transformers saves them under.

            Those of vision-language models differ from the names in memory; the base class (transformers 5.23) then
            finds no weight it knows, warns, and goes on with those the run began with.
            """
            target = self.model if model is None else model
            if not isinstance(target, PreTrainedModel) or self.is_fsdp_enabled or self.is_deepspeed_enabled:
                super()._load_from_checkpoint(resume_from_checkpoint, model)
                return
            _load_weights(target, resume_from_checkpoint)

        def _get_train_sampler(self, dataset: Any = None) -> Any:
            sampler = super()._get_train_sampler(dataset)
            if type(sampler).__name__ != "RepeatSampler":  # others are seeded by epoch already
                return sampler
            return _ByEpoch(sampler, seed=self.args.seed, epoch=lambda: int((self.state.epoch or 0.0) + 1e-6))

        def _generate_and_score_completions(self, inputs: Any) -> Any:
            check.item_ids = [str(row.get("item", "")) for row in inputs]
            return super()._generate_and_score_completions(inputs)

        def _tokenize_prompts(self, prompts: Any) -> Any:
            found = super()._tokenize_prompts(prompts)
            names = check.item_ids if len(check.item_ids) == len(prompts) else [""] * len(prompts)
            for name, ids in zip(names, found[0], strict=True):
                work.encoder.require_room(name, len(ids), self.max_completion_length)
            return found

    Watched.__name__ = base.__name__
    return Watched


def _load_weights(model: Any, folder: str) -> None:
    """Those of a checkpoint into a model. DataError where they aren't the same ones."""
    saved = type(model).from_pretrained(folder, dtype=model.dtype)
    missing, unknown = model.load_state_dict(saved.state_dict(), strict=False)
    beside = set(model._keys_to_ignore_on_save or ())  # of parts that are saved in files of their own
    wrong = [*unknown, *(name for name in missing if name not in beside)]
    if wrong:
        raise DataError(f"{folder} has other weights than the model, among them {wrong[0]}")


class _ByEpoch:
    """TRL's sampler of groups, whose order follows from seed and epoch.

    TRL's own (1.16) draws each epoch's order from where the last one left its generator, so that a run resumed in its
    second epoch repeats the order of the first.
    """

    def __init__(self, sampler: Any, *, seed: int, epoch: Callable[[], int]) -> None:
        self._sampler, self._seed, self._epoch = sampler, seed, epoch

    def __iter__(self) -> Iterator[int]:
        if getattr(self._sampler, "generator", None) is not None:
            self._sampler.generator.manual_seed(self._seed + self._epoch())
        return iter(self._sampler)

    def __len__(self) -> int:
        return len(self._sampler)


def built(make: Callable[[], Any]) -> Any:
    """What `make` makes; TRL's refusals become a SettingsError of one line."""
    try:
        return make()
    except ValueError as error:
        raise SettingsError(f"TRL refuses these settings: {_checkpoint.one_line(error)}") from None


def require_trl() -> None:
    """MissingPackageError where TRL is absent."""
    try:
        import trl  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingPackageError(error.name or "trl", needed_for="training", extra="train") from None
