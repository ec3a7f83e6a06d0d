"""Generate spatial instruction data from 3D scenes, train vision-language agents on it, score any model."""

__version__ = "0.1.0"
