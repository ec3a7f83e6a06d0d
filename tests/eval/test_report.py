"""The page: complete, well-formed, self-contained, and deaf to what models say."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from allocentric.core.errors import UserError
from allocentric.core.types import Step
from allocentric.eval.report import write_report
from allocentric.eval.run import evaluate

VOID = {"meta", "img", "br", "input", "link", "hr"}
ATTACK = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'></pre></article></svg>{{ 7*7 }}"
NOISE = "\0\x1b[31m\ud83d"


class Page(HTMLParser):
    """Checks that every tag is closed in order, and collects what the tests ask about."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.stack, self.articles, self.scripts, self.images, self.attributes = [], [], [], [], []
        self.ids, self.data, self.uses = [], [], []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.ids += [values["id"]] if "id" in values else []
        self.articles += [values] if tag == "article" else []
        self.scripts += [values] if tag == "script" else []
        self.images += [values] if tag == "img" else []
        self.uses += [values["href"]] if tag == "use" else []
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.stack.pop()

    def handle_endtag(self, tag):
        assert self.stack, f"</{tag}> closes nothing"
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.data.append(data)

    @property
    def text(self):
        return "".join(self.data)


@pytest.fixture
def folder(recipe, tmp_path):
    return evaluate(recipe(), tmp_path / "runs").folder


def parse(path):
    return Page(path.read_text(encoding="utf-8"))


def test_well_formed_with_every_item_and_model(folder):
    page = parse(write_report(folder))
    assert len(page.articles) == 36
    assert {article["data-kind"] for article in page.articles} == {"size", "direction_easy", "direction_hard"}
    assert all(len(article["data-states"].split(" ")) == 4 for article in page.articles)
    assert len(page.ids) == len(set(page.ids))
    for model in ("oracle", "random", "constant", "frequency", "chance"):
        assert model in page.text
    assert "How long is the" in page.text
    assert "A. left\nB. right" in page.text


def test_nothing_is_fetched_and_only_our_script_may_run(folder):
    text = write_report(folder).read_text(encoding="utf-8")
    page = Page(text)
    for tag, name, value in page.attributes:
        if name in ("src", "href", "action", "data"):
            assert value.startswith("#"), (tag, name, value[:80])
    assert not re.search(r"url\(|@import", text)
    executable = [script for script in page.scripts if script.get("type") != "application/json"]
    assert len(executable) == 1
    policy = next(value for tag, name, value in page.attributes if name == "content" and "script-src" in value)
    body = re.search(r"<script>(.*?)</script>", text, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_pictures_are_embedded_once_and_every_reference_resolves(folder):
    text = write_report(folder).read_text(encoding="utf-8")
    page = Page(text)
    uris = json.loads(re.search(r'<script type="application/json" id="frames">(.*?)</script>', text).group(1))
    assert len(uris) == len(set(uris)) == 6 * 4  # scenes x frames, shared by the six questions of a scene
    assert all(uri.startswith("data:image/jpeg;base64,/9j/") for uri in uris)
    references = [int(image["data-frame"]) for image in page.images]
    assert len(references) == 36 * 4
    assert set(references) == set(range(24))
    assert len(page.uses) == 36
    assert {reference.lstrip("#") for reference in page.uses} <= set(page.ids)
    assert len(set(page.uses)) == 6  # one map for each scene


def test_what_a_model_says_is_inert(folder):
    samples = folder / "samples.jsonl"
    records = [json.loads(line) for line in samples.read_text().splitlines()]
    for record in records:
        record["response"]["text"] = ATTACK + NOISE
        record["response"]["error"] = ATTACK if record["item"] == "0-0" else None
    samples.write_text("".join(json.dumps(record) + "\n" for record in records))
    text = write_report(folder).read_text(encoding="utf-8")
    page = Page(text)
    assert ATTACK + "␀␛[31m?" in page.text
    assert len(page.articles) == 36
    assert len(page.scripts) == 2
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    assert "<script>alert" not in text
    assert all("src" not in image for image in page.images)


def test_labels_of_scenes_and_names_are_escaped_too(fake, folder, monkeypatch):
    make_scene = fake.make_scene

    def hostile(k):
        scene = make_scene(k)
        for thing in scene.objects:
            object.__setattr__(thing, "label", "<script>alert(3)</script>")
        return scene

    monkeypatch.setattr(fake.FakeBenchmark, "scene", lambda self, scene_id: hostile(0))
    text = write_report(folder).read_text(encoding="utf-8")
    assert len(Page(text).scripts) == 2
    assert "&lt;script&gt;alert(3)" in text


def test_a_scene_without_a_record_has_no_map_and_the_page_says_so(fake, folder, monkeypatch):
    monkeypatch.setattr(fake.FakeBenchmark, "scene", lambda self, scene_id: None)
    page = parse(write_report(folder))
    assert page.uses == []
    assert page.text.count("No map: there is no scene record for") == 36


def test_a_broken_picture_is_named_and_the_rest_is_shown(folder, tmp_path):
    (tmp_path / "pictures" / "2-3.jpg").write_bytes(b"not a picture")
    page = parse(write_report(folder))
    assert "is not a picture" in page.text
    assert len(page.images) == 36 * 4 - 6
    assert "2-3.jpg" in page.text
    assert len(page.articles) == 36


def test_unfinished_runs_have_a_page(folder):
    samples = folder / "samples.jsonl"
    samples.write_bytes(b"".join(samples.read_bytes().splitlines(keepends=True)[:40]))
    page = parse(write_report(folder))
    assert "finished-with-failures" in page.text
    assert "not asked yet" in page.text


def test_derivation_and_marks_are_drawn(fake, folder, monkeypatch):
    steps = (
        Step(op="find", inputs={"label": "chair"}, output=["chair-0"]),
        Step(op="find", inputs={"label": "bed"}, output=["bed-4"]),
        Step(op="box_distance", inputs={"a": {"step": 0}, "b": {"step": 1}}, output=1.25),
    )
    items = fake.FakeBenchmark.items

    def with_steps(self):
        for item in items(self):
            object.__setattr__(item.evidence, "steps", steps)
        return items(self)

    monkeypatch.setattr(fake.FakeBenchmark, "items", with_steps)
    text = write_report(folder).read_text(encoding="utf-8")
    assert 'class="mark answer line"' in text
    assert "2. box_distance(a=#0, b=#1) = 1.25" in text


def test_plots_lie_beside_the_page(folder):
    write_report(folder)
    plots = {file.name for file in (folder / "plots").iterdir()}
    assert plots == {"cells.csv", "overall.svg", "size.svg", "direction.svg"}
    rows = (folder / "plots" / "cells.csv").read_text().splitlines()
    assert rows[0] == "model,baseline,profile,cell,score,low,high,n,unreadable,chance"
    assert "oracle,0,first-letter@0,overall,100.0,100.0,100.0,36,0," in rows
    assert len(rows) == 1 + 4 * 2 * (1 + 2 + 2)


def test_the_same_run_gives_the_same_page(folder):
    assert write_report(folder).read_bytes() == write_report(folder).read_bytes()


def test_no_run_is_one_line(tmp_path):
    with pytest.raises(UserError, match="not a run folder"):
        write_report(tmp_path)
