"""The latent-frame predictor: the next frame's patches from the last two frames' patches.

In Cambrian-S the head reads the language model's states of the frame; here a small convolutional network over the
grid of patches stands for them, and the head has the same form, Linear -> GELU -> Linear. What it says is added to the
last frame, so that untrained it predicts no change.

Shapes: B pairs, P patches, D width.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from allocentric.agents.encoders.contract import Encoder

HIDDEN = 64


class LatentFrames(nn.Module):
    """About 120,000 parameters at D = 64."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.around = nn.Sequential(
            nn.Conv2d(2 * width, HIDDEN, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(HIDDEN, HIDDEN, 3, padding=1),
            nn.GELU(),
        )
        self.head = nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, width))
        last = self.head[2]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, pair_B2PD: Tensor, grid: tuple[int, int]) -> Tensor:
        """(B, P, D) of the frame after a pair of frames, whose P patches are a grid of rows and columns."""
        batch, _, patches, width = pair_B2PD.shape
        x = pair_B2PD.transpose(2, 3).reshape(batch, 2 * width, *grid)
        hidden_BPH = self.around(x).flatten(2).transpose(1, 2)
        assert hidden_BPH.shape[1] == patches
        change_BPD: Tensor = self.head(hidden_BPH)
        return pair_B2PD[:, 1] + change_BPD


def save(model: LatentFrames, encoder: Encoder, path: Path, facts: dict[str, str]) -> None:
    """Write weights in half precision, with the encoder they belong to."""
    from safetensors.torch import save_file

    tensors = {name: tensor.half() for name, tensor in model.state_dict().items()}
    save_file(tensors, path, metadata=facts | {"encoder": encoder.name, "width": str(encoder.width)})


def load(path: Path) -> LatentFrames:
    """The predictor in fp32."""
    from safetensors.torch import load_file

    tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
    model = LatentFrames(len(tensors["head.2.bias"]))
    model.load_state_dict(tensors)
    return model.eval().requires_grad_(False)
