r"""The value of tokenizer.ggml.pre for the pre-tokenizer of a tokenizer.json.

Every step of a pre-tokenizer is an expression that cuts the pieces of the one before, so a list of expressions, spelled in one
way, names the family. What no name has is refused: a wrong cut gives wrong ids without a word.
The families are those of csrc/bnf_split.c; tests_py/test_vocab_sources.py holds them together through `tokenizers`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ..errors import InvalidModelError

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_POSSESSIVE = re.compile(r"(\[\^?(?:\\.|[^\]\\])*\]|\\p\{\w+\}|\\.)|([+*?]|\{\d+(?:,\d*)?\})\+")   # classes and escapes keep theirs
_SPELLINGS = ("'(?i:[sdmt]|ll|ve|re)", "(?i:'(?:[sdmt]|ll|ve|re))", "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])")
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


def _words(number: str, *, word=r"[^\r\n\p{L}\p{N}]?\p{L}+", marks=r" ?[^\s\p{L}\p{N}]+", contraction=f"{_CONTRACTION}|",
           tail=r"[\r\n]*", spaces=_SPACES) -> str:
    return f"{contraction}{word}|{number}|{marks}{tail}|{spaces}"


def _cased(number: str, contraction: str) -> str:
    word = "|".join(rf"[^\r\n\p{{L}}\p{{N}}]?{halves}{contraction}" for halves in (f"{_UPPER}*{_LOWER}+", f"{_UPPER}+{_LOWER}*"))
    return _words(number, word=word, contraction="", tail=r"[\r\n/]*")


_KANA = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
_TAGGED = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"""
           + _SPACES)
_PUNCTUATION = r"[\p{P}\$\+<=>\^~\|`]+"   # what `tokenizers` calls punctuation: ASCII's, and Unicode's category P

# expressions: (name, name when whole words are looked up before merging)
_NAMES = {
    (_GPT2,): ("gpt-2", None),
    (r"\p{N}", _GPT2): ("smollm", None),
    (_PUNCTUATION, _GPT2, r"\p{N}+", "[0-9][0-9][0-9]"): ("falcon", None),
    (_words(r"\p{N}{1,3}"),): ("dbrx", "llama-bpe"),
    (_words(r"\p{N}"),): ("qwen2", None),
    (_words(r"\p{N}", contraction=""),): ("ufakzeka", None),
    (_words(r"\p{N}", spaces=r"\s*[\r\n]|\s+(?!\S)|\s+"),): ("bailingmoe", None),
    (_words(r"\p{N}", word=r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+", marks=r" ?[^\s\p{L}\p{M}\p{N}]+"),): ("qwen35", None),
    (_words(r"\p{N}", tail=""),): ("seed-coder", None),
    (_cased(r"\p{N}{1,3}", _CONTRACTION + "?"),): ("gpt-4o", None),
    (_cased(r"\p{N}", ""),): (None, "tekken"),
    (r"\p{N}{1,3}", _KANA, _TAGGED): ("deepseek-v3", None),
    (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", r"\p{N}"): ("deepseek-coder", None),
    (" ?[^(\\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+",): ("bloom", None),
}


def _spelled(expression: str) -> str:
    """One spelling: escapes for line ends, no possessive marks, one form of the contractions."""
    text = expression.replace("\r", r"\r").replace("\n", r"\n")
    for spelling in _SPELLINGS:
        text = text.replace(spelling, _CONTRACTION)
    return _POSSESSIVE.sub(lambda match: match[1] or match[2], text)


def _expressions(step: dict, source: str) -> list[str]:
    kind = step.get("type")
    if kind == "Sequence":
        return [expression for inner in step.get("pretokenizers", ()) for expression in _expressions(inner, source)]
    if kind == "ByteLevel":
        if step.get("add_prefix_space"):
            raise InvalidModelError(f"{source}: its pre-tokenizer puts a space before every text, which GGUF cannot say for "
                                    "byte-level BPE")
        return [_GPT2] if step.get("use_regex", True) else []
    if kind == "Digits":
        return [r"\p{N}" if step.get("individual_digits") else r"\p{N}+"]
    if kind == "Punctuation" and step.get("behavior") == "Contiguous":
        return [_PUNCTUATION]
    if kind == "Split":
        pattern, behavior = step.get("pattern") or {}, step.get("behavior")
        # Removing what lies between matches leaves the matches, which cover every text in these families.
        if (behavior == "Isolated" and not step.get("invert")) or (behavior == "Removed" and step.get("invert")):
            if isinstance(pattern.get("Regex"), str):
                return [_spelled(pattern["Regex"])]
            if isinstance(pattern.get("String"), str):
                return [re.escape(pattern["String"])]
    raise InvalidModelError(f"{source}: pre-tokenizer step {kind!r} in this form has no name in GGUF")


def pre_name(pre_tokenizer: dict, whole_words: bool, unmade: Callable[[], str | None], source: str) -> str:
    """The name. pre_tokenizer: as tokenizer.json has it; whole_words: its model's ignore_merges; unmade: a token that merges do
    not make; without one, looking up whole words first changes nothing. Errors: InvalidModelError."""
    expressions = tuple(_expressions(pre_tokenizer, source))
    names = _NAMES.get(expressions, (None, None))
    if names[whole_words] is not None:
        return names[whole_words]
    kind = " with whole words first" if whole_words else ""
    if names[not whole_words] is not None:
        token = unmade()
        if token is None:
            return names[not whole_words]
        kind += f", which matters for token {token!r}"
    shown = " then ".join(expressions)
    raise InvalidModelError(f"{source}: no tokenizer.ggml.pre has this pre-tokenizer{kind}: "
                            f"{shown if len(shown) < 200 else shown[:200] + '...'}")
