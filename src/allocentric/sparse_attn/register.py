"""Attention methods inside transformers: `allocentric:NAME` as an attention implementation, and a method per layer.

Importing this module registers every method of `allocentric list methods`, so that

    AutoModelForImageTextToText.from_pretrained(path, attn_implementation="allocentric:moba")
    model.set_attn_implementation({"text_config": "allocentric:radial"})

work, each with the method's published settings. `use` sets methods, settings and executors layer by layer and notes
them in the config, so that `save_pretrained` and `from_pretrained` keep them.

Shapes: B batch, H query heads, K key-value heads, L queries, S keys, D head width.
"""

from __future__ import annotations

import inspect
import logging
from functools import cache, partial
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from allocentric.core import config as settings_of
from allocentric.core.catalog import METHODS
from allocentric.core.errors import MissingPackageError
from allocentric.sparse_attn import stream, vision
from allocentric.sparse_attn.attend import attend
from allocentric.sparse_attn.contract import Call, Dims, Selector, dims_of
from allocentric.sparse_attn.errors import AttentionError
from allocentric.sparse_attn.geometry import Geometry
from allocentric.sparse_attn.masks import Padding, padding_mask
from allocentric.sparse_attn.plan import Dense
from allocentric.sparse_attn.recipe import KEY, AttentionRecipe, LayerMethod, by_layer, method_settings

_log = logging.getLogger(__name__)

PREFIX = "allocentric:"
"""Starts the name of every implementation registered here."""
BY_LAYER = PREFIX + "layers"
"""The implementation under which every layer has the method that `use` gave it, and is dense without one."""

_of_name: WeakKeyDictionary[nn.Module, dict[str, Selector]] = WeakKeyDictionary()
"""Selectors of layers whose method is only a name; they hold no parameters."""


def register() -> list[str]:
    """Put every method into transformers; returns the names. Repeating it does no harm.

    Models built afterwards tell their methods where tokens lie; a model built before needs `use` or `attach`.

    Raises:
        MissingPackageError: transformers is absent.
    """
    try:
        from transformers import AttentionInterface, AttentionMaskInterface
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            error.name or "transformers", needed_for="attention inside models", extra="hf"
        ) from None
    names = [PREFIX + name for name in METHODS.names()]
    for name in [*names, BY_LAYER]:
        if "flash" in name:  # transformers would look for a kernel of this name on the hub
            raise AttentionError(f"transformers takes {name!r} for a flash kernel; name the method otherwise")
        AttentionInterface.register(name, partial(_attention, name.removeprefix(PREFIX)))
        AttentionMaskInterface.register(name, padding_mask)
    _watch_models()
    return names


# ------------------------------------------------------------------------------------------------- one attention call


def _attention(
    name: str,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Padding | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    geometry: Geometry | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """An attention function of transformers: query (B, H, L, D), key and value (B, K, S, D) -> (B, L, H, D)."""
    if dropout:
        raise AttentionError(f"attention methods have no dropout of weights, and {dropout} was asked for; set it to 0")
    if others.get("sliding_window") is not None:
        raise AttentionError("the layer asks for a sliding window of its own; give it the method 'sliding_window'")
    causal = bool(getattr(module, "is_causal", True) if is_causal is None else is_causal)
    selector = _selector(name, module, causal)
    run = partial(
        attend,
        selector,
        causal=causal,
        scale=query.shape[-1] ** -0.5 if scaling is None else scaling,
        executor=getattr(module, "attention_executor", "auto"),
    )
    if not causal:
        frame = vision.next_frame(others)
        out = run(query, key, value) if frame is None else frame.attend(run, query, key, value)
        return out.transpose(1, 2).contiguous(), None
    used, spans = key.shape[2], None
    if isinstance(attention_mask, Padding):
        used, spans = attention_mask.used, attention_mask.spans
    elif attention_mask is not None:
        raise AttentionError(
            f"attention methods take a padding mask of one column per token, got a mask of "
            f"{tuple(attention_mask.shape)}; which pairs count is for the method to say"
        )
    if used > key.shape[2]:
        raise AttentionError(
            f"the cache holds {key.shape[2]} keys of {used} tokens, so their places are unknown; use a DynamicCache "
            "or StaticCache without sliding layers, or cache.EvictingCache"
        )
    if spans is not None:
        spans = tuple(spans[row * len(spans) // len(query)] for row in range(len(query)))
    out = run(query, key[:, :, :used], value[:, :, :used], geometry=geometry, spans=spans)
    return out.transpose(1, 2).contiguous(), None


class _DenseLayer(Selector):
    """Layers that no method was given."""

    name = "layers"
    causal = True
    bidirectional = True
    streams = True

    def plan(self, q_BHLD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, call: Call) -> Dense:  # noqa: ARG002
        return Dense(extent=call.extent)


_dense = _DenseLayer()


def _selector(name: str, module: nn.Module, causal: bool) -> Selector:
    if name == "layers":
        return cast(Selector, getattr(module, "selector", _dense))
    selectors = _of_name.setdefault(module, {})
    if name not in selectors:
        methods = METHODS.load(name)
        selector: Selector = methods.build(methods.Settings(), _dims(module))
        if selector.trainable:
            raise AttentionError(
                f"attention method {name!r} has parameters that belong to the model; register.use(model, "
                f"{{'text': [{{'method': {name!r}}}]}}) puts them there"
            )
        if not causal and not selector.bidirectional:
            _warn_dense_vision(name)
            selector = _dense
        selectors[name] = selector
    return selectors[name]


@cache
def _warn_dense_vision(name: str) -> None:
    _log.warning(
        "attention method %r serves language models only, so the vision tower stays dense; attn_implementation="
        "{'text_config': '%s%s'} says so",
        name,
        PREFIX,
        name,
    )


def _dims(module: nn.Module) -> Dims:
    layer = int(getattr(module, "layer_idx", None) or 0)
    layers = int(getattr(getattr(module, "config", None), "num_hidden_layers", layer + 1))
    if hasattr(module, "q_proj"):
        return dims_of(module, layer=layer, layers=layers)
    heads, head_dim = getattr(module, "num_heads", None), getattr(module, "head_dim", None)
    if not isinstance(heads, int) or not isinstance(head_dim, int):
        raise AttentionError(f"{type(module).__name__} doesn't say how many heads it has and how wide they are")
    return Dims(width=heads * head_dim, heads=heads, kv_heads=heads, head_dim=head_dim, layer=layer, layers=layers)


# -------------------------------------------------------------------------------------------------- methods per layer


def use(model: nn.Module, recipe: AttentionRecipe | dict[str, Any]) -> None:
    """Give the layers of a model their methods, and note it in its config.

    Args:
        model: Of transformers, with a language model and perhaps a vision tower.
        recipe: Methods by layer; a mapping is read as `recipe.AttentionRecipe`.

    Raises:
        AttentionError: a layer isn't there, or a method can't serve its tower.
        SettingsError: a setting is wrong.
    """
    if isinstance(recipe, dict):
        recipe = settings_of.settings_from_mapping(AttentionRecipe, recipe, where="attention recipe")
    register()
    attach(model)
    towers = _towers(model)
    for name, entries in (("text", recipe.text), ("vision", recipe.vision)):
        tower = towers.get(name)
        if tower is None:
            if entries:
                raise AttentionError(f"{type(model).__name__} has no {name} tower")
            continue
        if name == "text" or entries:
            _note(tower.config, [entry.model_dump(mode="json") for entry in entries])
            equip(tower, entries, causal=name == "text")


def equip(tower: Any, entries: list[LayerMethod], *, causal: bool) -> None:
    """Build the selectors of a tower's layers, and set its implementation to that of methods per layer.

    A trainable selector becomes part of the model: parameters `...self_attn.selector...`.
    """
    attentions = attention_layers(tower)
    count = len(layers_of(tower))
    chosen = by_layer(entries, sorted(attentions), count)
    built: dict[int, tuple[Selector, str]] = {}
    for layer, entry in chosen.items():
        module, settings = method_settings(entry)
        attention = attentions[layer]
        weight = next(attention.parameters())
        with torch.device("cpu" if weight.is_meta else weight.device):
            selector: Selector = module.build(settings, _replaced_layer(_dims(attention), layer, count))
        able = selector.causal if causal else selector.bidirectional
        if not able:
            kind = "causal, so it can't serve a language model" if causal else "bidirectional, as a vision tower needs"
            raise AttentionError(f"attention method {entry.method!r} isn't {kind}")
        built[layer] = (selector.to(dtype=weight.dtype), entry.executor)
    for layer, attention in attentions.items():
        selector_and_executor = built.get(layer)
        if selector_and_executor is None:
            attention.__dict__.pop("attention_executor", None)
            attention._modules.pop("selector", None)
            continue
        attention.selector, attention.attention_executor = selector_and_executor
    tower.config._attn_implementation_internal = BY_LAYER


def _replaced_layer(dims: Dims, layer: int, layers: int) -> Dims:
    from dataclasses import replace

    return replace(dims, layer=layer, layers=layers)


def _note(config: Any, methods: list[dict[str, Any]]) -> None:
    noted = {**(getattr(config, KEY, None) or {}), "methods": methods}
    setattr(config, KEY, noted)


def layers_of(tower: Any) -> nn.ModuleList:
    """The layers of a language model or vision tower."""
    for name in ("layers", "blocks"):
        if isinstance(layers := getattr(tower, name, None), nn.ModuleList):
            return layers
    raise AttentionError(f"{type(tower).__name__} has no list of layers called layers or blocks")


def attention_layers(tower: Any) -> dict[int, Any]:
    """Index -> the module that attends, for layers that have full attention."""
    found = {}
    for index, layer in enumerate(layers_of(tower)):
        for name in ("self_attn", "attn"):
            if hasattr(attention := getattr(layer, name, None), "scaling"):  # a mixer in its place has none
                found[index] = attention
    return found


def text_tower(model: nn.Module) -> Any:
    """The language model of a model."""
    return _towers(model)["text"]


def _towers(model: nn.Module) -> dict[str, Any]:
    """The language model ("text") and the vision tower ("vision"), as far as the model has them."""
    found: dict[str, Any] = {}
    for name, module in model.named_modules():
        last = name.rpartition(".")[2]
        if last == "language_model" and "text" not in found:
            found["text"] = module
        if last in ("visual", "vision_tower") and "vision" not in found:
            found["vision"] = module
    if "text" not in found:
        inner = getattr(model, "model", model)
        found["text"] = inner
    return found


# ----------------------------------------------------------------------------------------- models tell their geometry


_watching = False


def _watch_models() -> None:
    """From now on, models of transformers that are built get the hooks of `attach` and what their config notes."""
    global _watching
    if not _watching:
        torch.nn.modules.module.register_module_module_registration_hook(_when_built)
        _watching = True


def _when_built(module: nn.Module, name: str, submodule: nn.Module | None) -> None:
    if name not in ("language_model", "visual", "model") or submodule is None:
        return
    from transformers import PreTrainedModel

    if not isinstance(module, PreTrainedModel) or not isinstance(submodule, PreTrainedModel):
        return
    if name == "model":
        _hook_once(module, _before_head)
        return
    _hook_once(module, _before_towers)
    if name == "visual":
        vision.attach(submodule)
    else:
        _hook_once(submodule, _before_language_model)
    noted = getattr(submodule.config, KEY, None) or {}
    if noted.get("mixers"):
        from allocentric.sparse_attn import hybrid

        hybrid.put_mixers(submodule, hybrid.noted_mixers(noted["mixers"]), adopt=False)
    if "methods" in noted:
        entries = [
            settings_of.settings_from_mapping(LayerMethod, entry, where=f"the checkpoint's config ({KEY})")
            for entry in noted["methods"]
        ]
        wanted = submodule.config._attn_implementation
        equip(submodule, entries, causal=name == "language_model")
        if wanted not in (None, "sdpa", BY_LAYER):  # sdpa is what transformers puts where nothing was asked for
            submodule.config._attn_implementation_internal = wanted


def attach(model: nn.Module) -> None:
    """Let a model that was built before `register` tell its methods where tokens lie."""
    for module in model.modules():
        children = dict(module.named_children())
        if "language_model" in children or "visual" in children:
            _hook_once(module, _before_towers)
            if "language_model" in children:
                _hook_once(children["language_model"], _before_language_model)
        elif hasattr(children.get("model"), "language_model"):
            _hook_once(module, _before_head)
        if "visual" in children:
            vision.attach(children["visual"])


def _hook_once(module: Any, hook: Any) -> None:
    if hook in module._forward_pre_hooks.values():
        return
    module.register_forward_pre_hook(hook, with_kwargs=True)
    if hook is _before_towers:
        for kind in ("image", "video"):
            encode = getattr(module, f"get_{kind}_features", None)
            if encode is not None:
                setattr(module, f"get_{kind}_features", _noting(encode, kind))


def _noting(encode: Any, kind: str) -> Any:
    """`get_image_features` or `get_video_features` of a model, which notes the grids: `generate` encodes pictures
    before it calls the model and then forgets them.
    """
    noting = partial(_encode, encode, kind)
    noting.__signature__ = inspect.signature(encode)  # type: ignore[attr-defined]  # generate looks at it
    return noting


def _encode(encode: Any, kind: str, *arguments: Any, **named: Any) -> Any:
    model = encode.__self__
    noted = {} if getattr(model, "encoded_grids_used", True) else model.encoded_grids
    grid_thw = named.get(f"{kind}_grid_thw", arguments[1] if len(arguments) > 1 else None)
    out = encode(*arguments, **named)
    # After the call, as videos may be encoded by way of pictures.
    model.encoded_grids, model.encoded_grids_used = {**noted, kind: grid_thw}, False
    return out


def serves(config: Any) -> bool:
    """Whether a tower's attention runs through a method of ours."""
    return str(getattr(config, "_attn_implementation", "")).startswith(PREFIX)


def _before_head(module: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """What a model is trained to say is answer."""
    labels = named.get("labels")
    if labels is None or not serves(module.config.get_text_config()):
        return None
    return arguments, {**named, "answer_BL": labels != -100}


def _before_towers(module: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Note where the tokens of a call lie, and hand it to the attention functions as `geometry`."""
    text_config = module.config.get_text_config()
    if not serves(text_config):
        return None
    named = dict(named)
    if arguments:
        named["input_ids"], arguments = arguments[0], arguments[1:]
    wants_cache = text_config.use_cache if named.get("use_cache") is None else named["use_cache"]
    if named.get("past_key_values") is None and wants_cache and not module.training:
        from transformers import DynamicCache

        named["past_key_values"] = DynamicCache(config=text_config)
    encoded = getattr(module, "encoded_grids", {})
    named["geometry"] = stream.geometry_of_call(module.config, {**named, "encoded_grids": encoded})
    module.encoded_grids_used = True
    if named["geometry"] is not None and hasattr(named.get("past_key_values"), "geometry_of_keys"):
        tokens = named["inputs_embeds"] if named.get("input_ids") is None else named["input_ids"]
        named["geometry"] = named["past_key_values"].geometry_of_keys(named["geometry"], tokens.shape[1])
    named.pop("answer_BL", None)
    return arguments, named


def _before_language_model(module: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    """Tell a cache that turns keys where the new tokens lie."""
    cache = named.get("past_key_values")
    if not hasattr(cache, "announce"):
        return
    tokens = named.get("inputs_embeds")
    tokens = named.get("input_ids", arguments[0] if arguments else None) if tokens is None else tokens
    assert cache is not None
    assert tokens is not None
    cache.announce(named.get("position_ids"), module.rotary_emb, tokens.shape[1], tokens.device)


register()
