"""The command: makes the models, measures, prints, writes JSON and a plot, and compares with a baseline.

Exit codes: 0 done, 1 failed or worse than the baseline, 2 wrong usage. Next: cells.py.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
from tqdm import tqdm

from bitnet_ffi import BitnetError, Model

from . import BenchError, cells, gates, loads, maker, plot, report
from .installed import is_installed
from .reads import KV_BYTES
from .shapes import SHAPES, Shape, shape_of
from .worker import Worker, worker_name


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


def has_peer() -> bool:
    if not is_installed("llama_cpp"):
        say("llama.cpp: not installed, so no ratios to it; pip install 'bitnet-ffi[bench]' brings it")
        return False
    return True


def peer_file(shape: Shape, seed: int) -> Path | None:
    """llama.cpp's file of the same weights; None, with the reason said, where there can be no comparison."""
    if not has_peer():
        return None
    try:
        return make_model(shape, "tq2_0", seed)
    except BenchError as error:
        say(f"llama.cpp: left out: {error}")
        return None


@dataclass(frozen=True)
class Subject:
    """What is measured: a name, the positions it was trained for, and a file; llama.cpp's file, None: it stays out."""

    name: str
    n_ctx: int
    path: Path
    peer_path: Path | None
    is_file: bool


def subject_of_file(path: Path, peer: bool) -> Subject:
    """A real file, the same for both engines."""
    try:
        with Model(path, vocab_only=True) as model:
            n_ctx = int(model.metadata[f"{model.metadata['general.architecture']}.context_length"])
    except BitnetError as error:
        raise BenchError(str(error)) from None
    return Subject(path.stem, n_ctx, path, path if peer and has_peer() else None, True)


def subject_of_shape(name: str, weights: str, seed: int, peer: bool) -> Subject:
    shape = shape_of(name)
    path = make_model(shape, weights, seed)
    return Subject(shape.name, shape.n_ctx, path, peer_file(shape, seed) if peer else None, False)


def fitting(tests: Iterable[cells.Test], n_ctx: int) -> list[cells.Test]:
    """Those that the model has positions for; the others are named."""
    tests = list(tests)
    fits = [test for test in tests if test.context + test.n <= n_ctx]
    for test in dict.fromkeys((test.name, test.context) for test in tests if test not in fits):
        say(f"{test[0]} at context {test[1]}: left out, the model has {n_ctx} positions")
    if not fits:
        raise BenchError(f"nothing is left to measure: the model has {n_ctx} positions")
    return fits


def build_plan(subject: Subject, options: dict) -> cells.Plan:
    quick = options["quick"]
    defaults = {"threads": default_thread_counts(), "prompts": [128, 512], "n_generate": 32, "batches": [1, 8, 32],
                "contexts": [0, 3500], "repeats": 5}
    if quick:
        defaults |= {"prompts": [128], "n_generate": 16, "batches": [1], "contexts": [0], "repeats": 3}
    chosen = {name: default if options[name] is None else options[name] for name, default in defaults.items()}
    repeats = chosen.pop("repeats")
    tests = cells.all_tests(**chosen, deep_batches=options["deep_batches"])
    return cells.Plan(subject.name, fitting(tests, subject.n_ctx), repeats, options["kv_type"])


def build_gates_plan(subject: Subject, chosen: Iterable[gates.Gate], options: dict) -> cells.Plan:
    """The cells that these gates speak of, the deepest context last: filling it takes longest."""
    decides = [name for name in ("threads", "prompts", "n_generate", "batches", "contexts") if options[name] is not None]
    if decides or options["quick"] or options["deep_batches"]:
        raise click.UsageError(f"--gates decides what is measured: leave out {', '.join(decides) or '--quick and --deep-batches'}")
    n_cpus = len(os.sched_getaffinity(0))
    keys = dict.fromkeys(gate.key for gate in chosen if gate.test != "load" and gate.threads <= n_cpus)
    tests = sorted((cells.test_of(*key) for key in keys), key=lambda test: (*test.group, test.threads))
    return cells.Plan(subject.name, fitting(tests, subject.n_ctx), options["repeats"] or 5, options["kv_type"])


def interrupt(*_) -> None:
    """SIGTERM as Ctrl-C: a run that a job scheduler ends keeps its cells too."""
    raise KeyboardInterrupt


def measure(plan: cells.Plan, files: dict[tuple[str, str | None], Path]) -> dict:
    """Start an engine per entry of `files` and run the plan; the document of the run."""
    about = report.machine()
    if about["load_average"][0] > 0.5:
        say(f"load average {about['load_average'][0]:.1f}: other work runs, so figures will be too low")
    with ExitStack() as stack:
        bar = stack.enter_context(tqdm(total=len(plan.tests), disable=None, leave=False, unit="cell"))
        workers = {}
        for (engine, kernels), path in files.items():
            worker = stack.enter_context(Worker(engine, kernels))
            workers[worker] = str(path)

        def tick(text: str) -> None:
            bar.set_description(text)
            if text.startswith(tuple(cells.SHORT.values())):
                bar.update()
        timed_loads = loads.measure(workers, max(plan.threads), min(loads.PROCESSES, plan.repeats), tick)
        tick("loading")
        reads = loads.load_all(workers)
        result = cells.run(plan, reads, tick)
        engines = [{"engine": worker.name, **worker.about, "file": os.path.basename(path), "file_bytes": os.path.getsize(path),
                    "reads": asdict(reads[worker][0])} for worker, path in workers.items()]
        n_weights = next(in_file.n_weights for _, in_file in reads.values())
    return {"schema": report.SCHEMA_VERSION, "time": datetime.now(UTC).isoformat(timespec="seconds"), "machine": about,
            "model": {"name": plan.model, "n_weights": n_weights, "kv_type": plan.kv_type},
            "engines": engines, "loads": timed_loads, **result}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--shape", "shape_name", default="2b-4t", show_default=True, metavar="NAME",
              help=f"One of {', '.join(SHAPES)}.")
@click.option("--model", "model_path", type=click.Path(path_type=Path, dir_okay=False, exists=True),
              help="Measure this GGUF file on both engines, not a shape.")
@click.option("--gates", "want_gates", is_flag=True,
              help="Measure what this project's gates speak of, and print them: wanted, measured.")
@click.option("--weights", type=click.Choice(["i2_s", "tq2_0"]), default="i2_s", show_default=True,
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
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the random weights.")
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="Write the run there.")
@click.option("--plot", "plot_path", type=click.Path(path_type=Path, dir_okay=False),
              help="Draw tokens/s there (PNG, SVG, PDF).")
@click.option("--baseline", type=click.Path(path_type=Path, dir_okay=False, exists=True),
              help="A run to compare with, by ratios.")
@click.option("--tolerance", type=click.FloatRange(0, 1, max_open=True), default=0.1, show_default=True,
              help="How much worse is no regression.")
def main(shape_name, model_path, want_gates, weights, kernels, seed, peer, json_path, plot_path, baseline, tolerance, **options) -> None:
    """Measure decode and prompt speed on a model of a published shape with random weights, or on a file."""
    signal.signal(signal.SIGTERM, interrupt)
    try:
        if plot_path:
            plot.require()
        for out in (json_path, plot_path):
            if out and not out.absolute().parent.is_dir():
                raise BenchError(f"{out}: there is no folder of that name")  # said now, not after an hour of measuring
        before = report.read_document(baseline) if baseline else None
        subject = subject_of_file(model_path, peer) if model_path else subject_of_shape(shape_name, weights, seed, peer)
        files: dict[tuple[str, str | None], Path] = {("bitnet_ffi", table): subject.path for table in kernels or (None,)}
        chosen = {worker_name(*engine): gates.gates_of(engine[1], subject.is_file) for engine in files} if want_gates else {}
        if subject.peer_path:
            files["llama.cpp", None] = subject.peer_path
        plan = (build_gates_plan(subject, itertools.chain(*chosen.values()), options) if want_gates else
                build_plan(subject, options))
        document = measure(plan, files)
        if want_gates:
            document["gates"] = gates.rows(document, chosen)
        report.check_form(document)
        click.echo("\n".join(report.lines(document)))
        if want_gates:
            click.echo("\n" + "\n".join(report.gate_lines(document["gates"])))
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
