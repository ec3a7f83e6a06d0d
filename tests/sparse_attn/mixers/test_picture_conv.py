"""Convolution of picture tokens against PyTorch's, and against its rule spelled out along a stream."""

from __future__ import annotations

import itertools

import pytest
import torch
from attention_samples import mixed_geometry
from torch import Tensor, nn

from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.mixers._picture_conv import PictureConv, places_of, remembered, sources_of

CHANNELS = 3


def made(seed: int = 0) -> PictureConv:
    torch.manual_seed(seed)
    conv = PictureConv(CHANNELS).double()
    nn.init.normal_(conv.weight)
    return conv


def tokens(length: int, batch: int = 1) -> Tensor:
    return torch.randn(batch, length, CHANNELS, generator=torch.Generator().manual_seed(1), dtype=torch.double)


def by_rule(conv: PictureConv, x_LC: Tensor, geometry: Geometry, visible: list[int], row: int = 0) -> Tensor:
    """Taps looked up by (clip, frame, row, column); `visible` is the last token that each token's taps may be."""
    place = {}
    columns = (geometry.clip_BL, geometry.t_BL, geometry.y_BL, geometry.x_BL)
    where = list(zip(*(c[row].tolist() for c in columns), strict=True))
    for token, here in enumerate(where):
        place[here] = token
    out = x_LC.clone()
    for token, (clip, t, y, x) in enumerate(where):
        if clip < 0:
            continue
        frames, height, width = geometry.clips[row][clip]
        total = torch.zeros(CHANNELS, dtype=x_LC.dtype)
        for dt, dy, dx in itertools.product((-1, 0, 1), repeat=3):
            tap = (
                clip,
                min(max(t + dt, 0), frames - 1),
                min(max(y + dy, 0), height - 1),
                min(max(x + dx, 0), width - 1),
            )
            source = place[tap] if place[tap] <= visible[token] else token
            total = total + conv.weight[:, 0, dt + 1, dy + 1, dx + 1] * x_LC[source]
        out[token] = total
    return out


@pytest.mark.parametrize("grid", [(1, 1, 1), (1, 2, 5), (4, 3, 2), (3, 1, 4), (2, 5, 1)])
def test_a_whole_clip_equals_conv3d_with_every_gradient(grid: tuple[int, int, int]) -> None:
    conv, x = made(), tokens(grid[0] * grid[1] * grid[2]).requires_grad_()
    place = places_of(Geometry.of_video(1, *grid))
    ours = conv(x, x[:, :0], [sources_of(place[0], 0, look_ahead=True)])
    peer = nn.Conv3d(
        CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS, padding_mode="replicate", bias=False, dtype=torch.double
    )
    with torch.no_grad():
        peer.weight.copy_(conv.weight)
    wanted = peer(x.transpose(1, 2).unflatten(2, grid)).flatten(2).transpose(1, 2)
    torch.testing.assert_close(ours, wanted)
    sent = torch.randn_like(wanted)
    found, right = (torch.autograd.grad(y, (x, w), sent) for y, w in ((ours, conv.weight), (wanted, peer.weight)))
    for name, mine, theirs in zip(("x", "weight"), found, right, strict=True):
        torch.testing.assert_close(mine, theirs, msg=lambda m, n=name: f"d{n}: {m}")


@pytest.mark.parametrize("look_ahead", [False, True])
@pytest.mark.parametrize("sizes", [[115], [40, 33, 42], [1] * 115, [64, 51]], ids=["whole", "calls", "steps", "two"])
def test_a_stream_sees_what_its_rule_says(sizes: list[int], look_ahead: bool) -> None:
    """Text, a picture and a video with text between its frames; two rows whose contents differ in place."""
    geometry = mixed_geometry(2)
    conv, x, place = made(), tokens(geometry.length, 2), places_of(geometry)
    past = torch.zeros(2, 16 + 8 + 1, CHANNELS, dtype=torch.double)
    parts, visible, start = [], [], 0
    for size in sizes:
        span = slice(start, start + size)
        sources = [sources_of(row, past.shape[1], look_ahead=look_ahead) for row in place[:, span]]
        parts.append(conv(x[:, span], past, sources))
        past = remembered(past, x[:, span], sources)
        visible += [span.stop - 1 if look_ahead else token for token in range(span.start, span.stop)]
        start = span.stop
    for row in range(2):
        torch.testing.assert_close(torch.cat(parts, 1)[row], by_rule(conv, x[row], geometry, visible, row))


def test_it_begins_as_the_identity() -> None:
    geometry = mixed_geometry()
    x = tokens(geometry.length)
    for look_ahead in (False, True):
        sources = [sources_of(places_of(geometry)[0], 0, look_ahead=look_ahead)]
        assert torch.equal(PictureConv(CHANNELS).double()(x, x[:, :0], sources), x)


def test_taps_in_force_add_up_to_the_kernel() -> None:
    """Where all tokens are alike, it can't be seen which of them were looked at."""
    conv, place = made(), places_of(Geometry.of_video(1, 3, 3, 4))
    x = torch.ones(1, 36, CHANNELS, dtype=torch.double)
    out = conv(x, x[:, :0], [sources_of(place[0], 0, look_ahead=False)])
    torch.testing.assert_close(out, conv.weight.sum((1, 2, 3, 4)).expand_as(out))


def test_gradcheck() -> None:
    conv, place = made(), places_of(Geometry.of_video(1, 2, 2, 3))
    past = tokens(10)[:, :5].requires_grad_()
    sources = [sources_of(place[0], 5, look_ahead=False)]
    assert torch.autograd.gradcheck(lambda x, p: conv(x, p, sources), (tokens(12).requires_grad_(), past))
