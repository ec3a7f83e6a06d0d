"""Types, geometry, scoring, parsing, statistics, settings and run logs. Imports nothing else of the package."""
