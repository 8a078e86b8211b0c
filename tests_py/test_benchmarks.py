"""The benchmarks room: the models it makes, what it counts, the documents it writes, and how it fails. Tiny shapes only."""
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import BenchError, cells, gates, loads, maker, reads, report, roofs  # noqa: E402
from benchmarks.__main__ import main  # noqa: E402
from benchmarks.reads import Reads  # noqa: E402
from benchmarks.roofs import Roof  # noqa: E402
from benchmarks.shapes import SHAPES  # noqa: E402
from benchmarks.worker import Worker  # noqa: E402
from bitnet_ffi import Model, kernels  # noqa: E402

TINY = SHAPES["tiny"]
LLAMA = dataclasses.replace(TINY, name="tiny-llama", arch="llama", tied=False)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """One cache folder for the room: the roofs program is compiled once."""
    return tmp_path_factory.mktemp("bench")


def small_world(patch, cache):
    """The room's cache folder, and roofs that take milliseconds."""
    patch.setenv("BITNET_CACHE", str(cache))
    patch.setattr(roofs, "READ_MIB", 4)
    patch.setattr(roofs, "PASSES", {"read": 3, "mac": 3})


@pytest.fixture(autouse=True)
def in_small_world(cache, monkeypatch):
    small_world(monkeypatch, cache)


def command(*arguments):
    return CliRunner().invoke(main, ["--shape", "tiny", "--no-peer", *map(str, arguments)], prog_name="benchmarks")


@pytest.fixture(scope="module")
def run(cache, tmp_path_factory):
    """A whole run of the command on the tiny shape: what it printed, and its document."""
    path = tmp_path_factory.mktemp("run") / "run.json"
    with pytest.MonkeyPatch.context() as patch:
        small_world(patch, cache)
        result = command("--threads", "1,2", "--prompts", 16, "--generate", 3, "--batches", "1,2", "--contexts", "0,40",
                         "--repeats", 2, "--json", path)
    assert result.exit_code == 0, result.output
    return result.stdout, json.loads(path.read_text())


# ---- the maker ----

@pytest.mark.parametrize("shape", [TINY, LLAMA], ids=lambda shape: shape.name)
@pytest.mark.parametrize("weights", ["i2_s", "tq2_0"])
def test_made_file_loads_and_decodes(shape, weights, tmp_path):
    path = maker.write_model(tmp_path / "model.gguf", shape, weights)
    with Model(path) as model, model.context(n_ctx=64) as context:
        hparams = model.hparams
        assert (hparams.n_layer, hparams.n_embd, hparams.n_head_kv, hparams.n_vocab) == (
            shape.n_layer, shape.n_embd, shape.n_head_kv, shape.n_vocab)
        context.decode(model.tokenize("a few words"))
        assert np.isfinite(context.logits()).all()


def test_both_types_hold_the_same_weights():
    floats = [kernels.dequantize(np.frombuffer(b"".join(maker.tensor_bytes("blk.0.ffn_up.weight", weights, (512, 96), seed=1)), np.uint8),
                                 weights, (96, 512)) for weights in ("i2_s", "tq2_0")]
    assert (floats[0] == floats[1]).all()
    values, counts = np.unique(floats[0], return_counts=True)
    assert len(values) == 3 and counts.min() > 96 * 512 / 3.2


def test_the_seed_decides_the_bytes(tmp_path):
    a, again, b = (maker.write_model(tmp_path / f"{i}.gguf", TINY, "i2_s", seed=seed).read_bytes() for i, seed in enumerate((1, 1, 2)))
    assert a == again != b


@pytest.mark.parametrize("weights", ["i2_s", "tq2_0"])
def test_the_size_is_known_before_writing(weights, tmp_path):
    path = maker.write_model(tmp_path / "model.gguf", TINY, weights)
    assert path.stat().st_size == maker.file_head(TINY, weights)[1]


def test_vocabulary_survives_a_round_trip(tmp_path):
    path = maker.write_model(tmp_path / "model.gguf", TINY, "i2_s")
    with Model(path, vocab_only=True) as model:
        text = "Zwölf words, and bytes: \0\x7f 漢"
        assert model.detokenize(model.tokenize(text, add_special=False)) == text
        assert len(model.tokenize("ab", add_special=False)) == 1  # a merge
        assert model.bos == TINY.n_vocab - 2


def test_large_vocabulary_has_no_token_twice():
    kv = {key: value for key, _, value in maker.vocabulary(128256)}
    tokens = kv["tokenizer.ggml.tokens"][1]
    assert len(tokens) == len(set(tokens)) == 128256
    known = set(tokens)
    assert all(merge.replace(" ", "") in known and set(merge.split()) <= known for merge in kv["tokenizer.ggml.merges"][1])


def test_a_file_is_made_once(monkeypatch):
    path = maker.cached_model(TINY, "i2_s", seed=3)
    made = path.stat().st_mtime_ns
    assert maker.cached_model(TINY, "i2_s", seed=3).stat().st_mtime_ns == made


def test_no_room_on_the_disk_says_how_much_is_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1000, 1000, 500))
    with pytest.raises(BenchError, match=r"no room for a file of 0.00 GB.*BITNET_CACHE"):
        maker.write_model(tmp_path / "model.gguf", TINY, "i2_s")
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(BenchError, match="No space left on device"):
        maker.write_model(tmp_path / "model.gguf", TINY, "i2_s")
    assert list(tmp_path.iterdir()) == []


def test_a_shape_that_the_type_cannot_hold():
    with pytest.raises(BenchError, match=r"attn_q.*3200 columns.*multiple of 256.*i2_s"):
        maker.file_head(SHAPES["3b"], "tq2_0")


# ---- counting ----

def loaded_reads(path, kernel_table, mode):
    with Worker("bitnet_ffi", kernel_table) as worker:
        return Reads(**worker.ask("load", path=str(path), mode=mode))


def can_run(kernel_table):
    try:
        with Worker("bitnet_ffi", kernel_table):
            return True
    except BenchError:
        return False


N_PRODUCTS = 7 * TINY.n_layer
SCREEN = TINY.n_vocab * (TINY.n_embd + 3 * 4)   # a byte a weight, and scale, residual and norm of each row


def test_in_place_a_token_reads_what_the_file_holds(tmp_path):
    path = maker.write_model(tmp_path / "model.gguf", TINY, "i2_s")
    head = 2 * TINY.n_head_weights
    assert loaded_reads(path, "scalar", "in place") == Reads(
        layers=TINY.n_ternary // 4 + 32 * N_PRODUCTS, n_weights=TINY.n_ternary, choose=head, logits=head,
        kv_numbers=TINY.n_layer * 2 * TINY.n_head_kv * TINY.head_width)


@pytest.mark.parametrize("weights", ["i2_s", "tq2_0"])
def test_a_file_is_counted_as_it_lies(weights, tmp_path):
    path = maker.write_model(tmp_path / "model.gguf", TINY, weights)
    size = sum(maker.tensor_size(name, kind, ne) for name, kind, ne in maker.tensors(TINY, weights) if kind == weights)
    assert loads.reads_of_file(str(path)).layers == size


@pytest.mark.parametrize("kernel_table, bits", [("avx512vbmi", 1.6), ("avx512vnni", 2.0)])
def test_packed_layouts_are_counted_in_their_own_bits(kernel_table, bits, tmp_path):
    """Five ternary weights a byte, in blocks of 20 elements; or four."""
    if not can_run(kernel_table):
        pytest.skip(f"this CPU has no {kernel_table}")
    found = loaded_reads(maker.write_model(tmp_path / "model.gguf", TINY, "i2_s"), kernel_table, "repacked")
    per_block = {1.6: 20, 2.0: 16}[bits]
    assert found.layers == sum(m * 4 * -(-k // per_block) for _ in range(TINY.n_layer) for _, k, m in TINY.products())
    tile = TINY.n_embd // 64 * 384 + 512   # of four rows of the head, in twelve bits a weight, and what describes it
    assert (found.choose, found.logits) == (SCREEN, TINY.n_vocab // 4 * tile)


def test_a_library_that_says_nothing_is_an_error():
    with pytest.raises(ValueError, match="did not log"):
        reads.from_log(["something else"])


def test_bytes_of_a_step_by_what_is_asked_for():
    """The shape 2B-4T: 521.0 MB of layers, 656.7 or 328.3 of head, and 39.3 of keys and values at 512 positions, for each sequence."""
    size = Reads(layers=521_000_000, n_weights=2_084_000_000, choose=328_300_000, logits=656_700_000, kv_numbers=38400)
    steps = [size.step(what, batch=batch, positions=512, kv_type=kv) / 1e6
             for what, batch, kv in (("generate", 1, "f16"), ("logits", 1, "f16"), ("generate", 8, "f16"), ("prompt", 1, "q8_0"))]
    assert steps == pytest.approx([888.6, 1217.0, 1163.9, 870.2], abs=0.1)


COUNT = Reads(layers=2000, n_weights=16000, choose=500, logits=1000, kv_numbers=0)
FILE_COUNT = Reads(layers=4000, n_weights=16000, choose=1000, logits=1000, kv_numbers=0)


@pytest.mark.parametrize("read, mac, fractions", [
    (5000.0, 1e15, (0.25, 0.0, 0.5)), (1e15, 320000.0, (0.0, 0.25, 0.25)), (0.0, 320000.0, (None, 0.25, None))])
def test_fractions_of_memory_and_of_the_multiplier(read, mac, fractions):
    """10 tokens in 2 s: 2,500 bytes in use, 5,000 in the file; 160,000 multiply-adds."""
    plan = cells.Plan("m", [])
    cell = cells.make_cell(plan, "e", cells.Test("prompt", 10, 1), [2.0, 1.0, 4.0], COUNT, FILE_COUNT, Roof("read", [read]),
                           Roof("mac", [mac]))
    assert cell.tokens_per_s == 5.0 and cell.spread == 1.5 and cell.test == "pp10" and cell.gb_per_s == 1250 / 1e9
    assert (cell.read_fraction, cell.mac_fraction, cell.roof_fraction) == pytest.approx(fractions, abs=1e-9)


def test_several_sequences_have_no_context_unless_asked():
    groups = [{test.group for test in cells.all_tests([1], [8], 2, [1, 8], [0, 3500], deep)} for deep in (False, True)]
    assert groups == [{(0, 1), (0, 8), (3500, 1)}, {(0, 1), (0, 8), (3500, 1), (3500, 8)}]


@pytest.mark.parametrize("what", ["read", "mac"])
def test_roofs_are_plausible(what):
    """Between a millionth and a million times of what one core does today: the unit is right."""
    roof = roofs.measure(what, 2)
    assert roof.best == 0 if roof.what == "none" else 1e6 < roof.best < 1e15


def test_roofs_without_a_compiler_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("BITNET_CACHE", str(tmp_path))
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(BenchError, match="no C compiler: 'no-such-compiler'.*set CC"):
        roofs.measure("read", 1)


# ---- the command ----

def test_run_writes_a_document_of_the_stated_form(run):
    _, document = run
    report.check_form(document)
    keys = {(cell["test"], cell["threads"], cell["batch"], cell["context"]) for cell in document["cells"]}
    assert keys == {(test, threads, 1, context) for test in ("pp16", "tg3", "sm3", "lg3") for threads in (1, 2) for context in (0, 40)} | {
        ("tg3", threads, 2, 0) for threads in (1, 2)}
    assert all(len(cell["seconds"]) == 2 and min(cell["seconds"]) > 0 for cell in document["cells"])
    assert document["engines"][0]["kernels"]
    assert [(fill["context"], fill["seconds"] > 0) for fill in document["fills"]] == [(40, True)]


def test_both_ways_to_load_are_timed(run):
    loaded = run[1]["loads"]
    assert [load["mode"] for load in loaded] == ["repacked", "in place"]
    for load in loaded:
        for which in ("", "second_"):
            assert 0 < load[f"{which}ready_median_s"] < load[f"{which}first_token_median_s"]
        assert 0 < load["resident"]["total"] <= load["resident"]["peak"] and len(load["ready_s"]) == 2


def test_run_prints_each_cell(run):
    printed, document = run
    assert "of read" in printed and document["engines"][0]["kernels"] in printed
    ours = [line for line in printed.splitlines() if line.startswith("bitnet_ffi")]
    assert sum(any(test in line for test in ("pp16", "tg3", "sm3", "lg3")) for line in ours) == len(document["cells"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_what_it_measured(number, monkeypatch, tmp_path):
    time_tests, before = cells.time_tests, signal.getsignal(signal.SIGTERM)

    def interrupted(*arguments):
        yield next(time_tests(*arguments))
        os.kill(os.getpid(), number)
        yield from time_tests(*arguments)
    monkeypatch.setattr(cells, "time_tests", interrupted)
    try:
        result = command("--quick", "--threads", 1, "--json", tmp_path / "run.json")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert result.exit_code == 0 and result.stdout.count("pp128") == 1
    assert len(json.loads((tmp_path / "run.json").read_text())["cells"]) == 1


def test_forced_kernels_name_themselves():
    with Worker("bitnet_ffi", "scalar") as worker:
        assert (worker.name, worker.about["kernels"]) == ("bitnet_ffi:scalar", "scalar")


def test_an_engine_that_died_is_named():
    with Worker("bitnet_ffi") as worker:
        worker._process.kill()
        worker._process.wait()
        with pytest.raises(BenchError, match="bitnet_ffi: the process ended with status -9"):
            worker.ask("close")


def test_an_error_of_the_engine_is_passed_on(tmp_path):
    with Worker("bitnet_ffi") as worker, pytest.raises(BenchError, match="ModelNotFoundError.*missing.gguf"):
        worker.ask("load", path=str(tmp_path / "missing.gguf"), mode="repacked")


def test_unknown_kernels_say_so():
    result = command("--kernels", "abacus", "--quick")
    assert result.exit_code == 1 and "no such kernel table" in result.stderr


def test_unknown_shape_lists_the_known():
    result = CliRunner().invoke(main, ["--shape", "9b"])
    assert result.exit_code == 1 and "no shape is named '9b'; known: 2b-4t, 0.7b, 3b, 8b, tiny" in result.stderr


def test_a_context_beyond_the_model_is_left_out_in_words():
    result = command("--contexts", "4000", "--quick")
    assert result.exit_code == 1 and "512 positions" in result.stderr


@pytest.mark.parametrize("option", [("--threads", "0"), ("--batches", "x"), ("--tolerance", "1")])
def test_wrong_usage(option):
    assert command(*option).exit_code == 2


def test_module_is_a_command():
    done = subprocess.run([sys.executable, "-m", "benchmarks", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "--baseline" in done.stdout


def test_long_cells_are_repeated_three_times(monkeypatch, tmp_path):
    monkeypatch.setattr(cells, "LONG_CELL_S", 0)
    out = tmp_path / "run.json"
    assert command("--quick", "--threads", 1, "--repeats", 6, "--json", out).exit_code == 0
    assert {len(cell["seconds"]) for cell in json.loads(out.read_text())["cells"]} == {3}


# ---- a file, and the gates ----

def test_a_file_is_measured_by_its_own_name(tmp_path):
    path = maker.write_model(tmp_path / "my-model.gguf", LLAMA, "tq2_0")
    out = tmp_path / "run.json"
    result = command("--model", path, "--quick", "--threads", 1, "--json", out)
    assert result.exit_code == 0, result.output
    document = json.loads(out.read_text())
    assert document["model"]["name"] == "my-model" and document["model"]["n_weights"] == LLAMA.n_ternary
    assert {cell["test"] for cell in document["cells"]} == {"pp128", "tg16", "sm16", "lg16"}


def test_a_file_that_is_no_model(tmp_path):
    path = tmp_path / "text.gguf"
    path.write_text("no model")
    result = command("--model", path)
    assert result.exit_code == 1 and "text.gguf" in result.stderr


def test_gates_are_measured_and_printed(tmp_path):
    """Beside no peer, on a shape with 512 positions: what needs either is not measured, which is no failure to hold."""
    out = tmp_path / "run.json"
    result = command("--gates", "--repeats", 1, "--json", out)
    assert result.exit_code == 0, result.output
    rows = json.loads(out.read_text())["gates"]
    assert len(rows) == len(gates.BEST)
    by_gate = {(row["gate"], row["measure"]): row for row in rows}
    assert by_gate["tg16, 2 threads, context 3,500", "of read bandwidth"]["measured"] is None
    assert by_gate["pp512, 1 thread", "x llama.cpp"]["held"] is None
    assert by_gate["load, in place", "s to ready"]["held"] is True
    assert by_gate["load, repacked", "of the file resident"]["held"] is False   # a tiny file in a process with Python
    assert by_gate["tg16, 1 thread, 8 sequences", "x one sequence"]["measured"] > 0
    assert sum(line.endswith("not measured") for line in result.stdout.splitlines()) == sum(row["measured"] is None for row in rows)


@pytest.mark.parametrize("gate, expected", [
    (gates.Gate("peer", 1.5, "tg16"), 2.0), (gates.Gate("single", 3.5, "tg16", batch=8), 3.0), (gates.Gate("read", 0.5, "tg16"), 0.7),
    (gates.Gate("peer", 1.5, "tg16", 1), None), (gates.Gate("seconds", 1.5, "load", mode="repacked"), 1.2),
    (gates.Gate("memory", 1.25, "load", mode="repacked"), 0.9), (gates.Gate("memory", 1.25, "load", mode="in place"), None)])
def test_a_gate_takes_its_figure_from_the_run(gate, expected):
    cell = {"engine": "bitnet_ffi", "test": "tg16", "threads": 2, "batch": 1, "context": 0, "tokens_per_s": 40.0, "read_fraction": 0.7}
    document = {"cells": [cell, cell | {"engine": gates.PEER, "tokens_per_s": 20.0}, cell | {"batch": 8, "tokens_per_s": 120.0}],
                "loads": [{"engine": "bitnet_ffi", "mode": "repacked", "ready_median_s": 1.2, "file_bytes": 1000,
                            "resident": {"total": 900}}]}
    row, = gates.rows(document, {"bitnet_ffi": [gate]})
    at_most = gate.test == "load"
    assert row["measured"] == (None if expected is None else pytest.approx(expected))
    assert row["held"] == (None if expected is None else (expected <= gate.wanted) == at_most)


def test_gates_of_a_table_and_of_a_file():
    assert gates.gates_of(None, False) is gates.BEST and gates.gates_of("avx2", False) is gates.AVX2
    assert gates.gates_of("avx2", True) is gates.FILE


def test_every_gate_names_a_test():
    for gate in [*gates.BEST, *gates.AVX2, *gates.FILE]:
        assert gate.test == "load" or cells.test_of(*gate.key).name == gate.test


def test_gates_decide_what_is_measured():
    assert command("--gates", "--contexts", "0").exit_code == 2
    assert command("--gates", "--quick").exit_code == 2


# ---- against a baseline, and beside a peer ----

def faster(document, factor, engine="bitnet_ffi"):
    """The same run, with one engine's cells `factor` times as fast."""
    copy = json.loads(json.dumps(document))
    for cell in copy["cells"]:
        if cell["engine"] == engine:
            cell["tokens_per_s"] *= factor
            for name in ("read_fraction", "mac_fraction", "roof_fraction"):
                cell[name] = cell[name] and cell[name] * factor
    return copy


def with_peer(document, factor):
    """The same run, and llama.cpp in it at `factor` of our speed."""
    copy = json.loads(json.dumps(document))
    copy["cells"] += [cell | {"engine": "llama.cpp", "tokens_per_s": cell["tokens_per_s"] * factor} for cell in copy["cells"]]
    return copy


@pytest.mark.parametrize("factor, worse", [(1.0, False), (0.95, False), (0.85, True), (2.0, False)])
def test_cells_are_compared_by_their_fraction_of_the_roof(run, factor, worse):
    changes = report.compare(faster(run[1], factor), run[1], 0.1)
    assert len(changes) == len(run[1]["cells"])
    assert all(change.worse == worse and change.measure == "of roof" for change in changes)
    assert all(change.ratio == pytest.approx(factor) for change in changes)


def test_a_peer_in_both_runs_is_the_measure(run):
    """The other machine is three times as fast for both engines: no change."""
    before = with_peer(run[1], 0.5)
    now = faster(faster(before, 3.0), 3.0, "llama.cpp")
    changes = report.compare(now, before, 0.1)
    assert {(change.measure, round(change.ratio, 6)) for change in changes} == {("x llama.cpp", 1.0)}
    assert list(report.peer_ratios(now).values()) == pytest.approx([2.0] * len(changes))


def test_peer_ratios_are_printed(run):
    lines = report.lines(with_peer(run[1], 0.5))
    assert sum(line.endswith(" 2.00") for line in lines) == len(run[1]["cells"])


def test_command_fails_when_a_cell_is_worse(run, tmp_path):
    """Against a run with a hundred times our fractions, on the same few cells."""
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps(faster(run[1], 100)))
    result = command("--threads", "1", "--prompts", 16, "--generate", 3, "--batches", 1, "--contexts", 0, "--repeats", 1, "--baseline", path)
    assert result.exit_code == 1 and "WORSE" in result.stdout


@pytest.mark.parametrize("name, value", [("name", "8b"), ("kv_type", "f32")])
def test_baseline_of_another_model_or_count(run, name, value):
    other = run[1] | {"model": run[1]["model"] | {name: value}}
    with pytest.raises(BenchError, match=f"baseline has {name} {value}"):
        report.compare(run[1], other, 0.1)


def test_baseline_without_common_cells(run):
    with pytest.raises(BenchError, match="no cell in common"):
        report.compare(run[1], run[1] | {"cells": []}, 0.1)


@pytest.mark.parametrize("text, sentence", [
    ("{", "not a readable run"), ("[]", "expected an object"), ('{"schema": 1}', "'time' is missing"),
    ('{"schema": "1"}', "str, expected int")])
def test_baseline_that_is_no_run(tmp_path, text, sentence):
    path = tmp_path / "baseline.json"
    path.write_text(text)
    with pytest.raises(BenchError, match=sentence):
        report.read_document(path)


def test_results_without_a_folder_are_refused_before_measuring(tmp_path):
    result = command("--json", tmp_path / "missing" / "run.json")
    assert result.exit_code == 1 and "there is no folder" in result.stderr


def test_plot_is_drawn(run, tmp_path):
    pytest.importorskip("matplotlib")
    from benchmarks import plot
    plot.draw(with_peer(run[1], 0.5), tmp_path / "run.svg")
    assert "<svg" in (tmp_path / "run.svg").read_text()[:500]


def test_plot_without_matplotlib_says_what_to_install(monkeypatch):
    from benchmarks import plot
    monkeypatch.setattr(plot, "find_spec", lambda name: None)
    result = command("--plot", "run.png", "--quick")
    assert result.exit_code == 1 and "pip install 'bitnet-ffi[bench]'" in result.stderr
