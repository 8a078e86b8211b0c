"""Ask llama.cpp for the ids of family_tools.TEXTS under the vocabularies of family_tools.FILES; write tests_py/data/family_ids.json.

    pip install llama-cpp-python==0.3.36 && python tests_py/record_families.py
Of each text: the ids without a flag, and with family_tools.FLAGS[1:], null where these change nothing; then what the ids spell.
"""
from __future__ import annotations

import ctypes as C
import json
import tempfile
from pathlib import Path

import llama_cpp as L

import family_tools


def tokenize(vocab, text: bytes, special: bool, parse: bool) -> list[int]:
    ids = (C.c_int32 * (20 * len(text) + 8))()
    n = L.llama_tokenize(vocab, text, len(text), ids, len(ids), special, parse)
    assert n >= 0
    return ids[:n]


def detokenize(vocab, ids: list[int]) -> str:
    out = C.create_string_buffer(64 * len(ids) + 8)
    n = L.llama_detokenize(vocab, (C.c_int32 * len(ids))(*ids), len(ids), out, len(out), False, True)
    assert n >= 0
    return out.raw[:n].decode("latin-1")   # a character for each byte


def ask(name: str, path: Path) -> dict:
    family_tools.FILES[name]().write(path)
    params = L.llama_model_default_params()
    params.vocab_only = True
    model = L.llama_model_load_from_file(str(path).encode(), params)
    vocab = L.llama_model_get_vocab(model)
    record = {"roles": [int(getattr(L, "llama_vocab_" + role)(vocab)) for role in family_tools.ROLES], "ids": [], "texts": []}
    for text in family_tools.TEXTS:
        plain, *others = (tokenize(vocab, text, *flags) for flags in family_tools.FLAGS)
        record["ids"].append([plain] + [None if ids == plain else ids for ids in others])
        record["texts"].append(None if name.startswith("whitespace") else detokenize(vocab, plain))   # it says [UNK_BYTE_0x...] there
    L.llama_model_free(model)
    return record


def main() -> None:
    quiet = L.llama_log_callback(lambda level, text, user: None)
    L.llama_log_set(quiet, None)
    with tempfile.TemporaryDirectory() as folder:
        records = {name: ask(name, Path(folder) / "v.gguf") for name in family_tools.FILES}
    path = Path(__file__).parent / "data" / "family_ids.json"
    body = ",\n".join(f'"{name}": {json.dumps(record, separators=(",", ":"))}' for name, record in records.items())
    path.write_text('{"made_with": "python tests_py/record_families.py, llama-cpp-python ' + L.__version__ + '",\n' + body + "}\n")
    print(path, len(records))


if __name__ == "__main__":
    main()
