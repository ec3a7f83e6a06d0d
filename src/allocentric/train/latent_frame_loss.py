"""Next-latent-frame prediction beside supervised fine-tuning: what a frame's hidden states say of the frame after it.

A head, Linear -> GELU -> Linear, reads the language model's last hidden states at the tokens of a frame and says what
the picture encoder, before its merger, will make of the next frame at the same places. The loss is mean squared error
plus cosine distance (Cambrian-S, arXiv 2511.04670, where that distance is called surprise). The features are a target
and get no gradient; that paper keeps the encoder frozen, and where it learns the target moves.

Frames are pictures of a conversation in their order, or the temporal slices of a native video.

Shapes: B rows, L tokens, N picture tokens of a batch, P tokens of a frame, E model width, D encoder width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, interpolate, mse_loss

from allocentric.core.errors import DataError, SettingsError
from allocentric.sparse_attn.register import text_tower

FILE = "latent_frame_head.safetensors"
"""The head's weights, beside those of the model."""
_NAME = "latent_frame_head"


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One picture, or two of a video that the encoder takes together."""

    row: int
    """Of the batch."""
    sequence: tuple[str, int]
    """Pictures of a row follow one another; so do the frames of one video."""
    grid: tuple[int, int]
    """Rows and columns of its tokens."""
    places_P: Tensor
    """Its tokens' places in the row."""
    features_PD: Tensor
    """What the encoder makes of it, the patches of a token averaged."""


def head(hidden: int, features: int) -> nn.Sequential:
    """Hidden states (..., E) -> features (..., D)."""
    made = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, features))
    for layer in (made[0], made[2]):
        assert isinstance(layer, nn.Linear)
        nn.init.trunc_normal_(layer.weight, std=0.02)
        nn.init.zeros_(layer.bias)
    return made


def loss_between(said_PD: Tensor, next_PD: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared error and cosine distance, each a mean over tokens."""
    said_PD, next_PD = said_PD.float(), next_PD.float()
    return mse_loss(said_PD, next_PD), 1 - cosine_similarity(said_PD, next_PD, dim=-1).mean()


def resized(features_PD: Tensor, grid: tuple[int, int], wanted: tuple[int, int]) -> Tensor:
    """Features on another grid of rows and columns, bilinear."""
    if grid == wanted:
        return features_PD
    width = features_PD.shape[1]
    map_1Dyx = features_PD.float().T.reshape(1, width, *grid)
    map_1Dyx = interpolate(map_1Dyx, size=wanted, mode="bilinear", align_corners=False)
    return map_1Dyx.reshape(width, -1).T


class LatentFrame:
    """Watches forward passes of a model and holds the loss of the last one."""

    def __init__(self, model: Any, *, seed: int) -> None:
        """Give the model a head, which learns with it and is saved beside it.

        Raises:
            SettingsError: the model has no picture encoder whose features and grids are known.
        """
        vision: Any = getattr(model.config, "vision_config", None)
        merged = getattr(vision, "spatial_merge_size", None)
        tower = next((part for name, part in model.named_modules() if name.rpartition(".")[2] == "visual"), None)
        if tower is None or merged is None:
            raise SettingsError(
                f"latent_frame needs a picture encoder as Qwen-VL has it; {type(model).__name__} has none"
            )
        self._merged, self._tower = int(merged) ** 2, tower
        self._tokens = {"image": model.config.image_token_id, "video": model.config.video_token_id}
        self._features: list[Tensor] = []
        self._hidden_BLE: Tensor | None = None
        self.losses: dict[str, Tensor] = {}
        """`mse`, `cosine` and their sum `loss` of the last forward pass in training, with gradients."""
        weight = next(text_tower(model).parameters())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = head(model.config.get_text_config().hidden_size, vision.hidden_size)
        self.head = made.to(dtype=weight.dtype, device=weight.device)
        setattr(model, _NAME, self.head)  # part of the model, so that processes that train together share it
        saved = (f"{_NAME}.{name}" for name in self.head.state_dict())
        model._keys_to_ignore_on_save = {*(model._keys_to_ignore_on_save or ()), *saved}
        tower.register_forward_hook(self._after_tower, with_kwargs=True)
        text_tower(model).register_forward_hook(self._after_language_model)
        model.register_forward_hook(self._after_model, with_kwargs=True)

    def save(self, folder: Path, state: Mapping[str, Tensor] | None = None) -> None:
        """Write the head's weights into a checkpoint; `state` is the gathered model's where it is spread."""
        from safetensors.torch import save_file

        named = self.head.state_dict(prefix=f"{_NAME}.") if state is None else state
        ours = {name.partition(f"{_NAME}.")[2]: value for name, value in named.items() if f"{_NAME}." in name}
        save_file({name: value.detach().cpu().contiguous() for name, value in ours.items()}, folder / FILE)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote. DataError where it doesn't fit."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            self.head.load_state_dict(load_file(folder / FILE))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise DataError(
                f"{folder / FILE} is no head of this model: {' '.join(str(error).split())[:200]}"
            ) from None

    # -------------------------------------------------------------------------------------------------- what is seen

    def _after_tower(self, tower: Any, positional: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        if not self.head.training:
            return
        grid_thw = named["grid_thw"] if "grid_thw" in named else positional[1]
        self._features.append(token_features(tower, output.last_hidden_state, grid_thw).detach())

    def _after_language_model(self, _: Any, __: Any, output: Any) -> None:
        self._hidden_BLE = output.last_hidden_state if self.head.training else None

    def _after_model(self, _: Any, positional: tuple[Any, ...], named: dict[str, Any], __: Any) -> None:
        features, self._features = self._features, []
        if not self.head.training:
            return
        hidden_BLE, self._hidden_BLE = self._hidden_BLE, None
        assert hidden_BLE is not None
        ids_BL = named["input_ids"] if "input_ids" in named else positional[0]
        self.losses = self._losses(hidden_BLE, self.frames(ids_BL, named, features))

    def frames(self, ids_BL: Tensor, named: Mapping[str, Any], features: list[Tensor]) -> list[Frame]:
        """The frames of a batch in their order; `features` are those of pictures, then those of videos."""
        found: list[Frame] = []
        left = iter(features)
        for kind, token in self._tokens.items():
            grids = named.get(f"{kind}_grid_thw")
            if grids is None:
                continue
            features_ND = next(left)
            places_N2 = (ids_BL == token).nonzero()
            start = 0
            for number, (times, height, width) in enumerate(grids.tolist()):
                count = height * width // self._merged
                edge = round(self._merged**0.5)
                for _ in range(times):
                    rows_P, places_P = places_N2[start : start + count].T
                    found.append(
                        Frame(
                            row=int(rows_P[0]),
                            sequence=(kind, number if kind == "video" else int(rows_P[0])),
                            grid=(height // edge, width // edge),
                            places_P=places_P,
                            features_PD=features_ND[start : start + count],
                        )
                    )
                    start += count
        return found

    def _losses(self, hidden_BLE: Tensor, frames: list[Frame]) -> dict[str, Tensor]:
        """Means over the frames that have a next one; 0 where none has."""
        pairs = [(now, then) for now, then in pairwise(frames) if now.sequence == then.sequence]
        if not pairs:
            nothing = sum((weight.sum() * 0.0 for weight in self.head.parameters()), hidden_BLE.sum() * 0.0)
            return {"mse": nothing, "cosine": nothing, "loss": nothing}
        said_ND = self.head(torch.cat([hidden_BLE[now.row, now.places_P] for now, _ in pairs]))
        said = said_ND.split([len(now.places_P) for now, _ in pairs])
        parts = [
            loss_between(said_PD, resized(then.features_PD, then.grid, now.grid))
            for said_PD, (now, then) in zip(said, pairs, strict=True)
        ]
        mse, cosine = (torch.stack(part).mean() for part in zip(*parts, strict=True))
        return {"mse": mse, "cosine": cosine, "loss": mse + cosine}


def token_features(tower: Any, patches_ND: Tensor, grid_thw: Tensor) -> Tensor:
    """Features of the encoder before its merger, one per token of the language model: the mean of the token's patches.

    Qwen2.5-VL leaves them in the order of its windows, which is undone.
    """
    tokens_ND: Tensor = patches_ND.unflatten(0, (-1, tower.spatial_merge_size**2)).mean(dim=1)
    if not hasattr(tower, "fullatt_block_indexes"):
        return tokens_ND
    from transformers.vision_utils import get_vision_window_index

    window_index, _ = get_vision_window_index(
        grid_thw,
        spatial_merge_size=tower.spatial_merge_size,
        window_size=tower.window_size,
        patch_size=tower.patch_size,
    )
    back: Tensor = torch.argsort(window_index).to(tokens_ND.device)
    return tokens_ND[back]
