"""Play an environment with models and baselines, and leave a run folder that says everything.

Every finished episode is on the disk before the next is waited for. Repeating a command continues: episodes that are
there are not played again, those whose model gave no answer are.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from allocentric.agents import rollout as rollouts
from allocentric.agents.adapters import Adapter
from allocentric.agents.image_tokens import FAMILIES, EpisodeShape, PictureCost, TokenPlan, plan
from allocentric.agents.rollout import Start
from allocentric.core import config
from allocentric.core.config import load_recipe, resolved
from allocentric.core.errors import SettingsError, UserError, suggestion
from allocentric.core.progress import Progress, SilentProgress
from allocentric.core.records import digest
from allocentric.core.runlog import RunLog, read_json, run_folder
from allocentric.core.types import Episode, Image
from allocentric.eval.arenas import Arena, StreamArena, arena
from allocentric.eval.episodes import episode_record, table_from_records
from allocentric.eval.recipe import Contestant, contestant
from allocentric.eval.results import interval_text
from allocentric.eval.run import FINISHED, FINISHED_WITH_FAILURES
from allocentric.eval.stream_report import write_stream_report
from allocentric.eval.watchers import WATCHING, WatchingContestant, watching_contestant

_STATUS_EVERY_S = 2.0
_CHARACTERS_PER_TOKEN = 2.5  # fewer than any of the planned families needs for English, so that plans err upwards


class Budget(config.Settings):
    """The context of a model that only its server knows."""

    context_tokens: int = Field(ge=1)
    """Longest prompt and answer together."""
    family: str = "qwen2_5_vl"
    """Rule of its image tokens: qwen2_5_vl or qwen3_vl."""


class RolloutRecipe(config.Settings):
    """One environment, the models that play it, and how."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """First part of the run folder's name."""
    env: dict[str, Any]
    """`id` of an environment, and its settings."""
    models: tuple[dict[str, Any], ...] = ()
    """For each: `name` of a model backend, its settings, and optionally the `label` it has in the table."""
    form: Literal["text", "tools"] = "text"
    """How models act."""
    reader: str = "strict-v1"
    """Version of the reader of their texts: strict-v1, lenient-v1, or for heads hstar-v1."""
    episodes: int | None = Field(default=None, ge=1)
    """Play only this many, drawn with `seed`; None is every task of a folder, or 100 generated episodes."""
    seed: int = 0
    """Of the draw, the episodes, the baselines and the models' sampling."""
    batch_size: int = Field(default=8, ge=1)
    """Episodes of a model that are played at once."""
    window: int | None = Field(default=2, ge=0)
    """Past rounds a model is shown beside the present one; null shows all."""
    max_turns: int | None = Field(default=None, ge=1)
    """Turns of an episode; null is the environment's own limit, which hstar-v1 does not have."""
    max_new_tokens: int = Field(default=512, ge=1)
    """Longest text of a turn."""
    temperature: float = Field(default=0.0, ge=0.0)
    """0 is greedy."""
    baselines: bool = True
    """Add the environment's baselines."""
    pictures: bool = False
    """Keep what was seen, as PNG files in the run folder."""
    budget: Budget | None = None
    """Context of served models, so that a run that can't fit is refused; checkpoints (hf) say theirs."""
    level: float = Field(default=0.95, gt=0, lt=1)
    """Nominal coverage of the intervals."""
    stop_after_failures: int = Field(default=20, ge=1)
    """Give up on a model after this many failed episodes in a row; what is played is kept."""


@dataclass(frozen=True, kw_only=True)
class RolloutResult:
    """What a run left behind."""

    folder: Path
    """The run folder."""
    results: dict[str, Any]
    """Content of results.json."""
    played: int
    """Episodes played by this call; 0 where everything was there."""

    @property
    def exit_code(self) -> int:
        """0 where every episode was played, 2 where some failed."""
        return 0 if self.results["state"] == FINISHED else 2


def load_rollout_recipe(path: Path, overrides: Sequence[str] = ()) -> RolloutRecipe:
    """Read a recipe YAML with overrides ("env.protocol=hstar-v1"). A run folder's config.yaml is a recipe too."""
    recipe = load_recipe(path, RolloutRecipe, overrides)
    # what the environment added for the record is not a setting of it
    return recipe.model_copy(update={"env": {key: value for key, value in recipe.env.items() if key != "tasks"}})


def run_rollouts(recipe: RolloutRecipe, runs_dir: Path, progress: Progress | None = None) -> RolloutResult:
    """Play `recipe`, or continue it, in its folder below `runs_dir`.

    Raises:
        UserError: Wrong settings, episodes that do not fit a model's context, a full disk, a model that keeps failing,
            or a folder in use. All episodes up to there are kept.
    """
    job = _Job(recipe)
    with RunLog(run_folder(runs_dir, recipe.name, job.settings), job.settings) as log:
        done = read_json(log.folder, "results.json")
        if done is not None and done.get("state") == FINISHED and done.get("identities") == job.identities:
            return RolloutResult(folder=log.folder, results=done, played=0)
        work = _Work(job, log, progress or SilentProgress())
        try:
            work.play_all()
        finally:
            work.progress.stop()
        results = work.results()
        if isinstance(job.arena, StreamArena):
            write_stream_report(log.folder, work.records(), results, job.arena)
        log.write("results.json", json.dumps(results, indent=2) + "\n")
        log.say(f"{results['state']}: {work.played} episodes played")
    return RolloutResult(folder=log.folder, results=results, played=work.played)


class _Job:
    """A recipe with everything resolved."""

    def __init__(self, recipe: RolloutRecipe) -> None:
        self.recipe = recipe
        self.arena: Arena = arena(recipe.env)
        entry = watching_contestant if isinstance(self.arena, StreamArena) else _playing_contestant
        self.contestants: tuple[Contestant | WatchingContestant, ...] = tuple(entry(one) for one in recipe.models)
        labels = [one.label for one in self.contestants]
        doubled = sorted({label for label in labels if labels.count(label) > 1})
        if doubled:
            raise SettingsError(f"two models are called {doubled[0]!r}; give each its own `label`")
        if not self.contestants and not recipe.baselines:
            raise SettingsError("the recipe names no models and has baselines: false; there is nobody to play")
        limit = recipe.max_turns or self.arena.turn_limit
        if limit is None:
            raise SettingsError("these rules have no turn limit of their own; set max_turns (H* plays 10)")
        self.play = rollouts.Settings(
            window=recipe.window,
            max_turns=limit,
            max_new_tokens=recipe.max_new_tokens,
            temperature=recipe.temperature,
        )
        self.adapter: Adapter | None = self.arena.adapter(recipe.form, recipe.reader)
        if self.adapter is not None:
            self.adapter.read("")  # an unknown reader is an error now, not after the model is loaded
        watched = WATCHING if self.contestants else None
        self.adapter_name = watched if self.adapter is None else self.adapter.name
        self.starts = self.arena.starts(recipe.episodes, recipe.seed)
        self.identities = {one.label: one.identity() for one in self.contestants}
        models = [{**one.record(), "label": one.label} for one in self.contestants]
        env = self.arena.settings
        self.settings = {**resolved(recipe), "env": env, "models": models, "max_turns": limit}

    def budgets(self) -> dict[str, int]:
        """What watchers' memories may keep, by label."""
        return {one.label: one.budget_bytes for one in self.contestants if isinstance(one, WatchingContestant)}


def _playing_contestant(values: Mapping[str, Any]) -> Contestant:
    return contestant(values, baseline=False)


class _Work:
    """The state of one call."""

    def __init__(self, job: _Job, log: RunLog, progress: Progress) -> None:
        self.job, self.log, self.progress = job, log, progress
        self.played = 0
        self._records = log.read()
        self._labels: list[str] = []
        self._numbers = {start.key: number for number, start in enumerate(job.starts)}
        self._chance: dict[str, float | None] = {}
        self._next_status_s = 0.0

    def play_all(self) -> None:
        """Models, then baselines."""
        for one in self.job.contestants:
            pending = self._pending(one.label, self.job.identities[one.label])
            if not pending:
                continue
            if isinstance(one, WatchingContestant):
                self._watch(one, pending)
            else:
                self._play_model(one, pending)
        if self.job.recipe.baselines:
            env = self.job.arena.make()
            for name, policy in self.job.arena.baselines(env).items():
                pending = self._pending(name, name)
                turns = self.job.play.max_turns
                played = ((start, rollouts.play(policy, env, start, max_turns=turns)) for start in pending)
                self._keep(name, name, played, baseline=True)

    def records(self) -> list[dict[str, Any]]:
        """The last one of every policy and episode."""
        last = {(record["policy"], record["number"]): record for record in self._records.values()}
        return [
            last[label, number]
            for label in self._labels
            for number in self._numbers.values()
            if (label, number) in last
        ]

    def results(self) -> dict[str, Any]:
        """results.json."""
        records = self.records()
        table = table_from_records(records, level=self.job.recipe.level)
        failed = sum(row["failed"] for row in table["policies"])
        complete = len(records) == len(self._labels) * len(self._numbers)
        return {
            "state": FINISHED if complete and not failed else FINISHED_WITH_FAILURES,
            "recipe": self.job.recipe.name,
            "env": self.job.arena.settings,
            "adapter": self.job.adapter_name,
            "identities": self.job.identities,
            **({"budgets": budgets} if (budgets := self.job.budgets()) else {}),
            "episodes": len(self._numbers),
            "interval": "Wilson, at the effective number of episodes where several share a scene",
            **table,
            "left_out": self.job.arena.left_out if self.job.recipe.baselines else {},
        }

    def _pending(self, label: str, identity: str) -> list[Start]:
        self._labels.append(label)
        done = {key for key, record in self._records.items() if "failed" not in record["episode"]["outcome"]}
        pending = [start for start in self.job.starts if self._key(identity, start) not in done]
        self.progress.start(len(self.job.starts), label)
        self.progress.advance(len(self.job.starts) - len(pending))
        return pending

    def _watch(self, one: WatchingContestant, pending: Sequence[Start]) -> None:
        play, env = self.job.play, self.job.arena.make()
        watcher = one.build(max_new_tokens=play.max_new_tokens, temperature=play.temperature)
        self.log.say(f"{one.label}: {len(pending)} of {len(self.job.starts)} streams to watch")
        watched = ((start, rollouts.watch(watcher, env, start, max_turns=play.max_turns)) for start in pending)
        self._keep(one.label, self.job.identities[one.label], watched, baseline=False)

    def _play_model(self, one: Contestant, pending: Sequence[Start]) -> None:
        adapter = self.job.adapter
        assert adapter is not None, "models without an adapter are refused"
        model = one.build({})
        envs = [self.job.arena.make() for _ in range(min(self.job.recipe.batch_size, len(pending)))]
        budget = plan_of(self.job.recipe, one, model, adapter, envs[0], pending[0], self.job.play)
        if budget is not None:
            self.log.say(f"{one.label}: {budget.text()}")
        self.log.say(f"{one.label}: {len(pending)} of {len(self.job.starts)} episodes to play")
        played = rollouts.rollout(model, envs, pending, adapter, self.job.play)
        self._keep(one.label, self.job.identities[one.label], played, baseline=False)

    def _keep(self, label: str, identity: str, played: Iterable[tuple[Start, Episode]], *, baseline: bool) -> None:
        failures = 0
        for start, episode in played:
            key, record = self._key(identity, start), self._record(label, start, episode, baseline=baseline)
            self.log.append([(key, record)])
            self._records[key] = record
            self.played += 1
            self.progress.advance(1, self._status(label))
            failures = failures + 1 if "failed" in episode.outcome else 0
            if failures >= self.job.recipe.stop_after_failures:
                raise UserError(
                    f"{label} failed {failures} times in a row, last: {episode.outcome['failed']}; episodes so far "
                    f"are kept in {self.log.folder}: repeat the command to continue"
                )

    def _record(self, label: str, start: Start, episode: Episode, *, baseline: bool) -> dict[str, Any]:
        arena_ = self.job.arena
        if start.key not in self._chance:
            self._chance[start.key] = arena_.chance(start)
        outcome = dict(episode.outcome)
        seconds = outcome.pop("seconds")
        outcome |= {"level": arena_.level(outcome["level"]), "chance": self._chance[start.key]}
        return episode_record(
            policy=label,
            env=arena_.id,
            number=self._numbers[start.key],
            episode=replace(episode, outcome=outcome),
            seconds=seconds,
            baseline=baseline,
            picture=self._save_picture if self.job.recipe.pictures else None,
        )

    def _key(self, identity: str, start: Start) -> str:
        settings = [self.job.arena.settings, resolved(self.job.play), self.job.adapter_name]
        return digest([identity, settings, start.key, start.seed, dict(start.options)])

    def _status(self, label: str) -> str:
        """The remark beside the progress bar, every few seconds."""
        if time.monotonic() < self._next_status_s:
            return ""
        self._next_status_s = time.monotonic() + _STATUS_EVERY_S
        records = [record for record in self._records.values() if record["policy"] == label]
        (row,) = table_from_records(records)["policies"]
        return interval_text(row["overall"])

    def _save_picture(self, picture: Image) -> str:
        from PIL import Image as PillowImage

        name = f"pictures/{hashlib.sha256(picture.tobytes()).hexdigest()[:24]}.png"
        path = self.log.folder / name
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            PillowImage.fromarray(picture).save(path)
        return name


# --------------------------------------------------------------------------------------------------------- planning


def plan_of(
    recipe: RolloutRecipe,
    one: Contestant,
    model: Any,
    adapter: Adapter,
    env: Any,
    start: Start,
    play: rollouts.Settings,
) -> TokenPlan | None:
    """The longest prompt of an episode beside the model's context; None where neither is known.

    Text is taken at 2.5 characters a token, more tokens than the planned families make of it.

    Raises:
        UserError: It does not fit; the message has the numbers and what to change.
    """
    known = _context(recipe, one, model)
    if known is None:
        return None
    cost, context_tokens = known
    observation, _ = env.reset(seed=start.seed, options=dict(start.options) or None)
    prompt = rollouts.turn_prompt(adapter, observation, (), play, key=start.key, seed=start.seed)
    height, width = adapter.picture(observation).shape[:2]
    planned = plan(
        EpisodeShape(
            width_px=width,
            height_px=height,
            turns=play.max_turns,
            window=play.window,
            system_tokens=_text_tokens(prompt.system or ""),
            round_tokens=_text_tokens(prompt.text),
            new_tokens=play.max_new_tokens,
        ),
        cost,
        context_tokens,
    )
    planned.require(cost)
    return planned


def _context(recipe: RolloutRecipe, one: Contestant, model: Any) -> tuple[PictureCost, int] | None:
    if one.backend == "hf":
        known: tuple[PictureCost, int] | None = model.picture_budget()
        return known
    if recipe.budget is None:
        return None
    family = recipe.budget.family
    if family not in FAMILIES:
        raise SettingsError(f"budget.family: unknown family {family!r}" + suggestion(family, FAMILIES))
    return FAMILIES[family], recipe.budget.context_tokens


def _text_tokens(text: str) -> int:
    return int(len(text) / _CHARACTERS_PER_TOKEN) + 16  # the frame of a message
