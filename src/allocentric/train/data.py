"""Items -> what a trainer is fed: the question as evaluation asks it, and the answer to learn.

A prompt is made by `agents.models.hf`, the same functions evaluation calls, so that its tokens are the same in
evaluation, supervised training and reinforcement learning. The answer's tokens follow it, and only they carry loss.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from allocentric.agents.models import hf
from allocentric.core import config, parsing, scoring
from allocentric.core.errors import DataError, UserError
from allocentric.core.records import digest, item_from_record
from allocentric.core.types import Item, Prompt, Sampling, Score, Unreadable, View
from allocentric.datasets import chat, export
from allocentric.eval.frames import choose_frames, load_views
from allocentric.eval.recipe import items_digest, limited, load_benchmark
from allocentric.train.recipe import DataSettings, ModelSettings

_GREEDY = Sampling()
IGNORED = -100
"""Label of a token that carries no loss, as torch's cross entropy has it."""


@dataclass(frozen=True, kw_only=True)
class Questions:
    """Items with their wording and their scorer."""

    settings: DataSettings
    """Where they come from and how they are shown."""
    items: tuple[Item, ...]
    """In the order of their source."""
    wording: Callable[[Item], str]
    """The full user text of an item."""
    score: Callable[[Item, str], Score]
    """What a text is worth as the answer to an item: the scorer of the leaderboard."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Of the items."""
        return tuple(item.id for item in self.items)

    def prompt(self, item: Item, sampling: Sampling = _GREEDY) -> Prompt:
        """What a model is shown. DataError where a picture is missing."""
        frames = self.settings.frames
        views = load_views(item, choose_frames(item, frames).indices, frames)
        return Prompt(
            item_id=item.id, text=self.wording(item), views=views, as_video=frames.as_video, sampling=sampling
        )

    def answer(self, item: Item) -> str:
        """What a model is to say."""
        return chat.answer_text(item, self.settings.answer)

    def record(self) -> dict[str, Any]:
        """Number and digest of the items, and a digest of the sizes of their picture files."""
        sizes = [_size(view.image) for item in self.items for view in item.views]
        sizes += [_size(item.video) for item in self.items if not item.views]
        return {"count": len(self.items), "items_sha256": items_digest(self.items), "pictures_sha256": digest(sizes)}


def questions(settings: DataSettings, *, seed: int) -> Questions:
    """Load items with their wording and scorer.

    Raises:
        UserError: no such set, benchmark or file, or no items are left.
    """
    if settings.benchmark is not None:
        benchmark, _ = load_benchmark(settings.benchmark)
        profile = settings.profile or benchmark.profiles[0]
        if profile not in benchmark.profiles:
            raise UserError(f"{benchmark.name} has no profile {profile!r}; it has {', '.join(benchmark.profiles)}")
        items: Sequence[Item] = benchmark.items()
        short: Callable[[Item], str] = lambda item: benchmark.prompt_text(item, profile)  # noqa: E731
        score: Callable[[Item, str], Score] = lambda item, text: benchmark.score(item, text, profile)  # noqa: E731
    else:
        items = _set(settings) if settings.set is not None else _items(settings)
        short, score = chat.prompt_text, _core_score
    if settings.kinds:
        items = [item for item in items if item.kind in settings.kinds]
    if not items:
        raise DataError("no items are left with these settings of data")
    ours = settings.answer == "rationale" or (settings.answer == "steps" and settings.profile is None)
    return Questions(
        settings=settings,
        items=tuple(limited(items, settings.limit, seed=seed)),
        wording=(lambda item: chat.prompt_text(item, settings.answer)) if ours else short,
        score=score if settings.answer == "short" else partial(_score_end, score, steps=settings.answer == "steps"),
    )


def _set(settings: DataSettings) -> list[Item]:
    assert settings.set is not None
    return export.load_set(settings.set, settings.split)


def _items(settings: DataSettings) -> list[Item]:
    """Records of a JSON Lines file; pictures lie relative to it."""
    path = settings.items
    assert path is not None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        items = [item_from_record(json.loads(line)) for line in lines if line.strip()]
    except OSError as error:
        raise DataError(f"can't read the items {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} does not hold item records: {' '.join(str(error).split())[:200]}") from None
    return [replace(item, views=tuple(_placed(view, path.parent) for view in item.views)) for item in items]


def _placed(view: View, folder: Path) -> View:
    return replace(view, image=folder / view.image) if isinstance(view.image, Path) else view


def _core_score(item: Item, text: str) -> Score:
    answer = parsing.read_answer(text, item)
    return scoring.score(answer, item.gold, option_count=len(item.choices) or None)


def _score_end(score: Callable[[Item, str], Score], item: Item, text: str, *, steps: bool) -> Score:
    """What stands after the thinking, or at the end of the steps, as the benchmark scores it."""
    end = parsing.final_part(text)
    if isinstance(end, Unreadable):
        return Score(value=0.0, answer=end)
    return score(item, chat.answer_of_steps(end) if steps else end)


def _size(file: Any) -> Any:
    if not isinstance(file, Path):
        return None
    try:
        return [file.name, file.stat().st_size]
    except OSError:
        return [file.name, None]  # named where it is read


# ------------------------------------------------------------------------------------------------------------ tokens


def model_settings(settings: ModelSettings) -> hf.Settings:
    """The settings under which evaluation builds the same prompts."""
    names = ("path", "revision", "attn_implementation", "min_pixels", "max_pixels", "system", "chat_template")
    values = {name: getattr(settings, name) for name in names}
    return config.settings_from_mapping(hf.Settings, values, where="model")


class Encoder:
    """Questions -> token ids and pixels of one checkpoint."""

    def __init__(self, processor: Any, settings: hf.Settings, *, context: int | None) -> None:
        """`context` is the longest sequence in tokens, None where the checkpoint names none."""
        self._processor, self._settings, self._context = processor, settings, context

    def prompt(self, prompt: Prompt) -> dict[str, Any]:
        """Model inputs of a question, up to where the answer begins.

        Raises:
            DataError: a picture can't be read, or the prompt and its answer of `max_new_tokens` exceed the context.
        """
        try:
            ready = hf.conversation_of(prompt, self._settings)
        except DataError as error:
            raise DataError(f"item {prompt.item_id}: {error}") from None
        return dict(hf.encode(self._processor, [ready], self._settings))

    def example(self, prompt: Prompt, answer: str) -> dict[str, Any]:
        """A question and its answer, with `labels` on the tokens of the answer and the token that ends it."""
        import torch

        inputs = self.prompt(prompt)
        tokenizer = self._processor.tokenizer
        said = [*tokenizer(answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        asked = inputs["input_ids"].shape[1]
        self.require_room(prompt.item_id, asked, len(said))
        said_1A = torch.tensor([said])
        labels_1L = torch.cat([torch.full((1, asked), IGNORED), said_1A], dim=1)
        for name, value in inputs.items():
            if per_token(value, asked):
                more = said_1A if name == "input_ids" else torch.full_like(said_1A, int(name == "attention_mask"))
                inputs[name] = torch.cat([value, more.to(value.dtype)], dim=1)
        return inputs | {"labels": labels_1L}

    def require_room(self, item_id: str, asked: int, answered: int) -> None:
        """DataError where a question and its answer don't fit into the context."""
        if self._context is not None and asked + answered > self._context:
            raise DataError(
                f"item {item_id}: a prompt of {asked} tokens and {answered} of the answer exceed the context of "
                f"{self._context}; show fewer or smaller pictures (data.frames.count, model.max_pixels)"
            )


def per_token(value: Any, length: int) -> bool:
    """Whether a model input holds one value per token, as ids and masks do."""
    return getattr(value, "ndim", 0) == 2 and value.shape == (1, length) and not value.is_floating_point()


def batch_of(examples: Sequence[Mapping[str, Any]], *, pad_token_id: int) -> dict[str, Any]:
    """Examples padded on the right to one batch; pixels, grids and times are joined in their order."""
    import torch

    lengths = [example["input_ids"].shape[1] for example in examples]
    names = {name: None for example in examples for name in example}
    fill = {"input_ids": pad_token_id, "labels": IGNORED}
    batch: dict[str, Any] = {}
    for name in names:
        present = [
            (example[name], length) for example, length in zip(examples, lengths, strict=True) if name in example
        ]
        if all(per_token(value, length) for value, length in present):
            rows = [
                torch.nn.functional.pad(value, (0, max(lengths) - length), value=fill.get(name, 0))
                for value, length in present
            ]
            batch[name] = torch.cat(rows)
        elif isinstance(present[0][0], torch.Tensor):
            batch[name] = torch.cat([value for value, _ in present])
        else:
            batch[name] = [one for value, _ in present for one in value]
    return batch


class Collator:
    """Rows that name items -> a batch with labels; pictures are read here, when they are needed."""

    def __init__(
        self,
        examples: Callable[[int], dict[str, Any]],
        *,
        ids: Sequence[str],
        pad_token_id: int,
        on_bad: Literal["stop", "skip"],
    ) -> None:
        """`examples` encodes the item of an index into `ids`."""
        self._examples, self._ids, self._pad, self._on_bad = examples, ids, pad_token_id, on_bad

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """A batch, the `item_ids` of its rows, and the items that were `skipped` with their reasons.

        Raises:
            DataError: an item can't be shown and is not to be skipped, or a batch has no other.
        """
        kept, ids = [], []
        skipped: dict[str, str] = {}
        for row in rows:
            try:
                kept.append(self._examples(row["index"]))
            except DataError as error:
                if self._on_bad == "stop":
                    raise
                skipped[self._ids[row["index"]]] = str(error)
            else:
                ids.append(self._ids[row["index"]])
        if not kept:
            raise DataError(f"every item of a batch would be skipped; the last: {list(skipped.values())[-1]}")
        return batch_of(kept, pad_token_id=self._pad) | {"item_ids": ids, "skipped": skipped}


# ---------------------------------------------------------------------------------------------------- pictures, tokens


class PictureCheck:
    """Before every forward pass: as many picture tokens as there are picture features, row by row.

    Trainers that cut text and not pictures, or the reverse, train on nonsense without a word. Families whose
    configuration names no picture token (`image_token_id`) or whose processors make no grid are not checked.
    """

    def __init__(self, model: Any) -> None:
        settings = model.config
        self._tokens = {
            "image": getattr(settings, "image_token_id", None),
            "video": getattr(settings, "video_token_id", None),
        }
        self._merged = getattr(getattr(settings, "vision_config", None), "spatial_merge_size", 1) ** 2
        self.item_ids: Sequence[str] = ()
        """Of the rows of the batch at hand, where they are known."""
        model.register_forward_pre_hook(self._before, with_kwargs=True)

    def _before(self, _: Any, positional: tuple[Any, ...], inputs: dict[str, Any]) -> None:
        ids_BL = inputs.get("input_ids", positional[0] if positional else None)
        past = inputs.get("past_key_values")
        if ids_BL is None or (past is not None and past.get_seq_length() > 0):  # the pictures are in the cache
            return
        for kind, token in self._tokens.items():
            if token is not None:
                self._compare(kind, ids_BL == token, self._features(kind, inputs))

    def _features(self, kind: str, inputs: Mapping[str, Any]) -> list[int]:
        """Features of each picture or video: from their grids, or counted where `generate` has encoded them before."""
        encoded = (inputs.get("mm_encoder_outputs") or {}).get(kind)
        if encoded is not None:
            return [len(features) for features in encoded.pooler_output]
        grids = inputs.get(f"{kind}_grid_thw")
        return [] if grids is None else [count // self._merged for count in grids.prod(dim=1).tolist()]

    def _compare(self, kind: str, is_token_BL: Any, features: list[int]) -> None:
        tokens_B = is_token_BL.sum(dim=1).tolist()
        if kind == "video":  # a video may be spread over many runs of tokens
            tokens_B, features_B = [sum(tokens_B)], [sum(features)]
        else:
            starts_B = (is_token_BL.int().diff(dim=1) == 1).sum(dim=1) + is_token_BL[:, 0].int()
            left = iter(features)
            features_B = [sum(islice(left, n)) for n in starts_B.tolist()]
            features_B[-1] += sum(left)
        for row, (have, want) in enumerate(zip(tokens_B, features_B, strict=True)):
            if have != want:
                raise DataError(
                    f"{self._name(row, len(tokens_B))}: {have} {kind} tokens for {want} {kind} features; text or "
                    "pictures were cut"
                )

    def _name(self, row: int, rows: int) -> str:
        ids = list(self.item_ids)
        return f"item {ids[row]}" if len(ids) == rows else f"one of {', '.join(ids) or 'the batch'} (row {row})"
