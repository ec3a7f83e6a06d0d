"""Direct preference optimisation (arXiv 2305.18290) on pairs from the scorer: the model's best answer over its worst.

Several answers to every question are sampled from the model before training and scored as evaluation scores them; a
question whose best reaches `best_from` and whose worst is at most `worst_to` gives one pair. VisRL builds its pairs so
(thresholds 0.8 and 0.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, model_validator

from allocentric.agents.models import _checkpoint, hf
from allocentric.core import config
from allocentric.core.errors import DataError, SettingsError
from allocentric.train.data import Questions
from allocentric.train.sampled import sampled_answers
from allocentric.train.work import Work, built, require_trl, watched


class Settings(config.Settings):
    """How pairs are made and learnt from."""

    samples: int = Field(default=8, ge=2)
    """Answers sampled to every question."""
    max_new_tokens: int = Field(default=256, ge=1)
    """Longest answer."""
    temperature: float = Field(default=1.0, gt=0)
    """Of sampling."""
    best_from: float = Field(default=0.8, ge=0, le=1)
    """Least score of the preferred answer."""
    worst_to: float = Field(default=0.2, ge=0, le=1)
    """Largest score of the other."""
    batch_size: int = Field(default=8, ge=1)
    """Prompts per forward pass while sampling."""
    beta: float = Field(default=0.1, gt=0)
    """How closely the model is held to where it started."""

    @model_validator(mode="after")
    def _apart(self) -> Settings:
        if self.worst_to >= self.best_from:
            raise ValueError(f"worst_to {self.worst_to} must be below best_from {self.best_from}")
        return self


def trainer(work: Work, settings: Settings) -> Any:
    """TRL's DPOTrainer over pairs of sampled answers."""
    require_trl()
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    asked = work.questions
    if asked.settings.frames.as_video:
        raise SettingsError("dpo shows pictures one by one; set data.frames.as_video: false")
    if work.recipe.on_bad_sample == "skip":
        raise SettingsError("dpo needs every picture before it begins; set on_bad_sample: stop")
    arguments = work.configure(DPOConfig, max_length=None, beta=settings.beta)
    pairs = preference_pairs(work, settings)
    rows = Dataset.from_dict({"pair": range(len(pairs)), "images": [[] for _ in pairs]})
    made = built(
        lambda: watched(DPOTrainer, work)(
            model=work.checkpoint.model,
            ref_model=None if work.recipe.model.lora is not None else _reference(work),
            processing_class=work.checkpoint.processor,
            args=arguments,
            train_dataset=rows,
            peft_config=work.adapters(),
            callbacks=work.callbacks,
        )
    )
    made.data_collator = _Pairs(work, asked, pairs, made.data_collator)
    return made


def preference_pairs(work: Work, settings: Settings) -> list[tuple[int, str, str]]:
    """(index of the item, preferred text, other text) in the order of the items. SettingsError where there is none."""
    answers = sampled_answers(
        work,
        samples=settings.samples,
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        batch_size=settings.batch_size,
    )
    pairs = []
    for index, (texts, scores) in enumerate(answers):
        best, worst = max(scores), min(scores)
        if best >= settings.best_from and worst <= settings.worst_to:
            pairs.append((index, texts[scores.index(best)], texts[scores.index(worst)]))
    if not pairs:
        raise SettingsError(
            f"no question has a sampled answer of at least {settings.best_from} and one of at most "
            f"{settings.worst_to}; train with sft first, or raise samples or temperature"
        )
    work.say(f"{len(pairs)} pairs from {len(answers)} questions")
    return pairs


def _reference(work: Work) -> Any:
    """The model at the start; its own copy, since the other one is trained."""
    wanted = work.recipe.model
    return _checkpoint.load(
        wanted.path,
        revision=wanted.revision,
        dtype=wanted.dtype,
        device="cpu",
        attn_implementation=wanted.attn_implementation,
    ).model


class _Pairs:
    """Rows that name pairs -> the batch TRL's collator makes of their conversations."""

    def __init__(self, work: Work, asked: Questions, pairs: Sequence[tuple[int, str, str]], collate: Any) -> None:
        self._settings, self._asked, self._pairs, self._collate = work.model_settings, asked, pairs, collate

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        """DataError where a picture can't be read."""
        examples, ids = [], []
        for row in rows:
            index, better, worse = self._pairs[row["pair"]]
            item = self._asked.items[index]
            try:
                conversation = hf.conversation_of(self._asked.prompt(item), self._settings).conversation
            except DataError as error:
                raise DataError(f"item {item.id}: {error}") from None
            images = [part["image"] for message in conversation for part in message["content"] if "image" in part]
            prompt = [{**m, "content": [_placeholder(part) for part in m["content"]]} for m in conversation]
            examples.append({"prompt": prompt, "chosen": _said(better), "rejected": _said(worse), "images": images})
            ids.append(item.id)
        return {**self._collate(examples), "item_ids": ids * 2}  # the preferred answers first, then the others


def _placeholder(part: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "image"} if part["type"] == "image" else dict(part)


def _said(text: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": [{"type": "text", "text": text}]}]
