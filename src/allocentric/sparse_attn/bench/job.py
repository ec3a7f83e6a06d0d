"""What `allocentric bench attention` measures."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field

from allocentric.core import config
from allocentric.core.catalog import METHODS, MIXERS, Catalog
from allocentric.core.errors import SettingsError, suggestion
from allocentric.sparse_attn.contract import Dims

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class Job(config.Settings):
    """Every method and mixer at every length and dtype, on one device."""

    methods: tuple[str, ...] = ("sliding_window", "moba")
    """Attention methods; "all" is every one of the catalog."""
    mixers: tuple[str, ...] = ()
    """Mixers; "all" is every one of the catalog."""
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Settings by method, over its published ones."""
    mixer_settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Settings by mixer, over its published ones."""
    lengths: tuple[int, ...] = (1024, 4096, 16384)
    """Tokens."""
    dtypes: tuple[Literal["fp32", "fp16", "bf16"], ...] = ("fp32",)
    """Of queries, keys and values."""
    device: str = "cpu"
    """As torch names it: "cpu", "cuda", "cuda:1"."""
    executor: str = "auto"
    """Of the methods; "auto" is the best that can run a plan."""
    batch: int = Field(default=1, ge=1)
    """Rows."""
    heads: int = Field(default=8, ge=1)
    """Query heads."""
    kv_heads: int = Field(default=8, ge=1)
    """Key-value heads; divide the query heads."""
    head_dim: int = Field(default=64, ge=1)
    """Width of a head."""
    causal: bool | None = None
    """None: causal where the method can be."""
    frame: tuple[int, int] = (16, 16)
    """Rows and columns of the video's frames, in tokens, that the sequence is made of."""
    backward: bool = True
    """Time forward and backward together, too."""
    stream: int = Field(default=32, ge=0)
    """Single steps timed after a sequence of each length; 0 is none."""
    repeats: int = Field(default=5, ge=1)
    """Timed calls, of which the median counts; one more call goes first."""
    threads: int = Field(default=1, ge=1)
    """Of torch, on the CPU."""
    probes: int = Field(default=64, ge=1)
    """Queries, evenly spread, whose error and recall are computed in fp64."""
    seed: int = 0
    """Of the inputs and of parameters."""
    peak_tflops: float | None = Field(default=None, gt=0)
    """Of the device; None: the data sheet's where it is known."""

    def names(self) -> tuple[list[str], list[str]]:
        """Methods and mixers, resolved."""
        methods = METHODS.names() if "all" in self.methods else [METHODS.resolve(name) for name in self.methods]
        mixers = MIXERS.names() if "all" in self.mixers else [MIXERS.resolve(name) for name in self.mixers]
        return methods, mixers

    def check(self) -> None:
        """Refuse what can't be measured, before anything is."""
        methods, mixers = self.names()
        for given, measured in ((self.settings, methods), (self.mixer_settings, mixers)):
            for name in set(given) - set(measured):
                raise SettingsError(f"settings of {name!r}, which is not measured" + suggestion(name, measured))
        if self.heads % self.kv_heads:
            raise SettingsError(f"kv_heads must divide heads, got {self.kv_heads} and {self.heads}")
        for name in methods:
            self.method_settings_of(name)
        for name in mixers:
            self.mixer_settings_of(name)
        try:
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:
            raise SettingsError(f"the device {self.device!r} can't be used: {str(error).splitlines()[0]}") from None

    def method_settings_of(self, name: str) -> config.Settings:
        """Published settings of a method, with the job's changes."""
        return _settings(METHODS, name, self.settings)

    def mixer_settings_of(self, name: str) -> config.Settings:
        """Published settings of a mixer, with the job's changes."""
        return _settings(MIXERS, name, self.mixer_settings)

    @property
    def dims(self) -> Dims:
        """Of the layer."""
        return Dims(width=self.heads * self.head_dim, heads=self.heads, kv_heads=self.kv_heads, head_dim=self.head_dim)


def _settings(catalog: Catalog, name: str, changes: dict[str, dict[str, Any]]) -> config.Settings:
    settings: config.Settings = config.settings_from_mapping(
        catalog.load(name).Settings, changes.get(name, {}), where=f"settings of {name}"
    )
    return settings
