"""tokenizer.model of SentencePiece: a protobuf message, of which four fields of each part matter.

Reads the wire format itself: no library is needed for three nested messages. Next: vocabulary.py.
Source: sentencepiece's src/sentencepiece_model.proto; GGUF's token types are its numbers.
"""

from __future__ import annotations

import struct

from ..errors import InvalidModelError
from .vocabulary import BYTE, NORMAL, Vocabulary

_UNIGRAM, _BPE = 1, 2


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("a number does not end")
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7


def _fields(data: bytes):
    """(number, value) of each field: int for varints, bytes for everything else."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            item, at = _varint(data, at)
        else:
            if wire == 2:
                size, at = _varint(data, at)
            elif wire in (1, 5):
                size = 8 if wire == 1 else 4
            else:
                raise ValueError(f"field {number} is of wire type {wire}")
            if size > len(data) - at:
                raise ValueError(f"field {number} ends behind the message")
            item, at = data[at:at + size], at + size
        yield number, item


def _of(kind: type, number: int, item):
    if not isinstance(item, kind):
        raise ValueError(f"field {number} is of the wrong kind")
    return item


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def _piece(data: bytes) -> tuple[str, float, int]:
    text, score, kind = "", 0.0, NORMAL
    for number, item in _fields(data):
        if number == 1:
            text = _of(bytes, number, item).decode("utf-8")
        elif number == 2:
            score = struct.unpack("<f", _of(bytes, number, item))[0]
        elif number == 3:
            kind = _of(int, number, item)
    if not 1 <= kind <= BYTE:
        raise ValueError(f"a piece of type {kind}")
    return text, score, kind


def parse(data: bytes, source: str) -> Vocabulary:
    """The vocabulary in the bytes of a tokenizer.model. Errors: InvalidModelError."""
    pieces: list[tuple[str, float, int]] = []
    trainer = {3: _UNIGRAM, 24: 0, 35: 0, 40: 0, 41: 1, 42: 2, 43: -1}   # the .proto's defaults
    normalizer: dict[int, int | bytes] = {2: b"", 3: 1, 4: 1, 5: 1}
    try:
        for number, item in _fields(data):
            if number == 1:
                pieces.append(_piece(_of(bytes, number, item)))
            elif number in (2, 3):
                settings = trainer if number == 2 else normalizer
                for key, setting in _fields(_of(bytes, number, item)):
                    if key in settings:
                        settings[key] = _of(type(settings[key]), key, setting)
    except (ValueError, struct.error) as error:
        raise InvalidModelError(f"{source}: this is no SentencePiece model: {error}") from None
    if not pieces:
        raise InvalidModelError(f"{source}: this is no SentencePiece model: it has no pieces")
    kind = trainer[3]
    if kind not in (_UNIGRAM, _BPE):
        raise InvalidModelError(f"{source}: SentencePiece model of type {kind}, expected 1 (Unigram) or 2 (BPE)")
    if trainer[24] or not normalizer[5]:
        raise InvalidModelError(f"{source}: spaces {'end words' if trainer[24] else 'stay spaces'}, expected U+2581 in front of words")
    vocabulary = Vocabulary(
        source, "llama" if kind == _BPE else "t5", [p[0] for p in pieces], [p[2] for p in pieces], scores=[p[1] for p in pieces],
        flags={"add_space_prefix": bool(normalizer[3]), "remove_extra_whitespaces": bool(normalizer[4])})
    for role, key in (("unk", 40), ("bos", 41), ("eos", 42), ("pad", 43)):
        token = _signed(trainer[key])
        if 0 <= token < len(pieces):
            vocabulary.roles[role] = token
    if kind == _UNIGRAM:
        vocabulary.charsmap = normalizer[2]
        vocabulary.flags |= {"add_bos_token": False, "add_eos_token": True}
        if trainer[35]:
            raise InvalidModelError(f"{source}: bytes for unknown characters: GGUF's Unigram has no byte tokens")
        if normalizer[4] and not normalizer[3]:
            raise InvalidModelError(f"{source}: spaces are made one and none is put before a text, which GGUF cannot say")
    else:
        vocabulary.flags |= {"add_bos_token": True, "add_eos_token": False}
        if normalizer[2]:
            vocabulary.notes.append("the text normalization of this SentencePiece model is not applied to BPE, as in llama.cpp")
        if BYTE not in vocabulary.types:
            vocabulary.notes.append("a character without a token becomes an unknown one for each of its bytes, as in llama.cpp")
        if normalizer[4]:
            vocabulary.notes.append("stretches of spaces are kept, not made one, as in llama.cpp")
    return vocabulary
