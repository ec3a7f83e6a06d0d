"""What allocentric costs beside the same loop in bare TRL: seconds a step of supervised and reinforcement training.

    python benchmarks/training.py --json

Both sides train the same tiny model on the same pictures with the same configuration; ours adds the run folder, its
metrics on disk, the check of pictures against tokens and the scorer. Neither side writes checkpoints or logs to a
tracker. Rounds alternate; a step's time is the median over rounds of a round's seconds per step, the first round left
out. overhead = ours / bare - 1.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from allocentric.core.catalog import STAGES
from allocentric.core.config import settings_from_mapping
from allocentric.core.progress import SilentProgress
from allocentric.core.records import item_to_record
from allocentric.core.runlog import RunLog
from allocentric.core.types import Choice, Item, View
from allocentric.train import tiny
from allocentric.train.recipe import TrainRecipe
from allocentric.train.work import Work, plan

GOAL = 0.05
STAGE = {
    "sft": {"name": "sft"},
    "grpo": {"name": "grpo", "generations": 4, "max_new_tokens": 16},
}


def write_items(folder: Path, count: int, side_px: int) -> Path:
    """Items with two pictures and four options each."""
    rng = np.random.default_rng(0)
    lines = []
    for index in range(count):
        views = []
        for frame in range(2):
            path = Path(f"{index}_{frame}.png")
            Image.fromarray(rng.integers(0, 255, (side_px, side_px, 3), dtype=np.uint8)).save(folder / path)
            views.append(View(image=path))
        item = Item(
            id=f"item-{index}", kind="direction", prompt="Where is the lamp?", views=tuple(views),
            choices=("left", "right", "front", "back"), gold=Choice(index % 4), scene_id=str(index), source="own",
        )  # fmt: skip
        lines.append(json.dumps(item_to_record(item)))
    (folder / "items.jsonl").write_text("\n".join(lines))
    return folder / "items.jsonl"


def recipe_of(stage: str, model: Path, items: Path, steps: int) -> TrainRecipe:
    """The recipe of our side."""
    values = {
        "name": stage, "stage": STAGE[stage], "model": {"path": str(model)},
        "data": {"items": str(items), "frames": {"count": 2}}, "steps": steps, "batch_size": 4,
        "learning_rate": 1e-4, "save_every": 10**6,
    }  # fmt: skip
    return settings_from_mapping(TrainRecipe, values, where="benchmark")


def ours(recipe: TrainRecipe, folder: Path) -> Any:
    """Our trainer with everything that `allocentric train` hangs on it."""
    from transformers import PrinterCallback

    from allocentric.train.callbacks import Recorder

    job = plan(recipe)
    work = Work(job, folder, RunLog(folder, job.settings))
    recorder = Recorder(work, SilentProgress())
    work.callbacks = [recorder]
    made = STAGES.load(job.stage).trainer(work, job.stage_settings)
    recorder.trainer = made
    assert work.check is not None
    made.remove_callback(PrinterCallback)
    return made


def bare(recipe: TrainRecipe, folder: Path) -> Any:
    """TRL as its documentation uses it: the same arguments, pictures in a column, a reward in one line."""
    from datasets import Dataset, Features, Sequence, Value
    from datasets import Image as ImageColumn
    from transformers import PrinterCallback
    from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

    work = Work(plan(recipe), folder, None)
    asked = work.questions
    rows = [asked.prompt(item) for item in asked.items]
    prompts = [[{"role": "user", "content": prompt.text}] for prompt in rows]
    answers = [asked.answer(item) for item in asked.items]
    images = [[str(view.image) for view in prompt.views] for prompt in rows]
    message = [{"role": Value("string"), "content": Value("string")}]
    features = {"prompt": message, "images": Sequence(ImageColumn())}
    common = {"model": work.checkpoint.model, "processing_class": work.checkpoint.processor}
    if work.job.stage == "sft":
        columns = {"prompt": prompts, "images": images, "completion": [[_said(text)] for text in answers]}
        data = Dataset.from_dict(columns, features=Features(features | {"completion": message}))
        arguments = work.configure(SFTConfig, max_length=None)
        made = SFTTrainer(**common, args=arguments, train_dataset=data)
    else:
        columns = {"prompt": prompts, "images": images, "answer": answers}
        data = Dataset.from_dict(columns, features=Features(features | {"answer": Value("string")}))
        settings: Any = work.job.stage_settings
        arguments = work.configure(GRPOConfig, **settings.arguments(work))

        def right(completions: Any, answer: Any, **_: Any) -> list[float]:
            return [float(said[0]["content"] == text) for said, text in zip(completions, answer, strict=True)]

        made = GRPOTrainer(**common, args=arguments, reward_funcs=[right], train_dataset=data)
    made.remove_callback(PrinterCallback)
    return made


def _said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


@dataclass(kw_only=True)
class Meter:
    """What happens in one call of `train`."""

    steps: int = 0
    """Updates."""
    samples: int = 0
    """Sequences learnt from."""
    tokens: int = 0
    """Of them, without padding."""
    cpu_s: float = 0.0
    """Of all of it, without building the trainer."""
    drawing_cpu_s: float = 0.0
    """Spent on completions; 0 where none are drawn."""

    @classmethod
    def of(cls, trainer: Any) -> Meter:
        """Train, and count."""
        meter = cls()
        loss: Any = trainer.compute_loss
        draw: Any = getattr(trainer, "_generate", None)

        def counted(model: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
            masks = [inputs[name] for name in ("attention_mask", "prompt_mask", "completion_mask") if name in inputs]
            meter.samples += len(masks[0])
            meter.tokens += sum(int(mask.sum()) for mask in masks)
            return loss(model, inputs, *rest, **more)

        def drawn(*given: Any, **more: Any) -> Any:
            start = time.process_time()
            found = draw(*given, **more)
            meter.drawing_cpu_s += time.process_time() - start
            return found

        trainer.compute_loss = counted
        if draw is not None:
            trainer._generate = drawn
        start = time.process_time()
        trainer.train()
        meter.cpu_s = time.process_time() - start
        meter.steps = trainer.state.global_step
        return meter


def measure(stage: str, model: Path, items: Path, steps: int, rounds: int, scratch: Path) -> dict[str, float]:
    """CPU seconds a step of both sides, alternating, the overhead, and the throughput of ours."""
    torch.set_num_threads(1)
    makers: dict[str, Callable[[TrainRecipe, Path], Any]] = {"bare": bare, "ours": ours}
    found: dict[str, list[Meter]] = {name: [] for name in makers}
    for number in range(rounds + 1):
        for name, make in makers.items():
            recipe = recipe_of(stage, model, items, steps)
            found[name].append(Meter.of(make(recipe, scratch / f"{stage}-{name}-{number}")))
    counted = {name: meters[1:] for name, meters in found.items()}
    medians = {name: statistics.median(one.cpu_s / one.steps for one in meters) for name, meters in counted.items()}
    mine = counted["ours"]
    return {
        **medians,
        "overhead": medians["ours"] / medians["bare"] - 1,
        "samples_per_cpu_s": statistics.median(one.samples / one.cpu_s for one in mine),
        "tokens_per_cpu_s": statistics.median(one.tokens / one.cpu_s for one in mine),
        "drawing_share": statistics.median(one.drawing_cpu_s / one.cpu_s for one in mine),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--steps", type=int, default=10, help="per round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", default="1M", choices=list(tiny.SIZES))
    parser.add_argument("--side", type=int, default=112, help="of the square pictures, in pixels")
    parser.add_argument("--stage", choices=list(STAGE), action="append")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        model = tiny.build(scratch / "model", "qwen2_5_vl", size=options.size)
        items = write_items(scratch, 16, options.side)
        found = {}
        for stage in options.stage or STAGE:  # each in a process of its own, for the memory
            with multiprocessing.get_context("spawn").Pool(1) as alone:
                given = (stage, model, items, options.steps, options.rounds, scratch)
                found[stage] = alone.apply(measure, given)
    if options.json:
        values = {f"{stage}_overhead": round(row["overhead"], 4) for stage, row in found.items()}
        print(json.dumps({**values, "goal": GOAL, "rows": found}))
        return
    print("stage\tbare TRL, CPU s a step\tallocentric\toverhead\tsamples/s\ttokens/s\tdrawing\tMiB")
    for stage, row in found.items():
        rates = f"{row['samples_per_cpu_s']:.1f}\t{row['tokens_per_cpu_s']:.0f}\t{100 * row['drawing_share']:.0f} %"
        beside = f"{row['bare']:.3f}\t{row['ours']:.3f}\t{100 * row['overhead']:+.1f} %"
        print(f"{stage}\t{beside}\t{rates}\t{row['peak_mib']:.0f}")
    print(f"wanted: overhead below {100 * GOAL:.0f} %; rates are of our side, a CPU second")


if __name__ == "__main__":
    main()
