"""Vocabularies that lack something are repaired with a warning or refused in a sentence; no file crashes the library."""
import random
import struct
from pathlib import Path

import pytest

import model_abi
import vocab_tools
from gguf_writer import ARRAY, BOOL, F32, I32, STRING, U32, Gguf
from model_abi import MODEL
from vocab_tools import ROLES, bpe_gguf, bpe_tokens, detokenize, lib, piece, id_array, spm_gguf, tokenize

TOKENS, TYPES, SCORES, MERGES = (f"tokenizer.ggml.{name}" for name in ("tokens", "token_type", "scores", "merges"))
PIECES = {"\u2581": -1.0, "a": -2.0, "b": -3.0, "\u2581a": -0.5, "ab": -0.6}
STRICT, STRICT_MODE = "BITNET_STRICT_TOKENIZERS", "BITNET_STRICT_MODE"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "vocab"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "v.gguf"


def value(gguf: Gguf, key: str):
    return next(v for k, _, v in gguf.kv if k == key)


def repaired(gguf, file, monkeypatch, sentence):
    """A model that loads with exactly such a warning; in both strict modes the same file must be refused with it."""
    gguf.write(file)
    for name in (STRICT, STRICT_MODE):
        monkeypatch.setenv(name, "1")
        code, text = model_abi.error_of(file, vocab_only=True)
        assert code == MODEL and sentence in text and f"{name}=1 forbids this repair" in text
        monkeypatch.delenv(name)
    with model_abi.warnings() as warned:
        model = model_abi.load(file, vocab_only=True)
    assert model, model_abi.last_error()
    assert sum(sentence in line for line in warned) == 1, warned
    return model


def refused(gguf, file, sentence):
    code, text = model_abi.error_of(gguf.write(file), vocab_only=True)
    assert code == MODEL and sentence in text


# ---- what is missing ----

def test_complete_vocabularies_load_without_a_word_even_when_strict(file, monkeypatch):
    monkeypatch.setenv(STRICT, "1")
    monkeypatch.setenv(STRICT_MODE, "1")
    for gguf in (bpe_gguf("gpt-2"), spm_gguf(PIECES)):
        with model_abi.warnings() as warned, model_abi.loaded(gguf.write(file), vocab_only=True):
            assert warned == []


def test_pre_missing_becomes_default(file, monkeypatch):
    model = repaired(bpe_gguf(None), file, monkeypatch, "tokenizer.ggml.pre is missing: 'default' is used")
    assert tokenize(model, b"a+b") == vocab_tools.bpe_oracle("default").encode("a+b").ids
    lib.llama_model_free(model)


def test_pre_missing_in_the_vocabulary_of_llama_3(file, monkeypatch):
    gguf = bpe_gguf(None)
    tokens = bpe_tokens()
    tokens += [f"<|fill_{i}|>" for i in range(128000 - len(tokens))] + ["<|begin_of_text|>"]
    tokens += [f"<|reserved_{i}|>" for i in range(128256 - len(tokens))]
    gguf.set(TOKENS, ARRAY, (STRING, tokens)).set(TYPES, ARRAY, (I32, [1] * 2257 + [3] * (128256 - 2257)))
    model = repaired(gguf, file, monkeypatch, "'llama-bpe' is used, because this is the vocabulary of Llama 3")
    assert tokenize(model, b"zebra 1234") == vocab_tools.bpe_oracle("llama-bpe").encode("zebra 1234").ids
    lib.llama_model_free(model)


# Token numbers of the known vocabularies: their texts stand at fixed places, everything else is filler.
KNOWN = {
    "Llama 4": ("llama4", {200000: "<|begin_of_text|>", 200001: "<|end_of_text|>"}),
    "GPT-4o": ("gpt-4o", {0: "!", 199999: "<|endoftext|>"}),
    "GPT-4": ("dbrx", {0: "!", 100257: "<|endoftext|>"}),
    "GPT-2": ("gpt-2", {0: "!", 50256: "<|endoftext|>"}),
    "Qwen 2": ("qwen2", {151643: "<|endoftext|>", 151644: "<|im_start|>"}),
    "Qwen 3.5": ("qwen35", {248044: "<|endoftext|>", 248045: "<|im_start|>"}),
    "Kimi K2": ("kimi-k2", {163584: "[BOS]", 163585: "[EOS]"}),
    "DeepSeek V3": ("deepseek-v3", {0: "<\uff5cbegin\u2581of\u2581sentence\uff5c>", 1: "<\uff5cend\u2581of\u2581sentence\uff5c>"}),
    "Falcon": ("falcon", {0: ">>TITLE<<", 11: "<|endoftext|>", 65023: "x"}),
    "Falcon 3": ("falcon3", {0: ">>TITLE<<", 11: "<|endoftext|>", 131071: "x"}),
    "SmolLM": ("smollm", {0: "<|endoftext|>", 1: "<|im_start|>"}),
    "StarCoder": ("starcoder", {0: "<|endoftext|>", 1: "<fim_prefix>"}),
    "Command R": ("command-r", {0: "<PAD>", 5: "<BOS_TOKEN>"}),
}


@pytest.mark.parametrize("whose", KNOWN)
def test_pre_missing_in_a_known_vocabulary(file, monkeypatch, whose):
    pre, places = KNOWN[whose]
    tokens = [places.get(i, f"<filler {i}>") for i in range(max(places) + 1)] + (bpe_tokens()[:-3] if "Falcon" not in whose else [])
    types = [3] * (max(places) + 1) + [1] * (len(tokens) - max(places) - 1)
    gguf = bpe_gguf(None).set(TOKENS, ARRAY, (STRING, tokens)).set(TYPES, ARRAY, (I32, types))
    gguf.set(MERGES, ARRAY, (STRING, [])).set("tokenizer.ggml.bos_token_id", U32, 0).set("tokenizer.ggml.eos_token_id", U32, 0)
    model = repaired(gguf, file, monkeypatch, f"'{pre}' is used, because this is the vocabulary of {whose}")
    lib.llama_model_free(model)


def made_like(*, marked, camels, numbers, led) -> list[str]:
    """9000 words, and a thousand tokens of each habit asked for."""
    out = [f"w{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{chr(97 + i // 676)}" for i in range(9000)]
    out += [f"({w}" for w in out[:1000] if marked] + [f"{w}X" for w in out[:1000] if camels]
    return out + [f"{i}" for i in range(100, 1000) if numbers] + [f"\u0120{i}" for i in range(100, 1000) if led]


@pytest.mark.parametrize("pre, habits", [("gpt-2", "camels numbers led"), ("starcoder", "camels"), ("dbrx", "marked camels numbers"),
                                         ("qwen2", "marked camels"), ("gpt-4o", "marked numbers"), ("tekken", "marked")])
def test_pre_missing_is_told_by_the_tokens(file, monkeypatch, pre, habits):
    words = made_like(**{habit: habit in habits.split() for habit in ("marked", "camels", "numbers", "led")})
    tokens = bpe_tokens()[:256] + words + bpe_tokens()[-3:]
    gguf = bpe_gguf(None).set(TOKENS, ARRAY, (STRING, tokens)).set(TYPES, ARRAY, (I32, [1] * (len(tokens) - 3) + [3] * 3))
    gguf.set(MERGES, ARRAY, (STRING, [])).set("tokenizer.ggml.bos_token_id", U32, len(tokens) - 1)
    model = repaired(gguf, file, monkeypatch, f"'{pre}' is used, because the tokens are made like that")
    lib.llama_model_free(model)


@pytest.mark.parametrize("pre", ["gpt-2", "llama-bpe", "falcon", "deepseek-coder"])
def test_pre_missing_in_real_vocabularies(file, pre):
    source = SHARED / f"ggml-vocab-{pre}.gguf"
    if not source.exists():
        pytest.skip("needs the vocabularies of ../shared")
    content = source.read_bytes()
    key = b"tokenizer.ggml.pre"
    assert content.count(key) == 1
    file.write_bytes(content.replace(key, b"tokenizer.ggml.prx"))   # as good as missing
    with model_abi.warnings() as warned, model_abi.loaded(file, vocab_only=True) as model:
        assert sum(f"pre is missing: '{pre}' is used" in line for line in warned) == 1
        texts = source.with_suffix(".gguf.inp").read_bytes().split(b"\n__ggml_vocab_test__\n")
        expected = source.with_suffix(".gguf.out").read_text().split("\n")
        for text, ids in zip(texts, expected):
            assert tokenize(model, text) == [int(i) for i in ids.split()]


def test_pre_unknown_is_refused_with_the_names(file):
    refused(bpe_gguf("klingon"), file, "unknown pre-tokenizer 'klingon', expected one of default, gpt-2, llama-bpe, smollm")


@pytest.mark.parametrize("pre", ["llama3", "llama-v3", "falcon3", "starcoder", "phi-2", "roberta-bpe"])
def test_pre_aliases(file, pre):
    with model_abi.loaded(bpe_gguf(pre).write(file), vocab_only=True) as model:
        family = "llama-bpe" if pre in ("llama3", "llama-v3", "falcon3") else "smollm" if pre == "starcoder" else "gpt-2"
        assert tokenize(model, b"zebra  12345 he's") == vocab_tools.bpe_oracle(family).encode("zebra  12345 he's").ids


def test_add_space_prefix_missing(file, monkeypatch):
    gguf = spm_gguf(PIECES).drop("tokenizer.ggml.add_space_prefix")
    model = repaired(gguf, file, monkeypatch, "add_space_prefix is missing")
    assert piece(model, tokenize(model, b"a")[0]) == b" a"
    lib.llama_model_free(model)


@pytest.mark.parametrize("role, key, token", [("BOS", "bos", 1), ("EOS", "eos", 2), ("unknown", "unknown", 0)])
def test_spm_roles_missing(file, monkeypatch, role, key, token):
    gguf = spm_gguf(PIECES).drop(f"tokenizer.ggml.{key}_token_id")
    model = repaired(gguf, file, monkeypatch, f"no key says which token is {role}: token {token}")
    if key != "unknown":
        assert getattr(lib, f"llama_vocab_{key}")(model) == token
    lib.llama_model_free(model)


def test_bpe_roles_missing_are_found_by_text_or_not_at_all(file, monkeypatch):
    gguf = bpe_gguf("gpt-2").drop("tokenizer.ggml.bos_token_id").drop("tokenizer.ggml.eos_token_id")
    with model_abi.loaded(gguf.write(file), vocab_only=True) as model:
        assert lib.llama_vocab_bos(model) == -1 and lib.llama_vocab_eos(model) == -1
    gguf.set(TOKENS, ARRAY, (STRING, [*bpe_tokens()[:-3], "<|end|>", "<s>", "<|endoftext|>"]))
    model = repaired(gguf, file, monkeypatch, "no key says which token is BOS")
    assert lib.llama_vocab_bos(model) == len(bpe_tokens()) - 2 and lib.llama_vocab_eos(model) == len(bpe_tokens()) - 1
    lib.llama_model_free(model)


def test_bos_wanted_but_unknown(file, monkeypatch):
    gguf = bpe_gguf("gpt-2").drop("tokenizer.ggml.bos_token_id").set("tokenizer.ggml.add_bos_token", BOOL, True)
    model = repaired(gguf, file, monkeypatch, "texts should begin with BOS, but no token is BOS")
    assert not lib.llama_vocab_get_add_bos(model)
    lib.llama_model_free(model)


def test_role_out_of_range(file, monkeypatch):
    gguf = spm_gguf(PIECES).set("tokenizer.ggml.padding_token_id", U32, 2**32 - 1)
    model = repaired(gguf, file, monkeypatch, "token 4294967295, expected one below 264; it is ignored")
    assert lib.llama_vocab_pad(model) == -1
    lib.llama_model_free(model)


def test_role_of_wrong_type(file, monkeypatch):
    gguf = spm_gguf(PIECES).set("tokenizer.ggml.padding_token_id", STRING, "two")
    lib.llama_model_free(repaired(gguf, file, monkeypatch, "'tokenizer.ggml.padding_token_id' is not a token id"))


def test_token_type_missing(file, monkeypatch):
    model = repaired(spm_gguf(PIECES).drop(TYPES), file, monkeypatch, "token_type is missing")
    assert [lib.llama_vocab_get_attr(model, i) for i in (0, 1, 2, 3, 259)] == [1, 8, 8, 32, 4]
    assert tokenize(model, b"a\xff") == [262, 3 + 255]
    lib.llama_model_free(model)


def test_scores_missing(file, monkeypatch):
    model = repaired(spm_gguf(PIECES).drop(SCORES), file, monkeypatch, "scores is missing")
    assert detokenize(model, tokenize(model, b"ab a")) == b"ab a"
    lib.llama_model_free(model)


def test_byte_tokens_missing(file, monkeypatch):
    gguf = spm_gguf(PIECES)
    tokens = value(gguf, TOKENS)[1]
    tokens[3 + 0x80 : 3 + 256] = [f"x{i}" for i in range(128)]
    model = repaired(gguf, file, monkeypatch, "128 of 256 bytes have no token, the first is 0x80")
    assert tokenize(model, b"a\xc3\xa9") == [262, 0, 0]
    lib.llama_model_free(model)


def test_bpe_byte_missing_still_merges_and_is_left_out_alone(file, monkeypatch):
    # As in llama.cpp, and no repair: SmolLM2 itself lacks 21 bytes. The unknown token must not appear, it may be a control token.
    gguf = bpe_gguf("gpt-2").set("tokenizer.ggml.unknown_token_id", U32, len(bpe_tokens()) - 1)
    value(gguf, TOKENS)[1][ord("h")] = "<no h>"
    monkeypatch.setenv(STRICT, "1")
    with model_abi.loaded(gguf.write(file), vocab_only=True) as model:
        assert b"".join(piece(model, i) for i in tokenize(model, b"xh the hour")) == b"x the hour"


def test_unmarked_control_token(file, monkeypatch):
    gguf = bpe_gguf("gpt-2").set(TYPES, ARRAY, (I32, [1] * len(bpe_tokens())))
    gguf.write(file)
    with model_abi.warnings() as warned, model_abi.loaded(file, vocab_only=True) as model:
        ids = [i for i in range(lib.llama_vocab_n_tokens(model)) if lib.llama_vocab_is_eog(model, i)]
        assert [lib.llama_vocab_get_text(model, i) for i in ids] == [b"<|end|>", b"<|im_end|>"]
        assert all(lib.llama_vocab_is_control(model, i) for i in ids)
    assert sum("looks like a control token" in line for line in warned) == 2


def test_tokens_that_are_empty_or_repeated(file, monkeypatch):
    gguf = spm_gguf(PIECES | {"c": -4.0, "d": -5.0, "e": -6.0})
    tokens = value(gguf, TOKENS)[1]
    tokens[-3:] = ["", "", ""]
    model = repaired(gguf, file, monkeypatch, "3 empty tokens, the first is 264")
    assert lib.llama_vocab_get_text(model, 265) == b"[EMPTY_265]"
    lib.llama_model_free(model)
    tokens[-3:] = ["a", "a", "b"]
    model = repaired(gguf, file, monkeypatch, "3 tokens repeat the text of another, the first is 264 ('a')")
    assert tokenize(model, b"b")[-1] == 261
    lib.llama_model_free(model)


def test_merges_of_unknown_pieces(file, monkeypatch):
    gguf = bpe_gguf("gpt-2")
    bad = ["q", "", " ", "  ", "qz qz", "\u4e2d \u4e2d", "a\0 b", "zz zzzzzzzzz", "x" * 70000 + " y"]
    gguf.set(MERGES, ARRAY, (STRING, bad + vocab_tools.MERGES + vocab_tools.MERGES))
    model = repaired(gguf, file, monkeypatch, f"{len(bad)} merges name a piece that is no token, the first is number 0")
    assert tokenize(model, b"the nation") == vocab_tools.bpe_oracle("gpt-2").encode("the nation").ids
    lib.llama_model_free(model)


# ---- what cannot be repaired ----

@pytest.mark.parametrize("change, sentence", [
    (lambda g: g.drop(TOKENS), "key 'tokenizer.ggml.tokens' is missing"),
    (lambda g: g.set(TOKENS, ARRAY, (I32, [1, 2])), "key 'tokenizer.ggml.tokens': type 5, expected an array of type 8"),
    (lambda g: g.set(TOKENS, STRING, "a"), "key 'tokenizer.ggml.tokens': type 8, expected an array"),
    (lambda g: g.set(TOKENS, ARRAY, (STRING, [])), "0 tokens, expected 1 to"),
    (lambda g: g.drop(MERGES), "key 'tokenizer.ggml.merges' is missing"),
    (lambda g: g.set(MERGES, ARRAY, (U32, [1])), "key 'tokenizer.ggml.merges': type 4"),
    (lambda g: g.set(TYPES, ARRAY, (I32, [1])), "key 'tokenizer.ggml.token_type': 1 elements, expected one for each of 2260 tokens"),
    (lambda g: g.set(TYPES, ARRAY, (F32, [1.0] * 3000)), "key 'tokenizer.ggml.token_type': type 6"),
    (lambda g: g.set(SCORES, ARRAY, (F32, [1.0])), "key 'tokenizer.ggml.scores': 1 elements"),
    (lambda g: g.set("tokenizer.ggml.model", STRING, "word2vec"), "tokenizer.ggml.model: 'word2vec', expected gpt2"),
])
def test_refused(file, change, sentence):
    refused(change(bpe_gguf("gpt-2")), file, sentence)


# ---- files that mean harm ----

def use(model):
    """Everything that touches every token."""
    for i in range(lib.llama_vocab_n_tokens(model)):
        for special in (False, True):
            lib.llama_token_to_piece(model, i, None, 0, i % 3 - 1, special)
        lib.llama_vocab_get_text(model, i), lib.llama_vocab_get_attr(model, i), lib.llama_vocab_is_eog(model, i)
    for role in ROLES:
        getattr(lib, f"llama_vocab_{role}")(model)
    for text in (b"", b"abc \0 <s> \xff\xe2\x96", b"a" * 3000, " \u2581\u4e2d".encode() * 50, b"<0x00><|im_end|>" * 20):
        for flags in (False, True):
            ids = tokenize(model, text, special=flags, parse=flags)
            lib.llama_detokenize(model, id_array(ids), len(ids), None, 0, flags, flags)


@pytest.mark.parametrize("seed", range(40))
def test_random_vocabularies_do_no_harm(file, seed):
    rng = random.Random(seed)
    scraps = [b"", b" ", b"a", b"b", b"ab", b"<", b"<s>", b"<0x41>", b"<0x4", b"\0", b"a\0b", b"\xff", b"\xe2\x96", b"\xe2\x96\x81",
              b"\xe2\x96\x81a", "\u0120a".encode(), "\u0120".encode(), b"<|im_end|>", b"unused", b"x" * 5000, b"\xf4\x90\x80\x80"]
    make = lambda: b"".join(rng.choices(scraps, k=rng.randint(0, 3)))
    n = rng.randint(1, 300)
    gguf = Gguf(kv=[("general.architecture", STRING, "llama"), ("tokenizer.ggml.model", STRING, rng.choice(["llama", "gpt2"])),
                    (TOKENS, ARRAY, (STRING, [make() for _ in range(n)])),
                    (TYPES, ARRAY, (I32, [rng.choice([-5, 0, 1, 2, 3, 4, 5, 6, 7, 2**31 - 1]) for _ in range(n)])),
                    (SCORES, ARRAY, (F32, [rng.choice([0.0, -0.0, 1.0, float("nan"), float("inf"), -float("inf"), rng.gauss(0, 9)])
                                           for _ in range(n)])),
                    (MERGES, ARRAY, (STRING, [make() + b" " + make() for _ in range(2 * n)])),
                    ("general.name", STRING, rng.choice(["x", "phi-3", "modern-bert"]))])
    for role in ("bos", "eos", "unknown", "fim_pad"):
        gguf.set(f"tokenizer.ggml.{role}_token_id", U32, rng.randrange(2 * n))
    for flag in ("add_bos_token", "add_eos_token", "add_space_prefix"):
        gguf.set(f"tokenizer.ggml.{flag}", BOOL, rng.random() < 0.5)
    with model_abi.loaded(gguf.write(file), vocab_only=True) as model:
        use(model)


@pytest.mark.parametrize("seed", range(20))
def test_damaged_files_do_no_harm(file, seed):
    rng = random.Random(seed)
    content = bytearray((bpe_gguf("smollm") if seed % 2 else spm_gguf(PIECES)).to_bytes())
    for _ in range(rng.randint(1, 30)):
        at = rng.randrange(len(content))
        if rng.random() < 0.2:
            content[at : at + 8] = struct.pack("<Q", rng.choice([0, 1, 2**31, 2**32, 2**63, 2**64 - 1]))
        else:
            content[at] = rng.randrange(256)
    file.write_bytes(content)
    model = model_abi.load(file, vocab_only=True)
    if model is None:
        assert model_abi.last_error()[1]
    else:
        use(model)
        lib.llama_model_free(model)
