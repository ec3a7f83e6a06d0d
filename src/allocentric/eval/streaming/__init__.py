"""Memories on endless streams: an exact reader, and the table of policies against tasks, perturbations and lengths."""
