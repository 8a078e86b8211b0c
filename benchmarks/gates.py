"""The speeds that this project wants, each with the cells it needs, and a table "wanted / measured" of a run.

A gate is a ratio within one run: to llama.cpp, to the machine's roof, to decoding one sequence, or to the size of the file; and two
times, of loading. Knows no engine. Next: __main__.py, option --gates.
"""

from __future__ import annotations

from dataclasses import dataclass

PEER = "llama.cpp"
UNITS = {"peer": "x llama.cpp", "read": "of read bandwidth", "mac": "of int8 peak", "single": "x one sequence",
         "seconds": "s to ready", "memory": "of the file resident"}
AT_MOST = ("seconds", "memory")


@dataclass(frozen=True)
class Gate:
    """measure: a key of UNITS. test "load": a mode of loading in place of the rest. table: of this kernel table only."""

    measure: str
    wanted: float
    test: str
    threads: int = 2
    batch: int = 1
    context: int = 0
    mode: str = ""

    @property
    def name(self) -> str:
        if self.test == "load":
            return f"load, {self.mode}"
        return (f"{self.test}, {self.threads} thread{'s' * (self.threads > 1)}" + f", {self.batch} sequences" * (self.batch > 1) +
                f", context {self.context:,}" * (self.context > 0))

    @property
    def key(self) -> tuple[str, int, int, int]:
        return self.test, self.threads, self.batch, self.context


def _ratios(prompt: float, decode: tuple[float, float], tests: tuple[str, str, str] = ("pp128", "pp512", "tg16")) -> list[Gate]:
    *prompts, steps = tests
    return [*(Gate("peer", prompt, test, n) for test in prompts for n in (1, 2)),
            *(Gate("peer", decode[n - 1], steps, n) for n in (1, 2))]


# The machine's best kernel table on ternary weights; llama.cpp's file of the same weights is TQ2_0.
BEST = [*_ratios(3.3, (1.5, 1.7)), *(Gate("mac", 0.75, "pp512", n) for n in (1, 2)),
        *(Gate("read", 0.88, "tg16", n) for n in (1, 2)), *(Gate("peer", 1.25, "lg16", n) for n in (1, 2)),
        Gate("peer", 1.5, "sm16", 1), Gate("peer", 1.7, "sm16", 2),
        *(Gate("single", 3.5, "tg16", n, batch=8) for n in (1, 2)),
        Gate("seconds", 0.6, "load", mode="in place"), Gate("seconds", 1.5, "load", mode="repacked"),
        Gate("memory", 1.25, "load", mode="repacked"),
        Gate("peer", 3.0, "tg16", context=3500), Gate("read", 0.8, "tg16", context=3500)]
# The avx2 table, beside a llama.cpp that may use everything the machine has.
AVX2 = _ratios(1.8, (1.3, 1.3))
# A real file, the same on both sides.
FILE = _ratios(1.0, (1.0, 1.0), ("pp128", "pp512", "tg64"))


def gates_of(table: str | None, is_file: bool) -> list[Gate]:
    """table: the kernel table that is forced, None: the best."""
    return FILE if is_file else AVX2 if table == "avx2" else BEST


def _measured(gate: Gate, engine: str, document: dict) -> float | None:
    if gate.test == "load":
        load = next((load for load in document["loads"] if (load["engine"], load["mode"]) == (engine, gate.mode)), None)
        if load is None:
            return None
        return load["ready_median_s"] if gate.measure == "seconds" else load["resident"]["total"] / load["file_bytes"]
    cells = {(cell["engine"], cell["test"], cell["threads"], cell["batch"], cell["context"]): cell for cell in document["cells"]}
    cell = cells.get((engine, *gate.key))
    if cell is None:
        return None
    if gate.measure in ("read", "mac"):
        return cell[f"{gate.measure}_fraction"]
    other = cells.get((PEER, *gate.key) if gate.measure == "peer" else (engine, gate.test, gate.threads, 1, gate.context))
    return None if other is None else cell["tokens_per_s"] / other["tokens_per_s"]


def rows(document: dict, chosen: dict[str, list[Gate]]) -> list[dict]:
    """engine name -> its gates. Each with what was measured (None: nothing) and whether it is held, for the document."""
    found = []
    for engine, gates in chosen.items():
        for gate in gates:
            value = _measured(gate, engine, document)
            held = None if value is None else value <= gate.wanted if gate.measure in AT_MOST else value >= gate.wanted
            found.append({"engine": engine, "gate": gate.name, "measure": UNITS[gate.measure],
                          "at_most": gate.measure in AT_MOST, "wanted": gate.wanted, "measured": value, "held": held})
    return found
