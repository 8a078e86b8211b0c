"""Vocabulary: what every tokenizer source becomes, and its tokenizer.ggml.* metadata.

Holds facts, no rule of any format. Next: tokenizer_json.py, sentencepiece_model.py and tiktoken_ranks.py make one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..container import BOOL, F32, I32, STRING, U8, U32, Value, array, value
from ..errors import InvalidModelError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # tokenizer.ggml.token_type
KEY = "tokenizer.ggml."
ROLE_KEYS = {"bos": "bos", "eos": "eos", "unk": "unknown", "sep": "seperator", "pad": "padding", "mask": "mask", "cls": "cls"}


@dataclass
class Vocabulary:
    """A tokenizer, whatever file it came from.

    model: "gpt2" (byte-level BPE), "llama" (SentencePiece BPE), "t5" (Unigram) or "bert" (WordPiece).
    tokens, types: by id; the text as GGUF has it. scores: for llama and t5. merges, pre: for gpt2.
    roles: id by short name ("bos"). flags: add_bos_token and the like. notes: what the source says and GGUF cannot.
    """

    source: str
    model: str
    tokens: list[str]
    types: list[int]
    scores: list[float] | None = None
    merges: list[str] | None = None
    pre: str | None = None
    roles: dict[str, int] = field(default_factory=dict)
    flags: dict[str, bool] = field(default_factory=dict)
    charsmap: bytes | None = None
    chat_template: str | None = None
    notes: list[str] = field(default_factory=list)

    def pad(self, n_rows: int) -> None:
        """Fill up to the rows of the embedding with unused tokens: many models have more rows than tokens."""
        missing = n_rows - len(self.tokens)
        if missing < 0:
            raise InvalidModelError(f"{self.source}: {len(self.tokens)} tokens, but the model has {n_rows} rows of embedding; "
                                    "this is another model's tokenizer")
        if missing:
            self.notes.append(f"{missing} rows of the embedding have no token; they are named [PAD...] and unused")
        self.tokens += [f"[PAD{i}]" for i in range(len(self.tokens), n_rows)]
        self.types += [UNUSED] * missing
        if self.scores is not None:
            self.scores += [-10000.0] * missing

    def metadata(self) -> dict[str, Value]:
        """The keys to write."""
        kv = {KEY + "model": value(STRING, self.model)}
        if self.pre is not None:
            kv[KEY + "pre"] = value(STRING, self.pre)
        kv[KEY + "tokens"] = array(STRING, self.tokens)
        if self.scores is not None:
            kv[KEY + "scores"] = array(F32, self.scores)
        kv[KEY + "token_type"] = array(I32, self.types)
        if self.merges is not None:
            kv[KEY + "merges"] = array(STRING, self.merges)
        for role, token in self.roles.items():
            kv[f"{KEY}{ROLE_KEYS[role]}_token_id"] = value(U32, token)
        for flag, on in self.flags.items():
            kv[KEY + flag] = value(BOOL, on)
        if self.charsmap:
            kv[KEY + "precompiled_charsmap"] = array(U8, self.charsmap)
        if self.chat_template is not None:
            kv["tokenizer.chat_template"] = value(STRING, self.chat_template)
        return kv


def place(tokens: dict[int, str], types: dict[int, int], source: str) -> tuple[list[str], list[int]]:
    """Tokens by id as lists; ids that nothing has become unused tokens."""
    if not tokens:
        raise InvalidModelError(f"{source}: no tokens")
    n = max(tokens) + 1
    if min(tokens) < 0 or n > 2 * len(tokens) + 65536:
        raise InvalidModelError(f"{source}: token ids from {min(tokens)} to {n - 1} for {len(tokens)} tokens")
    return ([tokens.get(i, f"[PAD{i}]") for i in range(n)],
            [types.get(i, NORMAL) if i in tokens else UNUSED for i in range(n)])


def byte_alphabet() -> list[str]:
    """GPT-2's printable stand-in of each byte: printable Latin-1 for itself, the rest from U+0100 on."""
    itself = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return [chr(byte) if byte in itself else chr(next(spare)) for byte in range(256)]
