"""Text to tokens and back: ids of llama.cpp and of Hugging Face's `tokenizers`, special tokens, round trips, room, speed's shape.

tests_py/data/vocab_texts.inp and ../shared/vocab hold llama.cpp's own test texts (models/ggml-vocab-*.gguf.inp and .out).
What a broken vocabulary does is in test_vocab_repair.py.
"""
import ctypes as C
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import model_abi
import vocab_tools
from vocab_tools import DATA, detokenize, lib, piece, tokenize

SHARED = Path(__file__).resolve().parents[2] / "shared" / "vocab"
FAMILIES = ["default", "gpt-2", "llama-bpe", "smollm"]
TEXTS = (DATA / "vocab_texts.inp").read_text().split("\n__ggml_vocab_test__\n")

# Blocks whose categories have not changed since Unicode 9, so that any oracle knows them.
BLOCKS = [(0x20, 0x7E), (0x09, 0x0D), (0x80, 0x24F), (0x300, 0x36F), (0x391, 0x3C9), (0x400, 0x45F), (0x5D0, 0x5EA), (0x660, 0x669),
          (0x905, 0x939), (0xE01, 0xE3A), (0x2000, 0x206F), (0x20A0, 0x20BD), (0x2150, 0x218B), (0x2190, 0x23FA), (0x2460, 0x24FF),
          (0x3000, 0x303F), (0x3041, 0x3096), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3), (0xE000, 0xE010), (0xFF01, 0xFF9F),
          (0x1D400, 0x1D7FF), (0x1F300, 0x1F5FF), (0x20000, 0x20100)]
CHARS = st.sampled_from(BLOCKS).flatmap(lambda b: st.integers(*b)).map(chr).filter(lambda c: c != "\u017f")  # see (?i:'s) in csrc/bnf_split.c
PARTS = st.sampled_from(["'s", "'LL", "'t", " '", " ", "  ", "\n", "\r\n", " \n ", "\t", "12", "1234567", " 9", "the", " The", "zebra",
                         " and", "...", " ?!", "\u00a0", "\u3000", "\u0301", "ing", "<|end|>", "<", "\u0bc1", "`", "$1", "a\u0327"])
TEXT = st.lists(st.one_of(CHARS, PARTS), max_size=40).map("".join)
RELAXED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    """(name, a loaded model of that family, the oracle)."""
    path = vocab_tools.bpe_gguf(request.param).write(tmp_path_factory.mktemp("vocab") / "bpe.gguf")
    with model_abi.loaded(path, vocab_only=True) as model:
        yield request.param, model, vocab_tools.bpe_oracle(request.param)


@pytest.fixture(scope="module")
def smollm(tmp_path_factory):
    path = vocab_tools.bpe_gguf("smollm").write(tmp_path_factory.mktemp("vocab") / "bpe.gguf")
    with model_abi.loaded(path, vocab_only=True) as model:
        yield model


# Scores all differ: with equal ones, `tokenizers` breaks ties by pair and SentencePiece by place.
PIECES = ["\u2581", *"etaoinshrdlu.,!", "th", "he", "in", "er", "\u2581t", "\u2581the", "an", "\u2581an", "\u2581\u2581",
          "\u2581\u2581\u2581\u2581", "on", "re", "\u2581in", "the", "and", "\u2581and", "nd", "\u00e9", "\u4e2d", "st", "est", "ee", "eee",
          "!!", "ou", "..."]
SPM = {piece: -float(i) for i, piece in enumerate(PIECES)}


@pytest.fixture(scope="module", params=["spaces lead", "a space follows"])
def spm(request, tmp_path_factory):
    """Vocabularies for both ways of merging: word by word, and the whole text (because of the piece "e\u2581")."""
    pieces = SPM if request.param == "spaces lead" else SPM | {"e\u2581": -3.5, "e\u2581t": -40.0}
    path = vocab_tools.spm_gguf(pieces).write(tmp_path_factory.mktemp("vocab") / "spm.gguf")
    with model_abi.loaded(path, vocab_only=True) as model:
        yield model, vocab_tools.spm_oracle(pieces)


# ---- ids ----

@pytest.mark.parametrize("name", ["gpt-2", "llama-bpe", "llama-spm", "phi-3"])
def test_tokenize_llama_cpp_ids(name):
    path = SHARED / f"ggml-vocab-{name}.gguf"
    if not path.exists():
        pytest.skip(f"{path} is not there: llama.cpp's vocabulary files are beside the project only where it is developed")
    texts = Path(f"{path}.inp").read_text().split("\n__ggml_vocab_test__\n")
    expected = [[int(i) for i in line.split()] for line in Path(f"{path}.out").read_text().splitlines()]
    assert len(texts) == 47 and len(expected) == 46   # the file ends with a separator, not with a text
    with model_abi.loaded(path, vocab_only=True) as model:
        for text, ids in zip(texts, expected):
            assert tokenize(model, text.encode()) == ids, text


def test_tokenize_smollm2_prompts(smollm2_path):
    golden = json.loads((DATA / "smollm2_greedy.json").read_text())
    with model_abi.loaded(smollm2_path, vocab_only=True) as model:
        for case in golden:
            assert tokenize(model, case["prompt"].encode(), parse=True) == case["prompt_tokens"]


def test_tokenize_bpe_equals_tokenizers_on_llama_cpp_texts(family):
    _, model, oracle = family
    for text in TEXTS:
        assert tokenize(model, text.encode()) == oracle.encode(text).ids, text


@RELAXED
@given(text=TEXT)
def test_tokenize_bpe_equals_tokenizers_on_random_text(family, text):
    _, model, oracle = family
    assert tokenize(model, text.encode()) == oracle.encode(text).ids


@RELAXED
@given(text=st.text("etaoinshr t th.,!\u00e9\u4e2d\u00df  ", min_size=1, max_size=80))
def test_tokenize_spm_equals_tokenizers_on_random_text(spm, text):
    model, oracle = spm
    assert tokenize(model, text.encode()) == oracle.encode(text).ids


@pytest.mark.parametrize("text", ["a" * 400, "the " * 100, " " * 333, "e" * 33 + " " * 33, "\u4e2d" * 100])
def test_tokenize_long_words(family, spm, text):
    assert tokenize(family[1], text.encode()) == family[2].encode(text).ids
    assert tokenize(spm[0], text.encode()) == spm[1].encode(text).ids


def test_tokenize_whole_words_only_where_the_family_says(family):
    name, model, _ = family
    zebra = vocab_tools.bpe_tokens().index("zebra")
    for _ in range(2):  # the second time through the memo
        assert (tokenize(model, b"zebra") == [zebra]) is (name == "llama-bpe")


# ---- special tokens ----

def test_special_tokens_only_when_parsed(smollm):
    start = vocab_tools.bpe_tokens().index("<|im_start|>")
    text = b"<|im_start|>user\nhi<|im_end|>"
    parsed = tokenize(smollm, text, parse=True)
    assert parsed[0] == start and parsed[-1] == start + 1 and start not in parsed[1:]
    assert start not in tokenize(smollm, text)
    assert detokenize(smollm, parsed) == b"user\nhi"
    assert detokenize(smollm, parsed, unparse=True) == text


def special_gguf(tokens: dict[str, int], name="specials"):
    """SPM with a-c and these tokens: text to token type."""
    pieces = {"\u2581": -1.0, "a": -2.0, "b": -3.0, "c": -4.0, "\u2581a": -0.5} | dict.fromkeys(tokens, 0.0)
    return vocab_tools.spm_gguf(pieces, types=tokens).set("general.name", vocab_tools.STRING, name)


def spell(model, ids):
    return [piece(model, token) for token in ids]


def test_user_defined_tokens_always(tmp_path):
    with model_abi.loaded(special_gguf({"<u>": 4, "<c>": 3}).write(tmp_path / "v.gguf"), vocab_only=True) as model:
        assert spell(model, tokenize(model, b"a<u>b<c>")) == [b" a", b"<u>", b" ", b"b", b"<", b"c", b">"]
        assert spell(model, tokenize(model, b"a<u>b<c>", parse=True)) == [b" a", b"<u>", b" ", b"b", b"<c>"]


def test_special_tokens_longest_first_wherever_it_stands(tmp_path):
    # "bcc" is longer than "ab", so it wins even though "ab" begins first; "cc" is all that is left of the second "bcc".
    with model_abi.loaded(special_gguf({"ab": 4, "bcc": 4, "cc": 4}).write(tmp_path / "v.gguf"), vocab_only=True) as model:
        assert spell(model, tokenize(model, b"abcc")) == [b" a", b"bcc"]
        assert spell(model, tokenize(model, b"accab")) == [b" a", b"cc", b"ab"]
        assert spell(model, tokenize(model, b"ccc")) == [b"cc", b" ", b"c"]


def test_special_tokens_strip_white_space_as_phi_3_wants(tmp_path):
    path = special_gguf({"<|x|>": 3}, "Phi-3 mini").write(tmp_path / "v.gguf")
    with model_abi.loaded(path, vocab_only=True) as model:
        assert spell(model, tokenize(model, b"a <|x|> \n a", parse=True)) == [b" a", b" ", b"<|x|>", b" a"]
        assert spell(model, tokenize(model, b"<|x|>  ", parse=True)) == [b"<|x|>"]


@RELAXED
@given(text=st.text("abc<>|u ", max_size=30))
def test_special_tokens_equal_the_plain_search(tmp_path_factory, text):
    specials = ["ab", "bc", "abc", "<u", "u>", "<u>", "|", "cc", "a<"]
    found = [text]
    for special in sorted(specials, key=lambda s: -len(s)):   # llama.cpp's way: one token after the other over all stretches
        found = [part for old in found for part in ([old] if isinstance(old, tuple) else
                 [p for p in sum(([x, (special,)] for x in old.split(special)), [])[:-1] if p])]
    path = tmp_path_factory.getbasetemp() / "specials.gguf"
    if not path.exists():
        special_gguf(dict.fromkeys(specials, 4)).write(path)
    with model_abi.loaded(path, vocab_only=True) as model:
        ids = tokenize(model, text.encode())
        first = lib.llama_vocab_n_tokens(model) - len(specials)
        assert [piece(model, i).decode() for i in ids if i >= first] == [part[0] for part in found if isinstance(part, tuple)]
        assert b"".join(spell(model, ids)).replace(b" ", b"").decode() == text.replace(" ", "")


def test_add_special_follows_the_vocabulary(tmp_path):
    for bos, eos in [(True, False), (False, True), (True, True), (False, False)]:
        path = vocab_tools.spm_gguf(SPM, add_bos_token=bos, add_eos_token=eos).write(tmp_path / "v.gguf")
        with model_abi.loaded(path, vocab_only=True) as model:
            inner = tokenize(model, b"the")
            ids = tokenize(model, b"the", special=True)
            assert ids == [1] * bos + inner + [2] * eos
            assert detokenize(model, ids, remove=True, unparse=True) == (b" the" if bos else b"the")
            assert tokenize(model, b"", special=True) == [1] * bos + [2] * eos
            assert tokenize(model, b"") == []


def test_double_bos_is_warned_of(tmp_path):
    with model_abi.loaded(vocab_tools.spm_gguf(SPM, add_bos_token=True).write(tmp_path / "v.gguf"), vocab_only=True) as model:
        with model_abi.warnings() as warned:
            tokenize(model, b"<s>the", special=True, parse=True)
        assert any("begins with one" in line for line in warned)


# ---- back to text ----

@RELAXED
@given(text=TEXT)
def test_pieces_join_to_the_text(family, text):
    _, model, oracle = family
    assert b"".join(piece(model, i) for i in tokenize(model, text.encode())) == text.encode()


@RELAXED
@given(text=TEXT)
def test_detokenize_inverts_tokenize(smollm, text):
    assert detokenize(smollm, tokenize(smollm, text.encode())) == text.encode()


@RELAXED
@given(text=st.one_of(st.text(max_size=40).map(str.encode), st.binary(max_size=60).map(lambda b: b.replace(b" ", b""))))
def test_detokenize_spm_inverts_any_bytes(spm, text):
    # Only a space after a broken character is lost: as in llama.cpp, the lead byte takes bytes of its U+2581 along.
    model = spm[0]
    assert detokenize(model, tokenize(model, text)) == text.replace("\u2581".encode(), b" ")


@pytest.mark.parametrize("text, cleaned", [
    (b"so ? yes ! a . b , c", b"so? yes! a. b, c"), (b"it 's 'm 're 've 't 'll", b"it's'm're've 't 'll"), (b"x ' y", b"x'y"),
    (b" .", b"."), (b"a  .", b"a ."), (b"", b"")])
def test_detokenize_cleans_spaces_as_llama_cpp(tmp_path, text, cleaned):
    with model_abi.loaded(vocab_tools.bpe_gguf("gpt-2").write(tmp_path / "v.gguf"), vocab_only=True) as model:
        assert detokenize(model, tokenize(model, text)) == cleaned


def test_token_to_piece_lstrip_and_room(spm):
    model = spm[0]
    spaces = 259 + PIECES.index("\u2581\u2581\u2581\u2581")
    assert [piece(model, spaces, lstrip=n) for n in (0, 1, 3, 4, 9, -1)] == [b"    ", b"   ", b" ", b"", b"", b"    "]
    assert lib.llama_token_to_piece(model, spaces, None, 0, 0, False) == -4
    assert lib.llama_token_to_piece(model, spaces, C.create_string_buffer(3), 3, 1, False) == 3
    assert lib.llama_token_to_piece(model, spaces, C.create_string_buffer(3), -5, 0, False) == -4
    assert piece(model, 1) == b"<s>" and piece(model, 1, special=False) == b""
    assert piece(model, 3 + 0xE4, special=False) == b"\xe4"


def test_detokenize_room(spm):
    model = spm[0]
    ids = tokenize(model, b"the nation")
    array = (C.c_int32 * len(ids))(*ids)
    assert lib.llama_detokenize(model, array, len(ids), None, 0, False, False) == -10
    assert lib.llama_detokenize(model, array, len(ids), C.create_string_buffer(9), 9, False, False) == -10
    assert model_abi.last_error()[0] == 0
    assert lib.llama_detokenize(model, array, len(ids), C.create_string_buffer(10), 10, False, False) == 10


# ---- borders ----

def test_tokenize_room_is_told_by_the_code(smollm):
    text = b"one two three four"
    n = len(tokenize(smollm, text))
    ids = (C.c_int32 * 3)(7, 7, 7)
    assert lib.llama_tokenize(smollm, text, len(text), ids, 2, False, False) == -n
    assert model_abi.last_error() == (0, "") and ids[2] == 7
    assert lib.llama_tokenize(smollm, text, len(text), None, 0, False, False) == -n
    assert lib.llama_tokenize(smollm, text, len(text), None, -3, False, False) == -n
    assert lib.llama_tokenize(None, text, len(text), ids, 2, False, False) == -2**31
    assert model_abi.last_error()[0] == model_abi.ERROR
    assert lib.llama_tokenize(smollm, None, 3, ids, 2, False, False) == -2**31
    assert lib.llama_tokenize(smollm, None, 0, ids, 2, False, False) == 0


def test_tokenize_negative_length_reads_to_the_nul(smollm):
    ids = (C.c_int32 * 9)()
    assert lib.llama_tokenize(smollm, b"one", -1, ids, 9, False, False) == len(tokenize(smollm, b"one"))


def test_tokenize_nul_bytes_are_text(smollm):
    assert detokenize(smollm, tokenize(smollm, b"a\0b\0")) == b"a\0b\0"


@pytest.mark.parametrize("token", [-1, -2**31, 2**31 - 1, 100000])
def test_tokens_out_of_range(smollm, token):
    assert lib.llama_vocab_get_text(smollm, token) is None and "expected one of 0 to" in model_abi.last_error()[1]
    assert lib.llama_vocab_get_score(smollm, token) == 0 and lib.llama_vocab_get_attr(smollm, token) == 0
    assert not lib.llama_vocab_is_eog(smollm, token) and not lib.llama_vocab_is_control(smollm, token)
    assert lib.llama_token_to_piece(smollm, token, C.create_string_buffer(9), 9, 0, True) == 0
    assert model_abi.last_error()[0] == -3
    assert lib.llama_detokenize(smollm, (C.c_int32 * 1)(token), 1, C.create_string_buffer(9), 9, False, False) == 0
    assert model_abi.last_error()[0] == -3


def test_null_vocabulary():
    for name in vocab_tools.ROLES:
        assert getattr(lib, "llama_vocab_" + name)(None) == -1
    assert lib.llama_vocab_n_tokens(None) == 0 and not lib.llama_vocab_get_add_bos(None)
    assert lib.llama_vocab_get_text(None, 0) is None
    assert lib.llama_detokenize(None, None, 0, None, 0, False, False) == 0 and model_abi.last_error()[0] == model_abi.ERROR


@pytest.mark.parametrize("broken", [b"\xff", b"a\x80b", b"\xc3", b"\xe4\xb8", b"x\xf0\x9f\x98", b"\xf8\x88\x80\x80\x80", b"\xf4\x90\x80\x80"])
def test_invalid_utf8_is_u_fffd_for_bpe(family, broken):
    _, model, oracle = family
    # One U+FFFD for every byte that begins no character, as llama.cpp has it (Python puts one for several).
    text = "".join(c if c.isascii() else "\ufffd" for c in broken.decode("latin-1"))
    assert tokenize(model, broken) == oracle.encode(text).ids


def test_overlong_forms_are_shortened_and_surrogates_kept(smollm):
    assert detokenize(smollm, tokenize(smollm, b"\xc1\x81")) == b"A"
    assert detokenize(smollm, tokenize(smollm, b"\xed\xa0\x80")) == b"\xed\xa0\x80"


@RELAXED
@given(text=st.binary(max_size=80))
def test_any_bytes_give_tokens_that_spell_a_text(family, text):
    _, model, _ = family
    detokenize(model, tokenize(model, text, special=True, parse=True))


def test_threads_share_a_vocabulary(tmp_path):
    # A fresh model, so that the threads race for the memo of whole words; the oracle says what all of them must find.
    text = "".join(TEXTS) * 20
    with model_abi.loaded(vocab_tools.bpe_gguf("gpt-2").write(tmp_path / "v.gguf"), vocab_only=True) as model:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: tokenize(model, text.encode()), range(8)))
    assert all(ids == found[0] for ids in found) and found[0] == vocab_tools.bpe_oracle("gpt-2").encode(text).ids


# ---- the shape of speed: no text is much worse than ordinary text ----

SENTENCE = b"The report says that 27 of the 1,204 houses were empty. \"Why?\" she asked, 'because nobody's there' -- and so on.\n"
ENGLISH = (SENTENCE * 9000)[: 10**6]
KINDS = {"letter": b"a" * 10**6, "spaces": b" " * 10**6, "newlines": b"\n" * 10**6, "digits": b"7" * 10**6, "marks": b"!" * 10**6,
         "emoji": "\U0001f600".encode() * 250000, "marks and letters": b"a'" * 500000, "invalid": bytes(range(128, 256)) * 7800,
         "random": bytes((i * 7919 + (i >> 7) * 104729) % 251 for i in range(10**6)), "open tags": b"<|" * 500000,
         "space pairs": b"  x" * 333333}


def cpu_time(model, text):
    room = 3 * len(text)   # an invalid byte becomes the three bytes of U+FFFD
    ids = (C.c_int32 * room)()
    start = time.process_time()
    n = lib.llama_tokenize(model, text, len(text), ids, room, False, True)
    assert n > 0
    return time.process_time() - start


@pytest.mark.parametrize("kind", KINDS)
def test_tokenize_worst_cases_stay_near_ordinary_text(smollm, spm, kind):
    # n log n of one long word is 20 comparisons and as many cache misses a symbol, against about one look-up a byte: 60 is
    # generous; a quadratic megabyte would be 10000 times slower.
    for model in (smollm, spm[0]):
        assert cpu_time(model, KINDS[kind]) < 60 * cpu_time(model, ENGLISH)
