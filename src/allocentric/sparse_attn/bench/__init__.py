"""Measure attention: time of every part, memory, error against the fp64 oracle, recall, state and streaming.

`job.Job` says what, `run.run` measures it, `report.write` keeps it as Markdown, CSV and SVG; `against.compare` runs
the same measurements on another commit.
"""
