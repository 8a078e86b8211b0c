"""Where tokens stand in a text, and texts that are tokenized in parts: bitnet_tokenize, bitnet_tokenize_cut, Model.encode.

Every pre-tokenizer that the library knows is tried, so that a new one with words that go on over spaces is noticed.
"""
import ctypes as C
import random
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import model_abi
import vocab_tools
from bitnet_ffi import Model
from test_vocab import SPM, TEXT, special_gguf
from vocab_tools import lib, tokenize

lib.bitnet_tokenize.argtypes = [C.c_void_p, C.c_char_p, C.c_int32, C.POINTER(C.c_int32), C.POINTER(C.c_int32), C.c_int32, C.c_uint32]
lib.bitnet_tokenize_cut.argtypes = [C.c_void_p, C.c_char_p, C.c_int32, C.c_uint32]
ADD, PARSE, NOT_FIRST, NOT_LAST = 1, 2, 4, 8
RELAXED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NAMES = sorted(set(re.findall(r'\{"([^"]+)", *BNF_PRE_', (Path(__file__).parent.parent / "csrc" / "bnf_vocab_names.c").read_text())))
OVER_SPACES = {"superbpe", "exaone-moe"}  # words hold spaces: no place to cut
BYTES = st.lists(st.one_of(TEXT.map(str.encode), st.binary(max_size=4), st.sampled_from([b"a b", b" the c d", b"<s>", b"<|end|>"])),
                 max_size=12).map(b"".join)


def tokens_and_ranges(model, text, flags=0):
    room = 3 * len(text) + 8
    ids, ranges = (C.c_int32 * room)(), (C.c_int32 * (2 * room))()
    n = lib.bitnet_tokenize(model, text, len(text), ids, ranges, room, flags)
    assert n >= 0, model_abi.last_error()
    return ids[:n], [tuple(ranges[2 * i:2 * i + 2]) for i in range(n)]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """name -> a model, loaded when it is asked for: every pre-tokenizer, SPM, and SPM with a token over a space."""
    folder, kept = tmp_path_factory.mktemp("vocab"), {}

    def get(name):
        if name not in kept:
            gguf = {"spm": lambda: vocab_tools.spm_gguf(SPM, add_bos_token=True, add_eos_token=True),
                    "spm over spaces": lambda: vocab_tools.spm_gguf(SPM | {"e\u2581": -3.5, "e\u2581t": -40.0}),
                    "specials": lambda: special_gguf({"<u>": 4, "ab": 4, "b c": 4, "<c>": 3}, "Phi-3 mini")}.get(
                        name, lambda: vocab_tools.bpe_gguf(name))()
            kept[name] = model_abi.load(gguf.write(folder / f"{len(kept)}.gguf"), vocab_only=True)
            assert kept[name], model_abi.last_error()
        return kept[name]

    yield get
    for model in kept.values():
        lib.llama_model_free(model)


# ---- ranges ----

@pytest.mark.parametrize("name", ["gpt-2", "llama-bpe", "default", "spm", "spm over spaces", "specials"])
@RELAXED
@given(text=BYTES)
def test_ranges_cover_the_text(models, name, text):
    model = models(name)
    for flags in (0, ADD | PARSE):
        ids, ranges = tokens_and_ranges(model, text, flags)
        assert ids == tokenize(model, text, special=bool(flags), parse=bool(flags))
        at = 0
        for begin, end in ranges:
            assert 0 <= begin <= end <= len(text)
            assert begin <= at <= end or name == "specials"  # specials of Phi-3 strip the white space behind them
            at = max(at, end)
        assert at == len(text) or name == "specials"


@pytest.mark.parametrize("name", ["gpt-2", "llama-bpe", "spm", "spm over spaces"])
@RELAXED
@given(text=TEXT)
def test_ranges_are_the_pieces_of_clean_text(models, name, text):
    model, data = models(name), text.replace("\u2581", "").encode()
    ids, ranges = tokens_and_ranges(model, data)
    for i, (token, (begin, end)) in enumerate(zip(ids, ranges)):
        piece = vocab_tools.piece(model, token)
        assert data[begin:end] == piece or (i == 0 and b" " + data[begin:end] == piece) or piece == b"<unk>"


def test_ranges_of_changed_bytes(models):
    assert set(tokens_and_ranges(models("gpt-2"), b"a\xffb")[1]) == {(0, 1), (1, 2), (2, 3)}
    assert set(tokens_and_ranges(models("gpt-2"), b"\xc1\x81b")[1]) == {(0, 2), (2, 3)}   # an overlong A
    ids, ranges = tokens_and_ranges(models("spm"), b"the", ADD)
    assert ranges[0] == (0, 0) and ranges[-1] == (3, 3)


def test_ranges_room(models):
    model, ids, ranges = models("gpt-2"), (C.c_int32 * 3)(7, 7, 7), (C.c_int32 * 6)(*[7] * 6)
    n = len(tokenize(model, b"one two three"))
    assert lib.bitnet_tokenize(model, b"one two three", 13, ids, ranges, 2, 0) == -n
    assert ids[2] == 7 and ranges[4:] == [7, 7] and ranges[0] == 0


# ---- parts ----

def in_parts(model, text, flags, block):
    """Tokens of the text as a reader of blocks finds them, and the number of parts."""
    rest, ids, parts, first = b"", [], 0, 0
    for i in range(0, len(text), block):
        rest += text[i:i + block]
        cut = lib.bitnet_tokenize_cut(model, rest, len(rest), flags)
        assert 0 <= cut < max(len(rest), 1)
        if cut:
            ids += tokens_and_ranges(model, rest[:cut], flags | first | NOT_LAST)[0]
            rest, first, parts = rest[cut:], NOT_FIRST, parts + 1
    return ids + tokens_and_ranges(model, rest, flags | first)[0], parts


@pytest.mark.parametrize("name", ["spm", "spm over spaces", "specials", *NAMES])
def test_parts_give_the_tokens_of_the_whole(models, name):
    rng = random.Random(name)
    model = models(name)
    words = ["a b", " c", "the", " The", "'s", "'LL", " ", "  ", "\n", " \n", "\r\n", "\t", "1", "1234", ",", "...", " (", "\u00e9",
             " \u00e9", "\u4e2d\u6587", "\u3042", "\ud55c\uad6d", "\u0e01\u0e32", "\u0301", "\U0001f600", "<|end|>", "<u>", "ab c",
             "<c> x", "IMGIMGAZ", "\u2581"]
    total = 0
    for n in range(60):
        parts = rng.choices(words, k=rng.randrange(60))
        text = "".join(parts).encode()
        if n % 3 == 0:
            text = text.replace(b"th", b"\xe4").replace(b"b c", b"\xf0b c")
        flags = rng.choice([0, ADD, PARSE, ADD | PARSE])
        ids, n_parts = in_parts(model, text, flags, rng.choice([1, 7, 40]))
        assert ids == tokens_and_ranges(model, text, flags)[0], text
        total += n_parts
    assert (total == 0) == (name in OVER_SPACES)


def test_cut_stands_before_a_space_between_letters(models):
    model = models("gpt-2")
    assert lib.bitnet_tokenize_cut(model, b"one two 3 four", 14, 0) == 3
    assert lib.bitnet_tokenize_cut(model, b"one two three", -1, 0) == 7
    for text in (b"", b"a", b"a ", b"a b"[:2], b"1 2", b"a  b", b" a"):
        assert lib.bitnet_tokenize_cut(model, text, len(text), 0) == 0
    assert lib.bitnet_tokenize_cut(None, b"a b", 3, 0) == 0 and model_abi.last_error()[0] == model_abi.ERROR
    # "b c" is a token, "ab" one that takes the space behind it away, and half a token may be all that is known.
    model = models("specials")
    for text in (b"xb cx", b"xb c", b"ab x", b"xb cy x"[:5]):
        assert lib.bitnet_tokenize_cut(model, text, len(text), 0) == 0, text
    assert lib.bitnet_tokenize_cut(model, b"xc d", 4, 0) == 2


# ---- Python ----

@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = vocab_tools.bpe_gguf("llama-bpe").write(tmp_path_factory.mktemp("vocab") / "v.gguf")
    with Model(path, vocab_only=True) as model:
        yield model


def test_encode_gives_arrays(model):
    ids, offsets = model.encode("the caf\u00e9", return_offsets=True)
    assert ids.dtype == offsets.dtype == np.int32 and offsets.shape == (len(ids), 2)
    assert ids.tolist() == model.tokenize("the caf\u00e9") == model.encode("the caf\u00e9").tolist()
    assert offsets[0, 0] == 0 and offsets[-1, 1] == 9
    assert model.decode(ids) == "the caf\u00e9" and model.decode([]) == "" and model.encode("").shape == (0,)
    assert len(model.encode(b"\xff" * 100)) > 100   # more tokens than bytes: asked for again with more room
    with pytest.raises(ValueError, match="2 dimensions"):
        model.decode(offsets)


def test_batches_equal_single_calls(model):
    texts = [f"text {i} " * (i % 7) for i in range(100)]
    for n_threads in (None, 1, 3):
        batch = model.encode_batch(texts, n_threads=n_threads)
        assert [ids.tolist() for ids in batch] == [model.tokenize(text) for text in texts]
        assert model.decode_batch(batch, n_threads=n_threads) == texts
    assert model.encode_batch([]) == [] and model.encode_batch(["a"], return_offsets=True)[0][1].tolist() == [[0, 1]]
    with pytest.raises(ValueError, match="n_threads"):
        model.encode_batch(texts, n_threads=0)


@pytest.mark.parametrize("block", [1, 3, 100, 10**6])
def test_stream_equals_the_whole(model, block):
    text = ("It's 12 o'clock in the caf\u00e9, isn't it?\n\n  Yes. " * 40).encode()
    found = list(model.encode_stream((text[i:i + block] for i in range(0, len(text), block)), return_offsets=True))
    ids, offsets = model.encode(text, return_offsets=True)
    assert np.concatenate([part[0] for part in found]).tolist() == ids.tolist()
    assert np.concatenate([part[1] for part in found]).tolist() == offsets.tolist()
    assert len(found) > 2 or block > 1000
    assert [part.tolist() for part in model.encode_stream([])] == [[]]
