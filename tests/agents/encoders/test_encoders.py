"""Encoders give patches in reading order, and words where they know some."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from allocentric.agents.encoders import convolutional, descriptors, tower
from allocentric.agents.encoders.contract import EncoderError, pixels, similarity, unit
from allocentric.core.catalog import ENCODERS
from allocentric.core.errors import DataError
from allocentric.core.types import View


def half(left: tuple[int, int, int], right: tuple[int, int, int], rows: int = 96, columns: int = 128) -> View:
    image = np.empty((rows, columns, 3), dtype=np.uint8)
    image[:, : columns // 2], image[:, columns // 2 :] = left, right
    return View(image=image)


BUILT = [
    pytest.param(lambda: descriptors.build(descriptors.Settings()), id="descriptors"),
    pytest.param(lambda: convolutional.build(convolutional.Settings()), id="convolutional"),
]


@pytest.mark.parametrize("build", BUILT)
def test_features_have_the_sizes_said_and_depend_on_the_picture_alone(build: Any) -> None:
    encoder = build()
    assert encoder.name in ENCODERS.names()
    view = half((200, 30, 30), (20, 60, 180))
    features = encoder.encode(view)
    rows, columns = features.grid
    assert features.patches_PD.shape == (rows * columns, encoder.width)
    assert features.pooled_D.shape == (encoder.width,)
    assert features.patches_PD.dtype == features.pooled_D.dtype == np.float32
    assert np.isfinite(features.patches_PD).all()
    encoder.encode(half((0, 0, 0), (255, 255, 255)))
    np.testing.assert_array_equal(encoder.encode(view).patches_PD, features.patches_PD)
    large = encoder.encode(half((200, 30, 30), (20, 60, 180), 480, 640))
    assert large.patches_PD.shape == features.patches_PD.shape


@pytest.mark.parametrize("build", BUILT)
def test_patches_are_in_reading_order(build: Any) -> None:
    """Changing the right half changes patches of the right columns most, and none far from it."""
    encoder = build()
    rows, columns = encoder.encode(half((90, 90, 90), (90, 90, 90))).grid
    a, b = (encoder.encode(half((90, 90, 90), color)).patches_PD for color in ((90, 90, 90), (200, 40, 40)))
    change = np.linalg.norm((a - b).reshape(rows, columns, -1), axis=-1)
    assert change[:, columns // 2 :].mean() > 3 * change[:, : columns // 2].mean()


def test_descriptors_are_moments_and_directions() -> None:
    features = descriptors.build(descriptors.Settings(rows=2, columns=2)).encode(
        half((255, 255, 255), (0, 0, 0), 24, 24)
    )
    white, black = features.patches_PD[0], features.patches_PD[1]
    np.testing.assert_allclose(white[:3], [1, 0, 0], atol=1e-3)  # CIELAB of white, over 100
    np.testing.assert_allclose(black[:3], 0, atol=1e-3)
    np.testing.assert_allclose(white[3:6], 0, atol=1e-3)
    assert white[6:].argmax() == 0, "an upright edge has a level gradient"
    np.testing.assert_allclose(white[7:], 0, atol=1e-6)


def test_descriptors_know_no_words() -> None:
    with pytest.raises(EncoderError, match="convolutional and tower"):
        descriptors.build(descriptors.Settings()).words(["sofa"])


def test_the_shipped_network_tells_what_houses_show_better_than_chance() -> None:
    """On a house of the tests, not one of those it was trained on: present categories above absent ones."""
    from allocentric.scenes import trajectory
    from allocentric.scenes.render import raster
    from allocentric.scenes.sources.procedural import build_house

    encoder = convolutional.build(convolutional.Settings())
    house = build_house(11, (2, 2))
    walk = trajectory.walk(house, np.random.default_rng(0), trajectory.Settings(width_px=128, height_px=96, fps=0.5))
    words_LD = encoder.words(encoder.vocabulary)
    ranks = []
    with raster.build(house, raster.Settings(shadows=False)) as renderer:
        for camera in walk.cameras[::2]:
            frame = renderer.render(camera, ("rgb", "id"))
            assert frame.rgb is not None
            assert frame.id is not None
            ids, counts = np.unique(frame.id[(frame.id >= 0) & (frame.id < len(house.objects))], return_counts=True)
            shown = {house.objects[k].label for k, count in zip(ids, counts, strict=True) if count >= 30}
            pooled_1D = encoder.encode(View(image=frame.rgb)).pooled_D[None]
            score_L = similarity(pooled_1D, words_LD)[0]
            is_there = np.array([label in shown for label in encoder.vocabulary])
            if shown:
                ranks.append((score_L[is_there][:, None] > score_L[~is_there]).mean())
    assert len(ranks) > 10
    assert np.mean(ranks) > 0.75, "area under the ROC curve; chance 0.5, measured 0.9"


def test_words_are_unit_vectors_and_unknown_ones_are_named() -> None:
    encoder = convolutional.build(convolutional.Settings())
    vectors = encoder.words(["sofa", "teddy bear", "sofa"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(vectors[0], vectors[2])
    with pytest.raises(EncoderError, match=r"does not know the word 'sofaa'; did you mean 'sofa'\?"):
        encoder.words(["sofaa"])


def test_confidence_is_a_half_at_the_threshold_and_detections_are_above() -> None:
    encoder = convolutional.build(convolutional.Settings())
    assert encoder.confidence(np.array(encoder.threshold)) == pytest.approx(0.5)
    view = half((120, 80, 40), (30, 30, 30))
    features = encoder.encode(view)
    found = encoder.detect(view, features, encoder.vocabulary, at_least=0.01)
    confidence = encoder.confidence(similarity(features.patches_PD, encoder.words(encoder.vocabulary))).max(axis=0)
    expected = {label: c for label, c in zip(encoder.vocabulary, confidence, strict=True) if c >= 0.01}
    assert {detection.label: detection.confidence for detection in found} == pytest.approx(expected)
    assert encoder.detect(view, features, ()) == ()


def test_weights_that_are_not_there_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="python -m allocentric"):
        convolutional.build(convolutional.Settings(weights=tmp_path / "none.safetensors"))


def test_pixels_come_from_arrays_functions_and_files(tmp_path: Path) -> None:
    import cv2

    view = half((1, 2, 3), (4, 5, 6))
    image = view.image
    assert isinstance(image, np.ndarray)
    cv2.imwrite(str(tmp_path / "a.png"), image[..., ::-1])
    np.testing.assert_array_equal(pixels(replace(view, image=lambda: image)), image)
    np.testing.assert_array_equal(pixels(replace(view, image=tmp_path / "a.png")), image)
    with pytest.raises(DataError, match="without a picture"):
        pixels(View(camera=None))


def test_zero_vectors_have_no_direction() -> None:
    np.testing.assert_array_equal(unit(np.zeros((1, 3))), np.zeros((1, 3), np.float32))
    np.testing.assert_array_equal(similarity(np.zeros((1, 2)), np.ones((2, 2))), np.zeros((1, 2), np.float32))


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of random weights, saved as real ones are."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("clip")
    words = ["<pad>", "<end>", "<unknown>", "a", "photo", "of", "sofa", "lamp", "."]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unknown>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>", model_max_length=16
    )
    fast.save_pretrained(folder)
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**text, "image_size": 32, "patch_size": 8}
    text |= {"vocab_size": len(words), "max_position_embeddings": 16, "eos_token_id": 1, "pad_token_id": 0}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    CLIPModel(config).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)
    return folder


def test_a_tower_of_transformers_gives_patches_and_words_of_one_width(clip_folder: Path) -> None:
    import torch
    from transformers import CLIPImageProcessor, CLIPModel

    encoder = tower.build(tower.Settings(path=str(clip_folder)))
    view = half((200, 30, 30), (20, 60, 180), 32, 32)
    features = encoder.encode(view)
    assert (features.grid, features.patches_PD.shape, encoder.width) == ((4, 4), (16, 12), 12)
    assert encoder.words(["sofa", "lamp"]).shape == (2, 12)
    model = CLIPModel.from_pretrained(clip_folder).eval()
    inputs = CLIPImageProcessor.from_pretrained(clip_folder)(images=pixels(view), return_tensors="pt")
    with torch.inference_mode():
        expected = model.get_image_features(**inputs)
    expected = getattr(expected, "pooler_output", expected)[0].numpy()
    np.testing.assert_allclose(unit(features.pooled_D[None])[0], unit(expected[None])[0], atol=1e-5)


def test_a_folder_without_a_model_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="cannot load"):
        tower.build(tower.Settings(path=str(tmp_path)))
