"""tokenizer.json of Hugging Face: byte-level BPE, SentencePiece-like BPE, Unigram and WordPiece as GGUF spells them.

What a tokenizer does and GGUF cannot say is refused when it changes ids of ordinary text, and noted otherwise.
Where llama.cpp and `tokenizers` differ about one model, the file leads to llama.cpp's ids. Next: pre_names.py, beside.py.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Iterable

from ..errors import InvalidModelError
from .pre_names import pre_name
from .vocabulary import BYTE, CONTROL, NORMAL, UNKNOWN, USER_DEFINED, Vocabulary, place

_SPACE = "\u2581"
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_NORMALIZERS = {"NFC", "NFD", "NFKC", "NFKD"}


class _Source:
    """A parsed file; every look into it says what it expected."""

    def __init__(self, content: dict, name: str):
        self.content, self.name = content, name
        self.model = self.part("model")
        if self.model is None:
            self.fail("no 'model'; this is no tokenizer.json")

    def fail(self, sentence: str):
        raise InvalidModelError(f"{self.name}: {sentence}")

    def part(self, key: str) -> dict | None:
        part = self.content.get(key)
        if part is not None and not isinstance(part, dict):
            self.fail(f"{key!r} is no JSON object")
        return part

    def steps(self, key: str, inner: str) -> list[dict]:
        """A part as a list of steps, sequences opened."""
        def opened(part):
            if not isinstance(part, dict):
                self.fail(f"a step of {key!r} is no JSON object")
            if part.get("type") == "Sequence":
                return [step for item in part.get(inner) or () for step in opened(item)]
            return [part]
        part = self.part(key)
        return [] if part is None else opened(part)

    def vocab(self) -> dict[str, int]:
        vocab = self.model.get("vocab")
        if not isinstance(vocab, dict) or not vocab or not all(type(i) is int for i in vocab.values()):
            self.fail("'model.vocab' is no object of token ids")
        return vocab

    def merges(self) -> list[tuple[str, str]]:
        """In both forms: "left right", and ["left", "right"], where parts may hold spaces."""
        out = []
        for no, merge in enumerate(self.model.get("merges") or ()):
            parts = merge.split(" ") if isinstance(merge, str) else merge
            if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) and part for part in parts):
                self.fail(f"merge {no} has not two parts")
            out.append((parts[0], parts[1]))
        return out

    def added(self) -> list[tuple[int, str, bool]]:
        out = []
        for entry in self.content.get("added_tokens") or ():
            if not isinstance(entry, dict) or type(entry.get("id")) is not int or not isinstance(entry.get("content"), str):
                self.fail("an added token lacks its id or its content")
            out.append((entry["id"], entry["content"], bool(entry.get("special"))))
        return out


def parse(data: bytes, name: str) -> Vocabulary:
    """The vocabulary in the bytes of a tokenizer.json. Errors: InvalidModelError."""
    try:
        content = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InvalidModelError(f"{name}: this is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise InvalidModelError(f"{name}: expected a JSON object")
    source = _Source(content, name)
    kind = source.model.get("type")
    if kind is None:
        kind = "BPE" if "merges" in source.model else "Unigram" if isinstance(source.model.get("vocab"), list) else "WordPiece"
    if kind == "BPE":
        byte_level = any(step.get("type") == "ByteLevel" for step in source.steps("pre_tokenizer", "pretokenizers"))
        vocabulary = (_byte_level if byte_level else _sentencepiece_bpe)(source)
    elif kind in ("Unigram", "WordPiece"):
        vocabulary = (_unigram if kind == "Unigram" else _wordpiece)(source)
    else:
        source.fail(f"a tokenizer of type {kind!r}, expected BPE, Unigram or WordPiece")
    _read_template(source, vocabulary)
    return vocabulary


def _placed(source: _Source, vocab: dict[str, int], types: dict[int, int]) -> tuple[list[str], list[int]]:
    """Ordinary and added tokens by id."""
    tokens = {i: text for text, i in vocab.items()}
    for i, text, special in source.added():
        tokens[i] = text
        if types.get(i) != UNKNOWN:
            types[i] = CONTROL if special else USER_DEFINED
    return place(tokens, types, source.name)


def _ordinary(source: _Source) -> dict[str, int]:
    """The tokens that are not added ones."""
    added = {text for _, text, _ in source.added()}
    return {text: i for text, i in source.vocab().items() if text not in added}


def _read_template(source: _Source, vocabulary: Vocabulary) -> None:
    """Which token the post-processor puts before and behind a text."""
    before = behind = None
    for step in source.steps("post_processor", "processors"):
        if step.get("type") == "TemplateProcessing":
            items = step.get("single") or []
            ids = {text: (entry.get("ids") or [None])[0] for text, entry in (step.get("special_tokens") or {}).items()}
            at = next((i for i, item in enumerate(items) if "Sequence" in item), 0)
            before = next((ids.get(item["SpecialToken"].get("id")) for item in items[:at] if "SpecialToken" in item), None)
            behind = next((ids.get(item["SpecialToken"].get("id")) for item in items[at:] if "SpecialToken" in item), None)
        elif step.get("type") in ("BertProcessing", "RobertaProcessing"):
            before, behind = step.get("cls", [None, None])[1], step.get("sep", [None, None])[1]
    for token in (before, behind):
        if token is not None and not (type(token) is int and 0 <= token < len(vocabulary.tokens)):
            source.fail(f"the post-processor adds token {token!r}, which is none")
    if before is not None:
        vocabulary.roles["bos"] = before
    if behind is not None:
        vocabulary.roles["sep" if vocabulary.model == "bert" else "eos"] = behind
    if vocabulary.model == "bert":
        vocabulary.flags |= {"add_bos_token": True, "add_sep_token": True}
        if before is None or behind is None:
            vocabulary.notes.append("GGUF's WordPiece begins and ends every text with [CLS] and [SEP]; this tokenizer does not")
    else:
        vocabulary.flags |= {"add_bos_token": before is not None, "add_eos_token": behind is not None}


def _note_forms(source: _Source, vocabulary: Vocabulary) -> None:
    """Unicode's normal forms; BERT's accents are a rule of its own."""
    decomposed = () if vocabulary.model == "bert" else ("NFD", "NFKD")
    for step in source.steps("normalizer", "normalizers"):
        if step.get("type") in ("NFC", "NFKC", *decomposed):
            vocabulary.notes.append(f"{step['type']} is not applied to texts, as in llama.cpp")


def _check_bpe(source: _Source) -> None:
    if source.model.get("dropout") or source.model.get("continuing_subword_prefix") or source.model.get("end_of_word_suffix"):
        source.fail("dropout, prefixes and suffixes of words have no place in GGUF")


# ---- byte-level BPE ----

def _unmade(vocab: dict[str, int], merges: list[str]) -> str | None:
    """A token that merging its own bytes does not make."""
    ranks = {merge: rank for rank, merge in reversed(list(enumerate(merges)))}
    never = len(merges)
    for token in vocab:
        parts = list(token)
        while len(parts) > 1:
            found = [ranks.get(f"{left} {right}", never) for left, right in zip(parts, parts[1:])]
            best = min(found)
            if best == never:
                return token
            at = found.index(best)
            parts[at:at + 2] = [parts[at] + parts[at + 1]]
    return None


def _byte_level(source: _Source) -> Vocabulary:
    tokens, types = _placed(source, source.vocab(), {})
    vocabulary = Vocabulary(source.name, "gpt2", tokens, types)
    for step in source.steps("normalizer", "normalizers"):
        if step.get("type") not in _NORMALIZERS:
            source.fail(f"normalizer {step.get('type')!r} with byte-level BPE has no place in GGUF")
    _note_forms(source, vocabulary)
    _check_bpe(source)
    vocabulary.merges = []
    for no, (left, right) in enumerate(source.merges()):
        if " " in left or " " in right:
            source.fail(f"merge {no} has a space in a part, which no byte is spelled with")
        vocabulary.merges.append(f"{left} {right}")
    vocabulary.pre = pre_name(source.part("pre_tokenizer"), bool(source.model.get("ignore_merges")),
                              lambda: _unmade(_ordinary(source), vocabulary.merges or []), source.name)
    return vocabulary


# ---- SentencePiece-like BPE ----

def _prepends(source: _Source, tokens: Iterable[str], squeezes: bool) -> bool:
    """Does a text get a space in front? Also checks that spaces become U+2581, and that nothing else happens to a text but what
    _squeezes reads."""
    unigram = isinstance(source.model.get("vocab"), list)
    prepends = replaces = False
    for step in source.steps("normalizer", "normalizers"):
        kind = step.get("type")
        if kind == "Prepend" and step.get("prepend") == _SPACE:
            prepends = True
        elif kind == "Replace" and step.get("content") == _SPACE and (step.get("pattern") or {}).get("String") == " ":
            replaces = True
        elif kind not in ("Precompiled", "NFC", "NFKC") and not (unigram and kind in ("Replace", "Strip")):
            source.fail(f"normalizer {kind!r} in this form has no place in GGUF")
    for step in source.steps("pre_tokenizer", "pretokenizers"):
        kind = step.get("type")
        if kind == "Metaspace" and step.get("replacement", _SPACE) == _SPACE:
            scheme = step.get("prepend_scheme", "always" if step.get("add_prefix_space", True) else "never")
            prepends, replaces = prepends or scheme != "never", True
            if step.get("split", True):
                crossing = next((text for text in tokens if _SPACE in (text.lstrip(_SPACE) if squeezes else text[1:])), None)
                if crossing is not None:
                    source.fail(f"words are cut at spaces, yet token {crossing!r} has a space inside")
        elif kind == "Split" and (step.get("pattern") or {}).get("String") == " " and step.get("behavior") == "MergedWithPrevious":
            pass  # behind a normalizer that leaves no space this cuts nothing
        elif not (kind == "WhitespaceSplit" and unigram):
            source.fail(f"pre-tokenizer {kind!r} in this form has no place in GGUF")
    if not replaces:
        source.fail("neither byte-level nor with U+2581 for spaces: this tokenizer has no place in GGUF")
    return prepends


def _scores_of(source: _Source, vocab: dict[str, int], merges: list[tuple[str, str]]) -> dict[str, float]:
    """SentencePiece merges whatever makes the token of the best score; a list of merges says the same only if it holds every
    way to make a token, the ways of one token side by side."""
    scores: dict[str, float] = {}
    last = None
    for left, right in merges:
        made = left + right
        if left not in vocab or right not in vocab or made not in vocab:
            source.fail(f"merge {left!r} {right!r} names what is no token")
        if made != last and made in scores:
            source.fail(f"the merges that make {made!r} do not stand together: this BPE does not come from SentencePiece; "
                        "where there is a tokenizer.model, give that")
        scores.setdefault(made, -float(len(scores)))
        last = made
    known = set(merges)
    if len(known) != len(merges):
        source.fail("a merge stands there twice")
    n_ways = sum(1 for made in scores for i in range(1, len(made)) if made[:i] in vocab and made[i:] in vocab)
    if n_ways != len(known):
        source.fail(f"{len(known)} merges, but {n_ways} ways to make their tokens: this BPE does not come from SentencePiece")
    return scores


def _sentencepiece_bpe(source: _Source) -> Vocabulary:
    vocab, model = source.vocab(), source.model
    _check_bpe(source)
    prepends = _prepends(source, vocab, False)
    scores = _scores_of(source, vocab, source.merges())
    types = {i: BYTE for text, i in vocab.items() if model.get("byte_fallback") and _BYTE.fullmatch(text)}
    if model.get("unk_token") in vocab:
        types[vocab[model["unk_token"]]] = UNKNOWN
    tokens, types_list = _placed(source, vocab, types)
    # A token that no merge makes is never asked for its score.
    vocabulary = Vocabulary(source.name, "llama", tokens, types_list, scores=[scores.get(t, -float(len(scores))) for t in tokens],
                            flags={"add_space_prefix": prepends})
    if UNKNOWN in types_list:
        vocabulary.roles["unk"] = types_list.index(UNKNOWN)
    if BYTE not in types_list:
        vocabulary.notes.append("a character without a token becomes an unknown one for each of its bytes, as in llama.cpp")
    _note_forms(source, vocabulary)
    return vocabulary


# ---- Unigram ----

_MANY_SPACES = (" {2,}", " +", "  +")


def _squeezes(source: _Source, has_charsmap: bool) -> bool:
    """Does a stretch of spaces count as one? Says of every step what GGUF cannot say."""
    squeezes = strips = False
    for step in source.steps("normalizer", "normalizers"):
        pattern, content = step.get("pattern") or {}, step.get("content")
        if step.get("type") == "Strip":
            strips = True
        elif step.get("type") == "Replace" and pattern.get("Regex") in _MANY_SPACES and content in (" ", _SPACE):
            squeezes = True
        elif step.get("type") == "Replace" and (pattern.get("String"), content) != (" ", _SPACE):
            source.fail(f"a normalizer that replaces {pattern!r} by {content!r} has no place in GGUF")
    if any(step.get("type") == "WhitespaceSplit" for step in source.steps("pre_tokenizer", "pretokenizers")):
        if not has_charsmap:
            source.fail("words are cut at all white space, and no precompiled_charsmap makes spaces of it")
        squeezes = True
    if strips and not squeezes:
        source.fail("spaces around a text are dropped, yet those between words are kept, which GGUF cannot say")
    return squeezes


def _unigram(source: _Source) -> Vocabulary:
    pieces = source.model.get("vocab")
    if not isinstance(pieces, list) or not all(
            isinstance(p, list) and len(p) == 2 and isinstance(p[0], str) and isinstance(p[1], (int, float)) for p in pieces):
        source.fail("'model.vocab' is no list of pieces and scores")
    if len({text for text, _ in pieces}) != len(pieces):
        source.fail("a piece stands there twice")
    if source.model.get("byte_fallback"):
        source.fail("bytes for unknown characters: GGUF's Unigram has no byte tokens")
    unknown = source.model.get("unk_id")
    types = {unknown: UNKNOWN} if type(unknown) is int else {}
    normalizers = source.steps("normalizer", "normalizers")
    charsmap = next((step.get("precompiled_charsmap") for step in normalizers if step.get("type") == "Precompiled"), None)
    squeezes = _squeezes(source, bool(charsmap))
    prepends = _prepends(source, {text for text, _ in pieces}, squeezes)
    if squeezes and not prepends:
        source.fail("spaces are made one and none is put before a text, which GGUF cannot say")
    tokens, types_list = _placed(source, {text: i for i, (text, _) in enumerate(pieces)}, types)
    scores = [float(score) for _, score in pieces] + [0.0] * (len(tokens) - len(pieces))
    if not all(map(math.isfinite, scores)):
        source.fail("a score is not finite")
    vocabulary = Vocabulary(source.name, "t5", tokens, types_list, scores=scores, roles={"unk": unknown} if type(unknown) is int else {},
                            flags={"add_space_prefix": prepends, "remove_extra_whitespaces": squeezes})
    try:
        vocabulary.charsmap = base64.b64decode(charsmap, validate=True) if charsmap else None
    except (binascii.Error, TypeError):
        source.fail("its precompiled_charsmap is not base64")
    _note_forms(source, vocabulary)
    return vocabulary


# ---- WordPiece ----

def _bert_rules(source: _Source) -> dict[str, bool]:
    """Are letters made small, do they lose accents? Also checks that texts become words as BERT makes them."""
    lower = strips = decomposes = False
    for step in source.steps("normalizer", "normalizers"):
        kind = step.get("type")
        if kind == "BertNormalizer":
            for rule in ("clean_text", "handle_chinese_chars"):
                if step.get(rule) is False:
                    source.fail(f"BertNormalizer without {rule}, which GGUF's WordPiece always does")
            lower = step.get("lowercase", True)
            strips = decomposes = lower if step.get("strip_accents") is None else step["strip_accents"]
        elif kind == "Lowercase":
            lower = True
        elif kind == "StripAccents":
            strips = True
        elif kind in ("NFD", "NFKD"):
            decomposes = True
        elif kind not in _NORMALIZERS:
            source.fail(f"normalizer {kind!r} with WordPiece has no place in GGUF")
    if strips != decomposes:
        source.fail("accents are parted from letters and stay, or go only where they are parted, which GGUF cannot say")
    kinds = [(step.get("type"), step.get("behavior")) for step in source.steps("pre_tokenizer", "pretokenizers")]
    if kinds != [("BertPreTokenizer", None)] and sorted(kinds, key=str) != [("Punctuation", "Isolated"), ("WhitespaceSplit", None)]:
        source.fail(f"pre-tokenizer {' then '.join(str(kind) for kind, _ in kinds) or None} with WordPiece, expected BertPreTokenizer")
    return {"normalizer.lowercase": bool(lower), "normalizer.strip_accents": bool(strips)}


def _wordpiece(source: _Source) -> Vocabulary:
    vocab = source.vocab()
    prefix = source.model.get("continuing_subword_prefix", "##")
    if not isinstance(prefix, str) or not prefix:
        source.fail("nothing marks the tokens that continue a word")
    if source.model.get("unk_token") not in vocab:
        source.fail(f"the unknown token {source.model.get('unk_token')!r} is no token")
    tokens, types = _placed(source, vocab, {vocab[source.model["unk_token"]]: UNKNOWN})

    def spelled(text: str) -> str:
        """GGUF marks what begins a word, with U+2581, where WordPiece marks what continues one. A continuation with U+2581 in
        front keeps its mark: without it, it would begin words. No word holds the mark, punctuation, so it is never found."""
        if not text.startswith(prefix):
            return _SPACE + text
        return text if text[len(prefix):len(prefix) + 1] in ("", _SPACE) else text.removeprefix(prefix)
    vocabulary = Vocabulary(source.name, "bert", [spelled(text) if kind == NORMAL else text for text, kind in zip(tokens, types)], types,
                            roles={"unk": types.index(UNKNOWN)}, flags=_bert_rules(source))
    for role, text in (("bos", "[CLS]"), ("sep", "[SEP]")):   # GGUF's WordPiece always adds them
        if text in vocab:
            vocabulary.roles[role] = vocab[text]
    most = source.model.get("max_input_chars_per_word", 100)
    if most != 100:
        vocabulary.notes.append(f"words of more than {most} characters are cut like others, not unknown, as in llama.cpp")
    _note_forms(source, vocabulary)
    return vocabulary
