"""VSI-Bench: ten question types about indoor videos, scored as three published scorers do.

Thinking in Space, arXiv 2412.14171. The same items come from the Hugging Face hub, a local copy, or a set folder that
`allocentric make` wrote, so a generated set is evaluated exactly as the benchmark is. Kinds, cells, counts and units
are data in `_vsi_records`, the scorers in `_vsi_profiles`, published scores in `_vsi_published`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from allocentric.core import config
from allocentric.core.errors import DataError
from allocentric.core.types import FloatArray, Item, Sampling, Scene, Score
from allocentric.datasets import export
from allocentric.eval.aggregation import Nested, Sums
from allocentric.eval.benchmarks import _vsi_profiles as profiles
from allocentric.eval.benchmarks import _vsi_records as records
from allocentric.eval.benchmarks._published import PublishedScore, listed
from allocentric.eval.benchmarks._vsi_published import PUBLISHED
from allocentric.scenes.sources import vsi_metadata


class Settings(config.Settings):
    """What is asked."""

    dataset: str = records.REPOSITORY
    """A Hugging Face repository, a folder (a copy of it, or a set written by `allocentric make`), or a .jsonl or
    .parquet file of VSI-Bench records."""
    revision: str = records.REVISION
    """Commit of the repository; unused for local files."""
    subset: Literal["full", "debiased", "pruned"] = "full"
    """debiased leaves out the questions that a blind model answers (arXiv 2511.04655), pruned holds only those."""
    split: str | None = None
    """One split of a set folder; None takes all."""
    video_dir: Path | None = None
    """Folder with <dataset>/<scene>.mp4; None asks without pictures. Set folders bring their own."""
    metadata: Path | None = None
    """Published *_meta_info_*.json (file or folder): draws top-down maps for published questions."""
    kinds: tuple[str, ...] = ()
    """Only these question types; empty takes all."""
    wording: Literal["default", "api"] = "default"
    """api asks for numbers as the first two profiles do with models behind an API (gemini_api, gpt4v)."""
    ids: Path | None = None
    """Text file with one item id a line (the official tiny set, say); needs `ids_sha256`."""
    ids_sha256: str | None = None
    """SHA-256 of that file: sets called tiny differ (two of them share 38 of 400 questions)."""
    partial: bool = False
    """Average over the leaderboard columns that occur; otherwise the overall score needs all eight."""


class VsiBench:
    """Implements `eval.protocol.Benchmark`."""

    name = "vsi_bench"
    profiles: tuple[str, ...] = tuple(profiles.PROFILES)
    cells: Mapping[str, str] = records.CELLS
    published: tuple[PublishedScore, ...] = PUBLISHED

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._set_folder = _set_folder(settings)

    def items(self) -> list[Item]:
        """Every item, in the published order.

        Raises:
            DataError: data or videos are missing, damaged or no VSI-Bench records.
        """
        return self._items

    @cached_property
    def _items(self) -> list[Item]:
        settings = self._settings
        if self._set_folder is not None:
            items, where = export.load_set(self._set_folder, settings.split), settings.dataset
        else:
            found, where = records.read_records(settings.dataset, revision=settings.revision, subset=settings.subset)
            items = records.items_of_records(found, where=where, video_dir=settings.video_dir)
        records.check_kinds(items, where)
        if settings.kinds:
            items = [item for item in items if item.kind in settings.kinds]
        if settings.ids is not None:
            items = listed(items, settings.ids, settings.ids_sha256)
        if not items:
            raise DataError(f"{where}: no questions are left with these settings")
        records.check_videos(items)
        return items

    def prompt_text(self, item: Item, profile: str) -> str:
        """The user text as the profile's origin words it."""
        api = self._settings.wording == "api"
        return profiles.prompt_text(item, profiles.profile_called(profile), api=api)

    def sampling(self, profile: str) -> Sampling:
        """Decoding settings of the profile."""
        return profiles.profile_called(profile).sampling

    def score(self, item: Item, text: str, profile: str) -> Score:
        """Score a raw text as the profile's origin does; None where that stops with an error."""
        return profiles.score_text(item, text, profiles.profile_called(profile))

    def composite(self, items: Sequence[Item], values: FloatArray) -> Sums:
        """The published average: three difficulties make one column, eight columns the overall score.

        Where a question type is missing the overall score is NaN (with `partial`: the mean of the columns that occur);
        the published scorers stop there, or average over fewer columns without saying so.
        """
        return Nested(cells=self.cells, partial=self._settings.partial)(items, values)

    def chance(self, item: Item) -> float | None:
        """1 / number of options; None for numbers."""
        return profiles.chance(item)

    def fingerprint(self) -> dict[str, Any]:
        """Row count and SHA-256 of (id, question, options, ground truth); the published count beside the full set."""
        found = records.fingerprint(self.items())
        settings = self._settings
        if (
            settings.dataset == records.REPOSITORY
            and settings.subset == "full"
            and not (settings.kinds or settings.ids)
        ):
            found["published_row_count"] = sum(records.PUBLISHED_COUNTS.values())
        return found

    def scene(self, scene_id: str) -> Scene | None:
        """The scene of a set folder or of the metadata; None where no geometry is at hand."""
        if self._set_folder is not None:
            return export.load_scene(self._set_folder, scene_id)
        if self._metadata is None or scene_id not in self._metadata_scenes:
            return None
        return self._metadata.load(scene_id)

    @cached_property
    def _metadata(self) -> vsi_metadata.VsiMetadata | None:
        path = self._settings.metadata
        return None if path is None else vsi_metadata.build(vsi_metadata.Settings(path=path))

    @cached_property
    def _metadata_scenes(self) -> frozenset[str]:
        return frozenset(self._metadata.scene_ids() if self._metadata is not None else ())


def build(settings: Settings) -> VsiBench:
    """The benchmark; nothing is read before it is asked for."""
    records.check_settings(settings.kinds)
    return VsiBench(settings)


def _set_folder(settings: Settings) -> Path | None:
    path = Path(settings.dataset).expanduser()
    if not (path / "data").is_dir():
        return None
    if settings.subset != "full":
        raise DataError(f"{path} is a generated set, which has no {settings.subset} subset; use full")
    return path
