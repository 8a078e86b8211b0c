"""The command: makes the models, measures, prints, writes JSON and a plot, and compares with a baseline.

Exit codes: 0 done, 1 failed or worse than the baseline, 2 wrong usage. Next: cells.py.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import click
from tqdm import tqdm

from . import BenchError, cells, maker, plot, report
from .shapes import KV_BYTES, SHAPES, WEIGHT_BITS, Shape, shape_of
from .worker import Worker


class Numbers(click.ParamType):
    """1,2,4"""

    name = "n,n,..."

    def __init__(self, least: int):
        self.least = least

    def convert(self, value, param, ctx):
        if isinstance(value, list):
            return value
        try:
            numbers = [int(text) for text in str(value).split(",")]
        except ValueError:
            self.fail(f"'{value}': expected numbers with commas between them", param, ctx)
        if min(numbers) < self.least:
            self.fail(f"{min(numbers)}: expected {self.least} or more", param, ctx)
        return list(dict.fromkeys(numbers))


def default_thread_counts() -> list[int]:
    """1, 2, 4, ... and all CPUs that this process may use."""
    n = len(os.sched_getaffinity(0))
    return sorted({n, *(1 << i for i in range(n.bit_length()))})


def say(line: str) -> None:
    click.secho(line, dim=True, err=True)


def make_model(shape: Shape, weights: str, seed: int) -> Path:
    with tqdm(desc=f"making {shape.name} {weights}", unit="B", unit_scale=True, disable=None, leave=False) as bar:
        def update(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)
        return maker.cached_model(shape, weights, seed=seed, progress=update)


def peer_file(shape: Shape, seed: int) -> Path | None:
    """llama.cpp's file of the same weights; None, with the reason said, where there can be no comparison."""
    if find_spec("llama_cpp") is None:
        say("llama.cpp: not installed, so no ratios to it; pip install 'bitnet-ffi[bench]' brings it")
        return None
    try:
        return make_model(shape, "tq2_0", seed)
    except BenchError as error:
        say(f"llama.cpp: left out: {error}")
        return None


def build_plan(shape: Shape, weights: str, options: dict) -> cells.Plan:
    quick = options["quick"]
    defaults = {"threads": default_thread_counts(), "prompts": [128, 512], "n_generate": 32, "batches": [1, 8, 32],
                "contexts": [0, 3500], "repeats": 5}
    if quick:
        defaults |= {"prompts": [128], "n_generate": 16, "batches": [1], "contexts": [0], "repeats": 3}
    chosen = {name: default if options[name] is None else options[name] for name, default in defaults.items()}
    longest = max([chosen["n_generate"], *chosen["prompts"]])
    fits = [context for context in chosen["contexts"] if context + longest <= shape.n_ctx]
    for context in sorted(set(chosen["contexts"]) - set(fits)):
        say(f"context {context}: left out, the model has {shape.n_ctx} positions and {longest} more are needed")
    if not fits:
        raise BenchError(f"no context is left to measure: shape {shape.name} has {shape.n_ctx} positions")
    weight_bits = WEIGHT_BITS[weights] if options["weight_bits"] is None else options["weight_bits"]
    return cells.Plan(shape=shape, deep_batches=options["deep_batches"], kv_type=options["kv_type"],
                      weight_bits=float(weight_bits), head_bits=float(options["head_bits"]), **(chosen | {"contexts": fits}))


def interrupt(*_) -> None:
    """SIGTERM as Ctrl-C: a run that a job scheduler ends keeps its cells too."""
    raise KeyboardInterrupt


def measure(plan: cells.Plan, files: dict[tuple[str, str | None], Path]) -> dict:
    """Start an engine per entry of `files` and run the plan; the document of the run."""
    about = report.machine()
    if about["load_average"][0] > 0.5:
        say(f"load average {about['load_average'][0]:.1f}: other work runs, so figures will be too low")
    with ExitStack() as stack:
        bar = stack.enter_context(tqdm(total=plan.n_cells(), disable=None, leave=False, unit="cell"))
        workers = {}
        for (engine, kernels), path in files.items():
            worker = stack.enter_context(Worker(engine, kernels))
            workers[worker] = str(path)

        def tick(text: str) -> None:
            bar.set_description(text)
            if text.startswith(tuple(cells.SHORT)):
                bar.update()
        result = cells.run(plan, workers, tick)
        engines = [{"engine": worker.name, **worker.about, "file": os.path.basename(path),
                    "file_bytes": os.path.getsize(path)} for worker, path in workers.items()]
    document = {"schema": report.SCHEMA_VERSION, "time": datetime.now(UTC).isoformat(timespec="seconds"), "machine": about,
                "model": {"shape": plan.shape.name, "n_ternary": plan.shape.n_ternary, "weight_bits": plan.weight_bits,
                          "head_bits": plan.head_bits, "kv_type": plan.kv_type}, "engines": engines, **result}
    report.check_form(document)
    return document


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--shape", "shape_name", default="2b-4t", show_default=True, metavar="NAME",
              help=f"One of {', '.join(SHAPES)}.")
@click.option("--weights", type=click.Choice(sorted(WEIGHT_BITS)), default="i2_s", show_default=True,
              help="Type of the ternary weights.")
@click.option("--kernels", multiple=True, metavar="TABLE", help="Kernel table to force (repeat to compare several).")
@click.option("--threads", type=Numbers(1), help="Default: 1, 2, 4, ... and all CPUs.")
@click.option("--prompts", type=Numbers(1), help="Prompt lengths.  [128,512]")
@click.option("--generate", "n_generate", type=click.IntRange(1), help="Decoding steps.  [32]")
@click.option("--batches", type=Numbers(1), help="Sequences decoded together.  [1,8,32]")
@click.option("--contexts", type=Numbers(0), help="Tokens of context before the test.  [0,3500]")
@click.option("--deep-batches", is_flag=True, help="Fill the context of several sequences too (takes long).")
@click.option("--repeats", type=click.IntRange(1), help="Repetitions; the median counts.  [5]")
@click.option("--quick", is_flag=True, help="Few cells, 3 repetitions: a look, not a result.")
@click.option("--peer/--no-peer", default=True, help="Run llama.cpp beside it where llama-cpp-python is installed.")
@click.option("--kv-type", type=click.Choice(sorted(KV_BYTES)), default="f16", show_default=True,
              help="Numbers of the KV cache.")
@click.option("--weight-bits", type=float, help="Count ternary weights with so many bits.  [those of the file]")
@click.option("--head-bits", type=float, default=16, show_default=True, help="Count head weights with so many bits.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the random weights.")
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="Write the run there.")
@click.option("--plot", "plot_path", type=click.Path(path_type=Path, dir_okay=False),
              help="Draw tokens/s there (PNG, SVG, PDF).")
@click.option("--baseline", type=click.Path(path_type=Path, dir_okay=False, exists=True),
              help="A run to compare with, by ratios.")
@click.option("--tolerance", type=click.FloatRange(0, 1, max_open=True), default=0.1, show_default=True,
              help="How much worse is no regression.")
def main(shape_name, weights, kernels, seed, peer, json_path, plot_path, baseline, tolerance, **options) -> None:
    """Measure decode and prompt speed on a model of a published shape with random weights."""
    signal.signal(signal.SIGTERM, interrupt)
    try:
        if plot_path:
            plot.require()
        for out in (json_path, plot_path):
            if out and not out.absolute().parent.is_dir():
                raise BenchError(f"{out}: there is no folder of that name")  # said now, not after an hour of measuring
        before = report.read_document(baseline) if baseline else None
        shape = shape_of(shape_name)
        plan = build_plan(shape, weights, options)
        path = make_model(shape, weights, seed)
        files: dict[tuple[str, str | None], Path] = {("bitnet_ffi", table): path for table in kernels or (None,)}
        peer_path = peer_file(shape, seed) if peer else None
        if peer_path:
            files["llama.cpp", None] = peer_path
        document = measure(plan, files)
        click.echo("\n".join(report.lines(document)))
        if json_path:
            json_path.write_text(json.dumps(document, indent=1) + "\n")
        if plot_path:
            plot.draw(document, plot_path)
        if before:
            changes = report.compare(document, before, tolerance)
            click.echo("\n" + "\n".join(report.change_lines(changes)))
            if any(change.worse for change in changes):
                sys.exit(1)
    except (BenchError, OSError) as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
