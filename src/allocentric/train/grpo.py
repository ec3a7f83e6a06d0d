"""Group-relative policy optimisation, one turn: several answers to a question, paid by the scorer of evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from allocentric.agents.models import hf
from allocentric.core import config
from allocentric.core.errors import DataError, MissingPackageError, SettingsError
from allocentric.train.credit import CreditSettings, credited, require_attention
from allocentric.train.data import Questions
from allocentric.train.rewards import Rewards, RewardSettings
from allocentric.train.sampled import sampled_answers
from allocentric.train.work import Work, built, require_trl, watched

VISION_TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")
"""Never sampled: a written picture token would stand for a picture that isn't there."""


class Curriculum(config.Settings):
    """Questions in the order of how hard the model finds them before it is trained."""

    samples: int = Field(default=4, ge=1)
    """Answers that are sampled to every question."""
    order: Literal["easy_first", "hard_first", "as_given"] = "easy_first"
    """By mean score. Needs `shuffle: false` unless as_given."""
    drop_below: float = Field(default=0.0, ge=0, le=1)
    """Leave out questions with a lower mean score; 0 keeps all."""
    drop_from: float = Field(default=1.01, gt=0)
    """Leave out questions with at least this mean score; above 1 keeps all."""
    batch_size: int = Field(default=8, ge=1)
    """Prompts per forward pass while measuring."""


class Sampler(config.Settings):
    """How completions are drawn; shared by the stages that draw them."""

    generations: int = Field(default=8, ge=2)
    """Completions per prompt: the group."""
    max_new_tokens: int = Field(default=256, ge=1)
    """Longest completion, over all turns and with what tools return."""
    temperature: float = Field(default=1.0, gt=0)
    """Of sampling."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Smallest set of tokens of this probability is drawn from."""
    beta: float = Field(default=0.0, ge=0)
    """Weight of the divergence from the model at the start."""
    loss: str = "dapo"
    """TRL's `loss_type`: grpo, dapo, dr_grpo, bnpo ..."""
    iterations: int = Field(default=1, ge=1)
    """Updates made with the same completions."""
    vllm: Literal["off", "colocate", "server"] = "off"
    """Who draws: this process, vLLM beside it, or a server (`trl vllm-serve`). vLLM does not know the attention of
    `allocentric.sparse_attn`: a model trained with it would be asked with another."""

    def arguments(self, work: Work) -> dict[str, Any]:
        """Fields of TRL's configuration. SettingsError where a resumed run would repeat itself differently."""
        if work.recipe.save_every % self.iterations:
            raise SettingsError(
                f"save_every {work.recipe.save_every} must be a multiple of iterations {self.iterations}, so that a "
                "checkpoint lies where new completions are drawn"
            )
        sparse = (work.recipe.model.attn_implementation or "").startswith("allocentric:")
        if self.vllm != "off" and sparse:
            raise SettingsError("vllm would answer with other attention than is trained; set vllm: off")
        values: dict[str, Any] = {
            "num_generations": self.generations,
            "max_completion_length": self.max_new_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "beta": self.beta,
            "loss_type": self.loss,
            "num_iterations": self.iterations,
            "shuffle_dataset": work.recipe.shuffle,
            "chat_template_kwargs": dict(work.recipe.model.chat_template) or None,
        }
        if self.vllm == "off":
            values["generation_kwargs"] = {"suppress_tokens": unwritten(work.checkpoint.processor.tokenizer)}
            return values
        try:
            import vllm  # noqa: F401
        except ModuleNotFoundError:
            raise MissingPackageError("vllm", needed_for=f"vllm: {self.vllm}", extra="vllm") from None
        return values | {"use_vllm": True, "vllm_mode": self.vllm}


def pad_left(work: Work) -> None:
    """Pad prompts on the left, as TRL (1.16) does with their tokens.

    The kinds of tokens (`mm_token_type_ids`) come from the processor, which pads where its tokenizer does. On the
    other side, a shorter prompt's picture tokens would pass for text, and get the positions of text.
    """
    work.checkpoint.processor.tokenizer.padding_side = "left"


def require_groups(work: Work, generations: int, prompts: int) -> None:
    """SettingsError where an update needs more prompts than there are, which TRL would pass over without a word."""
    recipe = work.recipe
    wanted = recipe.batch_size * recipe.accumulate * recipe.processes // generations
    if prompts < wanted:
        raise SettingsError(
            f"an update takes {wanted} prompts (batch_size x accumulate x processes / generations); "
            f"there are {prompts}"
        )


class Settings(Sampler):
    """Completions, rewards and the order of the questions."""

    rewards: RewardSettings = RewardSettings()
    """What is paid."""
    curriculum: Curriculum | None = None
    """None takes the questions as they come."""
    credit: CreditSettings | None = None
    """More weight for tokens that plan or that later ones lean on, seen in the attention; None weighs all alike."""


def trainer(work: Work, settings: Settings) -> Any:
    """TRL's GRPOTrainer over the recipe's items."""
    require_trl()
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    asked = work.questions
    if asked.settings.frames.as_video:
        raise SettingsError("grpo shows pictures one by one; set data.frames.as_video: false")
    if work.recipe.on_bad_sample == "skip":
        raise SettingsError("grpo can't leave a member out of a group; set on_bad_sample: stop")
    arguments = work.configure(GRPOConfig, **settings.arguments(work))
    pad_left(work)
    order = _order(work, settings)
    require_groups(work, settings.generations, len(order))
    paid = Rewards(
        settings.rewards,
        items=asked.items,
        score=asked.score,
        tags=asked.settings.answer == "rationale",
        group=settings.generations,
    )
    arguments.reward_weights = paid.weights
    trainer_class = watched(GRPOTrainer, work)
    if settings.credit is not None:
        require_attention(work)
        trainer_class = credited(trainer_class, settings.credit)
    made = built(
        lambda: trainer_class(
            model=work.checkpoint.model,
            processing_class=work.checkpoint.processor,
            args=arguments,
            reward_funcs=paid.functions,
            train_dataset=Dataset.from_dict({"index": order}),
            peft_config=work.adapters(),
            callbacks=work.callbacks,
        )
    )
    made.data_collator = Prompts(work, asked)
    return made


class Prompts:
    """Rows that name items -> rows with conversations; a group's pictures are read once."""

    def __init__(self, work: Work, asked: Questions) -> None:
        self._settings, self._asked = work.model_settings, asked

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """DataError where a picture can't be read."""
        shown: dict[int, list[dict[str, Any]]] = {}
        for index in {row["index"]: None for row in rows}:
            item = self._asked.items[index]
            try:
                shown[index] = hf.conversation_of(self._asked.prompt(item), self._settings).conversation
            except DataError as error:
                raise DataError(f"item {item.id}: {error}") from None
        return [
            {"prompt": list(shown[row["index"]]), "index": row["index"], "item": self._asked.items[row["index"]].id}
            for row in rows
        ]


def unwritten(tokenizer: Any) -> list[int]:
    """Ids of the vision tokens a tokenizer has."""
    known = tokenizer.get_vocab()
    return [known[token] for token in VISION_TOKENS if token in known]


def _order(work: Work, settings: Settings) -> list[int]:
    items, curriculum = work.questions.items, settings.curriculum
    if curriculum is None:
        return list(range(len(items)))
    if curriculum.order != "as_given" and work.recipe.shuffle:
        raise SettingsError(f"curriculum: the order {curriculum.order} needs shuffle: false")
    answers = sampled_answers(
        work,
        samples=curriculum.samples,
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        batch_size=curriculum.batch_size,
    )
    means = [sum(scores) / len(scores) for _, scores in answers]
    kept = [k for k, mean in enumerate(means) if curriculum.drop_below <= mean < curriculum.drop_from]
    if not kept:
        raise SettingsError(
            f"curriculum: no question has a mean score in [{curriculum.drop_below}, {curriculum.drop_from}); "
            f"the measured ones are from {min(means):.2f} to {max(means):.2f}"
        )
    work.say(f"curriculum: {len(kept)} of {len(items)} questions, mean score {sum(means) / len(means):.3f}")
    if curriculum.order == "as_given":
        return kept
    sign = -1 if curriculum.order == "easy_first" else 1
    return sorted(kept, key=lambda k: (sign * means[k], k))
