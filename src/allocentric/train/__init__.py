"""Training, and tiny models to try it on."""
