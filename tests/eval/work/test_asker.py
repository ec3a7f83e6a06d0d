"""Reading and asking overlap, within bounds; a picture that can't be read costs only its questions."""

from __future__ import annotations

import threading

import fake_workers
import pytest

from allocentric.core.errors import DataError, UserError
from allocentric.core.runlog import RunLog, read_samples
from allocentric.eval.recipe import plan
from allocentric.eval.run import evaluate
from allocentric.eval.work import asker as module
from allocentric.eval.work.asker import DEPTH, Asker, Order, Task
from allocentric.eval.work.questions import Inquiry


@pytest.fixture
def steady(fake, recipe, tmp_path):
    """A recipe that asks the backend "steady", three questions at a time."""
    fake_workers.install_model()
    fake_workers.behave(tmp_path / "notes")
    model = {"name": "steady", "label": "steady", "notes": str(tmp_path / "notes" / "note")}
    return recipe(models=[model], batch_size=3, baselines=False)


def test_the_next_pictures_are_read_while_the_model_answers_and_no_more(steady, tmp_path, monkeypatch):
    """The model does not answer a parcel before the pictures of the next are read."""
    real_load, real_generate = module.load_views, fake_workers.Model.generate
    read, answered = [], []
    changed = threading.Condition()

    def load(item, indices, policy):
        with changed:
            read.append(item.id)
            assert len(read) <= len(answered) + 3 * DEPTH, "more than two parcels in memory"
            changed.notify_all()
        return real_load(item, indices, policy)

    def generate(self, batch):
        wanted = min(36, len(answered) + 6)
        with changed:
            assert changed.wait_for(lambda: len(read) >= wanted, timeout=10), "nothing is read while the model answers"
            responses = real_generate(self, batch)
            answered.extend(prompt.item_id for prompt in batch)
        return responses

    monkeypatch.setattr(module, "load_views", load)
    monkeypatch.setattr(fake_workers.Model, "generate", generate)
    assert evaluate(steady, tmp_path / "runs").asked == 36
    assert read == answered


def test_pictures_lost_meanwhile_fail_their_questions_by_name(steady, tmp_path, monkeypatch):
    real = module.load_views

    def load(item, indices, policy):
        if item.id in {"1-2", "4-0"}:
            raise DataError("v.mp4 is truncated: frame 7 can't be decoded; replace the file")
        return real(item, indices, policy)

    monkeypatch.setattr(module, "load_views", load)
    result = evaluate(steady, tmp_path / "runs")
    errors = {
        r["item"]: r["response"]["error"] for r in read_samples(result.folder).values() if r["response"]["error"]
    }
    assert set(errors) == {"1-2", "4-0"}
    assert errors["1-2"] == "item 1-2: v.mp4 is truncated: frame 7 can't be decoded; replace the file"
    assert result.exit_code == 2
    monkeypatch.setattr(module, "load_views", real)
    assert evaluate(steady, tmp_path / "runs").asked == 2


def test_a_picture_missing_from_the_start_is_a_refusal_that_names_the_item(steady, tmp_path):
    job = plan(steady)
    (tmp_path / "pictures" / "3-1.jpg").unlink()
    with RunLog(tmp_path / "run", job.settings) as log, pytest.raises(DataError, match=r"item 3-0: .*3-1\.jpg"):
        list(Inquiry(job, log).questions(0))


def test_a_worker_with_other_data_refuses(steady):
    job = plan(steady)
    order = Order(number=0, contestant=0, tasks=(Task(item_id=job.items[0].id, row="other", indices=()),))
    with pytest.raises(UserError, match="a worker reads other data than the driver: item 0-0 differs"):
        Asker(job).load(order)
