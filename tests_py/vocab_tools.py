"""Vocabularies for tests: GGUF files made from GPT-2's first 2000 merges, and the same vocabularies in `tokenizers`.

Hugging Face's `tokenizers` is the oracle: it shares no code with llama.cpp or with us. Next: test_vocab.py.
"""
from __future__ import annotations

import ctypes as C
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

import model_abi
from gguf_writer import ARRAY, BOOL, F32, I32, STRING, U32, Gguf, byte_chars

DATA = Path(__file__).parent / "data"
MERGES = (DATA / "gpt2_2000.merges").read_text().splitlines()
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEFAULT = (r"[\p{P}\$\+<=>\^~\|]+", r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
           r"\p{N}+", r"[0-9][0-9][0-9]")
SPECIALS = ["<|end|>", "<|im_start|>", "<|im_end|>"]


def bpe_tokens() -> list[str]:
    """256 bytes, 2000 merges, then a word that no merge makes (for llama-bpe's rule), then control tokens."""
    return byte_chars() + [merge.replace(" ", "") for merge in MERGES] + ["zebra"] + SPECIALS


def bpe_gguf(pre: str | None) -> Gguf:
    tokens = bpe_tokens()
    n = len(tokens)
    kv = [("general.architecture", STRING, "llama"), ("tokenizer.ggml.model", STRING, "gpt2"),
          ("tokenizer.ggml.tokens", ARRAY, (STRING, tokens)),
          ("tokenizer.ggml.token_type", ARRAY, (I32, [1] * (n - len(SPECIALS)) + [3] * len(SPECIALS))),
          ("tokenizer.ggml.merges", ARRAY, (STRING, MERGES)), ("tokenizer.ggml.bos_token_id", U32, n - 2),
          ("tokenizer.ggml.eos_token_id", U32, n - 1), ("tokenizer.ggml.add_bos_token", BOOL, False)]
    return Gguf(kv=kv + ([("tokenizer.ggml.pre", STRING, pre)] if pre is not None else []))


def split(pattern: str):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def bpe_oracle(pre: str) -> Tokenizer:
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    cutter = {"gpt-2": gpt2, "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), gpt2]),
              "llama-bpe": pre_tokenizers.Sequence([split(LLAMA3), to_bytes]),
              "default": pre_tokenizers.Sequence([*map(split, DEFAULT), to_bytes])}[pre]
    vocab = {token: i for i, token in enumerate(bpe_tokens())}
    tokenizer = Tokenizer(models.BPE(vocab, [tuple(m.split(" ")) for m in MERGES], ignore_merges=pre == "llama-bpe"))
    tokenizer.pre_tokenizer = cutter
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def spm_gguf(pieces: dict[str, float], *, types: dict[str, int] = {}, **flags: bool) -> Gguf:
    """<unk> <s> </s>, 256 byte tokens, then `pieces` with their scores; `types` for pieces that are not normal."""
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + list(pieces)
    kinds = [2, 3, 3] + [6] * 256 + [types.get(piece, 1) for piece in pieces]
    kv = [("general.architecture", STRING, "llama"), ("tokenizer.ggml.model", STRING, "llama"),
          ("tokenizer.ggml.tokens", ARRAY, (STRING, tokens)),
          ("tokenizer.ggml.scores", ARRAY, (F32, [0.0] * 259 + list(pieces.values()))),
          ("tokenizer.ggml.token_type", ARRAY, (I32, kinds)), ("tokenizer.ggml.bos_token_id", U32, 1),
          ("tokenizer.ggml.eos_token_id", U32, 2), ("tokenizer.ggml.unknown_token_id", U32, 0),
          ("tokenizer.ggml.add_space_prefix", BOOL, flags.pop("add_space_prefix", True))]
    return Gguf(kv=kv + [(f"tokenizer.ggml.{key}", BOOL, value) for key, value in flags.items()])


def spm_oracle(pieces: dict[str, float]) -> Tokenizer:
    """SentencePiece BPE as `tokenizers` spells it: a merge for every way to cut a piece in two, the best score first."""
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + list(pieces)
    merges = [(-score, piece[:i], piece[i:]) for piece, score in pieces.items() for i in range(1, len(piece))
              if piece[:i] in pieces and piece[i:] in pieces]
    merges.sort(key=lambda merge: merge[0])
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, [merge[1:] for merge in merges], byte_fallback=True,
                                     unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    return tokenizer


# ---- the calls as C sees them ----

lib = model_abi.lib
lib.llama_tokenize.argtypes = [C.c_void_p, C.c_char_p, C.c_int32, C.POINTER(C.c_int32), C.c_int32, C.c_bool, C.c_bool]
lib.llama_token_to_piece.argtypes = [C.c_void_p, C.c_int32, C.c_char_p, C.c_int32, C.c_int32, C.c_bool]
lib.llama_detokenize.argtypes = [C.c_void_p, C.POINTER(C.c_int32), C.c_int32, C.c_char_p, C.c_int32, C.c_bool, C.c_bool]
ROLES = ("bos", "eos", "eot", "sep", "nl", "pad", "mask", "fim_pre", "fim_suf", "fim_mid", "fim_pad", "fim_rep", "fim_sep")
for _name in ("n_tokens", "type", *ROLES):
    getattr(lib, "llama_vocab_" + _name if _name != "type" else "llama_vocab_type").argtypes = [C.c_void_p]
for _name in ("add_bos", "add_eos", "add_sep"):
    _f = getattr(lib, "llama_vocab_get_" + _name)
    _f.argtypes, _f.restype = [C.c_void_p], C.c_bool
for _prefix in ("llama_vocab_", "llama_token_"):
    for _name, _result in (("get_text", C.c_char_p), ("get_score", C.c_float), ("get_attr", C.c_int), ("is_eog", C.c_bool),
                           ("is_control", C.c_bool)):
        _f = getattr(lib, _prefix + _name)
        _f.argtypes, _f.restype = [C.c_void_p, C.c_int32], _result


def tokenize(model: int, text: bytes, *, special=False, parse=False) -> list[int]:
    room = len(text) * 3 + 8
    ids = (C.c_int32 * room)()
    n = lib.llama_tokenize(model, text, len(text), ids, room, special, parse)
    assert n >= 0, model_abi.last_error()
    return ids[:n]


def piece(model: int, token: int, *, lstrip=0, special=True) -> bytes:
    buffer = C.create_string_buffer(1 << 16)
    n = lib.llama_token_to_piece(model, token, buffer, len(buffer), lstrip, special)
    assert n >= 0
    return buffer.raw[:n]


def detokenize(model: int, ids, *, remove=False, unparse=False) -> bytes:
    array = (C.c_int32 * len(ids))(*ids)
    buffer = C.create_string_buffer(1 + 64 * len(ids))
    n = lib.llama_detokenize(model, array, len(ids), buffer, len(buffer), remove, unparse)
    assert n >= 0, (n, model_abi.last_error())
    return buffer.raw[:n]


def id_array(ids):
    """A C array of these tokens."""
    return (C.c_int32 * len(ids))(*ids)
