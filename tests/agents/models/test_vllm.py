"""The vllm backend against a stand-in with vLLM's interface: `LLM(...)`, `LLM.chat`, `SamplingParams`, outputs."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from allocentric.agents.models import vllm
from allocentric.core.errors import MissingPackageError, UserError
from allocentric.core.types import Prompt, Sampling, View


class SamplingParams:
    """What the backend may set, by keyword only."""

    def __init__(self, *, temperature=1.0, max_tokens=16, seed=None):
        self.temperature, self.max_tokens, self.seed = temperature, max_tokens, seed


class LLM:
    """Answers with the last text of a conversation; refuses a call that holds a text "too long"."""

    def __init__(
        self, model, *, revision, dtype, tensor_parallel_size, gpu_memory_utilization, max_model_len,
        limit_mm_per_prompt, mm_processor_kwargs, enforce_eager=False,
    ):  # fmt: skip
        if model == "absent":
            raise OSError("absent is not a local folder\nand no hub id")
        self.limits = limit_mm_per_prompt
        self.eager = enforce_eager
        self.calls = []

    def chat(self, messages, sampling_params=None, use_tqdm=True, *, chat_template_kwargs=None):
        assert not use_tqdm
        self.calls.append((messages, sampling_params, chat_template_kwargs))
        texts = [conversation[-1]["content"][-1]["text"] for conversation in messages]
        if "too long" in texts:
            raise ValueError("The decoder prompt (length 9000) is longer than the maximum model length of 8192.")
        reasons = {"cut": "length", "abort": "abort"}
        return [
            SimpleNamespace(
                prompt_token_ids=[1, 2, 3],
                outputs=[
                    SimpleNamespace(text=f"said {text}", token_ids=[4, 5], finish_reason=reasons.get(text, "stop"))
                ],
            )
            for text in texts
        ]


@pytest.fixture
def build(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=LLM, SamplingParams=SamplingParams))
    return lambda **settings: vllm.build(vllm.Settings(**{"path": "org/model", **settings}), items={})


def ask(*texts, **values):
    return [Prompt(item_id=text, text=text, **values) for text in texts]


def test_order_tokens_and_reasons(build):
    responses = build().generate(ask("one", "cut", "abort"))
    assert [response.text for response in responses] == ["said one", "said cut", ""]
    assert [response.finish_reason for response in responses] == ["stop", "length", "error"]
    assert "'abort'" in responses[2].error
    assert (responses[0].prompt_tokens, responses[0].completion_tokens) == (3, 2)
    assert responses[0].seconds > 0


def test_what_vllm_is_given(build, monkeypatch):
    model = build(engine={"enforce_eager": True}, max_pictures=2, system="be brief", chat_template={"thinking": False})
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    model.generate(
        ask("look", views=(View(image=pixels),), sampling=Sampling(max_new_tokens=7, temperature=0.5, seed=3))
    )
    model.generate(ask("again", system="be long"))
    (messages, sampling, template), (second, greedy, _) = model._engine.calls
    assert (model._engine.limits, model._engine.eager, template) == ({"image": 2}, True, {"thinking": False})
    assert messages[0][0] == {"role": "system", "content": "be brief"}
    assert second[0][0] == {"role": "system", "content": "be long"}
    shown, text = messages[0][1]["content"]
    assert shown["type"] == "image_pil"
    assert isinstance(shown["image_pil"], Image.Image)
    np.testing.assert_array_equal(np.asarray(shown["image_pil"]), pixels)
    assert text == {"type": "text", "text": "look"}
    assert (sampling[0].max_tokens, sampling[0].temperature, sampling[0].seed) == (7, 0.5, 3)
    assert (greedy[0].temperature, greedy[0].seed) == (0.0, None)


def test_a_refused_prompt_costs_only_its_item(build):
    responses = build().generate(ask("one", "too long", "two"))
    assert [response.text for response in responses] == ["said one", "", "said two"]
    assert "longer than the maximum model length" in responses[1].error


def test_pictures_that_cannot_be_shown_fail_their_item(build, tmp_path):
    view = View(image=np.zeros((4, 4, 3), dtype=np.uint8))
    model = build(max_pictures=1)
    prompts = [
        *ask("many", views=(view, view)),
        *ask("video", views=(view,), as_video=True),
        *ask("absent", views=(View(image=tmp_path / "none.jpg"),)),
        *ask("fine", views=(view,)),
    ]
    responses = model.generate(prompts)
    assert "2 pictures are more than max_pictures: 1" in responses[0].error
    assert "frames.as_video: false" in responses[1].error
    assert "no such picture" in responses[2].error
    assert responses[3].text == "said fine"


def test_wrong_settings_are_one_line(build, monkeypatch):
    with pytest.raises(UserError, match="vLLM can't load absent: absent is not a local folder and no hub id"):
        build(path="absent")
    with pytest.raises(UserError, match="'dtype' has a setting of its own"):
        build(engine={"dtype": "half"})
    with pytest.raises(UserError, match="unexpected keyword argument 'warp'"):
        build(engine={"warp": 9})


def test_the_absent_package_is_named_with_its_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(MissingPackageError, match="pip install vllm"):
        vllm.build(vllm.Settings(path="x"), items={})
