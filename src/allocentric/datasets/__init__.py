"""Scenes and views -> items: question types, traces, sets, audits and exports."""
