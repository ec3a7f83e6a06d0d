"""Recipe YAML + overrides -> typed settings.

Settings are pydantic models, strict and closed: a misspelt key or a value of the wrong type is an error that names the
key, never a correction. The hash of the resolved settings names the run folder, so another setting is another folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from allocentric.core.errors import SettingsError, suggestion


class Settings(BaseModel):
    """Base of every settings class: frozen, closed, strict."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


SettingsT = TypeVar("SettingsT", bound=Settings)


def settings_from_mapping(cls: type[SettingsT], values: Mapping[str, Any], *, where: str) -> SettingsT:
    """Validate `values` as `cls`. `where` (a file or "command line") starts the error message."""
    try:
        # The JSON mode of strict pydantic accepts exactly what YAML can spell: a list for a tuple, text for a Path.
        return cls.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise SettingsError(f"{where}: " + "; ".join(_explain(problem, cls) for problem in error.errors())) from None


def load_recipe(path: Path, cls: type[SettingsT], overrides: Sequence[str] = ()) -> SettingsT:
    """Read a YAML recipe and apply `overrides` ("scenes.count=20"; the value is YAML)."""
    return settings_from_mapping(cls, read_recipe(path, overrides), where=str(path))


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The YAML of a recipe as a mapping, overrides applied, not validated yet."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise SettingsError(f"cannot read the recipe {path}: {reason}") from None
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: expected a mapping of settings, got {type(values).__name__}")
    for override in overrides:
        apply_override(values, override)
    return values


def resolved(settings: Settings) -> dict[str, Any]:
    """Every setting in force, as JSON values."""
    return settings.model_dump(mode="json")


def settings_hash(values: Mapping[str, Any], *, length: int = 10) -> str:
    """Hash of resolved settings, independent of key order."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:length]


def apply_override(values: dict[str, Any], override: str) -> None:
    """Set one value in nested settings: "walk.fps=5", "models.0.label=ours"; the value is YAML."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise SettingsError(f"expected an override like key=value, got {override!r}")
    *parents, last = key.split(".")
    target: Any = values
    for parent in parents:
        target = _child(target, parent, override)
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise SettingsError(f"the value of {override!r} is not YAML") from None
    if isinstance(target, list):
        target[_list_index(target, last, override)] = value
    else:
        target[last] = value


def _child(target: Any, key: str, override: str) -> Any:
    if isinstance(target, list):
        return target[_list_index(target, key, override)]
    child = target.setdefault(key, {})
    if not isinstance(child, dict | list):
        raise SettingsError(f"{override!r}: {key!r} is not a group of settings but {child!r}")
    return child


def _list_index(target: list[Any], key: str, override: str) -> int:
    if not key.isdigit() or int(key) >= len(target):
        raise SettingsError(f"{override!r}: expected a list index below {len(target)}, got {key!r}")
    return int(key)


def _explain(problem: Any, cls: type[BaseModel]) -> str:
    location = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown setting {location!r}" + suggestion(
            str(problem["loc"][-1]), _keys_at(cls, problem["loc"][:-1])
        )
    if problem["type"] == "missing":
        return f"the setting {location!r} is missing"
    if problem["type"] == "value_error":  # a check of our own, which says what it got
        return ": ".join(part for part in (location, problem["msg"].removeprefix("Value error, ")) if part)
    got = json.dumps(problem["input"], default=str)
    return f"{location or 'settings'}: {problem['msg'][0].lower()}{problem['msg'][1:]}, got {got[:80]}"


def _keys_at(cls: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    model: Any = cls
    for part in location:
        if not (isinstance(model, type) and issubclass(model, BaseModel)) or part not in model.model_fields:
            return []
        model = model.model_fields[str(part)].annotation
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []
