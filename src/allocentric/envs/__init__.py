"""Environments with Gymnasium's interface.

Nothing is registered by importing this package: call `register_all()`, or name the module that does in the id,
`gymnasium.make("allocentric.envs.registered:allocentric/ObjectSearch-v0", ...)`.
"""

from __future__ import annotations

from allocentric.envs.registration import register_all

__all__ = ["register_all"]
