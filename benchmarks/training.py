"""What every stage of training costs: seconds a step beside bare TRL, samples, tokens, share of drawing, memory.

    python benchmarks/training.py --json

In `sft`, `grpo` and `dpo` both sides train the same tiny model on the same pictures with the same configuration; ours
adds the run folder, its metrics on disk, the check of pictures against tokens and the scorer. Neither side writes
checkpoints or logs to a tracker. Rounds alternate; a step's time is the median over rounds of a round's CPU seconds
per step, the first round left out. overhead = ours / bare - 1, of those medians; its quartiles are those of the
rounds' own ratios. Both sides of `dpo` learn from the same pairs; drawing them from the model, which ours does before
the first step, counts in its rates and its share of drawing, not in a step. `turns` (search in panoramas by the text
protocol, three turns) and `distill` (a Gated DeltaNet in the place of one layer's attention) have no loop in TRL to
stand beside.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
from allocentric.envs.panorama.tasks import Annotation, write_scene
from allocentric.train import dpo, tiny
from allocentric.train.recipe import TrainRecipe
from allocentric.train.run import train
from allocentric.train.work import Work, plan

GOAL = 0.05
STAGE: dict[str, dict[str, Any]] = {
    "sft": {"name": "sft"},
    "grpo": {"name": "grpo", "generations": 4, "max_new_tokens": 16},
    "turns": {
        **{"name": "turns", "settings": {"width_px": 112, "height_px": 112}, "max_turns": 3, "generations": 4},
        **{"max_new_tokens": 400, "turn_tokens": 16},
    },
    "dpo": {"name": "dpo", "samples": 8, "max_new_tokens": 16},
    "distill": {
        **{"name": "distill", "convert": {"mixers": [{"mixer": "gated_deltanet", "layers": "0"}]}},
        **{"layers": {"steps": 2, "match": "mixer"}, "kl": {"temperature": 2.0}},
    },
}
BARE = ("sft", "grpo", "dpo")
"""Stages that TRL has too."""
ROOMS, TASKS = 4, 4
"""Panoramas, and tasks in each."""


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


def write_panoramas(folder: Path, width_px: int) -> Path:
    """Panoramas of noise with something to find in each of their quarters."""
    rng = np.random.default_rng(0)
    for room in range(ROOMS):
        found = [
            Annotation(task=f"find the lamp {task}", yaw=(90.0 * task + 20, 90.0 * task + 60), pitch=(-20.0, 20.0))
            for task in range(TASKS)
        ]
        panorama = rng.integers(0, 255, (width_px // 2, width_px, 3), dtype=np.uint8)
        write_scene(folder, f"room-{room}", panorama, found)
    return folder


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Model and data of all stages."""

    model: Path
    """A tiny checkpoint that has learnt the items for some steps, so that its answers differ in worth."""
    items: Path
    """Questions."""
    panoramas: Path
    """What is searched in."""
    scratch: Path
    """Of run folders."""

    def recipe(self, stage: str, steps: int) -> TrainRecipe:
        """That of our side."""
        given = {**STAGE[stage], **({"folder": str(self.panoramas)} if stage == "turns" else {})}
        asked = {"items": str(self.items), "frames": {"count": 2}}
        values = {
            "name": stage, "stage": given, "model": {"path": str(self.model)},
            "data": None if stage == "turns" else asked, "steps": steps, "batch_size": 4,
            "learning_rate": 1e-4, "save_every": 10**6,
        }  # fmt: skip
        return settings_from_mapping(TrainRecipe, values, where="benchmark")


def scene(folder: Path, *, size: str, side_px: int) -> Scene:
    """Make them."""
    made = Scene(
        model=tiny.build(folder / "model", "qwen2_5_vl", size=size),
        items=write_items(folder, 16, side_px),
        panoramas=write_panoramas(folder / "panoramas", 512),
        scratch=folder,
    )
    taught = made.recipe("sft", 40).model_copy(update={"learning_rate": 3e-3})
    return replace(made, model=train(taught, folder / "taught").folder / "model")


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
    from transformers import PrinterCallback

    work = Work(plan(recipe), folder, None)
    made = {"sft": bare_sft, "grpo": bare_grpo, "dpo": bare_dpo}[work.job.stage](work)
    made.remove_callback(PrinterCallback)
    return made


def bare_sft(work: Work) -> Any:
    """Prompts, pictures and answers."""
    from trl import SFTConfig, SFTTrainer

    asked = work.questions
    data = table(work, asked.items, completion=[[said(asked.answer(item))] for item in asked.items])
    arguments = work.configure(SFTConfig, max_length=None)
    return SFTTrainer(**loaded(work), args=arguments, train_dataset=data)


def bare_grpo(work: Work) -> Any:
    """Prompts and pictures, and a reward that compares texts."""
    from trl import GRPOConfig, GRPOTrainer

    settings: Any = work.job.stage_settings
    asked = work.questions

    def right(completions: Any, answer: Any, **_: Any) -> list[float]:
        return [float(texts[0]["content"] == text) for texts, text in zip(completions, answer, strict=True)]

    data = table(work, asked.items, answer=[asked.answer(item) for item in asked.items])
    arguments = work.configure(GRPOConfig, **settings.arguments(work))
    return GRPOTrainer(**loaded(work), args=arguments, reward_funcs=[right], train_dataset=data)


def bare_dpo(work: Work) -> Any:
    """The pairs that our side makes, in columns."""
    from trl import DPOConfig, DPOTrainer

    settings: Any = work.job.stage_settings
    pairs = dpo.preference_pairs(work, settings)
    items = [work.questions.items[index] for index, _, _ in pairs]
    chosen, rejected = ([[said(texts[side])] for _, *texts in pairs] for side in (0, 1))
    data = table(work, items, chosen=chosen, rejected=rejected)
    arguments = work.configure(DPOConfig, max_length=None, beta=settings.beta)
    return DPOTrainer(**loaded(work), ref_model=dpo._reference(work), args=arguments, train_dataset=data)


def loaded(work: Work) -> dict[str, Any]:
    """Model and processor under TRL's names."""
    return {"model": work.checkpoint.model, "processing_class": work.checkpoint.processor}


def said(text: str) -> dict[str, str]:
    """A turn of the model."""
    return {"role": "assistant", "content": text}


def table(work: Work, items: Sequence[Item], **more: Sequence[Any]) -> Any:
    """A dataset of prompts and pictures, with more columns of texts or of turns."""
    from datasets import Dataset, Features, List, Value
    from datasets import Image as ImageColumn

    shown = [work.questions.prompt(item) for item in items]
    message = [{"role": Value("string"), "content": Value("string")}]
    columns = {
        "prompt": [[{"role": "user", "content": prompt.text}] for prompt in shown],
        "images": [[str(view.image) for view in prompt.views] for prompt in shown],
        **more,
    }
    kinds = {name: Value("string") if isinstance(column[0], str) else message for name, column in more.items()}
    return Dataset.from_dict(columns, features=Features({"prompt": message, "images": List(ImageColumn()), **kinds}))


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
    before_cpu_s: float = 0.0
    """Spent on completions before the first step."""

    @classmethod
    def of(cls, make: Callable[[TrainRecipe, Path], Any], recipe: TrainRecipe, folder: Path) -> Meter:
        """Build, train, and count."""
        meter = cls()
        sampled = dpo.sampled_answers

        def counted_before(*given: Any, **more: Any) -> Any:
            start = time.process_time()
            found = sampled(*given, **more)
            meter.before_cpu_s += time.process_time() - start
            return found

        dpo.sampled_answers = counted_before
        trainer = make(recipe, folder)
        dpo.sampled_answers = sampled
        loss: Any = trainer.compute_loss
        draw: Any = getattr(trainer, "_generate", None)

        def counted(model: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
            names = ["attention_mask"] if "attention_mask" in inputs else ["prompt_mask", "completion_mask"]
            masks = [inputs[name] for name in names]
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

    @property
    def whole_cpu_s(self) -> float:
        """With what was drawn before the first step."""
        return self.cpu_s + self.before_cpu_s

    @property
    def drawing_share(self) -> float:
        """Of all of it."""
        return (self.drawing_cpu_s + self.before_cpu_s) / self.whole_cpu_s


def measure(stage: str, given: Scene, steps: int, rounds: int) -> dict[str, Any]:
    """CPU seconds a step of both sides, alternating, the overhead, and the throughput of ours."""
    torch.set_num_threads(1)
    makers: dict[str, Callable[[TrainRecipe, Path], Any]] = {"bare": bare, "ours": ours}
    if stage not in BARE:
        del makers["bare"]
    found: dict[str, list[Meter]] = {name: [] for name in makers}
    for number in range(rounds + 1):
        for name, make in makers.items():
            folder = given.scratch / f"{stage}-{name}-{number}"
            found[name].append(Meter.of(make, given.recipe(stage, steps), folder))
    counted = {name: meters[1:] for name, meters in found.items()}
    medians = {name: statistics.median(one.cpu_s / one.steps for one in meters) for name, meters in counted.items()}
    mine = counted["ours"]
    compared: dict[str, Any] = {"bare": None, "overhead": None, "overhead_quartiles": None}
    if "bare" in counted:
        pairs = zip(mine, counted["bare"], strict=True)
        ratios = [one.cpu_s / one.steps / (other.cpu_s / other.steps) - 1 for one, other in pairs]
        compared = {
            "bare": medians["bare"],
            "overhead": medians["ours"] / medians["bare"] - 1,
            "overhead_quartiles": [float(np.quantile(ratios, share)) for share in (0.25, 0.75)],
        }
    return {
        **compared,
        "ours": medians["ours"],
        "samples_per_cpu_s": statistics.median(one.samples / one.whole_cpu_s for one in mine),
        "tokens_per_cpu_s": statistics.median(one.tokens / one.whole_cpu_s for one in mine),
        "drawing_share": statistics.median(one.drawing_share for one in mine),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def as_text(stage: str, row: dict[str, Any]) -> str:
    """A line of the table."""
    bare_s, overhead = "-", "-"
    if row["bare"] is not None:
        low, high = (100 * value for value in row["overhead_quartiles"])
        bare_s, overhead = f"{row['bare']:.3f}", f"{100 * row['overhead']:+.1f} % [{low:+.1f}, {high:+.1f}]"
    rates = f"{row['samples_per_cpu_s']:.1f} | {row['tokens_per_cpu_s']:.0f} | {100 * row['drawing_share']:.0f} %"
    return f"| {stage} | {bare_s} | {row['ours']:.3f} | {overhead} | {rates} | {row['peak_mib']:.0f} |"


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
        given = scene(Path(name), size=options.size, side_px=options.side)
        found = {}
        for stage in options.stage or STAGE:  # each in a process of its own, for the memory
            with multiprocessing.get_context("spawn").Pool(1) as alone:
                found[stage] = alone.apply(measure, (stage, given, options.steps, options.rounds))
    if options.json:
        values = {f"{stage}_overhead": round(found[stage]["overhead"], 4) for stage in found if stage in BARE}
        print(json.dumps({**values, "goal": GOAL, "rows": found}))
        return
    print("| | bare TRL | allocentric | overhead | samples a CPU second | tokens a CPU second | drawing | MiB |")
    print("|---" * 8 + "|")
    for stage, row in found.items():
        print(as_text(stage, row))
    print(f"CPU seconds a step; wanted: overhead below {100 * GOAL:.0f} %; rates are of our side")


if __name__ == "__main__":
    main()
