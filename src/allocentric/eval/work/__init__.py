"""Asking at scale: what is left to ask, the queue it waits in, and those who work on it."""
