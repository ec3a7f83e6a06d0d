"""A dense model teaches a hybrid of itself, in two phases: its new layers one by one, then its answers.

`layers`: every layer with new weights gets the hidden states the teacher has before that layer and is pulled towards
what the teacher makes of them, by mean squared error; only the new weights learn. `kl`: the hybrid runs by itself and
its distribution over every token of the answer is pulled towards the teacher's. InfiniteVL (arXiv 2512.08829) learns
so, with the error times 1000 and a temperature of 2.

Shapes: B rows, L tokens, K of them at the end, E model width, T tokens of answers, V vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from allocentric.agents.models import _checkpoint
from allocentric.core import config
from allocentric.core.errors import SettingsError
from allocentric.sparse_attn.recipe import ConversionRecipe
from allocentric.train.data import IGNORED
from allocentric.train.sft import order, rows_and_collator
from allocentric.train.work import Work, built, freeze, require_trl, watched

if TYPE_CHECKING:
    from torch import Tensor


class LayerPhase(config.Settings):
    """The new weights, layer by layer."""

    steps: int = Field(ge=0)
    """Of the recipe's steps, the first ones; the others are of `kl`."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Largest; None is the recipe's."""
    match: Literal["mixer", "hidden"] = "mixer"
    """What is compared: what the layer's attention or mixer returns, or what the whole layer returns."""
    factor: float = Field(default=1000.0, gt=0)
    """Of the mean squared error, which is averaged over tokens, channels and layers."""


class KlPhase(config.Settings):
    """The distribution over the tokens of the answer."""

    learning_rate: float | None = Field(default=None, gt=0)
    """Largest; None is the recipe's."""
    temperature: float = Field(default=2.0, gt=0)
    """Divides both models' logits; the divergence is multiplied by its square (arXiv 1503.02531)."""
    cross_entropy: float = Field(default=0.0, ge=0)
    """Weight of the loss on the answer itself, added to the divergence."""
    train: Literal["all", "new"] = "all"
    """all: every weight the recipe doesn't freeze. new: those the teacher doesn't have."""


class Settings(config.Settings):
    """Teacher, student and two phases; `schedule` and `warmup_steps` of the recipe hold in each phase by itself."""

    teacher: str | None = None
    """Folder or hub id of the dense checkpoint; None is `model.path`, which `convert` then turns into the student."""
    convert: ConversionRecipe | None = None
    """What `model.path` becomes before the first step: a conversion recipe, or the path of one (`configs/convert`).
    None takes `model.path` as a hybrid that `allocentric convert` has made."""
    layers: LayerPhase = LayerPhase(steps=0)
    """First."""
    kl: KlPhase = KlPhase()
    """For the rest of the steps."""

    @field_validator("convert", mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        return config.read_recipe(Path(value)) if isinstance(value, str) else value


def trainer(work: Work, settings: Settings) -> Any:
    """A trainer over the recipe's items that learns from a teacher.

    Raises:
        SettingsError: no teacher, nothing new to train in the first phase, or two models that don't fit.
    """
    require_trl()
    from trl import SFTConfig, SFTTrainer

    teacher = _checked(work, settings)
    student = work.checkpoint.model
    if settings.convert is not None:
        from allocentric.sparse_attn.convert import become

        become(student, settings.convert, seed=work.recipe.seed)
        freeze(student, work.recipe.model.freeze)
    new = _new_weights(student)
    if not any(parameter.requires_grad for parameter in new.values()) and (
        settings.layers.steps or settings.kl.train == "new"
    ):
        raise SettingsError("the student has no new weights to train: set layers.steps: 0 and kl.train: all")
    rows, collator = rows_and_collator(work)
    arguments = work.configure(SFTConfig, max_length=None, train_sampling_strategy=order(work))
    made = built(
        lambda: watched(_distilling(SFTTrainer, work, settings), work)(
            model=student,
            processing_class=work.checkpoint.processor,
            args=arguments,
            train_dataset=rows,
            data_collator=collator,
            callbacks=work.callbacks,
        )
    )
    made.model_accepts_loss_kwargs = False  # every loss here is a mean over one forward pass
    made.lesson = Lesson(made, settings, teacher, new)
    return made


def _checked(work: Work, settings: Settings) -> Any:
    """The teacher, once the settings are known to fit together."""
    recipe = work.recipe
    if settings.layers.steps > recipe.steps:
        raise SettingsError(f"layers.steps {settings.layers.steps} is more than the recipe's steps {recipe.steps}")
    if recipe.model.lora is not None:
        raise SettingsError("distill trains weights, not adapters; remove model.lora")
    if settings.convert is None and settings.teacher is None:
        raise SettingsError("name the teacher, or what turns model.path into the student (convert)")
    teacher = _checkpoint.load(
        settings.teacher or recipe.model.path,
        revision=recipe.model.revision if settings.teacher is None else None,
        dtype=recipe.model.dtype,
        device="cpu",
        attn_implementation=None if settings.teacher is not None else recipe.model.attn_implementation,
    ).model.requires_grad_(False)
    ours, theirs = (_sizes(model) for model in (work.checkpoint.model, teacher))
    if ours != theirs:
        raise SettingsError(f"teacher and student differ: {theirs} and {ours} (layers, width, vocabulary)")
    return teacher


def _sizes(model: Any) -> tuple[int, int, int]:
    text = model.config.get_text_config()
    return text.num_hidden_layers, text.hidden_size, text.vocab_size


def _new_weights(module: Any) -> dict[str, Any]:
    """Parameters of mixers, and of attention methods that have some, by name."""
    named = module.named_parameters(prefix=".")
    return {name: weight for name, weight in named if re.search(r"\.self_attn\.(mixer|selector)\.", name)}


def _new_layers(student: Any) -> list[int]:
    from allocentric.sparse_attn import register

    layers = register.layers_of(register.text_tower(student))
    return [index for index, layer in enumerate(layers) if _new_weights(layer)]


# ------------------------------------------------------------------------------------------------------------- losses


def divergence(student_TV: Tensor, teacher_TV: Tensor, temperature: float) -> Tensor:
    """KL(teacher || student) of softened distributions in nats, mean over tokens, times the temperature squared."""
    from torch.nn.functional import kl_div, log_softmax

    ours_TV = log_softmax(student_TV.float() / temperature, dim=-1)
    theirs_TV = log_softmax(teacher_TV.float() / temperature, dim=-1)
    return kl_div(ours_TV, theirs_TV, reduction="batchmean", log_target=True) * temperature**2


def squared_error(ours_BLE: Tensor, theirs_BLE: Tensor, real_BL: Tensor) -> Tensor:
    """Mean over the tokens that aren't padding and their channels."""
    difference_NE = (ours_BLE.float() - theirs_BLE.float())[real_BL]
    return difference_NE.square().mean()


# ------------------------------------------------------------------------------------------------------------- layers


class Observer:
    """What goes into some layers of a teacher, and what comes out of them or of their attention."""

    def __init__(self, model: Any, indices: list[int], match: str) -> None:
        from allocentric.sparse_attn import register

        self.inputs: dict[int, Tensor] = {}
        self.outputs: dict[int, Tensor] = {}
        layers = register.layers_of(register.text_tower(model))
        for index in indices:
            layer = layers[index]
            layer.register_forward_pre_hook(partial(self._before, index), with_kwargs=True)
            compared(layer, match).register_forward_hook(partial(self._after, index))

    def _before(self, index: int, _: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.inputs[index] = named["hidden_states"] if "hidden_states" in named else positional[0]

    def _after(self, index: int, _: Any, __: Any, output: Any) -> None:
        self.outputs[index] = first(output)


class Matched:
    """Makes a forward pass of the student return how far its layers are from a teacher's.

    Each layer is given the teacher's hidden states. The loss is an output of the model itself, so that wrappers that
    spread training over processes see which weights it reaches.
    """

    def __init__(self, model: Any, indices: list[int], match: str) -> None:
        from allocentric.sparse_attn import register

        self.teacher: Observer | None = None
        """Where the teacher's states of the batch at hand are; None lets the student run by itself."""
        self.real_BL: Any = None
        """Which tokens aren't padding."""
        self._errors: dict[int, Tensor] = {}
        layers = register.layers_of(register.text_tower(model))
        for index in indices:
            layer = layers[index]
            layer.register_forward_pre_hook(partial(self._before, index), with_kwargs=True)
            compared(layer, match).register_forward_hook(partial(self._after, index))
        model.register_forward_hook(self._end)

    def _before(self, index: int, layer: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if self.teacher is None or not layer.training:
            return None
        given_BLE = self.teacher.inputs[index]
        if "hidden_states" in named:
            return positional, {**named, "hidden_states": given_BLE}
        return (given_BLE, *positional[1:]), named

    def _after(self, index: int, module: Any, _: Any, output: Any) -> None:
        if self.teacher is not None and module.training:
            self._errors[index] = squared_error(first(output), self.teacher.outputs[index], self.real_BL)

    def _end(self, model: Any, _: Any, __: Any) -> Any:
        if self.teacher is None or not model.training:
            return None
        errors, self._errors = self._errors, {}
        return {f"layer_{index:02d}": error for index, error in sorted(errors.items())}


def compared(layer: Any, match: str) -> Any:
    """The module whose output is compared."""
    return layer if match == "hidden" else layer.self_attn


def first(output: Any) -> Tensor:
    """The hidden states among what a layer returns."""
    states: Tensor = output[0] if isinstance(output, tuple) else output
    return states


# ------------------------------------------------------------------------------------------------------------ trainer


class Lesson:
    """A teacher, and what a trainer's student learns from it at a step."""

    def __init__(self, trainer: Any, settings: Settings, teacher: Any, new: Mapping[str, Any]) -> None:
        """`new` are the weights that learn in the first phase."""
        self._trainer, self._settings = trainer, settings
        self._student = trainer.model
        self._teacher = teacher.to(trainer.accelerator.device).eval()
        self._new = {id(parameter) for parameter in new.values()}
        self._learning = [parameter for parameter in self._student.parameters() if parameter.requires_grad]
        self._phase = ""
        if settings.layers.steps:
            indices = _new_layers(self._student)
            self._observer = Observer(self._teacher, indices, settings.layers.match)
            self._matched = Matched(self._student, indices, settings.layers.match)

    def enter(self, step: int) -> None:
        """Let the weights learn that this step trains."""
        phase = "layers" if step < self._settings.layers.steps else "kl"
        if phase == self._phase:
            return
        self._phase = phase
        only_new = phase == "layers" or self._settings.kl.train == "new"
        for parameter in self._learning:
            parameter.requires_grad_(not only_new or id(parameter) in self._new)
        if phase == "kl" and self._settings.layers.steps:
            self._matched.teacher = None
            if step == self._settings.layers.steps:  # a new loss begins with new moments
                self._trainer.optimizer.state.clear()

    def loss(self, model: Any, inputs: Mapping[str, Any]) -> Any:
        """Of a batch with labels; `model` is the student as the trainer wraps it."""
        import torch

        asked = {name: value for name, value in inputs.items() if name != "labels"} | {"use_cache": False}
        labels_BL = inputs["labels"]
        start = max(int((labels_BL != IGNORED).any(dim=0).nonzero()[0]) - 1, 0)
        asked["logits_to_keep"] = labels_BL.shape[1] - start
        with torch.no_grad(), self._trainer.accelerator.autocast():
            logits_BKV = self._teacher(**asked).logits
        if _asks_for_answers(self._student):
            asked["answer_BL"] = labels_BL != IGNORED
        if self._phase == "layers":
            return self._of_layers(model, {**asked, "logits_to_keep": 1}, inputs["attention_mask"].bool())
        return self._of_answers(model(**asked).logits, logits_BKV, labels_BL[:, start + 1 :])

    def _of_layers(self, model: Any, inputs: Mapping[str, Any], real_BL: Any) -> Any:
        import torch

        self._matched.teacher, self._matched.real_BL = self._observer, real_BL
        errors = model(**inputs)
        mean = torch.stack(list(errors.values())).mean()
        self._note({"layers": mean, **errors})
        return self._settings.layers.factor * mean

    def _of_answers(self, logits_BKV: Any, teacher_BKV: Any, labels_BK: Any) -> Any:
        from torch.nn.functional import cross_entropy

        said_BK, kl = labels_BK != IGNORED, self._settings.kl
        ours_TV, theirs_TV = logits_BKV[:, :-1][said_BK], teacher_BKV[:, :-1][said_BK]
        loss = divergence(ours_TV, theirs_TV, kl.temperature)
        own = cross_entropy(ours_TV.float(), labels_BK[said_BK])
        agreed = (ours_TV.argmax(-1) == theirs_TV.argmax(-1)).float().mean()
        self._note({"kl": loss, "cross_entropy": own, "same_token": agreed})
        return loss + kl.cross_entropy * own if kl.cross_entropy else loss

    def _note(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            mean = self._trainer.accelerator.gather(value.detach().reshape(1)).mean().item()
            self._trainer._metrics["train"][f"distill/{name}"].append(mean)


def _distilling(base: Any, work: Work, settings: Settings) -> Any:
    """TRL's SFTTrainer with a lesson's losses in the place of its own."""

    class Distilling(base):  # type: ignore[misc]
        """See `_distilling`."""

        lesson: Lesson
        """Given once the trainer is built."""
        lr_scheduler: Any

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            """The recipe's schedule in each phase by itself."""
            del num_training_steps
            if self.lr_scheduler is None:
                self.lr_scheduler = phase_schedule(work, settings, optimizer or self.optimizer)
                self._created_lr_scheduler = True
            return self.lr_scheduler

        def training_step(self, *arguments: Any, **named: Any) -> Any:
            self.lesson.enter(self.state.global_step)
            return super().training_step(*arguments, **named)

        def compute_loss(self, model: Any, inputs: Any, **_: Any) -> Any:
            return self.lesson.loss(model, inputs)

    return Distilling


def phase_schedule(work: Work, settings: Settings, optimizer: Any) -> Any:
    """A scheduler under which each phase has its own rate, warm-up and fall."""
    import torch
    from transformers import get_scheduler

    recipe = work.recipe
    name = recipe.schedule if recipe.schedule != "constant" else "constant_with_warmup"
    first_steps = settings.layers.steps

    def shape(steps: int) -> Any:
        nothing = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        return get_scheduler(name, nothing, recipe.warmup_steps, max(steps, 1)).lr_lambdas[0]

    rates = [
        (phase.learning_rate or recipe.learning_rate) / recipe.learning_rate
        for phase in (settings.layers, settings.kl)
    ]
    shapes = [shape(first_steps), shape(recipe.steps - first_steps)]

    def factor(step: int) -> float:
        late = step >= first_steps
        return float(rates[late] * shapes[late](step - first_steps if late else step))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def _asks_for_answers(model: Any) -> bool:
    """Whether the model's attention asks which tokens are answer."""
    from allocentric.sparse_attn import register

    return register.serves(model.config.get_text_config())
