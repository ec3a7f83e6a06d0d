"""The small convolutional network behind the encoder `convolutional`.

Shapes: B pictures, C channels, H rows, W columns, P patches, D width, L labels.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

ROWS, COLUMNS, PATCH_PX = 6, 8, 16
"""Patches, and pixels of their edge: pictures are brought to 128 x 96."""
WIDTH = 64
"""D."""
_CHANNELS = (16, 32, 64, 128)
"""Of the four convolutions, each of which halves the picture."""
_REFINED = 2
"""Convolutions of the smallest picture, each added to what it came from."""


class Light(nn.Module):
    """Pictures and labels to vectors of one space; a label is there where the cosine is high.

    About 420,000 parameters and 28 million multiplications a picture.
    """

    def __init__(self, labels: int) -> None:
        super().__init__()
        inputs = (3, *_CHANNELS[:-1])
        self.stages = nn.Sequential(
            *(_stage(before, after, 3, 2) for before, after in zip(inputs, _CHANNELS, strict=True)),
        )
        self.refined = nn.Sequential(*(_stage(_CHANNELS[-1], _CHANNELS[-1], 3, 1) for _ in range(_REFINED)))
        self.around = _stage(_CHANNELS[-1], _CHANNELS[-1], 5, 1, groups=_CHANNELS[-1])
        self.patch = nn.Conv2d(_CHANNELS[-1], WIDTH, 1)
        self.whole = nn.Linear(2 * WIDTH, WIDTH)
        self.label_LD = nn.Parameter(torch.randn(labels, WIDTH) / WIDTH**0.5)
        self.scale = nn.Parameter(torch.tensor([12.0, 12.0]))
        """Of the cosine of patch and label, and of picture and label."""
        self.offset = nn.Parameter(torch.tensor([-6.0, -5.0]))

    def forward(self, image_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Patches (B, P, D) and whole pictures (B, D) of sRGB in [0, 1], 96 x 128."""
        x = self.stages(image_BCHW - 0.5)
        for stage in self.refined:
            x = x + stage(x)
        patches_BPD = self.patch(x + self.around(x)).flatten(2).transpose(1, 2)
        pooled = torch.cat([patches_BPD.mean(1), patches_BPD.amax(1)], dim=-1)
        return patches_BPD, self.whole(pooled)

    def logits(self, vectors_XD: Tensor, level: int) -> Tensor:
        """(..., L) log odds that a label is in a patch (level 0) or a picture (level 1)."""
        cosine = nn.functional.normalize(vectors_XD, dim=-1) @ nn.functional.normalize(self.label_LD, dim=-1).T
        return cosine * self.scale[level] + self.offset[level]


def _stage(before: int, after: int, kernel: int, stride: int, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True))


def save(model: Light, labels: tuple[str, ...], path: Path, facts: dict[str, str]) -> None:
    """Write weights in half precision, with the labels and what is known of the training."""
    from safetensors.torch import save_file

    tensors = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    save_file(tensors, path, metadata=facts | {"labels": "\n".join(labels)})


def load(path: Path) -> tuple[Light, tuple[str, ...]]:
    """The network in fp32 for inference, its normalisations folded into the convolutions, and its labels."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        labels = tuple(file.metadata()["labels"].split("\n"))
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - not a dict
    model = Light(len(labels))
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    model.eval()
    for stage in (*model.stages, *model.refined, model.around):
        assert isinstance(stage, nn.Sequential)
        convolution, norm = stage[0], stage[1]
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        stage[0] = nn.utils.fuse_conv_bn_eval(convolution, norm)
        stage[1] = nn.Identity()
    return model.requires_grad_(False), labels
