"""Which layers of a model get which method or mixer: what a recipe says, and what a checkpoint's config keeps."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import Field, field_validator

from allocentric.core import config
from allocentric.core.catalog import METHODS, MIXERS, Catalog
from allocentric.core.errors import SettingsError
from allocentric.sparse_attn.errors import AttentionError

KEY = "allocentric"
"""Field of the text tower's and the vision tower's config in which a model keeps its choice."""


class Layers(config.Settings):
    """A choice of layers."""

    layers: str | list[int] = "all"
    """Indices, or text: "all", or indices and slices start:stop:step separated by commas ("0,5,8:20", "3::4")."""

    @field_validator("layers")
    @classmethod
    def _readable(cls, value: str | list[int]) -> str | list[int]:
        if isinstance(value, str):
            for part in _parts(value):
                _slice(part)
        return value

    def pick(self, attention: list[int], count: int) -> list[int]:
        """The layers that are meant.

        Args:
            attention: Layers that have full attention (Qwen3.5 has it in every fourth).
            count: Layers of the tower.

        Raises:
            AttentionError: an index beyond the tower or of a layer without full attention.
        """
        chosen: set[int] = set()
        for part in _parts(self.layers) if isinstance(self.layers, str) else [str(index) for index in self.layers]:
            if part == "all" or ":" in part:
                chosen |= set(range(count)[_slice(part)]) & set(attention)
                continue
            index = int(part)
            if not -count <= index < count:
                raise AttentionError(f"there is no layer {index}: the tower has {count} (0 to {count - 1})")
            index %= count
            if index not in attention:
                raise AttentionError(
                    f"layer {index} has no full attention to replace; those with it are "
                    f"{', '.join(map(str, attention))}"
                )
            chosen.add(index)
        if not chosen:
            raise AttentionError(f"layers {self.layers!r} are none of those with full attention: {attention}")
        return sorted(chosen)


class LayerMethod(Layers):
    """A method for some layers."""

    method: str
    """Of `allocentric list methods`."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Its settings; what isn't given has the published default."""
    executor: str = "auto"
    """Of `allocentric list executors`, or auto: the best that can."""


class LayerMixer(Layers):
    """A mixer for some layers."""

    mixer: str
    """Of `allocentric list mixers`."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Its settings; what isn't given has the published default."""


class AttentionRecipe(config.Settings):
    """Methods by layer. Layers that no entry names are dense; the last entry that names a layer holds."""

    text: list[LayerMethod] = Field(default_factory=list)
    """Of the language model."""
    vision: list[LayerMethod] = Field(default_factory=list)
    """Of the vision tower, which calls attention once per frame (Qwen2.5-VL: also per window)."""


class ConversionRecipe(AttentionRecipe):
    """What a vision-language model becomes."""

    mixers: list[LayerMixer] = Field(default_factory=list)
    """Attention layers of the language model that become mixers and begin with the layer's weights."""


EntryT = TypeVar("EntryT", LayerMethod, LayerMixer)


def by_layer(entries: list[EntryT], attention: list[int], count: int) -> dict[int, EntryT]:
    """The entry of every layer that has one."""
    return {layer: entry for entry in entries for layer in entry.pick(attention, count)}


def method_settings(entry: LayerMethod) -> tuple[Any, config.Settings]:
    """The method's module and its validated settings."""
    return _module_and_settings(METHODS, entry.method, entry.settings)


def mixer_settings(entry: LayerMixer) -> tuple[Any, config.Settings]:
    """The mixer's module and its validated settings."""
    return _module_and_settings(MIXERS, entry.mixer, entry.settings)


def _module_and_settings(entries: Catalog, name: str, values: dict[str, Any]) -> tuple[Any, config.Settings]:
    module = entries.load(name)
    where = f"settings of {entries.kind} {name!r}"
    return module, config.settings_from_mapping(module.Settings, values, where=where)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _slice(part: str) -> slice:
    if part == "all":
        return slice(None)
    try:
        numbers = [int(number) if number else None for number in part.split(":")]
        if not 1 <= len(numbers) <= 3 or part in ("", ":"):
            raise ValueError
    except ValueError:
        raise SettingsError(
            f"layers {part!r} is neither 'all' nor an index nor a slice start:stop:step ('3::4')"
        ) from None
    return slice(*numbers) if len(numbers) > 1 else slice(numbers[0])
