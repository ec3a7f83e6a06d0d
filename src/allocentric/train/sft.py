"""Supervised fine-tuning: a question as evaluation asks it, and loss on its answer alone."""

from __future__ import annotations

from typing import Any

from allocentric.core import config
from allocentric.train.data import Collator
from allocentric.train.work import Work, built, require_trl, watched


class Settings(config.Settings):
    """None beyond the recipe's own."""


def trainer(work: Work, settings: Settings) -> Any:
    """TRL's SFTTrainer over the recipe's items."""
    del settings
    require_trl()
    from trl import SFTConfig, SFTTrainer

    rows, collator = rows_and_collator(work)
    arguments = work.configure(SFTConfig, max_length=None, train_sampling_strategy=order(work))
    return built(
        lambda: watched(SFTTrainer, work)(
            model=work.checkpoint.model,
            processing_class=work.checkpoint.processor,
            args=arguments,
            train_dataset=rows,
            data_collator=collator,
            peft_config=work.adapters(),
            callbacks=work.callbacks,
        )
    )


def rows_and_collator(work: Work) -> tuple[Any, Collator]:
    """Rows that name the recipe's items, and what makes batches with labels of them."""
    from datasets import Dataset

    asked = work.questions
    collator = Collator(
        lambda index: work.encoder.example(asked.prompt(asked.items[index]), asked.answer(asked.items[index])),
        ids=[item.id for item in asked.items],
        pad_token_id=work.checkpoint.processor.tokenizer.pad_token_id,
        on_bad=work.recipe.on_bad_sample,
    )
    # The column `images` tells TRL that whatever else is needed is made by the collator.
    return Dataset.from_dict({"index": range(len(asked.items)), "images": [[] for _ in asked.items]}), collator


def order(work: Work) -> str:
    """TRL's name of the order in which rows are drawn."""
    return "random" if work.recipe.shuffle else "sequential"
