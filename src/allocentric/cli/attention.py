"""Commands about attention: convert, bench."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from allocentric import terminal
from allocentric.cli.options import Json, Overrides
from allocentric.core.errors import UserError


def convert(
    checkpoint: Annotated[str, typer.Argument(help="Folder or hub id of an image-text-to-text checkpoint.")],
    recipe: Annotated[Path, typer.Argument(help="Recipe YAML (configs/convert/spatial_ttt.yaml).")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the hybrid; new or empty.")],
    revision: Annotated[str | None, typer.Option("--revision", help="Branch, tag or commit of a hub id.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of weights that the checkpoint doesn't have.")] = 0,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Turn attention layers of a vision-language model into recurrent or test-time-training layers."""
    from allocentric.core.config import load_recipe
    from allocentric.sparse_attn.convert import convert as convert_checkpoint
    from allocentric.sparse_attn.recipe import ConversionRecipe

    settings = load_recipe(recipe, ConversionRecipe, overrides or ())
    made = convert_checkpoint(checkpoint, settings, out, revision=revision, seed=seed)
    if json:
        terminal.print_json({**vars(made), "folder": str(made.folder)})
        return
    rows = [(str(index), kind) for index, kind in enumerate(made.layers)]
    notes = [
        f"{made.parameters:,} parameters, {made.new_parameters:+,} to the original",
        f"mixers carry {made.state_bytes:,} bytes per sequence after 4096 tokens",
        f"checkpoint: {made.folder}",
    ]
    terminal.print_table(["layer", "what"], rows, notes=notes)


bench = typer.Typer(help="Measure parts of the package.", no_args_is_help=True)


@bench.callback()
def _group() -> None:
    """Measure parts of the package."""


@bench.command("attention")
def bench_attention(
    methods: Annotated[str, typer.Option(help='Methods, with commas; "all"; "" for none.')] = "sliding_window,moba",
    mixers: Annotated[str, typer.Option(help='Mixers, with commas; "all".')] = "",
    lengths: Annotated[str, typer.Option(help="Tokens, with commas.")] = "1024,4096,16384",
    dtypes: Annotated[str, typer.Option(help="fp32, fp16, bf16, with commas.")] = "fp32",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 ...")] = "cpu",
    executor: Annotated[str, typer.Option(help="Executor of the methods; auto is the best that can.")] = "auto",
    batch: Annotated[int, typer.Option(min=1)] = 1,
    heads: Annotated[int, typer.Option(min=1, help="Query heads.")] = 8,
    kv_heads: Annotated[int | None, typer.Option(min=1, help="Key-value heads; default the query heads.")] = None,
    head_dim: Annotated[int, typer.Option(min=1)] = 64,
    bidirectional: Annotated[bool, typer.Option(help="Without causality, everywhere.")] = False,
    backward: Annotated[bool, typer.Option(help="Time forward and backward together, too.")] = True,
    stream: Annotated[int, typer.Option(min=0, help="Single steps to time; 0 is none.")] = 32,
    repeats: Annotated[int, typer.Option(min=1, help="Timed calls, of which the median counts.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch on the CPU.")] = 1,
    peak: Annotated[float | None, typer.Option(help="Peak TFLOP/s of the device, where we don't know it.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", "-s", metavar="NAME.KEY=VALUE", help="Setting of a method or mixer.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="Commit to compare with: same measurements, a ratio column.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for attention.md, .csv, .json and plots.")] = None,
    json: Json = False,
) -> None:
    """Time, memory, error, recall, state and streaming of attention methods and mixers, beside dense attention."""
    from allocentric.core.config import settings_from_mapping
    from allocentric.sparse_attn.bench import against, report, run
    from allocentric.sparse_attn.bench.job import Job

    values: dict[str, Any] = {
        "methods": _names(methods), "mixers": _names(mixers), "lengths": _numbers(lengths), "dtypes": _names(dtypes),
        "device": device, "executor": executor, "batch": batch, "heads": heads, "kv_heads": kv_heads or heads,
        "head_dim": head_dim, "causal": False if bidirectional else None, "backward": backward, "stream": stream,
        "repeats": repeats, "threads": threads, "peak_tflops": peak, "settings": {}, "mixer_settings": {},
    }  # fmt: skip
    _apply(values, settings or [])
    job = settings_from_mapping(Job, values, where="command line")
    progress = terminal.TerminalProgress()
    result = run.run(job, progress) if base is None else against.compare(job, base, progress)
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    if out is not None:
        for path in report.write(result, out, command=command):
            terminal.say(f"wrote {path}")
    if json:
        terminal.print_json({**result, "command": command})
        return
    columns, rows, notes = report.table(result)
    terminal.print_table(columns, rows, notes=notes)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(name) for name in _names(text)]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise UserError(f"--lengths needs numbers of tokens with commas between, like 1024,4096; got {text!r}")
    return numbers


def _apply(values: dict[str, Any], overrides: list[str]) -> None:
    """Give settings to the method of that name, or else to the mixer."""
    from allocentric.core.config import apply_override

    for override in overrides:
        name = override.partition(".")[0].replace("-", "_")
        is_mixer = name in values["mixers"] and name not in values["methods"]
        group = values["mixer_settings" if is_mixer else "settings"]
        apply_override(group, name + override[len(name) :])
