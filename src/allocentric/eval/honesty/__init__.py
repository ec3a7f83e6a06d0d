"""Is it the pictures? The same model asked changed questions; one file per check.

A check turns a plan into another plan: the run of it is a run like any other (same keys, same resume, same workers),
and its score stands as a row beside the plain one.
"""
