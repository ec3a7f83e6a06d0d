"""Scenes: sources, renderers, walks, and where one can stand."""
