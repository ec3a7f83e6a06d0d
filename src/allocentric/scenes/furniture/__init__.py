"""Parametric furniture: one file per family, each with a table `CATEGORIES` of label -> how to make it and where."""
