"""Renderers: one contract, two backends that check each other, and pictures made from their frames."""
