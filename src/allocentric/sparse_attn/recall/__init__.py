"""What a method forgets: small language models trained from scratch on recall, accuracy against density and cost.

`mqar` and `spatial_needle` draw exercises, `model` builds a small decoder from methods and mixers by name, `training`
trains one and counts what it recalls. `benchmarks/attention_recall.py` makes the table.
"""
