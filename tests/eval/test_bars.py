"""Bars are as long as their scores, and whiskers end where intervals end."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from allocentric.eval.bars import Bar, bars_svg

SVG = "{http://www.w3.org/2000/svg}"


def chart(*bars, chance=None):
    return ElementTree.fromstring(bars_svg("a <title> & more", bars, chance))


def bar(name="m", score=50.0, low=40.0, high=70.0):
    return Bar(name=name, score=score, low=low, high=high, color="#000")


def axis(root):
    """Percent -> x, from the tick labels."""
    ticks = {float(t.text): float(t.get("x")) for t in root.iter(f"{SVG}text") if t.get("font-size") == "10.5"}
    return lambda percent: ticks[0] + (ticks[100] - ticks[0]) * percent / 100


def test_lengths_and_whiskers_are_to_scale():
    root = chart(bar(), bar(score=100.0, low=100.0, high=100.0))
    x = axis(root)
    first, second = list(root.iter(f"{SVG}rect"))
    assert float(first.get("x")) + float(first.get("width")) == pytest.approx(x(50))
    assert float(second.get("x")) + float(second.get("width")) == pytest.approx(x(100))
    whisker = next(path.get("d") for path in root.iter(f"{SVG}path") if "H" in path.get("d"))
    low, high = re.match(r"M([\d.]+) [\d.]+H([\d.]+)", whisker).groups()
    assert (float(low), float(high)) == pytest.approx((x(40), x(70)))


def test_chance_is_a_dashed_line():
    root = chart(bar(), chance=25.0)
    (line,) = [path for path in root.iter(f"{SVG}path") if path.get("stroke-dasharray")]
    assert float(re.match(r"M([\d.]+)", line.get("d")).group(1)) == pytest.approx(axis(root)(25))


def test_no_score_draws_no_bar_and_names_are_text():
    root = chart(bar(name="<script>x</script>", score=None, low=None, high=None))
    assert list(root.iter(f"{SVG}rect")) == []
    assert "<script>x</script>" in "".join(root.itertext())
