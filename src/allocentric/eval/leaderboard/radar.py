"""Radar charts of level scores with intervals, as SVG that stands alone and also takes a page's colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import cos, pi, sin
from typing import Any

_WIDTH_PX, _HEIGHT_PX, _RADIUS_PX = 430.0, 312.0, 115.0
_CENTER = (_WIDTH_PX / 2, 172.0)
_LINE_PX = 17.0


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One model."""

    name: str
    """Shown in the key."""
    values: Mapping[str, Mapping[str, Any]]
    """By axis `{"score", "low", "high"}` in percent; an axis that is absent or None leaves a gap."""
    color: str
    """CSS colour."""


def radar_svg(title: str, axes: Sequence[str], traces: Sequence[Trace]) -> str:
    """A chart from 0 in the middle to 100 percent at the rim; a stroke along the axis is the interval.

    Axes start at the top and go clockwise. At least three are needed for an area.
    """
    height = _HEIGHT_PX + _LINE_PX * len(traces)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="radar" viewBox="0 0 {_WIDTH_PX:g} {height:g}" role="img" '
        f'aria-label="{escape(title)}" font-family="system-ui, sans-serif" font-size="12">',
        f'<text x="0" y="15" font-weight="600" font-size="13.5" fill="var(--ink, #222)">{escape(title)}</text>',
    ]
    for ring in (25, 50, 75, 100):
        outline = " ".join(_point(index, len(axes), ring) for index in range(len(axes)))
        parts.append(f'<polygon points="{outline}" fill="none" stroke="var(--grid, #ddd)"/>')
        x, y = _place(0, len(axes), ring)
        parts.append(f'<text x="{x + 4:.1f}" y="{y + 11:.1f}" font-size="10" fill="var(--soft, #666)">{ring}</text>')
    for index, axis in enumerate(axes):
        parts += _axis(axis, index, len(axes))
    for trace in traces:
        parts += _trace(trace, axes)
    parts += [_key(trace, row) for row, trace in enumerate(traces)]
    return "".join([*parts, "</svg>"])


def _axis(name: str, index: int, count: int) -> list[str]:
    x, y = _place(index, count, 100)
    label_x, label_y = _place(index, count, 113)
    side = "middle" if abs(label_x - _CENTER[0]) < 8 else "start" if label_x > _CENTER[0] else "end"
    line = f'<path d="M{_CENTER[0]:g} {_CENTER[1]:g}L{x:.1f} {y:.1f}" stroke="var(--grid, #ddd)"/>'
    place = f'x="{label_x:.1f}" y="{label_y + 4:.1f}" text-anchor="{side}"'
    text = f'<text {place} fill="var(--ink, #222)">{escape(name)}</text>'
    return [line, text]


def _trace(trace: Trace, axes: Sequence[str]) -> list[str]:
    known = [
        (index, trace.values[axis])
        for index, axis in enumerate(axes)
        if axis in trace.values and trace.values[axis]["score"] is not None
    ]
    outline = " ".join(_point(index, len(axes), value["score"]) for index, value in known)
    shape = "polygon" if len(known) == len(axes) else "polyline"
    fill = 'fill-opacity="0.1"' if shape == "polygon" else 'fill-opacity="0"'
    parts = [f'<{shape} points="{outline}" fill="{trace.color}" {fill} stroke="{trace.color}" stroke-width="1.8"/>']
    for index, value in known:
        x, y = _place(index, len(axes), value["score"])
        words = f"{trace.name}, {axes[index]}: {value['score']:.1f}"
        if value["low"] is not None and value["high"] is not None:
            ends = [_point(index, len(axes), value[end]).replace(",", " ") for end in ("low", "high")]
            parts.append(
                f'<path d="M{ends[0]}L{ends[1]}" stroke="{trace.color}" stroke-width="4" stroke-opacity="0.4" '
                'stroke-linecap="round"/>'
            )
            words += f" [{value['low']:.1f}, {value['high']:.1f}]"
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.8" fill="{trace.color}"><title>{escape(words)}</title></circle>'
        )
    return parts


def _key(trace: Trace, row: int) -> str:
    top = _HEIGHT_PX - 22 + _LINE_PX * row
    name = trace.name if len(trace.name) <= 52 else trace.name[:51] + "…"
    return (
        f'<rect x="14" y="{top:g}" width="10" height="10" rx="2" fill="{trace.color}"/>'
        f'<text x="31" y="{top + 9.5:g}" fill="var(--ink, #222)">{escape(name)}</text>'
    )


def _place(index: int, count: int, percent: float) -> tuple[float, float]:
    angle = 2 * pi * index / count
    length = _RADIUS_PX * percent / 100
    return _CENTER[0] + length * sin(angle), _CENTER[1] - length * cos(angle)


def _point(index: int, count: int, percent: float) -> str:
    x, y = _place(index, count, percent)
    return f"{x:.1f},{y:.1f}"
