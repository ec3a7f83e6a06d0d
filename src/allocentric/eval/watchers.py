"""Rows of a table of streams: a model, a memory and a prompt, from a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allocentric.agents import watching
from allocentric.agents.watching import CacheWatcher, FramesWatcher, Watcher
from allocentric.core.catalog import ENCODERS, KV_MEMORY, MEMORY, Catalog
from allocentric.core.config import Settings, resolved, settings_from_mapping
from allocentric.core.errors import SettingsError
from allocentric.core.records import digest
from allocentric.eval.recipe import Contestant, contestant

WATCHING = "stream/v1"
"""Version of the words in which streams are watched; goes into every result."""


@dataclass(frozen=True, kw_only=True)
class WatchingContestant:
    """One row before it has watched."""

    label: str
    """Shown, unique in the run."""
    model: Contestant
    """Backend and settings."""
    settings: watching.Settings
    """Memory, encoder and prompt."""
    policy: tuple[str, Settings]
    """The memory's name and its settings."""
    encoder: tuple[str, Settings]
    """The encoder's."""

    @property
    def budget_bytes(self) -> int:
        """What the memory may keep."""
        return int(resolved(self.policy[1])["budget_bytes"])

    def record(self) -> dict[str, Any]:
        """Every setting in force, as JSON values."""
        kind = "memory" if self.settings.memory is not None else "kv_memory"
        kept = {kind: {"name": self.policy[0], **resolved(self.policy[1])}}
        eyes = {"encoder": {"name": self.encoder[0], **resolved(self.encoder[1])}} if kind == "memory" else {}
        rest = {"head": self.settings.head, "instruction": self.settings.instruction}
        return {**self.model.record(), **kept, **eyes, **rest}

    def identity(self) -> str:
        """Digest of the settings and of the weights; other ones are another watcher."""
        head = digest(Path(self.settings.head).read_bytes().hex()) if self.settings.head else None
        return digest([self.record(), self.model.identity(), head])

    def build(self, *, max_new_tokens: int, temperature: float) -> Watcher:
        """Load the model and make an empty memory.

        Raises:
            UserError: the parts don't fit each other, or the model can't be loaded.
        """
        name, settings = self.policy
        model: Any = self.model.build({})
        if self.settings.memory is not None:
            encoder = ENCODERS.load(self.encoder[0]).build(self.encoder[1])
            memory = MEMORY.load(name).build(settings, encoder)
            return FramesWatcher(
                model,
                memory,
                words=encoder.vocabulary,
                instruction=self.settings.instruction,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
            )
        from allocentric.agents.kv_memory.watcher import LatentFrameHead
        from allocentric.agents.kv_memory.watcher import Watcher as Reader

        if temperature > 0:
            raise SettingsError(f"{self.label}: memory in a KV cache answers greedily; set temperature: 0")
        head = None
        if self.settings.head is not None:
            config = model.checkpoint.model.config
            width = int(config.get_text_config().hidden_size)
            head = LatentFrameHead.load(Path(self.settings.head), width, int(config.vision_config.out_hidden_size))
        policy = KV_MEMORY.load(name)
        reader = getattr(policy, "READER", Reader)(
            model.checkpoint, policy, settings, system=self.settings.instruction, head=head
        )
        border = getattr(settings, "threshold", None)
        return CacheWatcher(reader, border=border, max_new_tokens=max_new_tokens)


def watching_contestant(values: Mapping[str, Any]) -> WatchingContestant:
    """The watcher that a recipe's entry stands for: a model's, with `memory` or `kv_memory`.

    Raises:
        SettingsError: not one memory, an unknown name or setting, or a memory in a KV cache without an hf model.
    """
    own = set(watching.Settings.model_fields)
    given = {key: value for key, value in values.items() if key in own}
    model = contestant({key: value for key, value in values.items() if key not in own}, baseline=False)
    settings = settings_from_mapping(watching.Settings, given, where=f"the watcher of {model.label}")
    if (settings.memory is None) == (settings.kv_memory is None):
        raise SettingsError(
            f"{model.label} watches a stream and needs one memory: `memory` (of `allocentric list memory`) or "
            "`kv_memory` (of `allocentric list kv_memory`), with a `name`"
        )
    if settings.kv_memory is not None and model.backend != "hf":
        raise SettingsError(f"{model.label}: kv_memory needs a checkpoint, name: hf; got {model.backend}")
    kind, entry = (MEMORY, settings.memory) if settings.memory is not None else (KV_MEMORY, settings.kv_memory)
    policy = _entry(kind, entry or {})
    label = model.label if "label" in values else f"{model.label} + {policy[0]}"
    return WatchingContestant(
        label=label, model=model, settings=settings, policy=policy, encoder=_entry(ENCODERS, settings.encoder)
    )


def _entry(catalog: Catalog, values: Mapping[str, Any]) -> tuple[str, Settings]:
    if not isinstance(values.get("name"), str):
        raise SettingsError(f"a {catalog.kind} needs a `name`; known: {', '.join(catalog.names())}")
    name = catalog.resolve(values["name"])
    rest = {key: value for key, value in values.items() if key != "name"}
    return name, settings_from_mapping(catalog.load(name).Settings, rest, where=f"{catalog.kind} {name}")
