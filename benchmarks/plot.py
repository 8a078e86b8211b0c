"""A picture of a run: tokens per second over context, and over threads. Needs matplotlib (the `bench` extra)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from . import BenchError


def require() -> None:
    """BenchError when there is nothing to draw with: ask before hours of measuring."""
    if find_spec("matplotlib") is None:
        raise BenchError("--plot needs matplotlib: pip install 'bitnet-ffi[bench]'")


def draw(document: dict, path: Path) -> None:
    """Left: decoding one sequence over context, a line per engine and number of threads. Right: all tests without context
    over threads."""
    require()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    figure = Figure(figsize=(12, 5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    cells = document["cells"]

    def line(axes, chosen, x, label) -> None:
        points = sorted((cell[x], cell["tokens_per_s"]) for cell in chosen)
        axes.plot(*zip(*points), marker="o", label=label)

    engines = list(dict.fromkeys(cell["engine"] for cell in cells))
    for engine in engines:
        decodes = [cell for cell in cells if cell["engine"] == engine and cell["test"].startswith("tg")]
        for threads in sorted({cell["threads"] for cell in decodes}):
            chosen = [cell for cell in decodes if cell["batch"] == 1 and cell["threads"] == threads]
            if chosen:
                line(left, chosen, "context", f"{engine}, {threads} thread{'s' * (threads > 1)}")
        shallow = [cell for cell in cells if cell["engine"] == engine and cell["context"] == 0]
        for test, batch in dict.fromkeys((cell["test"], cell["batch"]) for cell in shallow):
            line(right, [cell for cell in shallow if (cell["test"], cell["batch"]) == (test, batch)], "threads",
                 f"{engine}, {test}" + (f" x {batch}" if batch > 1 else ""))
    left.set(xlabel="tokens of context", ylabel="tokens/s", title=f"decoding, {document['model']['name']}")
    right.set(xlabel="threads", ylabel="tokens/s", title="no context", yscale="log",
              xticks=sorted({cell["threads"] for cell in cells}))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize="small")
    left.set_ylim(bottom=0)
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise BenchError(f"{path}: the plot cannot be written: {error}") from None
