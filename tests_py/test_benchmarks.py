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

from benchmarks import BenchError, cells, maker, report, roofs  # noqa: E402
from benchmarks.__main__ import main  # noqa: E402
from benchmarks.roofs import Roof  # noqa: E402
from benchmarks.shapes import SHAPES, shape_of, step_bytes  # noqa: E402
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

def test_bytes_of_a_token_of_the_2b_shape():
    """The byte budget of BitNet b1.58 2B-4T: 521.0 MB of ternary weights, 656.7 of F16 head, 39.3 of keys and values at 512."""
    size = step_bytes(shape_of("2B-4T"), weight_bits=2, head_bits=16, batch=1, positions=512)
    assert [round(n / 1e6, 1) for n in (size.ternary, size.head, size.kv)] == [521.0, 656.7, 39.3]


@pytest.mark.parametrize("read, mac, fraction", [(1e9, 1e15, "bytes"), (1e15, 1e9, "macs"), (0.0, 1e9, None)])
def test_roof_is_the_slower_of_memory_and_multiplier(read, mac, fraction):
    plan = cells.Plan(TINY, [1])
    cell = cells.make_cell(plan, "e", "prompt", 10, 1, 1, 0, [2.0, 1.0, 4.0], Roof("read", [read]), Roof("mac", [mac]))
    assert cell.tokens_per_s == 5.0 and cell.spread == 1.5 and cell.test == "pp10"
    expected = {"bytes": cell.gb_per_s, "macs": cell.gmac_per_s, None: None}[fraction]
    assert cell.roof_fraction == pytest.approx(expected)


def test_several_sequences_have_no_context_unless_asked():
    groups = [list(cells.Plan(TINY, [1], batches=[1, 8], deep_batches=deep).groups()) for deep in (False, True)]
    assert groups == [[(0, 1), (0, 8), (3500, 1)], [(0, 1), (0, 8), (3500, 1), (3500, 8)]]


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
    assert keys == {(test, threads, 1, context) for test in ("pp16", "tg3", "lg3") for threads in (1, 2) for context in (0, 40)} | {
        ("tg3", threads, 2, 0) for threads in (1, 2)}
    assert all(len(cell["seconds"]) == 2 and min(cell["seconds"]) > 0 for cell in document["cells"])
    assert document["engines"][0]["kernels"] and document["loads"][0]["resident"]["total"] > 0


def test_run_prints_each_cell(run):
    printed, document = run
    assert "of roof" in printed and document["engines"][0]["kernels"] in printed
    assert sum(line.startswith("bitnet_ffi") and any(test in line for test in ("pp16", "tg3", "lg3")) for line in printed.splitlines()) == len(document["cells"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_what_it_measured(number, monkeypatch, tmp_path):
    measure_cells, before = cells.measure_cells, signal.getsignal(signal.SIGTERM)

    def interrupted(*arguments):
        yield next(measure_cells(*arguments))
        os.kill(os.getpid(), number)
        yield from measure_cells(*arguments)
    monkeypatch.setattr(cells, "measure_cells", interrupted)
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
        worker.ask("load", path=str(tmp_path / "missing.gguf"), repeats=1, n_threads=1)


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


# ---- against a baseline, and beside a peer ----

def faster(document, factor, engine="bitnet_ffi"):
    """The same run, with one engine's cells `factor` times as fast."""
    copy = json.loads(json.dumps(document))
    for cell in copy["cells"]:
        if cell["engine"] == engine:
            cell["tokens_per_s"] *= factor
            if cell["roof_fraction"]:
                cell["roof_fraction"] *= factor
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


@pytest.mark.parametrize("name, value", [("shape", "8b"), ("head_bits", 8.0), ("kv_type", "f32")])
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
