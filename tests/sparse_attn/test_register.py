"""Methods inside real models: equal to dense where density is 1, the same in one call, chunks and steps, and saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

pytest.importorskip("transformers")

import vlm_samples
from transformers import AutoModelForImageTextToText, DynamicCache, StaticCache
from vlm_samples import FAMILIES, inputs_of, model_of

from allocentric.core import config
from allocentric.core.catalog import METHODS, Catalog
from allocentric.core.errors import SettingsError
from allocentric.sparse_attn import register
from allocentric.sparse_attn.contract import Call, Dims, Selector
from allocentric.sparse_attn.errors import AttentionError, MissingGeometryError
from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.plan import Band

PRUNING: dict[str, dict[str, Any]] = {
    "sliding_window": {"window": 20, "sinks": 4},
    "moba": {"block": 16, "top_k": 2, "q_block": 8},
}


def entry(name: str, *, exhaustive: bool = False, **more: Any) -> dict[str, Any]:
    settings = METHODS.load(name).EXHAUSTIVE.model_dump(mode="json") if exhaustive else PRUNING[name]
    return {"method": name, "settings": settings, **more}


def exhaustive_methods() -> list[str]:
    modules = {name: METHODS.load(name) for name in METHODS.names()}
    dims = Dims(width=64, heads=4, kv_heads=2, head_dim=16, layers=4)
    return [
        name
        for name, module in modules.items()
        if module.EXHAUSTIVE is not None and module.build(module.EXHAUSTIVE, dims).causal
    ]


def quick(names: list[str]) -> list[Any]:
    """A static, a dynamic and a windowed method at once; the rest where there is time."""
    first = [name for name in ("sliding_window", "moba", "power") if name in names]
    return [pytest.param(name, marks=[] if name in first else pytest.mark.slow) for name in names]


@torch.no_grad()
def logits(model: Any, x: dict[str, torch.Tensor], **more: Any) -> torch.Tensor:
    out = model(**x, **more).logits
    return out[x["attention_mask"].bool()]


# -------------------------------------------------------------------------------------------------------- density one


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", quick(exhaustive_methods()))
def test_at_density_one_logits_and_text_are_those_of_eager_attention(family: str, name: str) -> None:
    model, x = model_of(family, attn_implementation="eager"), inputs_of(family, rows=2, pad=5)
    wanted, text = logits(model, x), model.generate(**x, max_new_tokens=5)
    register.use(model, {"text": [entry(name, exhaustive=True)]})
    torch.testing.assert_close(logits(model, x), wanted, atol=2e-3, rtol=1e-3)
    assert torch.equal(model.generate(**x, max_new_tokens=5), text)


@pytest.mark.parametrize("family", ["qwen2_5_vl", *(pytest.param(f, marks=pytest.mark.slow) for f in FAMILIES[1:])])
def test_static_caches_hold_no_keys_in_unused_slots(family: str) -> None:
    model, x = model_of(family, attn_implementation="eager"), inputs_of(family, rows=2, pad=5)
    text = model.generate(**x, max_new_tokens=5)
    register.use(model, {"text": [entry("moba", exhaustive=True)]})
    assert torch.equal(
        model.generate(**x, max_new_tokens=5, cache_implementation="static", disable_compile=True), text
    )


def test_names_work_in_from_pretrained_and_set_attn_implementation(tmp_path: Path) -> None:
    vlm_samples.save("qwen3_vl", tmp_path)
    x = inputs_of("qwen3_vl")
    eager = AutoModelForImageTextToText.from_pretrained(tmp_path, attn_implementation="eager").eval()
    model = AutoModelForImageTextToText.from_pretrained(tmp_path, attn_implementation="allocentric:moba").eval()
    assert model.config.text_config._attn_implementation == "allocentric:moba"
    torch.testing.assert_close(logits(model, x), logits(eager, x), atol=2e-3, rtol=1e-3)
    eager.set_attn_implementation({"text_config": "allocentric:sliding_window"})
    assert eager.config.vision_config._attn_implementation == "eager"
    torch.testing.assert_close(logits(model, x), logits(eager, x), atol=2e-3, rtol=1e-3)


# -------------------------------------------------------------------------------------- one call, chunks, single steps


@torch.no_grad()
def in_chunks(model: Any, x: dict[str, torch.Tensor], sizes: list[int], cache: Any) -> torch.Tensor:
    """Logits of a prompt whose last tokens, after the pictures, come in chunks; positions are the model's own."""
    parts, start = [], 0
    length = x["input_ids"].shape[1]
    position_ids = model._prepare_position_ids_for_generation(x["input_ids"], dict(x))
    for size in [length - sum(sizes), *sizes]:
        stop = start + size
        chunk: dict[str, Any] = dict(x) if start == 0 else {}
        chunk["input_ids"] = x["input_ids"][:, start:stop]
        chunk["attention_mask"] = x["attention_mask"][:, :stop]
        chunk["mm_token_type_ids"] = x["mm_token_type_ids"][:, start:stop]
        chunk["position_ids"] = position_ids[..., start:stop]
        parts.append(model(**chunk, past_key_values=cache, use_cache=True).logits)
        start = stop
    return torch.cat(parts, 1)[x["attention_mask"].bool()]


@pytest.mark.parametrize(
    ("family", "name"),
    [
        pytest.param(family, name, marks=[] if (family, name) in {("qwen3_vl", "moba")} else pytest.mark.slow)
        for family in FAMILIES
        for name in sorted(PRUNING)
    ],
)
def test_one_call_equals_chunks_and_steps_with_caches(family: str, name: str) -> None:
    model = model_of(family, attn_implementation="sdpa").double()
    x = {key: t.double() if t.is_floating_point() else t for key, t in inputs_of(family, rows=2, pad=3).items()}
    dense = logits(model, x)
    register.use(model, {"text": [entry(name)]})
    whole = logits(model, x)
    assert (whole - dense).abs().max() > 0.1, "nothing was pruned"
    text_config = model.config.get_text_config()
    # transformers' Gated DeltaNet computes in fp32 whatever the model's precision.
    close = {"atol": 2e-3, "rtol": 1e-2} if family == "qwen3_5" else {"atol": 1e-6, "rtol": 1e-6}
    for sizes in ([6, 1, 4], [1] * 5):
        dynamic = in_chunks(model, x, sizes, DynamicCache(config=text_config))
        torch.testing.assert_close(dynamic, whole, **close)
    static = in_chunks(model, x, [6, 1, 1], StaticCache(config=text_config, max_cache_len=130))
    torch.testing.assert_close(static, whole, **close)


@pytest.mark.parametrize("family", ["qwen2_5_vl", *(pytest.param(f, marks=pytest.mark.slow) for f in FAMILIES[1:])])
def test_a_padded_row_is_the_row_alone(family: str) -> None:
    model, both, alone = model_of(family), inputs_of(family, rows=2, pad=7), inputs_of(family, rows=1)
    register.use(model, {"text": [entry("moba")]})
    for key in ("pixel_values", "pixel_values_videos"):
        alone[key] = both[key][: len(both[key]) // 2]
    assert torch.equal(both["input_ids"][:1, 7:], alone["input_ids"])
    together = logits(model, both)[: alone["input_ids"].shape[1]]
    torch.testing.assert_close(together, logits(model, alone), atol=2e-3, rtol=1e-3)
    text = model.generate(**both, max_new_tokens=4)[0, -4:]
    assert torch.equal(text, model.generate(**alone, max_new_tokens=4)[0, -4:])


# --------------------------------------------------------------------------------------------------- layers, recipes


class Recorder(Selector):
    """A window that notes every call."""

    name = "recorder"
    causal = bidirectional = streams = True
    needs_geometry = True
    calls: list[tuple[Dims, Call]]

    def __init__(self, dims: Dims, calls: list[tuple[Dims, Call]]) -> None:
        super().__init__()
        self.dims, self.calls = dims, calls

    def plan(self, q_BHLD: Any, k_BKSD: Any, v_BKSD: Any, call: Call) -> Band:
        self.calls.append((self.dims, call))
        return Band(extent=call.extent, window=1 << 20)


class Gate(Selector):
    """A window with a parameter to train."""

    name = "gate"
    causal = streams = trainable = True
    bidirectional = False

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((dims.heads,), float(dims.layer)))

    def plan(self, q_BHLD: Any, k_BKSD: Any, v_BKSD: Any, call: Call) -> Band:
        return Band(extent=call.extent, window=1 << 20)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Dims, Call]]:
    """Calls that layers with the method `recorder` get; the catalog also has `gate`."""
    noted: list[tuple[Dims, Call]] = []

    class Settings(config.Settings):
        pass

    class Module:
        pass

    recorder, gate = Module(), Module()
    recorder.Settings = gate.Settings = Settings  # type: ignore[attr-defined]
    recorder.build = lambda settings, dims: Recorder(dims, noted)  # type: ignore[attr-defined]
    gate.build = lambda settings, dims: Gate(dims)  # type: ignore[attr-defined]
    plain_load, plain_names = Catalog.load, Catalog.names
    extra = {"recorder": recorder, "gate": gate}
    monkeypatch.setattr(Catalog, "load", lambda self, name: extra[name] if name in extra else plain_load(self, name))
    monkeypatch.setattr(Catalog, "names", lambda self: plain_names(self) + (list(extra) if self is METHODS else []))
    return noted


def test_every_layer_has_the_method_of_the_recipe_and_the_rest_is_dense(calls: list[tuple[Dims, Call]]) -> None:
    model, x = model_of("qwen3_vl", attn_implementation="eager"), inputs_of("qwen3_vl")
    wanted = logits(model, x)
    register.use(model, {"text": [{"layers": "1::2", "method": "recorder"}]})
    torch.testing.assert_close(logits(model, x), wanted, atol=2e-3, rtol=1e-3)
    assert [dims.layer for dims, _ in calls] == [1, 3]
    assert all(dims.layers == vlm_samples.LAYERS and dims.kv_heads == 2 for dims, _ in calls)


def test_the_recipe_and_trained_selectors_survive_saving(tmp_path: Path, calls: list[tuple[Dims, Call]]) -> None:
    model, x = model_of("qwen2_5_vl"), inputs_of("qwen2_5_vl")
    text = [entry("sliding_window", layers=[0]), {"layers": "1:3", "method": "gate"}]
    register.use(model, {"text": text, "vision": [{"layers": [1], "method": "recorder"}]})
    assert model.model.language_model.layers[2].self_attn.selector.weight[0] == 2.0
    with torch.no_grad():
        model.model.language_model.layers[2].self_attn.selector.weight.fill_(7.5)
    wanted = logits(model, x)
    model.save_pretrained(tmp_path)
    calls.clear()
    loaded, report = AutoModelForImageTextToText.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    torch.testing.assert_close(logits(loaded.eval(), x), wanted)
    assert calls, "the vision tower lost its method"
    assert loaded.model.language_model.layers[2].self_attn.selector.weight.tolist() == [7.5] * 4
    eager = AutoModelForImageTextToText.from_pretrained(tmp_path, attn_implementation="eager").eval()
    assert eager.config.text_config._attn_implementation == "eager"
    torch.testing.assert_close(logits(eager, x), logits(model_of("qwen2_5_vl"), x), atol=2e-3, rtol=1e-3)


def test_using_another_recipe_forgets_the_first(calls: list[tuple[Dims, Call]]) -> None:
    model, x = model_of("qwen3_vl"), inputs_of("qwen3_vl")
    register.use(model, {"text": [{"method": "gate"}]})
    register.use(model, {"text": []})
    assert not any("selector" in name for name, _ in model.named_parameters())
    torch.testing.assert_close(
        logits(model, x), logits(model_of("qwen3_vl", attn_implementation="eager"), x), atol=2e-3, rtol=1e-3
    )


def test_qwen3_5_keeps_its_linear_layers(calls: list[tuple[Dims, Call]]) -> None:
    model = model_of("qwen3_5")
    register.use(model, {"text": [{"method": "recorder"}]})
    logits(model, inputs_of("qwen3_5"))
    assert [dims.layer for dims, _ in calls] == [1, 3]
    with pytest.raises(AttentionError, match="layer 0 has no full attention to replace; those with it are 1, 3"):
        register.use(model, {"text": [{"layers": [0], "method": "recorder"}]})


# ------------------------------------------------------------------------------------------------------------ geometry


def assert_same_geometry(found: Geometry | None, wanted: Geometry) -> None:
    assert found is not None
    assert found.clips == wanted.clips
    for name in ("modality_BL", "clip_BL", "frame_BL", "t_BL", "y_BL", "x_BL", "position_BL"):
        assert torch.equal(getattr(found, name).long(), getattr(wanted, name).long()), name


def of_inputs(x: dict[str, torch.Tensor]) -> Geometry:
    grids = {key: x[key] for key in ("image_grid_thw", "video_grid_thw")}
    return Geometry.from_grids(x["mm_token_type_ids"], merge_size=2, **grids)


@pytest.mark.parametrize("family", FAMILIES)
def test_geometry_is_built_and_grows_with_the_cache(family: str, calls: list[tuple[Dims, Call]]) -> None:
    model, x = model_of(family), inputs_of(family)
    register.use(model, {"text": [{"layers": [3], "method": "recorder"}]})
    model.generate(**x, max_new_tokens=4)
    assert_same_geometry(calls[0][1].geometry, of_inputs(x))
    assert_same_geometry(calls[-1][1].geometry, of_inputs(x).extended(Geometry.of_text(1, 3)))
    calls.clear()
    model.generate(**x, max_new_tokens=2, prefill_chunk_size=30)  # cuts pictures and frames
    length = x["input_ids"].shape[1]
    assert [call.extent.kv_len for _, call in calls] == [30, 60, 90, length, length + 1]
    for _, call in calls[:-1]:
        whole = of_inputs(x)[: call.extent.kv_len]
        for name in ("frame_BL", "y_BL", "x_BL", "position_BL"):
            assert torch.equal(getattr(call.geometry, name), getattr(whole, name))


def test_a_stream_of_pictures_counts_on_and_a_crop_is_noticed(calls: list[tuple[Dims, Call]]) -> None:
    model, x = model_of("qwen3_vl"), inputs_of("qwen3_vl")
    register.use(model, {"text": [{"layers": [3], "method": "recorder"}]})
    first = model(**x, use_cache=True)
    again = {key: t for key, t in x.items() if key != "attention_mask"}
    again["image_grid_thw"] = x["image_grid_thw"].flip(0)
    model(**again, past_key_values=first.past_key_values)
    once = of_inputs(x)
    assert_same_geometry(calls[1][1].geometry, once.extended(once))
    first.past_key_values.crop(-again["input_ids"].shape[1] - 9)
    model(input_ids=x["input_ids"][:, -9:], past_key_values=first.past_key_values)
    assert_same_geometry(calls[2][1].geometry, once)


def test_positions_count_from_the_first_token_that_is_not_padding(calls: list[tuple[Dims, Call]]) -> None:
    model, x = model_of("qwen3_vl"), inputs_of("qwen3_vl", rows=2, pad=6)
    register.use(model, {"text": [{"layers": [0], "method": "recorder"}]})
    logits(model, x)
    for _, call in calls:
        assert call.geometry is not None
        assert call.geometry.position_BL[0].tolist() == list(range(call.extent.kv_len))


def test_a_geometry_given_by_hand_is_taken(calls: list[tuple[Dims, Call]]) -> None:
    model, x = model_of("qwen3_vl"), inputs_of("qwen3_vl")
    register.use(model, {"text": [{"layers": [0], "method": "recorder"}]})
    given = Geometry.of_text(1, x["input_ids"].shape[1])
    logits(model, x, geometry=given)
    assert_same_geometry(calls[0][1].geometry, given)
    with pytest.raises(AttentionError, match=r"geometry of 3 tokens in a call of \d+ after 0"):
        logits(model, x, geometry=Geometry.of_text(1, 3))


def test_labels_mark_the_answer(calls: list[tuple[Dims, Call]]) -> None:
    model, x = model_of("qwen3_vl"), inputs_of("qwen3_vl")
    register.use(model, {"text": [{"layers": [0], "method": "recorder"}]})
    labels = torch.full_like(x["input_ids"], -100)
    labels[:, -4:] = x["input_ids"][:, -4:]
    model(**x, labels=labels)
    assert calls[0][1].geometry is not None
    assert torch.equal(calls[0][1].geometry.answer_BL, labels != -100)


# ------------------------------------------------------------------------------------------------------- vision towers


@pytest.mark.parametrize("family", FAMILIES)
def test_vision_towers_call_per_frame_with_patches_row_by_row(family: str, calls: list[tuple[Dims, Call]]) -> None:
    model, x = model_of(family, attn_implementation="eager"), inputs_of(family)
    wanted = logits(model, x)
    register.use(model, {"vision": [{"layers": [1], "method": "recorder"}]})
    torch.testing.assert_close(logits(model, x), wanted, atol=2e-3, rtol=1e-3)
    assert [call.geometry.clips[0][0] for _, call in calls] == [(1, 8, 12), (1, 8, 8), (1, 8, 8), (1, 8, 8)]
    assert all(dims.layer == 1 for dims, _ in calls)


def test_windows_of_qwen2_5_vl_are_frames_of_their_own(calls: list[tuple[Dims, Call]]) -> None:
    model, x = model_of("qwen2_5_vl"), inputs_of("qwen2_5_vl")
    register.use(model, {"vision": [{"layers": [0], "method": "recorder"}]})
    logits(model, x)
    # Windows of 56 px are 4x4 patches.
    assert {call.geometry.clips[0][0] for _, call in calls} == {(1, 4, 4)}
    assert len(calls) == 6 + 3 * 4


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_patches_are_put_where_the_rotary_embedding_says(family: str) -> None:
    """The tower's own positions, seen by its rotary embedding, are an independent account of where patches lie."""
    from allocentric.sparse_attn import vision

    model, x = model_of(family), inputs_of(family)
    register.use(model, {"vision": [{"method": "sliding_window"}]})
    tower = model.model.visual
    seen: dict[str, Any] = {}
    tower.blocks[0].register_forward_pre_hook(lambda m, args, kwargs: seen.update(kwargs), with_kwargs=True)
    logits(model, x)
    layout: vision.Layout = seen["patch_layout"]
    ours = tower.rotary_pos_emb(torch.zeros(1), layout.yx_N2)
    torch.testing.assert_close(ours[0], seen["position_embeddings"][0])


# --------------------------------------------------------------------------------------------------------------- traps


def test_the_padding_mask_arrives_by_keyword_and_by_position() -> None:
    import inspect

    from transformers import AttentionInterface

    for name in register.register():
        function = AttentionInterface()[name]
        assert list(inspect.signature(function).parameters)[4] == "attention_mask"


def test_no_name_is_taken_for_a_flash_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.integrations.hub_kernels import is_kernel
    from transformers.utils.generic import is_flash_attention_requested

    for name in register.register():
        assert not is_flash_attention_requested(requested_attention_implementation=name)
        assert not is_kernel(name)
    monkeypatch.setattr(Catalog, "names", lambda self: ["flash_moba"])
    with pytest.raises(AttentionError, match="flash"):
        register.register()


def test_layer_types_that_drop_keys_behind_the_methods_back_are_refused() -> None:
    model, x = model_of("qwen3_vl"), inputs_of("qwen3_vl")
    text_config = model.config.get_text_config()
    text_config.layer_types = ["sliding_attention", "full_attention"] * 2
    text_config.sliding_window = 16
    model.set_attn_implementation("allocentric:moba")
    with pytest.raises(AttentionError, match="layer_types sliding_attention"):
        model(**x)


def test_every_implementation_has_a_mask_function_or_padding_would_be_lost() -> None:
    from transformers import AttentionMaskInterface

    assert set(register.register()) <= set(AttentionMaskInterface().valid_keys())


# ------------------------------------------------------------------------------------------------------------ refusals


def test_what_cannot_be_served_is_refused_by_name() -> None:
    model, x = model_of("qwen3_vl"), inputs_of("qwen3_vl")
    with pytest.raises(AttentionError, match="'moba' isn't bidirectional"):
        register.use(model, {"vision": [{"method": "moba"}]})
    with pytest.raises(SettingsError, match="unknown setting 'windo'"):
        register.use(model, {"text": [{"method": "sliding_window", "settings": {"windo": 3}}]})
    with pytest.raises(AttentionError, match="no layer 9: the tower has 4"):
        register.use(model, {"text": [{"layers": [9], "method": "moba"}]})
    with pytest.raises(SettingsError, match="'x' is neither"):
        register.use(model, {"text": [{"layers": "x", "method": "moba"}]})
    model.set_attn_implementation("allocentric:moba")
    length = x["input_ids"].shape[1]
    with pytest.raises(AttentionError, match="one column per token, got a mask of"):
        model(input_ids=x["input_ids"][:, :7], attention_mask=torch.zeros(1, 1, 7, 7))
    position_ids = torch.cat([torch.arange(50), torch.arange(length - 50)]).expand(4, 1, -1)
    packed = {key: t for key, t in x.items() if key != "attention_mask"}
    with pytest.raises(AttentionError, match="packs several sequences"):
        model(**packed, position_ids=position_ids, use_cache=False)


def test_a_padding_hole_and_dropout_are_refused() -> None:
    model, x = model_of("qwen3_vl"), inputs_of("qwen3_vl")
    model.set_attn_implementation("allocentric:moba")
    holed = x["attention_mask"].clone()
    holed[0, -5] = 0
    with pytest.raises(AttentionError, match="padding between its tokens"):
        model(**{**x, "attention_mask": holed})
    model.model.language_model.layers[0].self_attn.attention_dropout = 0.1
    with pytest.raises(AttentionError, match="no dropout"):
        model.train()(**x)


def test_a_trainable_method_needs_a_place_in_the_model(calls: list[tuple[Dims, Call]]) -> None:
    register.register()
    model, x = model_of("qwen3_vl"), inputs_of("qwen3_vl")
    model.set_attn_implementation({"text_config": "allocentric:gate"})
    with pytest.raises(AttentionError, match=r"register\.use"):
        model(**x)


def test_a_missing_geometry_is_named(calls: list[tuple[Dims, Call]]) -> None:
    model = model_of("qwen3_vl")
    register.use(model, {"text": [{"method": "recorder"}]})
    with pytest.raises(MissingGeometryError, match="recorder"):
        model.model.language_model(inputs_embeds=torch.zeros(1, 5, 64))


def test_gradients_reach_the_weights_through_a_method() -> None:
    model, x = model_of("qwen3_vl", attn_implementation="eager"), inputs_of("qwen3_vl")
    weight = model.model.language_model.layers[1].self_attn.k_proj.weight
    model.train()
    labels = x["input_ids"].clone()
    wanted = torch.autograd.grad(model(**x, labels=labels).loss, weight)[0]
    register.use(model, {"text": [entry("moba", exhaustive=True)]})
    found = torch.autograd.grad(model(**x, labels=labels).loss, weight)[0]
    torch.testing.assert_close(found, wanted, atol=1e-4 * float(wanted.abs().max()), rtol=1e-3)
