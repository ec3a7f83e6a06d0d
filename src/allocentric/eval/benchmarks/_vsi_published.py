"""Scores that others have published for VSI-Bench, to print beside ours. In percent.

Sources: arXiv 2412.14171 and its leaderboard (vision-x-nyu.github.io/thinking-in-space), and the documentation of EASI
(EvolvingLMMs-Lab/EASI, docs/Benchmark_Verification.md), which ran three scorers on the same models.
"""

from __future__ import annotations

from allocentric.eval.benchmarks._published import PublishedScore

_PAPER = "arXiv 2412.14171"
_SITE = "vision-x-nyu.github.io/thinking-in-space"
_EASI = "EASI docs/Benchmark_Verification.md"


def _easi(
    name: str, official: float, vlmevalkit: float, lmms_eval: float, subset: str = "full"
) -> tuple[PublishedScore, ...]:
    scores = {"official": official, "vlmevalkit": vlmevalkit, "lmms-eval": lmms_eval}
    return tuple(
        PublishedScore(name=name, overall=score, scorer=scorer, subset=subset, source=_EASI)
        for scorer, score in scores.items()
    )


PUBLISHED: tuple[PublishedScore, ...] = (
    PublishedScore(
        name="random (options only)",
        overall=None,
        cells={
            "object_rel_distance": 25.0,
            "object_rel_direction": 36.1,
            "route_planning": 28.3,
            "obj_appearance_order": 25.0,
        },
        source=_PAPER,
    ),
    PublishedScore(
        name="frequency",
        overall=34.0,
        cells={
            "object_counting": 62.1,
            "object_abs_distance": 32.0,
            "object_size_estimation": 29.9,
            "room_size_estimation": 33.1,
            "object_rel_distance": 25.1,
            "object_rel_direction": 47.9,
            "route_planning": 28.4,
            "obj_appearance_order": 25.2,
        },
        source=_PAPER,
        note="the eight columns average 35.46, not 34.0",
    ),
    PublishedScore(
        name="human",
        overall=79.2,
        cells={
            "object_counting": 94.3,
            "object_abs_distance": 47.0,
            "object_size_estimation": 60.4,
            "room_size_estimation": 45.9,
            "object_rel_distance": 94.7,
            "object_rel_direction": 95.8,
            "route_planning": 95.8,
            "obj_appearance_order": 100.0,
        },
        subset="tiny",
        source=_PAPER,
    ),
    PublishedScore(name="GPT-4o (16 frames)", overall=34.0, source=_SITE),
    PublishedScore(name="GPT-4o (64 frames)", overall=47.8, source=_SITE),
    PublishedScore(name="InternVL3-78B", overall=48.4, source=_SITE),
    PublishedScore(name="LLaVA-Video-72B", overall=40.9, source=_SITE),
    PublishedScore(name="VLM-3R-7B", overall=58.8, source=_SITE, note="its eight columns average 60.91"),
    PublishedScore(
        name="Gemini-1.5-Pro", overall=48.8, source=_SITE, note="unmarked, but seems to be a value of the tiny set"
    ),
    *_easi("Qwen2.5-VL-3B (128 frames)", 26.80, 26.60, 29.59),
    *_easi("Qwen2.5-VL-7B (128 frames)", 33.50, 33.70, 38.67),
    *_easi("InternVL3.5-8B", 56.30, 54.20, 54.55),
    *_easi("Cambrian-S-3B (32 frames)", 54.73, 56.08, 54.79),
    *_easi("Cambrian-S-7B", 63.61, 62.93, 63.48),
    *_easi("Cambrian-S-7B", 55.58, 55.35, 55.40, subset="debiased"),
    *_easi("Qwen2.5-VL-7B (128 frames)", 29.60, 29.10, 33.83, subset="debiased"),
    *_easi("InternVL3.5-8B", 49.70, 48.40, 49.65, subset="debiased"),
)
"""Rows as printed."""
