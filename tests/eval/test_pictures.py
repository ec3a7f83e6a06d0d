"""Thumbnails stay within their budget and show what matters."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from allocentric.core.types import Choice, Evidence, Item, View
from allocentric.eval.pictures import BUDGET_BYTES, shown_frames, thumbnails_for


def make_items(folder, scenes, frames, evidence=()):
    items = []
    for k in range(scenes):
        views = tuple(View(image=folder / f"{k}-{frame}.jpg") for frame in range(frames))
        items.append(
            Item(
                id=f"i{k}",
                kind="k",
                prompt="?",
                choices=("a", "b"),
                gold=Choice(0),
                views=views,
                scene_id=f"s{k}",
                source="t",
                evidence=Evidence(frames=evidence),
            )
        )
    return items


def test_evidence_is_shown_first(tmp_path):
    (item,) = make_items(tmp_path, 1, 64, evidence=(7, 50))
    shown = shown_frames(item, range(64), 6)
    assert {7, 50} <= set(shown)
    assert len(shown) == 6
    assert shown == sorted(shown)
    assert shown_frames(item, (0, 7), 6) == [0, 7]  # only what the model was shown


@pytest.mark.parametrize(("scenes", "frames"), [(1, 4), (20, 32), (288, 32), (1000, 64)])
def test_more_frames_make_smaller_thumbnails(tmp_path, scenes, frames):
    items = make_items(tmp_path, scenes, frames)
    sized = thumbnails_for(items, {item.id: range(frames) for item in items})
    count = scenes * min(sized.per_item, frames)
    assert count * sized.width_px**2 * 0.75 * 0.16 <= BUDGET_BYTES
    if scenes <= 20:
        assert (sized.width_px, sized.per_item >= frames) == (320, True)


def test_a_room_at_full_width_takes_less_than_was_reckoned(tmp_path):
    """Smooth shading, edges and sensor-like noise, as rendered rooms have."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(60, 200, 640)[None, :, None] * np.ones((480, 1, 3))
    ramp[100:300, 200:400] *= 0.5
    pixels = np.clip(ramp + rng.normal(0, 6, ramp.shape), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "0-0.jpg", quality=95)
    (item,) = make_items(tmp_path, 1, 1)
    sized = thumbnails_for([item], {item.id: (0,)})
    assert sized.of_item(item, (0,)) == [(0, 0)]
    data = base64.b64decode(sized.uris[0].partition(",")[2])
    assert Image.open(io.BytesIO(data)).size == (320, 240)
    assert len(sized.uris[0]) <= 320 * 240 * 0.16
