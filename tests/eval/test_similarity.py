"""Frames that fit the question, with a tiny random CLIP checkpoint that loads like a real one."""

from __future__ import annotations

import json

import numpy as np
import pytest

from allocentric.core.errors import DataError
from allocentric.core.types import Choice, Item, View
from allocentric.eval import similarity
from allocentric.eval.frames import FramesPolicy, choose_frames


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Folder of a CLIP with random weights and a tokenizer of single bytes."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    folder = tmp_path_factory.mktemp("clip")
    characters = list(bytes_to_unicode().values())
    words = [*characters, *(c + "</w>" for c in characters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    end, small = len(words) - 1, {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    text = {"vocab_size": len(words), "max_position_embeddings": 32, "bos_token_id": end - 1, "eos_token_id": end}
    config = transformers.CLIPConfig(
        text_config={**small, **text, "pad_token_id": end, "num_attention_heads": 2},
        vision_config={**small, "num_attention_heads": 2, "image_size": 32, "patch_size": 8},
        projection_dim=8,
    )
    torch.manual_seed(0)
    transformers.CLIPModel(config).save_pretrained(folder)
    images = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder, model_max_length=32)
    transformers.CLIPProcessor(images, tokenizer).save_pretrained(folder)
    return folder


def make_item(prompt, count):
    pictures = [np.random.default_rng(k).integers(0, 255, (40, 50, 3)).astype(np.uint8) for k in range(count)]
    views = tuple(View(image=pixels) for pixels in pictures)
    return Item(id="i", kind="k", prompt=prompt, gold=Choice(0), views=views, scene_id="s", source="t")


@pytest.mark.slow
def test_the_first_frame_is_the_most_relevant_and_batches_change_nothing(clip):
    item = make_item("Where is the chair?", 20)
    features, question = similarity._encoded(item, item.views, str(clip))
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1)
    alone = [similarity._encoded(item, [view], str(clip))[0][0] for view in item.views]
    np.testing.assert_allclose(features, alone, atol=1e-5)
    other = similarity._encoded(make_item("Count the lamps.", 1), item.views[:1], str(clip))[1]
    assert not np.allclose(question, other, atol=1e-4)
    relevance = features @ question
    chosen = similarity.least_alike(item, item.views, 4, str(clip))
    assert chosen[0] == int(np.argmax(relevance))
    for step in range(1, 4):
        gain = relevance - (features @ features[chosen[:step]].T).max(axis=1)
        gain[chosen[:step]] = -np.inf
        assert chosen[step] == int(np.argmax(gain))
    policy = FramesPolicy(policy="similarity", count=4, encoder=str(clip))
    assert choose_frames(item, policy).indices == tuple(sorted(chosen))


@pytest.mark.slow
def test_what_is_no_encoder_is_one_line(tmp_path):
    with pytest.raises(DataError, match="can't load the encoder") as caught:
        similarity.least_alike(make_item("?", 2), make_item("?", 2).views, 1, str(tmp_path))
    assert "\n" not in str(caught.value)
