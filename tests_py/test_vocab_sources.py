"""tokenizer.json, tokenizer.model and tiktoken ranks as GGUF: the ids of the file that results are those of the source.

`tokenizers` writes the tokenizer.json files, so both their form and their ids are Hugging Face's own.
"""
from __future__ import annotations

import base64
import json
import random
import struct

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

import gguf_writer
import split_tools
import vocab_tools
from bitnet_ffi import Model, container, repair, vocab_sources
from bitnet_ffi.errors import BitnetError, InvalidModelError, ModelNotFoundError
from bitnet_ffi.vocab_sources import tiktoken_ranks
from test_split import EXPRESSIONS
from test_vocab import TEXT
from vocab_tools import MERGES, bpe_tokens

KEY = "tokenizer.ggml."
CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
ASCII = st.text(st.sampled_from(
    " \n\r\t'.,;:!?()[]{}<>/\\-_+*=0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"), max_size=80)


def embedded(folder, source, *, rows: int | None = None) -> Model:
    """A model of which only the vocabulary is of interest, with the tokenizer of `source` put in."""
    gguf = gguf_writer.Gguf(kv=[("general.architecture", gguf_writer.STRING, "llama")])
    if rows is not None:
        gguf.add("token_embd.weight", "f32", (4, rows), bytes(16 * rows))
    plan = repair.plan(gguf.write(folder / "bare.gguf"), source)
    repair.write(plan, folder / "full.gguf", force=True)
    again = repair.plan(folder / "full.gguf")
    assert not again.changes and not again.needs_tokenizer, again
    return Model(folder / "full.gguf", vocab_only=True)


def save(tokenizer: Tokenizer, path, change=lambda content: None):
    content = json.loads(tokenizer.to_str())
    change(content)
    path.write_text(json.dumps(content, ensure_ascii=False))
    return path


def ids_of(model: Model, text: str) -> list[int]:
    return model.tokenize(text, add_special=False)


# ---- byte-level BPE ----

def words(number, word=r"[^\r\n\p{L}\p{N}]?\p{L}+", tail=r"[\r\n]*", lead=CONTRACTION + "|", lines=r"\s*[\r\n]+",
          marks=r" ?[^\s\p{L}\p{N}]+"):
    return rf"{lead}{word}|{number}|{marks}{tail}|{lines}|\s+(?!\S)|\s+"


def cased(number, contraction):
    return words(number, "|".join(rf"[^\r\n\p{{L}}\p{{N}}]?{w}{contraction}" for w in (f"{UPPER}*{LOWER}+", f"{UPPER}+{LOWER}*")),
                 r"[\r\n/]*", "")


# As the tokenizer.json files of these models have them: (steps before the bytes, whole words first, the texts that agree)
FAMILIES = {
    "gpt-2": ([pre_tokenizers.ByteLevel(add_prefix_space=False)], False, TEXT),
    "smollm": ([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)], False, TEXT),
    "llama-bpe": ([words(r"\p{N}{1,3}")], True, TEXT),
    "dbrx": ([words(r"\p{N}{1,3}").replace(CONTRACTION, "'(?i:[sdmt]|ll|ve|re)")], False, TEXT),
    "qwen2": ([words(r"\p{N}")], False, TEXT),
    "qwen35": ([words(r"\p{N}", r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+", marks=r" ?[^\s\p{L}\p{M}\p{N}]+")], False, TEXT),
    "seed-coder": ([words(r"\p{N}", tail="")], False, TEXT),
    "bailingmoe": ([words(r"\p{N}", lines=r"\s*[\r\n]")], False, TEXT),
    "deepseek-v3": (EXPRESSIONS["deepseek-v3"][:1] + ["[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
                    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^""" "\r\n" r"""\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+["""
                    "\r\n" r"""]*|\s*[""" "\r\n" r"""]+|\s+(?!\S)|\s+"""], False, TEXT),
    "deepseek-coder": (["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
                        pre_tokenizers.Digits(individual_digits=True)], False, ASCII),
    # llama.cpp writes these without classes of case, so that only ASCII is sure to be cut alike
    "gpt-4o": ([cased(r"\p{N}{1,3}", CONTRACTION + "?")], False, ASCII),
    "tekken": ([cased(r"\p{N}", "")], True, ASCII),
}


def family_tokenizer(name: str) -> Tokenizer:
    steps, whole, _ = FAMILIES[name]
    merges = [tuple(m.split(" ")) for m in split_tools.pair_merges()]
    vocab = {token: i for i, token in enumerate(split_tools.pair_tokens())}
    tokenizer = Tokenizer(models.BPE(vocab, merges, ignore_merges=whole))
    steps = [pre_tokenizers.Split(Regex(s), "isolated") if isinstance(s, str) else s for s in steps]
    if not any("ByteLevel" in type(s).__name__ for s in steps):
        steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    tokenizer.pre_tokenizer = steps[0] if len(steps) == 1 else pre_tokenizers.Sequence(steps)
    return tokenizer


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("family")
    tokenizer = family_tokenizer(request.param)
    with embedded(folder, save(tokenizer, folder / "tokenizer.json")) as model:
        assert model.metadata[KEY + "pre"] == request.param
        yield model, tokenizer, FAMILIES[request.param][2]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_byte_level_ids_are_those_of_tokenizers(family, data):
    model, tokenizer, texts = family
    text = data.draw(texts)
    assert ids_of(model, text) == tokenizer.encode(text, add_special_tokens=False).ids


def test_removed_and_inverted_is_the_same_as_isolated(tmp_path):
    tokenizer = family_tokenizer("gpt-4o")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(FAMILIES["gpt-4o"][0][0]), "removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    assert vocab_sources.read(save(tokenizer, tmp_path / "tokenizer.json")).pre == "gpt-4o"


def test_merges_in_both_forms(tmp_path):
    def as_lines(content):
        content["model"]["merges"] = [" ".join(m) if isinstance(m, list) else m for m in content["model"]["merges"]]

    def as_pairs(content):
        content["model"]["merges"] = [m if isinstance(m, list) else m.split(" ") for m in content["model"]["merges"]]
    tokenizer = family_tokenizer("gpt-2")
    lines, pairs = (vocab_sources.read(save(tokenizer, tmp_path / "t.json", form)) for form in (as_lines, as_pairs))
    assert lines.merges == pairs.merges == split_tools.pair_merges()


@pytest.mark.parametrize("pre", ["gpt-4o", "tekken", "gpt-2"])
def test_whole_words_first_matter_for_tokens_that_no_merges_make(tmp_path, pre):
    """gpt-oss says ignore_merges; every token of it is made by merges."""
    tokenizer = family_tokenizer(pre)

    def other_way(content, *, drop):
        content["model"]["ignore_merges"] ^= True
        for token in drop:
            del content["model"]["vocab"][token]
    alone = split_tools.pair_tokens()[-2:]
    path = save(tokenizer, tmp_path / "t.json", lambda content: other_way(content, drop=alone))
    assert vocab_sources.read(path).pre == pre
    with pytest.raises(InvalidModelError, match=f"matters for token {alone[0]!r}"):
        vocab_sources.read(save(tokenizer, tmp_path / "t.json", lambda content: other_way(content, drop=[])))


def test_falcon_pre_tokenizer_has_its_name(tmp_path):
    tokenizer = family_tokenizer("gpt-2")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(add_prefix_space=False),
        pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated")])
    assert vocab_sources.read(save(tokenizer, tmp_path / "tokenizer.json")).pre == "falcon"


def test_special_tokens_template_and_files_beside(tmp_path):
    tokenizer = vocab_tools.bpe_oracle("gpt-2")
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<|begin|>", "<|stop|>"])
    tokenizer.add_tokens(["<user>"])
    n = len(bpe_tokens())
    tokenizer.post_processor = processors.TemplateProcessing(single="<|begin|> $A", special_tokens=[("<|begin|>", n)])
    save(tokenizer, tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({
        "eos_token": {"content": "<|stop|>"}, "pad_token": "<|im_end|>", "chat_template": "{{ messages }}"}))
    with embedded(tmp_path, tmp_path, rows=n + 10) as model:
        assert model.n_vocab == n + 10 and (model.bos, model.eos) == (n, n + 1)
        assert [model.token_type(i) for i in (n - 4, n, n + 1, n + 2, n + 3)] == [1, 3, 3, 4, 5]
        assert model.chat_template() == "{{ messages }}" and model.metadata[KEY + "padding_token_id"] == str(n - 1)
        text = "the <user> of <|begin|> 12"
        assert model.tokenize(text, parse_special=True) == tokenizer.encode(text).ids


# ---- SentencePiece BPE ----

PIECES = {"\u2581": -20.0} | {c: -30.0 - i for i, c in enumerate("abcdehilnorst.,")} | {
    piece: -1.0 - i for i, piece in enumerate(["th", "\u2581th", "\u2581the", "in", "er", "an", "re", "\u2581a", "on", "\u2581an", "the",
                                               "\u2581\u2581", "ab", "abc", "bc", "\u2581in", "st", "he", "\u2581s", "\u2581st", "ther"])}
SPM_TEXT = st.text(st.sampled_from("abcdehilnorst.,   \n\u00e9\u4e2dxyz"), max_size=60)


def varint(n: int) -> bytes:
    out = bytearray()
    n &= (1 << 64) - 1
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes([*out, n])


def message(fields) -> bytes:
    out = b""
    for number, item in fields:
        if isinstance(item, float):
            out += varint(number << 3 | 5) + struct.pack("<f", item)
        elif isinstance(item, int):
            out += varint(number << 3) + varint(item)
        else:
            item = item.encode() if isinstance(item, str) else item
            out += varint(number << 3 | 2) + varint(len(item)) + item
    return out


def spm_model(kind: int = 2, normalizer=((1, "identity"), (4, 0)), trainer=((35, 1),)) -> bytes:
    pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)] + [(f"<0x{b:02X}>", 0.0, 6) for b in range(256)]
    pieces += [(text, score, 1) for text, score in PIECES.items()]
    return message([(1, message([(1, t), (2, s)] + ([(3, k)] if k != 1 else []))) for t, s, k in pieces]
                   + [(2, message([(3, kind), (43, -1), *trainer])), (3, message(normalizer))])


@pytest.fixture(scope="module")
def spm(tmp_path_factory):
    """(from tokenizer.json, from tokenizer.model, oracle)"""
    folder = tmp_path_factory.mktemp("spm")
    oracle = vocab_tools.spm_oracle(PIECES)
    oracle.add_special_tokens(["<unk>", "<s>", "</s>"])
    (folder / "a").mkdir(), (folder / "b").mkdir()
    (folder / "b" / "tokenizer.model").write_bytes(spm_model())
    with embedded(folder / "a", save(oracle, folder / "a" / "tokenizer.json")) as a, embedded(folder / "b", folder / "b") as b:
        yield a, b, oracle


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=SPM_TEXT)
def test_sentencepiece_ids_are_those_of_tokenizers(spm, text):
    from_json, from_model, oracle = spm
    expected = oracle.encode(text, add_special_tokens=False).ids
    assert ids_of(from_json, text) == expected and ids_of(from_model, text) == expected


def test_sentencepiece_model_says_roles_and_types(spm):
    _, model, _ = spm
    assert (model.bos, model.eos) == (1, 2) and model.metadata[KEY + "unknown_token_id"] == "0"
    assert [model.token_type(i) for i in (0, 1, 3, 259)] == [2, 3, 6, 1]
    assert model.tokenize("a")[0] == 1


@pytest.mark.parametrize("dummy", [0, 1])
def test_sentencepiece_dummy_prefix(tmp_path, dummy):
    (tmp_path / "tokenizer.model").write_bytes(spm_model(normalizer=((3, dummy), (4, 0))))
    with embedded(tmp_path, tmp_path) as model:
        assert model.token_to_piece(ids_of(model, "th")[0]) == (b" th" if dummy else b"th")


def test_metaspace_instead_of_normalizers(tmp_path):
    oracle = vocab_tools.spm_oracle(PIECES)
    oracle.normalizer = None
    oracle.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    with embedded(tmp_path, save(oracle, tmp_path / "tokenizer.json")) as model:
        for text in ("the other  ant", "in", "abc\nabc"):   # before a space SentencePiece puts another, Metaspace does not
            assert ids_of(model, text) == oracle.encode(text).ids
    oracle.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    with pytest.raises(InvalidModelError, match="words are cut at spaces, yet token"):
        vocab_sources.read(save(oracle, tmp_path / "tokenizer.json"))


def test_bpe_that_is_not_sentencepieces_is_refused(tmp_path):
    def drop(content):
        content["model"]["merges"].pop(3)
    with pytest.raises(InvalidModelError, match="ways to make their tokens"):
        vocab_sources.read(save(vocab_tools.spm_oracle(PIECES), tmp_path / "tokenizer.json", drop))


def test_added_tokens_beside_a_model(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(spm_model())
    n = 259 + len(PIECES)
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<extra>": n + 1}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({
        "added_tokens_decoder": {str(n): {"content": "<|chat|>", "special": True}}, "add_eos_token": True}))
    with embedded(tmp_path, tmp_path) as model:
        assert [model.token_type(i) for i in (n, n + 1)] == [3, 4] and model.n_vocab == n + 2
        assert model.tokenize("a<extra><|chat|>", parse_special=True)[-3:] == [n + 1, n, 2]


# ---- tiktoken ----

def rank_file(tokens) -> bytes:
    return b"".join(base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(tokens))


def test_merges_found_again_from_ranks():
    letters = gguf_writer.byte_chars()
    tokens = [bytes(letters.index(c) for c in token) for token in letters + [m.replace(" ", "") for m in MERGES]]
    vocabulary = tiktoken_ranks.vocabulary_of(tiktoken_ranks.read_ranks(rank_file(tokens), "x"), "gpt-2", {}, "x")
    assert vocabulary.merges == MERGES and vocabulary.notes == []


@pytest.mark.parametrize("n, pre, eos, special", [
    (50256, "gpt-2", 50256, "<|endoftext|>"), (100256, "dbrx", 100257, "<|endofprompt|>"), (199998, "gpt-4o", 199999, "<|endofprompt|>"),
    (128000, "llama-bpe", 128001, "<|eot_id|>")])
def test_known_rank_files(tmp_path, n, pre, eos, special):
    order = random.Random(1).sample(range(256), 256)
    tokens = [bytes([b]) for b in order] + [bytes([a, b]) for a in order for b in order]
    tokens += [bytes([a, b, c]) for a in order[:3] for b in order for c in order]
    (tmp_path / "ranks.tiktoken").write_bytes(rank_file(tokens[:n]))
    with embedded(tmp_path, tmp_path / "ranks.tiktoken") as model:
        assert model.metadata[KEY + "pre"] == pre and model.eos == eos
        assert len(model.tokenize(special, add_special=False, parse_special=True)) == 1
        assert model.token_to_piece(300) == tokens[300] and model.tokenize(b"\xc3\xa9", add_special=False)


def test_rank_file_of_another_size_is_refused(tmp_path):
    (tmp_path / "x.tiktoken").write_bytes(rank_file([bytes([b]) for b in range(256)]))
    with pytest.raises(InvalidModelError, match="256 ranks, expected 50256"):
        vocab_sources.read(tmp_path / "x.tiktoken")


# ---- Unigram and WordPiece: as metadata; test_hf_parity.py has their ids ----

def test_unigram(tmp_path):
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), ("\u2581a", -1.5), ("b", -2.0)], unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    vocabulary = vocab_sources.read(save(tokenizer, tmp_path / "tokenizer.json"))
    assert (vocabulary.model, vocabulary.tokens, vocabulary.scores) == ("t5", ["<unk>", "\u2581a", "b"], [0.0, -1.5, -2.0])
    assert vocabulary.types == [2, 1, 1] and vocabulary.roles == {"unk": 0} and vocabulary.flags["add_space_prefix"]
    (tmp_path / "tokenizer.model").write_bytes(spm_model(kind=1, normalizer=((2, b"\x01\x02"),), trainer=()))
    vocabulary = vocab_sources.read(tmp_path / "tokenizer.model")
    assert (vocabulary.model, vocabulary.charsmap) == ("t5", b"\x01\x02") and vocabulary.flags["remove_extra_whitespaces"]
    assert vocabulary.metadata()[KEY + "precompiled_charsmap"].get() == [1, 2] and KEY + "escape_whitespaces" not in vocabulary.metadata()


def test_wordpiece(tmp_path):
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "ab": 3, "##c": 4}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[UNK]", "[CLS]", "[SEP]"])
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    vocabulary = vocab_sources.read(save(tokenizer, tmp_path / "tokenizer.json"))
    assert (vocabulary.model, vocabulary.tokens) == ("bert", ["[UNK]", "[CLS]", "[SEP]", "\u2581ab", "c"])
    assert vocabulary.types == [2, 3, 3, 1, 1] and vocabulary.roles == {"unk": 0, "bos": 1, "sep": 2}
    assert all(vocabulary.flags[flag] for flag in ("normalizer.lowercase", "normalizer.strip_accents", "add_bos_token", "add_sep_token"))


def bert(path, change=lambda content: None):
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "ab": 3, "##c": 4, "##\u2581": 5}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    return vocab_sources.read(save(tokenizer, path / "tokenizer.json", change))


@pytest.mark.parametrize("steps, lower, strips", [
    ([{"type": "BertNormalizer", "lowercase": True, "strip_accents": None}], True, True),
    ([{"type": "BertNormalizer", "lowercase": False, "strip_accents": None}], False, False),
    ([{"type": "BertNormalizer", "lowercase": True, "strip_accents": False}], True, False),
    ([{"type": "BertNormalizer", "lowercase": False, "strip_accents": True}], False, True),
    ([{"type": "NFD"}, {"type": "Lowercase"}, {"type": "StripAccents"}], True, True),
    ([{"type": "NFC"}, {"type": "Lowercase"}], True, False), ([], False, False)])
def test_wordpiece_letters(tmp_path, steps, lower, strips):
    vocabulary = bert(tmp_path, lambda c: c.update(normalizer={"type": "Sequence", "normalizers": steps}))
    assert [vocabulary.flags["normalizer." + rule] for rule in ("lowercase", "strip_accents")] == [lower, strips]
    assert any("NFC" in note for note in vocabulary.notes) == ({"type": "NFC"} in steps)


def test_wordpiece_continuation_that_looks_like_a_beginning(tmp_path):
    assert bert(tmp_path).tokens[-2:] == ["c", "##\u2581"]


@pytest.mark.parametrize("change, sentence", [
    (lambda c: c["normalizer"].update(clean_text=False), "without clean_text"),
    (lambda c: c["normalizer"].update(handle_chinese_chars=False), "without handle_chinese_chars"),
    (lambda c: c.update(normalizer={"type": "StripAccents"}), "accents are parted"),
    (lambda c: c.update(normalizer={"type": "Replace", "pattern": {"String": "a"}, "content": "b"}), "normalizer 'Replace' with WordPiece"),
    (lambda c: c.update(pre_tokenizer={"type": "Whitespace"}), "pre-tokenizer Whitespace with WordPiece"),
    (lambda c: c.update(pre_tokenizer=None), "pre-tokenizer None with WordPiece"),
    (lambda c: c["model"].update(continuing_subword_prefix=""), "nothing marks the tokens"),
    (lambda c: c["model"].update(unk_token="?"), "the unknown token '\\?' is no token"),
])
def test_wordpiece_is_refused(tmp_path, change, sentence):
    with pytest.raises(InvalidModelError, match=sentence):
        bert(tmp_path, change)


def steps_of(*steps):
    return {"type": "Sequence", "normalizers": list(steps)}


MANY = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "\u2581"}


@pytest.mark.parametrize("change, sentence", [
    (lambda c: c["model"].update(byte_fallback=True), "bytes for unknown characters"),
    (lambda c: c.update(normalizer={"type": "Lowercase"}), "normalizer 'Lowercase'"),
    (lambda c: c.update(normalizer={"type": "NFKD"}), "normalizer 'NFKD'"),
    (lambda c: c.update(normalizer=steps_of({"type": "Replace", "pattern": {"String": "``"}, "content": '"'})), "replaces .*``"),
    (lambda c: c.update(normalizer={"type": "Strip", "strip_left": True, "strip_right": True}), "spaces around a text are dropped"),
    (lambda c: (c.update(normalizer=MANY), c["pre_tokenizer"].update(prepend_scheme="never")), "none is put before a text"),
    (lambda c: c.update(pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, c["pre_tokenizer"]]}),
     "cut at all white space"),
    (lambda c: c["model"]["vocab"].append(["a\u2581b", -1.0]), "has a space inside"),
    (lambda c: c["model"]["vocab"].append(["\u2581\u2581", -1.0]), "has a space inside"),
    (lambda c: c["model"]["vocab"].append(["x", float("nan")]), "not finite"),
    (lambda c: c["model"]["vocab"].append(["b", -1.0]), "a piece stands there twice"),
    (lambda c: c.update(normalizer={"type": "Precompiled", "precompiled_charsmap": "?"}), "not base64"),
])
def test_unigram_is_refused(tmp_path, change, sentence):
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), ("\u2581a", -1.5), ("b", -2.0)], unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    with pytest.raises(InvalidModelError, match=sentence):
        vocab_sources.read(save(tokenizer, tmp_path / "tokenizer.json", change))


@pytest.mark.parametrize("settings, sentence", [
    (dict(trainer=((35, 1),)), "bytes for unknown characters"), (dict(trainer=((24, 1),)), "spaces end words"),
    (dict(normalizer=((5, 0),)), "spaces stay spaces"), (dict(normalizer=((3, 0),)), "none is put before a text")])
def test_unigram_model_is_refused(tmp_path, settings, sentence):
    (tmp_path / "tokenizer.model").write_bytes(spm_model(kind=1, **{"trainer": ()} | settings))
    with pytest.raises(InvalidModelError, match=sentence):
        vocab_sources.read(tmp_path)


# ---- what is wrong ----

@pytest.mark.parametrize("change, sentence", [
    (lambda c: c.pop("model"), "no 'model'"),
    (lambda c: c["model"].update(type="Klingon"), "expected BPE, Unigram or WordPiece"),
    (lambda c: c["model"].update(vocab=[]), "'model.vocab'"),
    (lambda c: c["model"].update(vocab={"a": -1}), "token ids from -1"),
    (lambda c: c["model"].update(vocab={"a": 2**40}), "token ids from 1099511627776"),
    (lambda c: c["model"].update(merges=["ab"]), "merge 0 has not two parts"),
    (lambda c: c["model"].update(ignore_merges=True), "no tokenizer.ggml.pre has this pre-tokenizer with whole words first"),
    (lambda c: c["pre_tokenizer"].update(add_prefix_space=True), "a space before every text"),
    (lambda c: c.update(pre_tokenizer={"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "[xyz]"}, "behavior": "Isolated", "invert": False}, c["pre_tokenizer"]]}), r"\[xyz\] then"),
    (lambda c: c.update(normalizer={"type": "Lowercase"}), "normalizer 'Lowercase' with byte-level BPE"),
    (lambda c: c.update(added_tokens=[{"id": "x"}]), "an added token lacks its id"),
    (lambda c: c.update(pre_tokenizer=None), "neither byte-level nor with U\\+2581"),
])
def test_tokenizer_json_is_refused(tmp_path, change, sentence):
    path = save(family_tokenizer("gpt-2"), tmp_path / "tokenizer.json", change)
    with pytest.raises(InvalidModelError, match=sentence):
        vocab_sources.read(path)


def test_more_tokens_than_rows_is_refused(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(spm_model())
    with pytest.raises(InvalidModelError, match="this is another model's tokenizer"):
        embedded(tmp_path, tmp_path, rows=100)


@pytest.mark.parametrize("seed", range(60))
def test_damaged_sources_get_a_sentence(tmp_path, seed):
    rng = random.Random(seed)
    whole = [spm_model(), family_tokenizer("qwen2").to_str().encode(), rank_file([bytes([b]) for b in range(256)])][seed % 3]
    data = bytearray(whole[:rng.choice([len(whole), rng.randrange(1, len(whole))])])
    for _ in range(rng.randint(0, 20)):
        data[rng.randrange(len(data))] = rng.choice([rng.randrange(256), *b'{}[]",:0'])
    (tmp_path / "tokenizer.model").write_bytes(data)
    try:
        vocabulary = vocab_sources.read(tmp_path)
        vocabulary.metadata()
    except BitnetError as error:
        assert str(tmp_path) in str(error)


def test_all_types_survive_the_container(tmp_path):
    rng = random.Random(3)
    gguf, kv = gguf_writer.tiny_model(), []
    for kind, letter in container._FORMAT.items():
        item = {"?": True, "f": 0.5, "d": -0.25}.get(letter, rng.randrange(1, 100))
        kv += [(f"x.{kind}", kind, item), (f"x.array.{kind}", gguf_writer.ARRAY, (kind, [item] * 3))]
    gguf.kv += kv + [("x.empty", gguf_writer.STRING, ""), ("x.none", gguf_writer.ARRAY, (gguf_writer.STRING, []))]
    path = gguf.write(tmp_path / "all.gguf")
    head = container.read(path)
    assert container.encode(head) + path.read_bytes()[head.data_start:] == path.read_bytes()
    for key, kind, item in kv:
        assert head.kv[key].get() == (item[1] if kind == gguf_writer.ARRAY else item)
        made = container.array(*item) if kind == gguf_writer.ARRAY else container.value(kind, item)
        assert made == head.kv[key]


def test_a_list_of_words_says_what_to_do(tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\n##s\n")
    with pytest.raises(InvalidModelError, match="list of words.*tokenizer.json"):
        vocab_sources.read(tmp_path / "vocab.txt")
    with pytest.raises(ModelNotFoundError, match="no tokenizer.json or tokenizer.model.*vocab.txt.*save_pretrained"):
        vocab_sources.read(tmp_path)
