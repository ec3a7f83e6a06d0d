"""Hours of a stream through every memory policy on one core: frames a second, bytes kept, and resident memory.

    python benchmarks/streaming.py [--json] [--hours 10] [--policies NAME ...] [--recording FOLDER] [--model FOLDER]

The stream (`scenes.stream`) walks through furnished houses at one frame a second, 128 x 96, a new house every 90 s.
Drawing 36,000 frames again for each policy would take hours, so they are drawn and encoded once, in this run, and
written as pictures (JPEG of quality 95, as a camera would send them) and features (half precision); each policy then
watches these very frames in a process of its own, one after the other, reading one frame at a time. `--recording
FOLDER` keeps the files (some 400 MB for 10 hours), so that policies can be measured in several runs. `--drawn-hours`
draws fewer hours and shows them again and again, at later and later times; it is printed with the figures.

`--model` names a checkpoint (`python -m allocentric.train.tiny FOLDER`) in whose KV cache the policies of
`agents/kv_memory` keep the stream, rows `kv/NAME`; `--hybrid` one with fast weights (`allocentric convert`), for
`kv/fast_weights`. Their frames a second are the model's reading.

`frames_per_second` is a policy's own work: processor time of `observe`, on one thread, of frames whose picture and
features are there; the rates of drawing and encoding are printed beside it. A question is asked every `--ask-s`
seconds and is not counted in the rate, but in the memory.

`rss_slope_mb_per_hour` is the least-squares slope of the process's resident memory over hours of stream, from
samples every 100 frames; the first quarter, in which buffers fill and the interpreter settles, is left out. A memory
that fills slower than that is still growing towards its budget, so budgets here are small (`--budget-bytes`) and full
long before. `peak_bytes` is what the policy says it kept at most after any frame; every call is checked against the
budget by the policy's base and here.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from allocentric.agents.encoders.contract import Encoder, Features
from allocentric.agents.memory.contract import Memory, Query
from allocentric.agents.memory.errors import StreamMemoryError
from allocentric.core.catalog import ENCODERS, KV_MEMORY, MEMORY
from allocentric.core.errors import UserError
from allocentric.core.types import Camera, FloatArray, View

WIDTH_PX, HEIGHT_PX = 128, 96
SEED = 40
SAMPLE_FRAMES = 100
KV = "kv/"
LABELS = ("sofa", "lamp", "teddy bear")


class Recorded(Encoder):
    """Gives out features that were computed beforehand, of the view that is shown now; knows the words."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.name, self.width, self.vocabulary = encoder.name, encoder.width, encoder.vocabulary
        self.has_words = encoder.has_words
        self.threshold, self.sharpness = encoder.threshold, encoder.sharpness
        self.now: tuple[float | None, Features] | None = None

    def encode(self, view: View) -> Features:
        """What was recorded of the stream's frame; stored frames looked at again are encoded."""
        if self.now is not None and self.now[0] == view.time_s and view.camera is not None:
            return self.now[1]
        return self._encoder.encode(view)

    def words(self, words: Any) -> FloatArray:
        """As the encoder says."""
        return self._encoder.words(words)


@dataclass(frozen=True)
class Recording:
    """Files of the hours drawn."""

    folder: Path
    drawn: int
    """Frames in the files."""
    frames: int
    """Frames shown: those drawn, from the first again after the last."""
    grid: tuple[int, int]
    patches: int
    width: int

    def __iter__(self) -> Iterator[tuple[View, Features]]:
        """Frames one by one; nothing is held."""
        for start in range(0, self.frames, self.drawn):
            for index, (view, features) in enumerate(self._once(), start):
                if index < self.frames:
                    yield replace(view, time_s=float(index)), features

    def _once(self) -> Iterator[tuple[View, Features]]:
        import cv2

        size = (self.patches + 1) * self.width * 2
        with (
            (self.folder / "pictures").open("rb") as pictures,
            (self.folder / "features").open("rb") as features,
            (self.folder / "cameras").open("rb") as cameras,
        ):
            for _ in range(self.drawn):
                length = int.from_bytes(pictures.read(4), "little")
                picture = cv2.imdecode(np.frombuffer(pictures.read(length), np.uint8), cv2.IMREAD_COLOR)
                vectors = np.frombuffer(features.read(size), np.float16).astype(np.float32)
                vectors = vectors.reshape(self.patches + 1, self.width)
                numbers = np.frombuffer(cameras.read(25 * 8), np.float64)
                camera = Camera(
                    world_from_camera=numbers[:16].reshape(4, 4),
                    intrinsics_px=numbers[16:].reshape(3, 3),
                    width_px=WIDTH_PX,
                    height_px=HEIGHT_PX,
                )
                view = View(image=np.ascontiguousarray(picture[..., ::-1]), camera=camera)
                yield view, Features(patches_PD=vectors[:-1], pooled_D=vectors[-1], grid=self.grid)


def recording_in(folder: Path, drawn: int, frames: int, encoder_name: str) -> tuple[Recording, dict[str, float]]:
    """What the folder holds, made where it is missing, and how many frames a second were drawn and encoded."""
    wanted = {"frames": drawn, "encoder": encoder_name, "seed": SEED}
    about = folder / "about.json"
    if not about.is_file():
        grid, patches, width, rates = record(folder, drawn, encoder_name)
        about.write_text(json.dumps([wanted, [grid, patches, width], rates]))
    known, ((rows, columns), patches, width), rates = json.loads(about.read_text())
    if known != wanted:
        raise UserError(f"{folder} holds a recording of {known}, wanted {wanted}; name another folder")
    return Recording(folder, drawn, frames, (rows, columns), patches, width), rates


def record(folder: Path, frames: int, encoder_name: str) -> tuple[tuple[int, int], int, int, dict[str, float]]:
    """Draw and encode frames: grid, patches, width, and frames a second of both."""
    import cv2

    from allocentric.scenes import trajectory
    from allocentric.scenes.stream import Settings, Stream

    encoder = encoder_of(encoder_name)
    walk = trajectory.Settings(width_px=WIDTH_PX, height_px=HEIGHT_PX, fps=1.0)
    drawing = encoding = 0.0
    with (
        Stream(Settings(seed=SEED, walk=walk)) as stream,
        (folder / "pictures").open("wb") as pictures,
        (folder / "features").open("wb") as features_file,
        (folder / "cameras").open("wb") as cameras,
    ):
        for view in stream.views(0, frames):
            assert callable(view.image)
            assert view.camera is not None
            assert view.camera.intrinsics_px is not None
            began = time.perf_counter()
            image = view.image()
            drawn = time.perf_counter()
            features = encoder.encode(replace(view, image=image))
            drawing, encoding = drawing + drawn - began, encoding + time.perf_counter() - drawn
            data = cv2.imencode(".jpg", image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, 95))[1].tobytes()
            pictures.write(len(data).to_bytes(4, "little") + data)
            vectors = np.concatenate([features.patches_PD, features.pooled_D[None]])
            features_file.write(vectors.astype(np.float16).tobytes())
            numbers = [view.camera.world_from_camera.ravel(), view.camera.intrinsics_px.ravel()]
            cameras.write(np.concatenate(numbers).astype(np.float64).tobytes())
    patches, width = features.patches_PD.shape
    rates = {"drawn_per_second": round(frames / drawing, 1), "encoded_per_second": round(frames / encoding, 1)}
    return features.grid, patches, width, rates


def encoder_of(name: str) -> Encoder:
    module: Any = ENCODERS.load(name)
    encoder: Encoder = module.build(module.Settings())
    return encoder


def memory_of(name: str, encoder: Encoder, budget_bytes: int, checkpoint: str | None = None) -> Memory | ReadByModel:
    if name.startswith(KV):
        assert checkpoint is not None
        return ReadByModel(name.removeprefix(KV), checkpoint, budget_bytes)
    module: Any = MEMORY.load(name)
    memory: Memory = module.build(module.Settings(budget_bytes=budget_bytes), encoder)
    return memory


class ReadByModel:
    """A memory in a model's KV cache, with the part of `Memory` that is measured."""

    def __init__(self, name: str, checkpoint: str, budget_bytes: int) -> None:
        from allocentric.agents.kv_memory.watcher import Watcher
        from allocentric.agents.models import _checkpoint

        policy: Any = KV_MEMORY.load(name)
        loaded = _checkpoint.load(checkpoint, revision=None, dtype="float32", device="cpu", attn_implementation=None)
        small = {"kv_retrieval": {"window": 8, "top_k": 16}, "fast_weights": {"sinks": 64, "window": 256}}
        settings = policy.Settings(budget_bytes=budget_bytes, **small.get(name, {}))
        self._watcher = getattr(policy, "READER", Watcher)(loaded, policy, settings)
        self.observe, self.budget_bytes = self._watcher.observe, budget_bytes

    @property
    def total_bytes(self) -> int:
        """Kept now."""
        return sum(self._watcher.nbytes().values())

    @property
    def peak_bytes(self) -> int:
        """Most it kept after a frame."""
        peak: int = self._watcher.peak_bytes
        return peak

    def stand(self, query: Query, count: Any) -> None:
        """Questions are not known beforehand."""

    def retrieve(self, query: Query) -> Any:
        """A short answer, which reads what was kept."""
        return self._watcher.answer(query.text, max_new_tokens=4)


def resident_bytes() -> int:
    """Resident memory of this process (Linux)."""
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def watch(
    name: str,
    recording: Recording,
    encoder_name: str,
    budget_bytes: int,
    ask_s: int,
    checkpoint: str | None,
    answers: Any,
) -> None:
    """One policy's hours, in a process of its own; puts its figures into `answers`."""
    single_threaded()
    encoder = Recorded(encoder_of(encoder_name))
    memory = memory_of(name, encoder, budget_bytes, checkpoint)
    query = Query(text="Where were the sofa, the lamp and the teddy bear?", labels=LABELS)
    memory.stand(query, lambda _query, recalled: float(len(recalled.blocks)))
    observing, asking, asked = 0.0, 0.0, 0
    samples = []
    for index, (view, features) in enumerate(recording):
        encoder.now = (view.time_s, features)
        began = time.process_time()
        memory.observe(view)
        observing += time.process_time() - began
        assert memory.total_bytes <= budget_bytes, f"{name} keeps {memory.total_bytes} of {budget_bytes} bytes"
        if ask_s and index % ask_s == ask_s - 1:
            began = time.process_time()
            memory.retrieve(query)
            asking, asked = asking + time.process_time() - began, asked + 1
        if index % SAMPLE_FRAMES == 0:
            gc.collect()
            samples.append((index / 3600, resident_bytes() / 2**20))
    answers.put(
        {
            "frames_per_second": round(recording.frames / observing, 1),
            "rss_slope_mb_per_hour": round(slope(samples), 3),
            "budget_bytes": memory.budget_bytes,
            "peak_bytes": memory.peak_bytes,
            "ms_per_answer": round(1000 * asking / asked, 1) if asked else None,
        }
    )


def slope(samples: list[tuple[float, float]]) -> float:
    """Megabytes (2**20 bytes) an hour after the first quarter."""
    hours, megabytes = np.array(samples[len(samples) // 4 :]).T
    if len(hours) < 3:
        raise UserError("too few frames for a slope of memory; watch at least 10 minutes: --hours 0.17")
    return float(np.polyfit(hours, megabytes, 1)[0])


def single_threaded() -> None:
    """One core for everything that computes."""
    import cv2

    cv2.setNumThreads(1)
    try:
        import torch

        torch.set_num_threads(1)
    except ModuleNotFoundError:
        pass


def cached_by(arguments: argparse.Namespace) -> list[str]:
    """Rows of the memories in a model's cache."""
    hybrids = {"fast_weights"}
    return [KV + name for name in KV_MEMORY.names() if (arguments.hybrid if name in hybrids else arguments.model)]


def usable(names: list[str], arguments: argparse.Namespace) -> tuple[list[str], dict[str, str]]:
    """Policies that work over an encoder's features or with the models given, and why the others don't."""
    works, left_out = [], {}
    encoder, cached = encoder_of(arguments.encoder), cached_by(arguments)
    for name in names:
        if name.startswith(KV):
            if name not in cached:
                raise UserError(f"{name} needs a checkpoint: --model, or --hybrid for fast weights")
            works.append(name)
            continue
        try:
            memory_of(MEMORY.resolve(name), encoder, arguments.budget_bytes)
        except (StreamMemoryError, UserError) as error:
            left_out[name] = str(error)
        else:
            works.append(MEMORY.resolve(name))
    return works, left_out


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Record the hours, then let each policy watch them."""
    single_threaded()
    names = arguments.policies or [*MEMORY.names(), *cached_by(arguments)]
    works, left_out = ([], {}) if arguments.only_record else usable(names, arguments)
    context = multiprocessing.get_context("spawn")
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="streaming-") as temporary:
        folder: Path = arguments.recording or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        frames = round(3600 * arguments.hours)
        drawn = min(frames, round(3600 * (arguments.drawn_hours or arguments.hours)))
        recording, rates = recording_in(folder, drawn, frames, arguments.encoder)
        print(rates, file=sys.stderr, flush=True)
        for name in works:
            answers = context.Queue()
            checkpoint = arguments.hybrid if name == KV + "fast_weights" else arguments.model
            task = (name, recording, arguments.encoder, arguments.budget_bytes, arguments.ask_s, checkpoint, answers)
            process = context.Process(target=watch, args=task)
            process.start()
            while process.is_alive() and answers.empty():
                process.join(0.2)
            if answers.empty():
                raise UserError(f"the process that watched with {name} ended with code {process.exitcode}")
            figures[name] = answers.get()
            process.join()
            print(f"{name}: {figures[name]}", file=sys.stderr, flush=True)
    figures["_frames"] = rates | {"hours": arguments.hours, "drawn_hours": round(drawn / 3600, 2)}
    if left_out:
        figures["_left_out"] = left_out
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=10.0, help="of stream, at one frame a second")
    parser.add_argument("--drawn-hours", type=float, help="shown again after that; default: all are drawn")
    parser.add_argument("--policies", nargs="+", help="default: all that work over an encoder's features")
    parser.add_argument("--encoder", default="convolutional")
    parser.add_argument("--model", help="checkpoint for the memories in a KV cache")
    parser.add_argument("--hybrid", help="checkpoint with fast weights")
    parser.add_argument("--budget-bytes", type=int, default=2 * 2**20)
    parser.add_argument("--ask-s", type=int, default=600, help="seconds of stream between questions; 0 asks none")
    parser.add_argument("--recording", type=Path, help="folder of drawn and encoded frames; made where it is missing")
    parser.add_argument("--only-record", action="store_true", help="make the recording and stop")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    try:
        figures = measure(arguments)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if arguments.json:
        print(json.dumps(figures))
        return 0
    keys = ("frames_per_second", "rss_slope_mb_per_hour", "budget_bytes", "peak_bytes", "ms_per_answer")
    print(" | ".join(("policy", *keys)))
    for name, row in figures.items():
        if not name.startswith("_"):
            print(" | ".join((name, *(str(row[key]) for key in keys))))
    print(figures["_frames"])
    for name, reason in figures.get("_left_out", {}).items():
        print(f"left out: {name}: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
