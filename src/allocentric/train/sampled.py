"""Answers sampled from the model before it is trained: how hard a question is, and what may be preferred to what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allocentric.agents.models import _checkpoint, hf
from allocentric.core.errors import UserError
from allocentric.core.runlog import read_samples
from allocentric.core.types import Item, Sampling
from allocentric.train.work import Work, world


def sampled_answers(
    work: Work, *, samples: int, max_new_tokens: int, temperature: float, batch_size: int
) -> list[tuple[list[str], list[float]]]:
    """Texts and scores of `samples` answers to every item, in the order of the items.

    They are drawn once per run folder and kept as `sampled/<item>`; what an earlier process drew is not drawn again.
    Processes that train together share the questions, and all of them get all answers.

    Raises:
        UserError: a question can't be asked.
    """
    asked, loaded = work.questions, work.checkpoint
    answering = hf.of_checkpoint(
        work.model_settings.model_copy(update={"batch_size": batch_size}),
        _checkpoint.Checkpoint(
            model=loaded.model, processor=loaded.processor, video=loaded.video, no_video=loaded.no_video
        ),
    )
    seeds = [work.recipe.seed * 1000 + k for k in range(samples)]
    draws = [Sampling(max_new_tokens=max_new_tokens, temperature=temperature, seed=seed) for seed in seeds]

    def drawn(item: Item) -> dict[str, Any]:
        responses = answering.generate([asked.prompt(item, draw) for draw in draws])
        failed = [response.error for response in responses if response.error is not None]
        if failed:
            return {"failed": f"item {item.id} can't be asked: {failed[0]}"}
        texts = [response.text for response in responses]
        return {"texts": texts, "scores": [asked.score(item, text).value or 0.0 for text in texts]}

    known = _known(work)
    _draw_missing(work, [item for item in asked.items if _key(item) not in known], known, drawn)
    return [(known[_key(item)]["texts"], known[_key(item)]["scores"]) for item in asked.items]


def _key(item: Item) -> str:
    return f"sampled/{item.id}"


def _known(work: Work) -> dict[str, Any]:
    """What was drawn before, as the first process finds it."""
    from accelerate.utils import broadcast_object_list

    found = [{key: row for key, row in read_samples(work.folder).items() if key.startswith("sampled/")}]
    return dict(broadcast_object_list(found)[0])


def _draw_missing(
    work: Work, missing: list[Item], known: dict[str, Any], drawn: Callable[[Item], dict[str, Any]]
) -> None:
    """Into `known` and the run log: in every round one item per process, so that little is lost with a process."""
    from accelerate.utils import gather_object

    rank, processes = world()
    for start in range(0, len(missing), processes):
        here = missing[start : start + processes]
        answers = gather_object([drawn(item) for item in here[rank : rank + 1]])
        for item, answer in zip(here, answers, strict=True):
            if "failed" in answer:  # every process learns of it, so that none waits for the others
                raise UserError(answer["failed"])
            known[_key(item)] = answer
            work.keep([(_key(item), answer)])
