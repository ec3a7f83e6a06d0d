"""Supervised fine-tuning: a question as evaluation asks it, and loss on its answer alone; or whole episodes of an
expert, as `turns` plays them, and loss on what the expert writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from allocentric.core import config
from allocentric.train.data import Collator
from allocentric.train.demonstrations import Recorder
from allocentric.train.work import Work, built, require_trl, watched


class LatentFrameSettings(config.Settings):
    """Prediction of the encoder's features of the next frame (Cambrian-S, arXiv 2511.04670)."""

    weight: float = Field(default=0.1, gt=0)
    """Of mean squared error plus cosine distance, beside the loss on the answer."""


class Settings(config.Settings):
    """Losses beside the one on the answer."""

    latent_frame: LatentFrameSettings | None = None
    """Learn to predict the next frame as well; None doesn't."""


def trainer(work: Work, settings: Settings) -> Any:
    """TRL's SFTTrainer over the recipe's items."""
    require_trl()
    from trl import SFTConfig, SFTTrainer

    rows, collator = rows_and_collator(work)
    arguments = work.configure(SFTConfig, max_length=None, train_sampling_strategy=order(work))
    adapters = work.adapters()
    trainer_class = watched(SFTTrainer, work)
    if settings.latent_frame is not None:
        trainer_class = _predicting(trainer_class, work, settings.latent_frame)
    made = built(
        lambda: trainer_class(
            model=work.checkpoint.model,
            processing_class=work.checkpoint.processor,
            args=arguments,
            train_dataset=rows,
            data_collator=collator,
            peft_config=adapters,
            callbacks=work.callbacks,
        )
    )
    # The mean is over the answers' tokens of all passes and processes of an update, as TRL's loss takes it. For Qwen's
    # models transformers (5.23) would not count them, and each pass would weigh alike however short its answers.
    made.model_accepts_loss_kwargs = True
    if settings.latent_frame is not None:
        made.latent_frame.head.requires_grad_(True)  # adapters freeze whatever they aren't put on
    return made


def _predicting(base: Any, work: Work, settings: LatentFrameSettings) -> Any:
    """A trainer class with the loss on the next frame added, and its head saved beside the model."""
    from allocentric.train.latent_frame_loss import FILE, LatentFrame

    watch = LatentFrame(work.checkpoint.model, seed=work.recipe.seed)
    if (Path(work.recipe.model.path) / FILE).is_file():
        watch.load(Path(work.recipe.model.path))

    class Predicting(base):  # type: ignore[misc]
        """See `_predicting`."""

        latent_frame = watch

        def compute_loss(self, model: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
            loss = super().compute_loss(model, inputs, *rest, **more)
            for name, value in watch.losses.items():
                mean = self.accelerator.gather(value.detach().reshape(1)).mean().item()
                self._metrics["train"][f"aux/latent_frame{'' if name == 'loss' else '_' + name}"].append(mean)
            # The loss on the answer is a mean over the tokens of all passes of an update, this one over one pass.
            return loss + settings.weight * watch.losses["loss"] / self.current_gradient_accumulation_steps

        def save_beside(self, folder: Path, state: Any = None) -> None:
            """What belongs to the model and isn't among its weights."""
            watch.save(folder, state)

        def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
            super()._save(output_dir, state_dict)
            if self.args.should_save:
                self.save_beside(Path(output_dir or self.args.output_dir), state_dict)

        def _load_from_checkpoint(self, resume_from_checkpoint: Any, model: Any = None) -> None:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            watch.load(Path(resume_from_checkpoint))

    return Predicting


def rows_and_collator(work: Work) -> tuple[Any, Collator]:
    """Rows that name the recipe's items or episodes, and what makes batches with labels of them."""
    from datasets import Dataset

    example, ids = _examples(work)
    collator = Collator(
        example,
        ids=ids,
        pad_token_id=work.checkpoint.processor.tokenizer.pad_token_id,
        on_bad=work.recipe.on_bad_sample,
    )
    # The column `images` tells TRL that whatever else is needed is made by the collator.
    return Dataset.from_dict({"index": range(len(ids)), "images": [[] for _ in ids]}), collator


def _examples(work: Work) -> tuple[Callable[[int], dict[str, Any]], Sequence[str]]:
    """What encodes the item or episode of an index, and their ids."""
    shown = work.job.demonstrations
    if shown is None:
        asked = work.questions
        return (
            lambda index: work.encoder.example(asked.prompt(asked.items[index]), asked.answer(asked.items[index]))
        ), asked.ids
    loaded = work.checkpoint
    recorder = Recorder(
        shown,
        loaded.processor,
        image_token=loaded.model.config.image_token_id,
        template=work.recipe.model.chat_template,
        room=work.encoder.require_room,
    )
    return recorder.example, shown.ids


def order(work: Work) -> str:
    """TRL's name of the order in which rows are drawn."""
    return "random" if work.recipe.shuffle else "sequential"
