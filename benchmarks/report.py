"""A run as a document (JSON), as a table for people, and against a stored run.

A baseline is compared by ratios that mean the same on another machine: to llama.cpp in the same run where both runs have
it, else to the machine's roof. Knows no engine. Next: __main__.py.
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from . import BenchError
from .gates import PEER

SCHEMA_VERSION = 2
# What a document must hold: name -> type, or a list with the form of its items, or a dict of the same.
FORM = {
    "schema": int, "time": str,
    "model": {"name": str, "n_weights": int, "kv_type": str},
    "machine": {"cpu": str, "cpus": int, "system": str, "load_average": [float]},
    "engines": [{"engine": str, "version": str, "kernels": str, "file": str, "file_bytes": int,
                 "reads": {"layers": int, "choose": int, "logits": int, "kv_numbers": int}}],
    "loads": [{"engine": str, "mode": str, "file_bytes": int, "ready_s": [float], "ready_median_s": float,
               "first_token_median_s": float, "second_ready_median_s": float, "second_first_token_median_s": float,
               "resident": {"anonymous": int, "file": int, "total": int, "peak": int}}],
    "roofs": dict,
    "cells": [{"engine": str, "test": str, "threads": int, "batch": int, "context": int, "seconds": [float],
               "tokens_per_s": float, "spread": float, "gb_per_s": float, "gmac_per_s": float}],
}


def machine() -> dict:
    cpu = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return {"cpu": cpu, "cpus": len(os.sched_getaffinity(0)), "system": f"{platform.system()} {platform.release()}",
            "load_average": list(os.getloadavg())}


# ---- documents ----

def check_form(value, form=FORM, where: str = "document") -> None:
    """BenchError with the first place where a document has not the form it must have."""
    if isinstance(form, dict):
        if not isinstance(value, dict):
            raise BenchError(f"{where}: expected an object")
        for name, inner in form.items():
            if name not in value:
                raise BenchError(f"{where}: '{name}' is missing")
            check_form(value[name], inner, f"{where}.{name}")
    elif isinstance(form, list):
        if not isinstance(value, list):
            raise BenchError(f"{where}: expected a list")
        for i, item in enumerate(value):
            check_form(item, form[0], f"{where}[{i}]")
    elif isinstance(value, bool) or not isinstance(value, (int, float) if form is float else form):
        raise BenchError(f"{where}: {type(value).__name__}, expected {form.__name__}")


def read_document(path: Path) -> dict:
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BenchError(f"{path}: not a readable run: {error}") from None
    check_form(document, where=str(path))
    if document["schema"] != SCHEMA_VERSION:
        raise BenchError(f"{path}: schema {document['schema']}, expected {SCHEMA_VERSION}; measure the baseline anew")
    return document


def _key(cell: dict) -> tuple:
    return cell["test"], cell["threads"], cell["batch"], cell["context"]


def peer_ratios(document: dict) -> dict[tuple, float]:
    """(engine, test, threads, sequences, context) -> tokens/s over llama.cpp's in the same run."""
    peer = {_key(cell): cell["tokens_per_s"] for cell in document["cells"] if cell["engine"] == PEER}
    return {(cell["engine"], *_key(cell)): cell["tokens_per_s"] / peer[_key(cell)]
            for cell in document["cells"] if cell["engine"] != PEER and _key(cell) in peer}


# ---- the table ----

def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join([row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:]))]).rstrip()
            for row in rows]


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{fraction:.0%}"


def _load_lines(document: dict) -> list[str]:
    rows = [["engine", "mode", "ready s", "first token s", "again: ready", "first token", "resident MB", "own MB", "of the file", "peak MB"]]
    for load in document["loads"]:
        memory = load["resident"]
        rows.append([load["engine"], load["mode"], f"{load['ready_median_s']:.3f}", f"{load['first_token_median_s']:.3f}",
                     f"{load['second_ready_median_s']:.3f}", f"{load['second_first_token_median_s']:.3f}",
                     f"{memory['total'] / 1e6:.0f}", f"{memory['anonymous'] / 1e6:.0f}",
                     f"{memory['total'] / load['file_bytes']:.2f}", f"{memory['peak'] / 1e6:.0f}"])
    return _table(rows)


def _cell_lines(document: dict) -> list[str]:
    ratios = peer_ratios(document)
    rows = [["engine", "test", "threads", "seqs", "context", "tokens/s", "spread", "GB/s", "of read", "GMAC/s", "of int8",
             f"x {PEER}"]]
    for cell in document["cells"]:
        ratio = ratios.get((cell["engine"], *_key(cell)))
        rows.append([cell["engine"], cell["test"], str(cell["threads"]), str(cell["batch"]), str(cell["context"]),
                     f"{cell['tokens_per_s']:.2f}", f"{cell['spread']:.0%}", f"{cell['gb_per_s']:.1f}",
                     _percent(cell.get("read_fraction")), f"{cell['gmac_per_s']:.0f}", _percent(cell.get("mac_fraction")),
                     "" if ratio is None else f"{ratio:.2f}"])
    return _table(rows)


def lines(document: dict) -> list[str]:
    """The run for a reader; docs/BENCHMARKS.md explains the columns."""
    at, model = document["machine"], document["model"]
    out = [f"{at['cpu']}, {at['cpus']} CPUs, {at['system']}, load average {at['load_average'][0]:.1f} at the start",
           f"{model['name']}: {model['n_weights'] / 1e6:,.0f} M weights in layers, {model['kv_type']} cache"]
    for n, pair in document["roofs"].items():
        out.append(f"roofs, {n} thread{'s' * (n != '1')}: read {pair['read']['best'] / 1e9:.1f} GB/s; "
                   f"{pair['mac']['best'] / 1e9:.0f} G int8 multiply-adds/s ({pair['mac']['what']})")
    for engine in document["engines"]:
        reads = engine["reads"]
        out.append(f"{engine['engine']} {engine['version']}: {engine['kernels']}")
        bits = 8 * reads["layers"] / model["n_weights"]
        out.append(f"    a token reads {reads['layers'] / 1e6:.1f} MB of layers ({bits:.2f} bits a weight), "
                   f"{reads['choose'] / 1e6:.1f} of the head to choose one, {reads['logits'] / 1e6:.1f} for all logits")
    out += ["", *_load_lines(document), "", *_cell_lines(document)]
    for fill in document.get("fills", []):
        out.append(f"{fill['engine']}: {fill['batch']} x {fill['context']:,} tokens of context took {fill['seconds']:.1f} s")
    return out


def gate_lines(rows: list[dict]) -> list[str]:
    table = [["gate", "engine", "", "wanted", "measured", ""]]
    for row in rows:
        measured, held = row["measured"], row["held"]
        table.append([row["gate"], row["engine"], row["measure"], ("<= " if row["at_most"] else ">= ") + f"{row['wanted']:.2f}",
                      "not measured" if measured is None else f"{measured:.2f}", "" if held is None else "held" if held else "MISSED"])
    return _table(table)


# ---- against a baseline ----

@dataclass(frozen=True)
class Change:
    """One figure of both runs. worse: beyond the tolerance."""

    name: str
    measure: str
    before: float
    now: float
    worse: bool

    @property
    def ratio(self) -> float:
        return self.now / self.before


def compare(document: dict, baseline: dict, tolerance: float) -> list[Change]:
    """Each cell that both runs have, but for llama.cpp's own. Errors: BenchError for another model or another way to count
    its bytes, or nothing in common."""
    for name, now in document["model"].items():
        if baseline["model"].get(name) != now:
            raise BenchError(f"the baseline has {name} {baseline['model'].get(name)}, this run {now}: they cannot be compared")
    peers = peer_ratios(document), peer_ratios(baseline)
    fractions = [{(cell["engine"], *_key(cell)): cell["roof_fraction"] for cell in run["cells"]
                  if cell["engine"] != PEER and cell.get("roof_fraction")} for run in (document, baseline)]
    changes = []
    for key in dict.fromkeys([*peers[0], *fractions[0]]):
        for measure, (now, before) in ((f"x {PEER}", peers), ("of roof", fractions)):
            if key in now and key in before:
                engine, test, threads, batch, context = key
                changes.append(Change(f"{engine} {test} threads {threads} seqs {batch} context {context}", measure,
                                      before[key], now[key], now[key] < before[key] * (1 - tolerance)))
                break
    if not changes:
        raise BenchError("the baseline and this run have no cell in common: pass the baseline's options")
    return changes


def change_lines(changes: list[Change]) -> list[str]:
    rows = [["against the baseline", "measure", "before", "now", "ratio", ""]]
    for c in changes:
        rows.append([c.name, c.measure, f"{c.before:.3f}", f"{c.now:.3f}", f"{c.ratio:.2f}", "WORSE" if c.worse else ""])
    return _table(rows)
