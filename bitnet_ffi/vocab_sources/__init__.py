"""Tokenizers from other files than GGUF: tokenizer.json, tokenizer.model of SentencePiece, rank files of tiktoken.

`read` turns one into a Vocabulary, whatever its name: the content decides. `beside_model` is the chain by which a tokenizer is
found. Reads whole files, tens of megabytes at most; needs no other library. Next: vocabulary.py, repair.py.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import InvalidModelError, ModelLoadError, ModelNotFoundError
from . import beside, sentencepiece_model, tiktoken_ranks, tokenizer_json
from .vocabulary import Vocabulary

NAMES = ("tokenizer.json", "tokenizer.model")
MOST_BYTES = 512 << 20
WORD_LIST = "no tokenizer can be made: it does not say what becomes of capitals and accents; AutoTokenizer.from_pretrained(FOLDER)" \
            ".save_pretrained(FOLDER) of the transformers package writes tokenizer.json"

__all__ = ["NAMES", "Vocabulary", "beside_model", "read"]


def _in_folder(folder: Path) -> Path | None:
    return next((folder / name for name in NAMES if (folder / name).is_file()), None)


def beside_model(model_path: str | os.PathLike) -> Path | None:
    """tokenizer.json or tokenizer.model beside a model, else in the parent folder, else None."""
    folder = Path(os.path.abspath(model_path)).parent
    return _in_folder(folder) or _in_folder(folder.parent)


def read(path: str | os.PathLike) -> Vocabulary:
    """The tokenizer of a file, or of a folder that holds one, completed by the files beside it (beside.py).

    Errors: ModelNotFoundError, ModelLoadError, InvalidModelError with what was found and what was expected.
    """
    path = Path(path)
    if path.is_dir():
        found = _in_folder(path)
        if found is None:
            hint = f"; of vocab.txt alone {WORD_LIST}" if (path / "vocab.txt").is_file() else ""
            raise ModelNotFoundError(f"{path}: no {' or '.join(NAMES)} in this folder{hint}")
        path = found
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InvalidModelError(f"{path}: larger than any tokenizer")
        data = path.read_bytes()
    except FileNotFoundError:
        raise ModelNotFoundError(f"{path}: no such file") from None
    except OSError as error:
        raise ModelLoadError(f"{path}: {error.strerror}") from None
    name = str(path)
    if data[:4] == b"GGUF":
        raise InvalidModelError(f"{name}: this is a GGUF model; expected tokenizer.json, tokenizer.model or a tiktoken rank file")
    if data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{":
        vocabulary = tokenizer_json.parse(data, name)
    elif b"[UNK]\n" in data.replace(b"\r", b"") and b"\0" not in data:
        raise InvalidModelError(f"{name}: a list of words, as vocab.txt of BERT; from it {WORD_LIST}")
    elif tiktoken_ranks.looks_like(data):
        vocabulary = tiktoken_ranks.parse(data, name)
    else:
        vocabulary = sentencepiece_model.parse(data, name)
    beside.apply(vocabulary, path.parent, added_tokens=path.suffix != ".json")
    return vocabulary
