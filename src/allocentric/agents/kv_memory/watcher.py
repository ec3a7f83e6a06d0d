"""A vision-language model that watches a stream: frames are read as they come, questions from what was kept.

    watcher = Watcher(checkpoint, kv_memory.surprise, settings)
    watcher.observe(view)
    watcher.answer("How many chairs were there?").text

A frame is read once and then lives in the layers' memory only. A question reads what each layer selects; it leaves no
trace, unless the policy keeps what was said, and the stream goes on after it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from allocentric.agents.kv_memory import _attention
from allocentric.agents.kv_memory._attention import Reading, extent_of
from allocentric.agents.kv_memory.contract import LayersMemory, Layout
from allocentric.agents.memory.contract import next_time_s
from allocentric.agents.memory.errors import (
    BudgetTooSmallError,
    FeatureSizeError,
    NothingSeenError,
)
from allocentric.core.errors import UserError
from allocentric.core.pictures import picture
from allocentric.core.types import View

_MARK = "\N{REPLACEMENT CHARACTER}question\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """An answer and what it took."""

    text: str
    """As it was generated."""
    prompt_tokens: int
    """Tokens of the question."""
    completion_tokens: int
    """Tokens of the answer."""
    attended_tokens: float
    """Keys that the answer's last token read, averaged over layers."""
    seconds: float
    """Wall time."""
    complete: bool
    """False where it was cut off."""


class LatentFrameHead(nn.Module):
    """Predicts the next frame's features from the hidden states of this one's tokens (Cambrian-S)."""

    def __init__(self, hidden: int, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, features))
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, hidden_PE: Tensor) -> Tensor:
        """(P, E) hidden states -> (P, F) features."""
        out: Tensor = self.layers(hidden_PE)
        return out

    @staticmethod
    def load(path: Path, hidden: int, features: int) -> LatentFrameHead:
        """From safetensors.

        Raises:
            UserError: the file is missing or made for another model.
        """
        from safetensors.torch import load_file

        head = LatentFrameHead(hidden, features)
        try:
            head.load_state_dict(load_file(path))
        except (OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"cannot read a latent-frame head of {hidden} -> {features} from {path}: {reason}"
            ) from None
        return head.eval()


def surprise_of(predicted_PF: Tensor, seen_PF: Tensor) -> float:
    """1 - mean cosine over a frame's patches, from 0 (as predicted) to 2."""
    cosine = torch.cosine_similarity(predicted_PF.float(), seen_PF.float(), dim=-1)
    return 1.0 - float(cosine.mean())


class Watcher:
    """One stream. Not thread-safe; several watchers may share a checkpoint."""

    def __init__(
        self,
        checkpoint: Any,
        policy: ModuleType,
        settings: Any,
        *,
        system: str | None = None,
        head: LatentFrameHead | None = None,
    ) -> None:
        """Nothing is read yet.

        Args:
            checkpoint: `model` and `processor`, as `agents.models._checkpoint.load` gives them; of Qwen2.5-VL's or
                Qwen3-VL's family.
            policy: A file of `agents/kv_memory/`.
            settings: Its `Settings`.
            system: System message.
            head: Predicts the next frame, whose error is the surprise. None compares with the frame before.

        Raises:
            UserError: the model is of another kind.
        """
        self._model, self._processor = checkpoint.model, checkpoint.processor
        self._text = self._model.config.get_text_config()
        self._check()
        self._policy, self._settings, self._system, self._head = policy, settings, system, head
        self._opening, self._closing = self._pieces()
        ends = self._model.generation_config.eos_token_id
        self._ends = {ends} if isinstance(ends, int) else set(ends or ())
        self.reset()

    # ------------------------------------------------------------------------------------------------------- callers

    @property
    def budget_bytes(self) -> int:
        """Most bytes kept after a frame."""
        return self._memory.budget_bytes

    @property
    def last_surprise(self) -> float | None:
        """Of the last frame; 1 for the first, None before it."""
        return self._surprise

    @property
    def last_frame_s(self) -> float:
        """Wall time the last frame took."""
        return self._frame_s

    def nbytes(self) -> dict[str, int]:
        """Bytes kept now, by component: keys and values over all layers, and what surprise is computed from."""
        return self._memory.nbytes() | {"latent": self._latent_bytes()}

    def reset(self) -> None:
        """Forget the stream."""
        layers = int(self._text.num_hidden_layers)
        self._memory: LayersMemory = self._policy.build(self._settings, layers)
        self._last_time_s: float | None = None
        self._grid: tuple[int, int] | None = None
        self._surprise: float | None = None
        self._expected: Tensor | None = None
        self._seen: Tensor | None = None
        self._frame_s = 0.0
        self.frames_seen = self.peak_bytes = 0

    def observe(self, view: View) -> None:
        """Read one frame.

        Raises:
            FrameOrderError: the view has no time, or one not after the last frame's (DuplicateTimeError where equal).
            FeatureSizeError: it makes other rows and columns of tokens than the first frame.
            BudgetTooSmallError: the budget does not hold what the policy has to keep. Reset after it.
            DataError: it has no picture.
        """
        began = time.perf_counter()
        time_s = next_time_s(view, self._last_time_s)
        pixels = self._processor.image_processor(images=[picture(view)], return_tensors="pt")
        merge = int(self._model.config.vision_config.spatial_merge_size)
        _, rows, columns = (int(value) for value in pixels["image_grid_thw"][0])
        grid = rows // merge, columns // merge
        if self._grid not in (None, grid):
            raise FeatureSizeError(
                f"the frame of {time_s:g} s has {grid} rows and columns of tokens, the first one {self._grid}; show "
                "frames of one size"
            )
        if self._grid is None:
            self._read_opening()
        self._grid = grid
        self._read_frame(pixels, Layout(before=1, rows=grid[0], columns=grid[1], after=1), time_s)
        self._last_time_s = time_s
        self.frames_seen += 1
        self._hold_to_budget()
        self._frame_s = time.perf_counter() - began

    def answer(self, question: str, *, max_new_tokens: int = 16) -> Said:
        """Answer greedily from what was kept; the stream can go on afterwards.

        Raises:
            NothingSeenError: before the first frame.
        """
        began = time.perf_counter()
        written, prompt_tokens, attended = self._generated(question, max_new_tokens)
        return Said(
            text=self._processor.tokenizer.decode(written, skip_special_tokens=True),
            prompt_tokens=prompt_tokens,
            completion_tokens=len(written),
            attended_tokens=attended,
            seconds=time.perf_counter() - began,
            complete=written[-1] in self._ends,
        )

    def logits(self, question: str) -> Tensor:
        """(L, words) fp32 logits of every token of the question's text, for comparisons; leaves no trace."""
        ids = self._question(question)
        call = self._call(question=True)
        with torch.inference_mode(), _attention.reading(self._language_model):
            out: Tensor = self._forward(call, ids, Layout(before=ids.shape[1]), self._model).logits[0].float()
        return out

    # ------------------------------------------------------------------------------------------------------- reading

    @property
    def _language_model(self) -> Any:
        return self._model.model.language_model

    def _question(self, question: str) -> Tensor:
        """(1, L) tokens of a question, from the last frame to where the answer begins."""
        if self.frames_seen == 0:
            raise NothingSeenError(f"{question!r} was asked before the first frame; observe a frame first")
        return self._tokens(self._closing.replace(_MARK, question))

    def _generated(self, question: str, most: int) -> tuple[list[int], int, float]:
        """Tokens of the answer, number of tokens of the question, keys that the last token read."""
        ids = self._question(question)
        call = self._call(question=True)
        written: list[int] = []
        fed = ids
        with torch.inference_mode(), _attention.reading(self._language_model):
            while without_end(written, self._ends, most):
                logits = self._forward(call, fed, Layout(before=fed.shape[1]), self._model).logits
                written.append(int(logits[0, -1].argmax()))
                fed = torch.tensor([[written[-1]]], device=ids.device)
        self._keep_said(call)
        return written, int(ids.shape[1]), sum(call.attended.values()) / len(call.attended)

    def _pieces(self) -> tuple[str, str]:
        """The chat template's text before the first frame and after the last, with a mark for the question."""
        conversation: list[dict[str, Any]] = []
        if self._system is not None:
            conversation.append({"role": "system", "content": [{"type": "text", "text": self._system}]})
        content = [{"type": "image"}, {"type": "text", "text": _MARK}]
        conversation.append({"role": "user", "content": content})
        text = self._processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)
        frame = self._frame_text()
        if text.count(frame) != 1 or text.count(_MARK) != 1:
            raise UserError(f"the chat template puts a picture in another way than {frame}")
        opening, closing = text.split(frame)
        return opening, closing

    def _frame_text(self) -> str:
        config, tokenizer = self._model.config, self._processor.tokenizer
        names = (config.vision_start_token_id, config.image_token_id, config.vision_end_token_id)
        return "".join(tokenizer.convert_ids_to_tokens(list(names)))

    def _tokens(self, text: str) -> Tensor:
        ids = self._processor.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        return torch.as_tensor(ids, device=self._model.device)

    def _call(self, *, question: bool) -> Reading:
        layers = self._memory.layers
        # blocks end where the new tokens begin, so a question may begin anywhere; here it is where it would lie
        # behind all that is kept
        before = layers[0].blocks() if question else layers[0].runtime()
        start = extent_of([*layers[0].first, *before])
        return Reading(layers=layers, rotary=self._language_model.rotary_emb, question=question, start=start)

    def _forward(self, call: Reading, ids: Tensor, layout: Layout, module: Any, **pictures: Any) -> Any:
        """One call of the model; the tokens lie after those of the reading so far."""
        position_3L = layout.positions() + call.start + call.done
        call.position_3BL = position_3L[:, None].to(ids.device)
        out = module(input_ids=ids, position_ids=call.position_3BL, use_cache=False, kv_reading=call, **pictures)
        call.done += layout.extent
        return out

    def _read_opening(self) -> None:
        ids = self._tokens(self._opening)
        if not ids.shape[1]:
            return
        call, layout = self._call(question=False), Layout(before=ids.shape[1])
        with torch.inference_mode(), _attention.reading(self._language_model):
            self._forward(call, ids, layout, self._model.model)
        for index, layer in enumerate(self._memory.layers):
            layer.system = call.block(index, layout)

    def _read_frame(self, pixels: Any, layout: Layout, time_s: float) -> None:
        device, dtype = self._model.device, self._model.dtype
        grid = pixels["image_grid_thw"].to(device)
        config = self._model.config
        tokens = [config.image_token_id] * (layout.rows * layout.columns)
        ids = torch.tensor([[config.vision_start_token_id, *tokens, config.vision_end_token_id]], device=device)
        with torch.inference_mode():
            encoded = self._model.model.get_image_features(
                pixels["pixel_values"].to(device, dtype), grid, return_dict=True
            )
            self._surprise = self._measured(torch.cat(list(encoded.pooler_output)))
            hidden = self._read_encoded(
                ids, layout, time_s, image_grid_thw=grid, mm_encoder_outputs={"image": encoded}
            )
            if self._head is not None:
                self._expected = self._head(hidden[0, layout.before : -layout.after])

    def _read_encoded(self, ids: Tensor, layout: Layout, time_s: float, **pictures: Any) -> Tensor:
        """Read a frame whose picture is encoded, and keep it; its last hidden states (1, L, E)."""
        call = self._call(question=False)
        with _attention.reading(self._language_model):
            hidden: Tensor = self._forward(call, ids, layout, self._model.model, **pictures).last_hidden_state
        self._memory.reserve(self._latent_bytes())
        assert self._surprise is not None
        for index, layer in enumerate(self._memory.layers):
            layer.add(call.block(index, layout, surprise=self._surprise, times_s=(time_s,)))
        return hidden

    def _measured(self, seen_PF: Tensor) -> float:
        """Surprise of a frame; 1 for the first, as published."""
        expected = self._expected if self._head is not None else self._seen
        if self._head is None:
            self._seen = seen_PF
        return 1.0 if expected is None else surprise_of(expected, seen_PF)

    def _latent_bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (self._expected, self._seen) if t is not None)

    def _keep_said(self, call: Reading) -> None:
        for index, layer in enumerate(self._memory.layers):
            count = call.new[index][0].shape[1]
            layer.said(call.block(index, Layout(before=count)))

    # -------------------------------------------------------------------------------------------------------- checks

    def _check(self) -> None:
        """UserError where the model is of another kind."""
        check_keys(self._model)

    def _hold_to_budget(self) -> None:
        kept = self.nbytes()
        total = sum(kept.values())
        if total > self.budget_bytes:
            parts = ", ".join(f"{name} {count}" for name, count in kept.items() if count)
            raise BudgetTooSmallError(
                f"a budget of {self.budget_bytes} bytes does not hold what has to be kept, {total} ({parts}); raise "
                "budget_bytes or shorten the window"
            )
        self.peak_bytes = max(self.peak_bytes, total)


def without_end(written: list[int], ends: set[int], most: int) -> bool:
    """Whether an answer goes on."""
    return len(written) < most and not (written and written[-1] in ends)


def check_keys(model: Any) -> None:
    """UserError unless every layer has full attention and M-RoPE."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"}:
        raise UserError(
            f"{type(model).__name__} has layers of {', '.join(sorted(kinds - {'full_attention'}))}, which keep no "
            "keys; memory in the KV cache needs full attention in every layer"
        )
    rope = getattr(config, "rope_parameters", None) or {}
    if "mrope_section" not in rope or not hasattr(getattr(model, "model", None), "language_model"):
        raise UserError(f"{type(model).__name__} has no M-RoPE; memory in the KV cache serves Qwen2.5-VL and Qwen3-VL")
    if rope.get("rope_type", "default") in ("dynamic", "longrope"):
        raise UserError(f"rope_type {rope['rope_type']!r} turns keys by the sequence's length, so blocks can't move")
