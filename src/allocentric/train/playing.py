"""The model in training plays whole episodes, greedily: the held-out curve of search and walking."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from transformers import Trainer, TrainerCallback

from allocentric.train.episodes import (
    Episodes,
    Scribe,
    carried_out,
    factory,
    model_inputs,
    pictures_of,
    tools_of,
)
from allocentric.train.grpo import unwritten
from allocentric.train.work import Work


class Game:
    """One episode in progress."""

    def __init__(self, environment: Any, row: Any, scribe: Scribe, *, calls: bool) -> None:
        """`calls`: the model calls functions."""
        self.environment = environment
        self.texts: list[str] = []
        """What the model wrote, by turn."""
        opening = environment.reset(**row)
        self.ids = scribe.opening(opening, tools_of(environment) if calls else ())
        """Of the sequence so far."""
        self.pictures = pictures_of(opening)
        """So far."""
        self.ended = False

    def record(self) -> dict[str, Any]:
        """How it went."""
        environment = self.environment
        return {
            "texts": self.texts,
            "turns": environment.turns,
            "level": environment.level,
            "success": bool(environment.succeeded),
            "format": bool(environment.well_formed),
            "distance": round(float(environment.progress), 4),
        }


class Player:
    """Plays with a model and processor as `turns` does, but greedily."""

    def __init__(self, model: Any, processor: Any, played: Episodes, *, template: Any, turn_tokens: int) -> None:
        """`turn_tokens` is the longest text of a turn."""
        self._model, self._processor, self._settings = model, processor, played.settings
        self._scribe = Scribe(processor, played.settings, template=template)
        self._make = factory(played.settings)
        self._pool: list[Any] = []
        self._options = {
            "do_sample": False, "temperature": None, "top_p": None, "top_k": None, "max_new_tokens": turn_tokens,
            "suppress_tokens": unwritten(processor.tokenizer),
        }  # fmt: skip

    def play(self, rows: Sequence[Any]) -> list[dict[str, Any]]:
        """Records of the episodes of rows, played side by side."""
        while len(self._pool) < len(rows):
            self._pool.append(self._make())
        calls = self._settings.protocol == "tools"
        games = [Game(env, row, self._scribe, calls=calls) for env, row in zip(self._pool, rows, strict=False)]
        for _ in range(self._settings.max_turns):
            playing = [game for game in games if not game.ended]
            if not playing:
                break
            for game, said in zip(playing, self._written(playing), strict=True):
                self._take(game, said)
        return [game.record() for game in games]

    def _take(self, game: Game, said: list[int]) -> None:
        text = self._processor.tokenizer.decode(said, skip_special_tokens=True)
        game.texts.append(text)
        answer = carried_out(game.environment, self._settings, text)
        if answer is None:
            game.ended = True
            return
        game.ids += said + self._scribe.reply(*answer)
        game.pictures += pictures_of(answer[0])
        game.ended = game.environment.over

    def _written(self, games: Sequence[Game]) -> list[list[int]]:
        """The tokens of one turn of each, up to the one that ends it."""
        import torch

        pictures = [picture for game in games for picture in game.pictures]
        image_token = self._model.config.image_token_id
        inputs = model_inputs(self._processor, [game.ids for game in games], pictures, image_token)
        inputs = {name: value.to(self._model.device) for name, value in inputs.items()}
        inputs["pixel_values"] = inputs["pixel_values"].to(self._model.dtype)
        with torch.inference_mode():
            output = self._model.generate(**inputs, **self._options)
        ends = self._model.generation_config.eos_token_id
        ends = {ends} if isinstance(ends, int) else set(ends or ())
        rows = output[:, inputs["input_ids"].shape[1] :].tolist()
        return [_up_to(row, ends) for row in rows]


def _up_to(ids: list[int], ends: set[int]) -> list[int]:
    end = next((place for place, token in enumerate(ids) if token in ends), len(ids) - 1)
    return ids[: end + 1]


class HeldOutEpisodes(TrainerCallback):  # type: ignore[misc]
    """Plays the held-out episodes every n steps, greedily, with the model in training.

    Episodes go to samples.jsonl under `held_out/<step>/<episode>`, means under `held_out/<step>` and to the tracker.
    """

    def __init__(self, work: Work, played: Episodes) -> None:
        assert work.recipe.held_out is not None
        self._work, self._played, self._settings = work, played, work.recipe.held_out
        self.trainer: Any = None
        """Set once it is built."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The model as it came."""
        del args, control
        if state.global_step == 0:
            self._play(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Every n steps, and after the last."""
        del args, control
        if state.global_step % self._settings.every == 0 or state.global_step == state.max_steps:
            self._play(state.global_step)

    def _play(self, step: int) -> None:
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        player = Player(
            model,
            self._work.checkpoint.processor,
            self._played,
            template=self._work.recipe.model.chat_template,
            turn_tokens=self._settings.max_new_tokens,
        )
        size, rows = self._settings.batch_size, self._played.rows
        training = model.training
        model.eval()
        try:
            records = [one for start in range(0, len(rows), size) for one in player.play(rows[start : start + size])]
        finally:
            model.train(training)
        means = summary(records)
        kept = [
            (f"held_out/{step:08d}/{name}", record) for name, record in zip(self._played.ids, records, strict=True)
        ]
        self._work.keep([*kept, (f"held_out/{step:08d}", {"step": step, **means})])
        curves = {f"held_out/{name}": value for name, value in means.items() if isinstance(value, int | float)}
        due = self.trainer.control.should_log  # which any call of `log` takes as done
        Trainer.log(self.trainer, curves)  # not the stage's own `log`, which empties its running means
        self.trainer.control.should_log = due


def summary(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Share of episodes that ended well, over all and by level, and means of the rest."""
    levels: dict[str, list[float]] = defaultdict(list)
    for record in records:
        if record["level"] is not None:
            levels[f"level {record['level']}"].append(float(record["success"]))
    mean = {name: _mean([float(record[name]) for record in records]) for name in ("format", "distance", "turns")}
    return {
        "score": _mean([float(record["success"]) for record in records]),
        "items": len(records),
        "failed": 0,
        "unreadable": sum(not record["format"] for record in records),  # in one turn or more
        **mean,
        "kinds": {level: _mean(values) for level, values in sorted(levels.items())},
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
