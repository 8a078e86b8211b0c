"""Random Unicode strings: the ids of a tokenizer.json that is put into a GGUF file are those of Hugging Face's `tokenizers`.

Vocabularies are trained here, by `tokenizers`, on the texts of family_tools. BITNET_PARITY_STRINGS says how many strings a kind
gets (300). What the two make differently on purpose is left out by the alphabets below and listed in docs/TOKENIZERS.md.
Next: test_vocab_sources.py, which has the pre-tokenizers, and test_vocab_peer.py, which asks llama.cpp.
"""
from __future__ import annotations

import json
import os
import random
import re
import struct
import unicodedata

import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

import family_tools
import vocab_tools
from bitnet_ffi import repair
from test_vocab_sources import FAMILIES, family_tokenizer, message, save

N_STRINGS = int(os.environ.get("BITNET_PARITY_STRINGS", "300"))
SPACE = "\u2581"
CORPUS = [text.decode("utf-8", "replace").replace("\0", " ") for text in family_tools.TEXTS] + [
    " ".join(merge.replace(" ", "").replace("\u0120", " ") for merge in vocab_tools.MERGES[i:i + 12]) for i in range(0, 2000, 12)]
# Hugging Face replaces a character, alone or with its marks; the rules of real models make spaces of all white space
RULES = {key: text for key, text in family_tools.nfkc_rules().items() if key != b"..."} | {
    chr(c).encode(): b" " for c in range(0x85, 0x3001) if chr(c).isspace()}
CHARSMAP = family_tools.compile_charsmap(RULES)

# Scripts and symbols that a string is drawn from, one or two at a time
POOLS = ["".join(map(chr, range(first, last + 1))) for first, last in (
    (0x20, 0x7E), (0x20, 0x7E), (0x61, 0x7A), (0x09, 0x0D), (0xA1, 0x17F), (0x370, 0x3FF), (0x400, 0x45F), (0x5D0, 0x5EA), (0x620, 0x64A),
    (0x904, 0x939), (0xE01, 0xE3A), (0x10D0, 0x10F0), (0x3041, 0x30FE), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3), (0x2010, 0x2027),
    (0x2190, 0x22FF), (0x2460, 0x24FF), (0xFF01, 0xFF5E), (0x1F600, 0x1F64F), (0x300, 0x340), (0xE000, 0xE010), (0x20000, 0x20100))]
PARTS = ["'s", "'LL", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "12", "1234567", "...", "://", "\u00e9", "e\u0301", "\u200d", "\ufe0f",
         "\u00a0", "\u3000", "<s>", "<unk>", "[UNK]", "<0x41>", "##s", SPACE, "\u00df", "\u0130", "\ufb01"]


def strings(seed: str, n: int, allowed) -> list[str]:
    """Words of the corpus, characters of a script or two, of all Unicode, and runs, mixed; of allowed characters only."""
    rng = random.Random(seed)
    words = [word for text in CORPUS for word in text.split(" ")]
    anything = [(0x80, 0x800), (0x800, 0xD800), (0xE000, 0x10000), (0x10000, 0x32000), (0xE0000, 0x110000)]

    def part() -> str:
        kind = rng.randrange(9)
        if kind < 3:
            return rng.choice(["", " "]) + rng.choice(words)
        if kind < 6:
            return "".join(rng.choices(rng.choice(POOLS), k=rng.randint(1, 6)))
        if kind == 6:
            return rng.choice(PARTS)
        if kind == 7:
            return "".join(chr(rng.randrange(*rng.choice(anything))) for _ in range(rng.randint(1, 3)))
        return rng.choice(rng.choice(POOLS)) * rng.randint(1, 40)
    # Hugging Face's WordPiece knows no word of more than 100 characters
    return ["".join(c for c in "".join(part() for _ in range(rng.randint(0, 10))) if allowed(c))[:100] for _ in range(n)]


SCRIPTS = set("".join(POOLS))


def known(c: str) -> bool:
    """Both know another version of Unicode: characters that have the category that they had in Unicode 3.2, and the scripts."""
    return c == " " or unicodedata.ucd_3_2_0.category(c) == unicodedata.category(c) != "Cn" or c in SCRIPTS


def ascii_char(c: str) -> bool:
    """Where llama.cpp writes classes of case without Unicode."""
    return c < "\x7f"


def bert_char(c: str) -> bool:
    """Not the white space that Hugging Face drops, letters that small ones need two characters for, marks that are no accents in
    Hugging Face's eyes, and what begins a word in GGUF."""
    return known(c) and c not in "\x0b\x0c\x85\u0130" + SPACE and unicodedata.category(c) not in ("Mc", "Me")


def bert_base_char(c: str) -> bool:
    """Nor Hangul syllables, of which llama.cpp keeps the first letter."""
    return bert_char(c) and not "\uac00" <= c <= "\ud7a3"


def unigram_char(c: str) -> bool:
    """Not U+2581, before which Metaspace puts no other, and marks, the last few in name only: Hugging Face replaces what they
    stand on together with them."""
    return known(c) and not unicodedata.category(c).startswith("M") and c not in SPACE + "\u200c\u200d\u0e33\u0eb3\uff9e\uff9f"


# Most characters get a token, so that unknown ones hide little; what names a special token gets none.
TRAINING = [re.sub("<unk>|</?s>|<pad>", " ", text) for text in CORPUS + strings("to train", 1000, known)]


# ---- the kinds ----

def byte_level(pre: str):
    """Trained on texts that are not cut, so that tokens lie across the places where the pre-tokenizer cuts, and wrong cuts show."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=FAMILIES[pre][1]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.train_from_iterator(TRAINING, trainers.BpeTrainer(
        vocab_size=4000, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.pre_tokenizer = family_tokenizer(pre).pre_tokenizer
    return tokenizer


def sentencepiece():
    """The tokens that `tokenizers` finds, with every way to make them, as SentencePiece has it."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator(TRAINING, trainers.BpeTrainer(vocab_size=2500, show_progress=False, limit_alphabet=1000))
    order = sorted(trained.get_vocab().items(), key=lambda item: item[1])
    tokenizer = vocab_tools.spm_oracle({text: -float(i) for text, i in order})
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def wordpiece(**rules):
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(**rules), pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(TRAINING, trainers.WordPieceTrainer(
        vocab_size=5000, show_progress=False, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    ends = [(text, tokenizer.token_to_id(text)) for text in ("[SEP]", "[CLS]")]
    tokenizer.post_processor = processors.BertProcessing(*ends)
    return tokenizer


def unigram(*, normalizer=None, scheme="always", split=True):
    trained = Tokenizer(models.Unigram())
    trained.normalizer, trained.pre_tokenizer = normalizer, pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)
    trained.train_from_iterator(TRAINING, trainers.UnigramTrainer(
        vocab_size=5000, show_progress=False, unk_token="<unk>", special_tokens=["<pad>", "</s>", "<unk>"]))
    model = json.loads(trained.to_str())["model"]   # scores of 32 bits, as SentencePiece and GGUF have them
    pieces = [(text, struct.unpack("<f", struct.pack("<f", score))[0]) for text, score in model["vocab"]]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.normalizer, tokenizer.pre_tokenizer = trained.normalizer, trained.pre_tokenizer
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return tokenizer


def t5():
    tokenizer = unigram(normalizer=normalizers.Precompiled(CHARSMAP))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    return tokenizer


def t5_newer():
    return unigram(normalizer=normalizers.Sequence([
        normalizers.Precompiled(CHARSMAP), normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), SPACE)]))


KINDS = {pre: (lambda pre=pre: byte_level(pre), ascii_char if pre in ("gpt-4o", "tekken", "deepseek-coder") else known) for pre in FAMILIES}
KINDS |= {
    "sentencepiece": (sentencepiece, known), "bert uncased": (lambda: wordpiece(lowercase=True), bert_base_char),
    "bert cased": (lambda: wordpiece(lowercase=False), bert_char),
    "bert accents": (lambda: wordpiece(lowercase=True, strip_accents=False), bert_char),
    "bert cased without accents": (lambda: wordpiece(lowercase=False, strip_accents=True), bert_base_char),
    "unigram": (unigram, unigram_char), "unigram without space": (lambda: unigram(scheme="never"), unigram_char),
    "t5": (t5, unigram_char), "t5 newer": (t5_newer, unigram_char)}


def different(source, tokenizer: Tokenizer, texts: list[str]) -> list[str]:
    """Texts whose ids the tokenizer in `source` gives differently, special tokens in the text and around it included."""
    with repair.standalone_vocabulary(source) as model:
        ours = model.encode_batch(texts, parse_special=True)
    theirs = tokenizer.encode_batch(texts)
    return [text for text, mine, their in zip(texts, ours, theirs) if mine.tolist() != their.ids]


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_those_of_tokenizers(kind, tmp_path):
    make, allowed = KINDS[kind]
    tokenizer = make()
    texts = strings(kind, N_STRINGS, allowed)
    if kind == "unigram":   # SentencePiece puts a space in front of it, Metaspace does not
        texts = [re.sub("(^|>) +", r"\1", text) for text in texts]
    wrong = different(save(tokenizer, tmp_path / "tokenizer.json"), tokenizer, texts)
    assert not wrong, (len(wrong), wrong[:3])


def test_unigram_of_a_sentencepiece_model(tmp_path):
    tokenizer = t5()
    pieces = json.loads(tokenizer.to_str())["model"]["vocab"]
    kinds = {"<pad>": 3, "</s>": 3, "<unk>": 2}
    (tmp_path / "spiece.model").write_bytes(message(
        [(1, message([(1, text), (2, score), (3, kinds.get(text, 1))])) for text, score in pieces]
        + [(2, message([(3, 1), (40, 2), (41, -1), (42, 1), (43, 0)])), (3, message([(2, CHARSMAP)]))]))
    wrong = different(tmp_path / "spiece.model", tokenizer, strings("spiece.model", N_STRINGS, unigram_char))
    assert not wrong, (len(wrong), wrong[:3])
