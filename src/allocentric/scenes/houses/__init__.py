"""Whole houses from a seed: floor plan, openings, walls, furnishing."""
