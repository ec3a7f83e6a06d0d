"""What answers and what acts: models, memories, policies."""
