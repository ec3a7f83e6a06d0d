"""One file per question type. A file with `ask(scene, views, rng, profile)` at top level is one; its name is its kind.

`ask` returns every valid question about a scene (bounded), the same ones for the same generator state. Without views
it asks from the boxes alone; with views it uses only objects that those views show.
"""
