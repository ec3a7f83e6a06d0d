"""Answers sampled from the model before it is trained: how hard a question is, and what may be preferred to what."""

from __future__ import annotations

from allocentric.agents.models import _checkpoint, hf
from allocentric.core.errors import UserError
from allocentric.core.runlog import read_samples
from allocentric.core.types import Sampling
from allocentric.train.work import Work


def sampled_answers(
    work: Work, *, samples: int, max_new_tokens: int, temperature: float, batch_size: int
) -> list[tuple[list[str], list[float]]]:
    """Texts and scores of `samples` answers to every item, in the order of the items.

    They are drawn once per run folder and kept as `sampled/<item>`; what an earlier process drew is not drawn again.

    Raises:
        UserError: a question can't be asked.
    """
    asked, loaded, known = work.questions, work.checkpoint, read_samples(work.folder)
    answering = hf.of_checkpoint(
        work.model_settings.model_copy(update={"batch_size": batch_size}),
        _checkpoint.Checkpoint(
            model=loaded.model, processor=loaded.processor, video=loaded.video, no_video=loaded.no_video
        ),
    )
    answers = []
    for item in asked.items:
        key = f"sampled/{item.id}"
        if key not in known:
            seeds = [work.recipe.seed * 1000 + k for k in range(samples)]
            draws = [Sampling(max_new_tokens=max_new_tokens, temperature=temperature, seed=seed) for seed in seeds]
            responses = answering.generate([asked.prompt(item, draw) for draw in draws])
            failed = [response.error for response in responses if response.error is not None]
            if failed:
                raise UserError(f"item {item.id} can't be asked: {failed[0]}")
            texts = [response.text for response in responses]
            known[key] = {"texts": texts, "scores": [asked.score(item, text).value or 0.0 for text in texts]}
            work.keep([(key, known[key])])
        answers.append((known[key]["texts"], known[key]["scores"]))
    return answers
