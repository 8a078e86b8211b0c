"""compat-check and compat-fix: every repair of the library becomes permanent, tensors stay, and nothing half written stays."""
from __future__ import annotations

import json
import os
import random
import signal

import pytest

import gguf_writer
import model_abi
import vocab_tools
from bitnet_ffi import Model, container, repair
from bitnet_ffi.cli import main
from bitnet_ffi.errors import BitnetError, InvalidArgumentError, InvalidModelError, TokenizeError
from gguf_writer import ARRAY, BOOL, I32, STRING, U32
from test_vocab_repair import MERGES, PIECES, SCORES, TOKENS, TYPES, value
from vocab_tools import bpe_gguf, bpe_tokens, spm_gguf

KEY = "tokenizer.ggml."
N = len(bpe_tokens())


def changed(gguf, change):
    change(gguf)
    return gguf


def with_texts(gguf, **places):
    for place, text in places.items():
        value(gguf, TOKENS)[1][int(place[1:])] = text


# what is wrong: (file, keys that the repair touches)
LACKS = {
    "pre": (lambda: bpe_gguf(None), ["pre"]),
    "space prefix": (lambda: spm_gguf(PIECES).drop(KEY + "add_space_prefix"), ["add_space_prefix"]),
    "roles": (lambda: spm_gguf(PIECES).drop(KEY + "bos_token_id").drop(KEY + "eos_token_id").drop(KEY + "unknown_token_id"),
              ["bos_token_id", "eos_token_id", "unknown_token_id"]),
    "a role out of range": (lambda: spm_gguf(PIECES).set(KEY + "padding_token_id", U32, 2**32 - 1), ["padding_token_id"]),
    "a role of a wrong type": (lambda: spm_gguf(PIECES).set(KEY + "mask_token_id", STRING, "two"), ["mask_token_id"]),
    "token types of spm": (lambda: spm_gguf(PIECES).drop(TYPES), ["token_type"]),
    "token types of bpe": (lambda: bpe_gguf("gpt-2").drop(TYPES), ["token_type"]),
    "marks of control": (lambda: bpe_gguf("gpt-2").set(TYPES, ARRAY, (I32, [1] * N)), ["token_type"]),
    "scores": (lambda: spm_gguf(PIECES).drop(SCORES), ["scores"]),
    "texts": (lambda: changed(spm_gguf(PIECES), lambda g: with_texts(g, t260="")), ["tokens"]),
    "BOS that it adds": (lambda: bpe_gguf("gpt-2").drop(KEY + "bos_token_id").set(KEY + "add_bos_token", BOOL, True), ["add_bos_token"]),
    "EOS that it adds": (lambda: bpe_gguf("gpt-2").drop(KEY + "eos_token_id").set(KEY + "add_eos_token", BOOL, True), ["add_eos_token"]),
}


@pytest.mark.parametrize("what", LACKS)
def test_a_repair_becomes_permanent(tmp_path, monkeypatch, what):
    make, keys = LACKS[what]
    source = make().write(tmp_path / "in.gguf")
    before = source.read_bytes()
    monkeypatch.setenv("BITNET_STRICT_TOKENIZERS", "1")   # the tools look past it; the repaired file passes it
    plan = repair.plan(source)
    assert [change.key for change in plan.changes] == [KEY + key for key in keys] and plan.notes == []
    audit = repair.write(plan, tmp_path / "out.gguf")
    assert os.environ["BITNET_STRICT_TOKENIZERS"] == "1" and source.read_bytes() == before
    assert audit["notes"] == [] and repair.plan(tmp_path / "out.gguf").changes == []
    with model_abi.warnings() as warned, Model(tmp_path / "out.gguf", vocab_only=True) as fixed:
        assert warned == []
        monkeypatch.delenv("BITNET_STRICT_TOKENIZERS")
        with Model(source, vocab_only=True) as repaired:
            for text in ("the nation's  12 \u00e9 a ab", "<|im_end|>x<s>"):
                assert fixed.tokenize(text, parse_special=True) == repaired.tokenize(text, parse_special=True)
            assert [fixed.is_eog(i) for i in range(fixed.n_vocab)] == [repaired.is_eog(i) for i in range(repaired.n_vocab)]


def test_what_has_no_place_in_a_file_is_noted(tmp_path):
    gguf = bpe_gguf("gpt-2").set(MERGES, ARRAY, (STRING, ["q zz", *vocab_tools.MERGES]))
    plan = repair.plan(gguf.write(tmp_path / "in.gguf"))
    assert plan.changes == [] and "1 merges name a piece that is no token" in plan.notes[0]


@pytest.fixture
def lacking(tmp_path):
    """A whole model without pre, with an alignment of its own."""
    gguf = gguf_writer.tiny_model(weights="i2_s", vocab=gguf_writer.bpe_vocab(320, None))
    gguf.alignment = 64
    return gguf.write(tmp_path / "in.gguf")


def test_tensors_are_copied_as_they_are(lacking, tmp_path):
    repair.write(repair.plan(lacking), tmp_path / "out.gguf")
    a, b = container.read(lacking), container.read(tmp_path / "out.gguf")
    assert b.alignment == 64 and b.data_start % 64 == 0 and a.tensors == b.tensors
    assert lacking.read_bytes()[a.data_start:] == (tmp_path / "out.gguf").read_bytes()[b.data_start:]
    with Model(lacking) as before, Model(tmp_path / "out.gguf") as after, before.context() as x, after.context() as y:
        assert (x.decode([1, 2, 3]), x.logits().tobytes()) == (y.decode([1, 2, 3]), y.logits().tobytes())


@pytest.mark.parametrize("lie", [dict(rs_header=True), dict(write_alignment=0), dict(write_alignment=48)])
def test_containers_of_others_become_plain(tmp_path, lie):
    vocab = [*gguf_writer.spm_vocab(320), (KEY + "add_space_prefix", BOOL, True)]
    gguf = gguf_writer.tiny_model(vocab=vocab)
    for key, item in lie.items():
        setattr(gguf, key, item)
    source = gguf.write(tmp_path / "in.gguf")
    plan = repair.plan(source)
    assert [change.key for change in plan.changes] == ["header" if "rs_header" in lie else "general.alignment"]
    repair.write(plan, tmp_path / "out.gguf")
    assert (tmp_path / "out.gguf").read_bytes() == gguf_writer.tiny_model(vocab=vocab).to_bytes()


def test_rows_without_tokens_are_named(tmp_path):
    source = gguf_writer.tiny_model(n_vocab=320, vocab=gguf_writer.spm_vocab(300)).write(tmp_path / "in.gguf")
    plan = repair.plan(source)
    assert {change.key for change in plan.changes} >= {TOKENS, TYPES, SCORES}
    repair.write(plan, tmp_path / "out.gguf")
    with Model(tmp_path / "out.gguf") as model:
        assert model.n_vocab == 320 and model.token_type(319) == 5


def test_sparse_files_are_streamed_and_stay_sparse(lacking, tmp_path):
    size, mark = 6 << 30, b"the end"
    with open(lacking, "r+b") as file:
        file.seek(size - len(mark))
        file.write(mark)
    done = []
    repair.write(repair.plan(lacking), tmp_path / "out.gguf", progress=lambda at, total: done.append((at, total)))
    a, b = container.read(lacking), container.read(tmp_path / "out.gguf")
    assert b.file_size - b.data_start == size - a.data_start and done[-1][0] == done[-1][1] == size - a.data_start
    assert os.stat(tmp_path / "out.gguf").st_blocks * 512 < 64 << 20
    with open(tmp_path / "out.gguf", "rb") as file:
        file.seek(-len(mark), os.SEEK_END)
        assert file.read() == mark


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_ctrl_c_leaves_nothing(lacking, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        repair.write(repair.plan(lacking), tmp_path / "out.gguf", progress=lambda *_: os.kill(os.getpid(), signal.SIGINT))
    assert names(tmp_path) == ["in.gguf"]


def test_a_copy_that_does_not_load_leaves_nothing(lacking, tmp_path):
    plan = repair.plan(lacking)
    plan.set(KEY + "pre", container.value(STRING, "klingon"), "a mistake")
    with pytest.raises(InvalidModelError, match="unknown pre-tokenizer 'klingon'"):
        repair.write(plan, tmp_path / "out.gguf")
    assert names(tmp_path) == ["in.gguf"]


def test_nothing_is_overwritten_without_force(lacking, tmp_path):
    plan = repair.plan(lacking)
    for name in ("out.gguf", "out.gguf.compat.json"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(InvalidArgumentError, match="exists; pass --force"):
            repair.write(plan, tmp_path / "out.gguf")
        assert (tmp_path / name).read_text() == "mine" and names(tmp_path) == ["in.gguf", name]
        (tmp_path / name).unlink()
    (tmp_path / "out.gguf").write_text("mine")
    repair.write(plan, tmp_path / "out.gguf", force=True)
    assert names(tmp_path) == ["in.gguf", "out.gguf", "out.gguf.compat.json"]


def test_never_in_place(lacking, tmp_path):
    (tmp_path / "link.gguf").symlink_to(lacking)
    for out in (lacking, tmp_path / "link.gguf"):
        with pytest.raises(InvalidArgumentError, match="the model itself"):
            repair.write(repair.plan(lacking), out, force=True)


@pytest.mark.parametrize("seed", range(30))
def test_damaged_models_get_a_sentence(lacking, tmp_path, seed):
    rng = random.Random(seed)
    data = bytearray(lacking.read_bytes())
    head_size = container.read(lacking).data_start
    if seed % 3 == 0:
        del data[rng.randrange(head_size):]
    for _ in range(rng.randint(1, 10)):
        data[rng.randrange(min(len(data), head_size))] = rng.randrange(256)
    (tmp_path / "bad.gguf").write_bytes(data)
    try:
        repair.plan(tmp_path / "bad.gguf")
    except BitnetError as error:
        assert "bad.gguf" in str(error) or "tokenizer.ggml" in str(error) or "key '" in str(error)


# ---- the commands ----

@pytest.fixture
def bitnet(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return caught.value.code, out, err
    return run


def test_check_then_fix_then_check(bitnet, lacking, tmp_path):
    code, out, err = bitnet("compat-check", lacking)
    assert code == 1 and "tokenizer.ggml.pre: default (tokenizer.ggml.pre is missing" in out and "bitnet compat-fix" in err
    code, out, err = bitnet("compat-check", lacking, "--json")
    found = json.loads(out)
    assert code == 1 and found["repairs_needed"] and found["repairs"][0]["key"] == KEY + "pre"
    code, out, err = bitnet("compat-fix", lacking, tmp_path / "out.gguf", "--json")
    audit = json.loads((tmp_path / "out.gguf.compat.json").read_text())
    assert code == 0 and json.loads(out) == audit and audit["tensors"]["changed"] is False
    assert audit["changes"] == [{"key": KEY + "pre", "action": "set", "before": None, "after": "default",
                                 "why": "tokenizer.ggml.pre is missing: 'default' is used"}]
    assert bitnet("compat-check", tmp_path / "out.gguf")[0] == 0


def test_codes_and_sentences_of_failures(bitnet, lacking, tmp_path):
    code, out, err = bitnet("compat-check", tmp_path / "none.gguf")
    assert code == 2 and err.startswith("bitnet: ") and err.count("\n") == 1
    (tmp_path / "text.gguf").write_text("no model at all, but long enough")
    assert bitnet("compat-check", tmp_path / "text.gguf")[0] == 2
    code, out, err = bitnet("compat-fix", lacking, lacking)
    assert code == 1 and "needs another name" in err
    assert bitnet("compat-fix", lacking)[0] == 2
    code, out, err = bitnet("compat-fix", lacking, tmp_path / "out.gguf", "--tokenizer", tmp_path / "none")
    assert code == 1 and "no such file" in err


def test_sigterm_leaves_nothing(bitnet, lacking, tmp_path, monkeypatch):
    whole_copy = container.copy

    def copy(head, out, progress=None):
        whole_copy(head, out, progress)
        os.kill(os.getpid(), signal.SIGTERM)
    monkeypatch.setattr(container, "copy", copy)
    assert bitnet("compat-fix", lacking, tmp_path / "out.gguf")[0] == 143 and names(tmp_path) == ["in.gguf"]


def test_a_file_without_a_tokenizer(bitnet, tmp_path):
    gguf = gguf_writer.tiny_model()
    gguf.kv = [entry for entry in gguf.kv if not entry[0].startswith("tokenizer.")]
    source = gguf.set("llama.vocab_size", U32, 320).write(tmp_path / "in.gguf")
    code, out, err = bitnet("compat-check", source)
    assert code == 1 and "pass --tokenizer" in out and "--tokenizer PATH" in err
    code, out, err = bitnet("compat-fix", source, tmp_path / "out.gguf")
    assert code == 1 and "pass --tokenizer" in err and names(tmp_path) == ["in.gguf"]
    vocab_tools.spm_oracle({"\u2581": -1.0, "a": -2.0}).save(str(tmp_path / "tokenizer.json"))
    code, out, err = bitnet("compat-fix", source, tmp_path / "out.gguf", "--tokenizer", tmp_path)
    assert code == 0, err
    with Model(tmp_path / "out.gguf") as model:
        assert model.n_vocab == 320 and model.tokenize("a", add_special=False) == [259, 260]


# ---- the chain by which a model finds its tokenizer ----

@pytest.fixture
def bare(tmp_path):
    """A model without a tokenizer, in a folder of its own."""
    gguf = gguf_writer.tiny_model()
    gguf.kv = [entry for entry in gguf.kv if not entry[0].startswith("tokenizer.")]
    (tmp_path / "above" / "here").mkdir(parents=True)
    return gguf.set("llama.vocab_size", U32, 320).write(tmp_path / "above" / "here" / "bare.gguf")


def save_tokenizer(folder, letter):
    vocab_tools.spm_oracle({"\u2581": -1.0, letter: -2.0}).save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def test_without_any_tokenizer_the_sentence_says_what_to_run(bare):
    with Model(bare) as model, pytest.raises(TokenizeError, match="bitnet compat-fix --tokenizer"):
        model.tokenize("a")


def test_explicit_then_beside_then_the_folder_above(bare, tmp_path):
    save_tokenizer(bare.parent.parent, "a")
    with Model(bare) as model:
        assert model.tokenize("a", add_special=False) == [259, 260] and model.token_to_piece(260) == b"a"
        assert model.detokenize([259, 260]) == "a" and model.n_vocab == 320 and (model.bos, model.eos) == (1, 2)
        assert model.is_eog(2) and "".join(model.generate("a", max_tokens=3)) is not None
    save_tokenizer(bare.parent, "b")
    with Model(bare) as model:
        assert model.token_to_piece(260) == b"b"
    with Model(bare, tokenizer=save_tokenizer(tmp_path, "c")) as model:
        assert model.token_to_piece(260) == b"c"
    with Model(bare, tokenizer=False) as model, pytest.raises(TokenizeError):
        model.tokenize("b")


def test_the_files_own_tokenizer_comes_before_the_one_beside(lacking, tmp_path):
    save_tokenizer(tmp_path, "z")
    with Model(lacking) as model:
        assert model.token_to_piece(260) != b"z"
    with Model(lacking, tokenizer=tmp_path) as model:
        assert model.token_to_piece(260) == b"z"
