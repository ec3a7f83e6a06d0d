"""Streets with buildings, shops, parked cars and everything that stands on a sidewalk."""
