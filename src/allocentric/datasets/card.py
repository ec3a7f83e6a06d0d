"""The data card: what is in a set, how balanced it is, what a blind guesser reaches, and how to make it again."""

from __future__ import annotations

import csv
import io
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np
import yaml

from allocentric import __version__
from allocentric.core.runlog import write_atomically
from allocentric.core.types import Choice, Item, Number
from allocentric.datasets import _plots
from allocentric.datasets.audit import Audit, Figure

_HUB_LICENSES = {"CC0-1.0": "cc0-1.0", "CC-BY-4.0": "cc-by-4.0", "Apache-2.0": "apache-2.0", "MIT": "mit"}
"""SPDX ids the Hugging Face hub knows, under its own spelling."""
_PACKAGES = ("numpy", "scipy", "scikit-learn", "pyarrow", "pillow", "moderngl", "open3d-cpu", "open3d")
_MOST_LABELS = 24
_RARE = 3
"""Many answers that occur no more often than this are counted, not listed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What a data card tells."""

    name: str
    """Name of the set."""
    splits: Mapping[str, Sequence[Item]]
    """Items by split."""
    licenses: Mapping[str, int]
    """Licence of a scene -> number of scenes."""
    sources: Mapping[str, int]
    """Source of a scene -> number of scenes."""
    settings: Mapping[str, Any]
    """Every setting in force."""
    audit: Audit | None
    """None where the recipe leaves it out."""

    @property
    def items(self) -> list[Item]:
        """Items of all splits."""
        return [item for part in self.splits.values() for item in part]


def write_card(folder: Path, facts: Facts) -> None:
    """Write the plots with their figures as CSV, then README.md."""
    plots = folder / "plots"
    plots.mkdir(exist_ok=True)
    labels, letters = label_rows(facts.items), letter_rows(facts.items)
    _write_csv(plots / "labels.csv", ("question_type", "label", "items"), labels)
    _write_csv(plots / "letters.csv", ("question_type", "letter", "items"), letters)
    units = {item.kind: item.gold.unit for item in facts.items if isinstance(item.gold, Number)}
    _plots.answers(plots / "labels.svg", _values_by_kind(facts.items), units)
    _plots.letters(plots / "letters.svg", letters)
    if facts.audit is not None:
        rows = [(f.kind, f.baseline, f.metric, f.n, f.value, f.low, f.high, f.chance) for f in facts.audit.figures]
        header = ("question_type", "baseline", "metric", "items", "value", "low", "high", "chance")
        _write_csv(plots / "audit.csv", header, rows)
        _plots.audit(plots / "audit.svg", facts.audit.figures)
    write_atomically(folder / "README.md", _front_matter(facts) + "\n".join(_body(facts)) + "\n")


def label_rows(items: Sequence[Item]) -> list[tuple[str, str, int]]:
    """(question type, meaning of the answer, items), most frequent first."""
    counts = Counter((item.kind, item.evidence.label) for item in items)
    return [(*key, n) for key, n in sorted(counts.items(), key=lambda pair: (pair[0][0], -pair[1], pair[0][1]))]


def letter_rows(items: Sequence[Item]) -> list[tuple[str, str, int]]:
    """(question type, letter of the right option, items); every letter that is offered, also with 0."""
    counts = Counter((item.kind, item.gold.index) for item in items if isinstance(item.gold, Choice))
    width = {item.kind: len(item.choices) for item in sorted(items, key=lambda item: len(item.choices))}
    return [
        (kind, ascii_uppercase[index], counts[kind, index]) for kind in sorted(width) for index in range(width[kind])
    ]


def _values_by_kind(items: Sequence[Item]) -> dict[str, Counter[str] | list[float]]:
    """By type: counts of meanings, or the numbers themselves."""
    out: dict[str, Counter[str] | list[float]] = {}
    for kind in sorted({item.kind for item in items}):
        mine = [item for item in items if item.kind == kind]
        numbers = [item.gold.value for item in mine if isinstance(item.gold, Number)]
        out[kind] = numbers or Counter(item.evidence.label for item in mine)
    return out


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_atomically(path, text.getvalue())


def _front_matter(facts: Facts) -> str:
    known = {_HUB_LICENSES.get(name) for name in facts.licenses}
    license_ = known.pop() if len(known) == 1 else None
    head: dict[str, Any] = {"pretty_name": facts.name, "license": license_ or "other"}
    if license_ is None:
        head["license_name"] = "; ".join(sorted(facts.licenses))
    head |= {
        "language": ["en"],
        "task_categories": ["visual-question-answering"],
        "tags": ["spatial-reasoning", "synthetic" if "procedural" in facts.sources else "3d-scenes"],
        "size_categories": [_size_category(len(facts.items))],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": name, "path": f"data/{name}-*.parquet"} for name in facts.splits],
            }
        ],
    }
    return "---\n" + yaml.safe_dump(head, sort_keys=False, allow_unicode=True) + "---\n\n"


def _size_category(count: int) -> str:
    bounds = (("n<1K", 1e3), ("1K<n<10K", 1e4), ("10K<n<100K", 1e5), ("100K<n<1M", 1e6))
    return next((name for name, bound in bounds if count < bound), "n>1M")


def _body(facts: Facts) -> list[str]:
    items = facts.items
    scenes = len({item.scene_id for item in items})
    pictures = {len(item.views) for item in items}
    seen = "no pictures (asked from boxes alone)" if pictures == {0} else f"{max(pictures)} frames per scene"
    return [
        f"# {facts.name}",
        "",
        f"{len(items):,} spatial questions about {scenes:,} scenes, {seen}. Every answer is computed from the scene's "
        "geometry; the column `evidence` holds the objects, the frames and the derivation, which "
        "`allocentric.datasets.trace.replay` recomputes from `scenes/`.",
        "",
        "## Questions",
        "",
        *_count_table(facts),
        "",
        "## Balance",
        "",
        "![Answers by question type](plots/labels.svg)",
        "",
        *_label_table(items),
        "",
        "![Letters of the right option](plots/letters.svg)",
        "",
        *_letter_table(items),
        "",
        "The figures are in `plots/labels.csv` and `plots/letters.csv`.",
        "",
        "## Audit: what can be answered without looking",
        "",
        *_audit_section(facts.audit),
        "",
        "## Use",
        "",
        *_use_section(facts),
        "",
        "## Sources and licences",
        "",
        *(f"- {name}: {count} scenes" for name, count in sorted(facts.sources.items())),
        *(f"- licence or terms: {name} ({count} scenes)" for name, count in sorted(facts.licenses.items())),
        "",
        "## Made with",
        "",
        "`recipe.yaml` holds every setting. The same command gives the same bytes on any number of workers:",
        "",
        "```bash",
        "allocentric make recipe.yaml",
        "```",
        "",
        f"allocentric {__version__}, Python {platform.python_version()}, {', '.join(_versions())}.",
    ]


def _count_table(facts: Facts) -> list[str]:
    rows = []
    for kind in sorted({item.kind for item in facts.items}):
        per_split = [sum(item.kind == kind for item in part) for part in facts.splits.values()]
        rows.append([kind, *map(str, per_split), str(sum(per_split))])
    totals = [len(part) for part in facts.splits.values()]
    rows.append(["all", *map(str, totals), str(sum(totals))])
    return _table(["question type", *facts.splits, "all"], rows)


def _label_table(items: Sequence[Item]) -> list[str]:
    """Answers of types that repeat them; numbers are summed up by quartiles."""
    rows = []
    for kind, values in _values_by_kind(items).items():
        if isinstance(values, Counter) and len(values) > _MOST_LABELS and max(values.values()) <= _RARE:
            rows.append([kind, f"{len(values)} different, none more than {max(values.values())} times"])
        elif isinstance(values, Counter):
            shown = [f"{label} {count}" for label, count in values.most_common(_MOST_LABELS)]
            more = len(values) - len(shown)
            rows.append([kind, ", ".join(shown) + (f", and {more} more" if more else "")])
        else:
            low, quarter, middle, third, high = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
            text = f"{low:g} to {high:g}, quartiles {quarter:.3g}, {middle:.3g}, {third:.3g}"
            rows.append([kind, f"{text}; {len(set(values))} different"])
    return _table(["question type", "answers"], rows)


def _letter_table(items: Sequence[Item]) -> list[str]:
    rows = letter_rows(items)
    kinds = sorted({kind for kind, _, _ in rows})
    letters = sorted({letter for _, letter, _ in rows})
    count = {(kind, letter): str(n) for kind, letter, n in rows}
    return _table(
        ["question type", *letters], [[kind, *(count.get((kind, letter), "") for letter in letters)] for kind in kinds]
    )


def _audit_section(audit: Audit | None) -> list[str]:
    if audit is None:
        return ["The recipe leaves the audit out."]
    rows = [
        [f.kind, f.baseline, f.metric, str(f.n), f"{100 * f.value:.1f}", _interval(f), _percent(f.chance)]
        for f in audit.figures
    ]
    header = ["question type", "baseline", "metric", "items", "score", "95 % interval", "chance"]
    return [
        "Baselines that never see a picture, fitted on other scenes than they are judged on: the most frequent answer "
        "(majority), the likeliest meaning or best constant (prior), and a linear classifier over the question and "
        "its options (text). Intervals resample scenes. In a small, exactly balanced set the first two fall below "
        "chance: what is held out is rarer in the rest.",
        "",
        *_table(header, rows),
        "",
        "![Blind baselines](plots/audit.svg)",
    ]


def _interval(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return f"{100 * figure.low:.1f} to {100 * figure.high:.1f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def _use_section(facts: Facts) -> list[str]:
    split = next(iter(facts.splits))
    pictured = any(item.views for item in facts.items)
    with_images = [
        "",
        "from PIL import Image",
        "",
        "def with_images(batch):  # what TRL and processors read beside `messages`",
        '    pictures = [[Image.open(f"{folder}/{path}") for path in paths] for paths in batch["frames"]]',
        '    return batch | {"images": pictures}',
        "",
        "rows.set_transform(with_images)",
    ]
    return [
        "```python",
        "from datasets import load_dataset",
        "",
        'folder = "FOLDER"',
        f'rows = load_dataset(folder, split="{split}")',
        *(with_images if pictured else []),
        "```",
        "",
        "The paths in `frames` are relative to this folder; `messages` holds one image placeholder per frame. With "
        "cameras, visibility and evidence as objects: `allocentric.datasets.export.load_set(Path(folder))`.",
    ]


def _versions() -> list[str]:
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return found


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]
