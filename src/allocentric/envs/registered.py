"""Importing this module registers the environments: `gymnasium.make("allocentric.envs.registered:<id>")`."""

from __future__ import annotations

from allocentric.envs.registration import register_all

register_all()
