"""What a page shows of one question: its words, pictures, map, right answer, and what every model said."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from allocentric.core.types import Answer, Choice, Item, Number, Order, Response, Scene, Score, Text, Unreadable
from allocentric.datasets.trace import rationale
from allocentric.eval.frames import evenly_spaced
from allocentric.eval.pictures import Thumbnails, thumbnails_for
from allocentric.eval.results import ScoredRow, failed, score_row
from allocentric.eval.scored import ScoredRun
from allocentric.eval.topdown import TopDown, map_of, overlay

_CONTROL_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"} | {0x7F: 0x2421}
"""C0 controls -> U+2400 and following."""


@dataclass
class ItemPages:
    """Makes the view model of every item; maps and pictures are shared between items."""

    run: ScoredRun
    items: Sequence[Item]
    """Those shown, of the run's."""
    maps: dict[tuple[str, bytes], dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        job = self.run.plan
        count = job.recipe.frames.count
        self._frames = {  # as logged; for items not asked yet, what would be shown
            item.id: self.run.frames.get(item.id, evenly_spaced(len(item.views), count)) for item in self.items
        }
        self.thumbnails: Thumbnails = thumbnails_for(self.items, self._frames)
        self._rows: dict[str, dict[str, ScoredRow]] = {
            label: {p: score_row(job.benchmark, self.items, answers, p) for p in job.benchmark.profiles}
            for label, answers in self.run.answers.items()
        }
        self._position = {item.id: index for index, item in enumerate(self.items)}
        self._scenes: dict[str, Scene | None] = {}

    def page(self, item: Item) -> dict[str, Any]:
        """Everything the template shows of one item."""
        answers = [self._answer(label, item) for label in self.run.answers]
        frames = self.thumbnails.of_item(item, self._frames[item.id])
        return {
            "id": item.id,
            "number": self._position[item.id] + 1,
            "kind": item.kind,
            "scene": item.scene_id,
            "prompt": self.run.plan.benchmark.prompt_text(item, self.run.plan.profile),
            "gold": answer_text(item.gold, item),
            "answers": answers,
            "rationale": rationale(item) if item.evidence.steps else "",
            "steps": [self._step(number, step) for number, step in enumerate(item.evidence.steps)],
            "frames": [{"index": i, "uri": uri, "seen": i in item.evidence.frames} for i, uri in frames],
            "seen": bool(item.evidence.frames),
            "frame_count": len(self._frames[item.id]),
            "map": self._map(item),
            "mean": sum(answer["value"] or 0.0 for answer in answers) / max(len(answers), 1),
        }

    def _answer(self, label: str, item: Item) -> dict[str, Any]:
        response = self.run.answers[label].get(item.id)
        index = self._position[item.id]
        scores = {profile: row.scores[index] for profile, row in self._rows[label].items()}
        score = scores[self.run.plan.profile]
        others = {
            profile: _score_text(other)
            for profile, other in scores.items()
            if (other and other.value) != (score and score.value)
        }
        return {
            "model": label,
            "raw": "" if response is None else printable(response.text),
            "note": _note(response),
            "parsed": "" if score is None else printable(answer_text(score.answer, item)),
            "value": None if score is None else score.value,
            "score": _score_text(score),
            "state": _state(response, score),
            "others": others,
        }

    def _step(self, number: int, step: Any) -> str:
        inputs = ", ".join(f"{name}={_short(value)}" for name, value in step.inputs.items())
        return f"{number}. {step.op}({inputs}) = {_short(step.output)}"

    def _map(self, item: Item) -> dict[str, Any] | None:
        scene = self._scene(item.scene_id)
        if scene is None:
            return None
        cameras = [view.camera for view in item.views if view.camera is not None]
        path = b"".join(camera.world_from_camera.tobytes() for camera in cameras)
        key = (item.scene_id, hashlib.sha256(path).digest())
        if key not in self.maps:
            drawn = map_of(scene, cameras)
            self.maps[key] = {"id": f"map-{len(self.maps)}", "drawn": drawn, "rooms": bool(scene.rooms)}
        drawn_map: TopDown | None = self.maps[key]["drawn"]
        if drawn_map is None:
            return None
        return {**self.maps[key], "overlay": overlay(item, scene, drawn_map)}

    def _scene(self, scene_id: str) -> Scene | None:
        if scene_id not in self._scenes:
            self._scenes[scene_id] = self.run.plan.benchmark.scene(scene_id)
        return self._scenes[scene_id]


def answer_text(answer: Answer | Unreadable, item: Item) -> str:
    """An answer as people read it: the option's letter and text, the number with its unit."""
    match answer:
        case Unreadable(reason):
            return f"unreadable: {reason}"
        case Choice(index):
            letter = chr(ord("A") + index)
            text = item.choices[index] if 0 <= index < len(item.choices) else "no such option"
            return f"{letter}. {text}"
        case Number(value, unit):
            return f"{value:g} {unit.replace('m2', 'm²')}".rstrip()
        case Text(text):
            return text
        case Order(labels):
            return ", ".join(labels)
        case _:
            return str(answer)


def printable(text: str) -> str:
    """Control characters as their pictures and halves of characters as the replacement character."""
    shown = text.translate(_CONTROL_PICTURES)
    return shown.encode("utf-8", errors="replace").decode("utf-8")


def _score_text(score: Score | None) -> str:
    if score is None:
        return "–"
    return "left out" if score.value is None else f"{100 * score.value:.0f}"


def _state(response: Response | None, score: Score | None) -> str:
    if response is None or score is None:
        return "failed"
    if isinstance(score.answer, Unreadable):
        return "unreadable"
    if score.value is None:
        return "left-out"
    return "right" if score.value >= 1 else "wrong" if score.value <= 0 else "partly"


def _note(response: Response | None) -> str:
    if response is None:
        return "not asked yet"
    if failed(response):
        return printable(response.error or "failed")
    return "cut at the length limit" if response.finish_reason == "length" else ""


def _short(value: Any) -> str:
    if isinstance(value, Mapping) and set(value) == {"step"}:
        return f"#{value['step']}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_short(part) for part in value) + "]"
    return str(value)
