"""Random texts through every pre-tokenizer: the pieces must spell the text, and the ids be llama.cpp's where it is installed.

    PYTHONPATH=.:tests_py python tests_py/fuzz_split.py [--seconds 60] [--seed 1] [--names gpt-4o,afmoe]
With llama-cpp-python in the same environment (0.3.36 made the recorded ids) every id is compared. A finding is printed with its
text, shortened as far as it stays one; put it into split_tools.TEXTS and run record_splits.py. test_split.py runs this briefly.
"""
from __future__ import annotations

import argparse
import ctypes as C
import json
import random
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import model_abi
import peer_tools
import split_tools

llama_cpp = peer_tools.peer()

NAMES = json.loads((Path(__file__).parent / "data" / "split_ids.json").read_text())["names"]
BLOCKS = [(0x20, 0x7E)] * 6 + [
    (0, 0x1F), (0x80, 0x24F), (0x300, 0x36F), (0x370, 0x52F), (0x530, 0x8FF), (0x900, 0xDFF), (0xE00, 0x17FF), (0x1800, 0x1FFF),
    (0x2000, 0x206F), (0x2070, 0x2BFF), (0x2C00, 0x2FFF), (0x3000, 0x33FF), (0x3400, 0x9FFF), (0xA000, 0xABFF), (0xAC00, 0xDFFF),
    (0xE000, 0xFAFF), (0xFB00, 0xFFFF), (0x10000, 0x1FFFF), (0x20000, 0x3FFFF), (0x40000, 0xFFFFF)]
BROKEN = [0x80, 0xBF, 0xC0, 0xC1, 0xE0, 0xED, 0xF0, 0xFF]   # no F4: llama.cpp throws at code points above U+10FFFF
WORDS = [word for text in split_tools.TEXTS for word in text.decode(errors="replace").split(" ")] + [" ", "  ", "    ", "\n", "\r\n"]


def random_text(rng: random.Random) -> bytes:
    parts = []
    for _ in range(rng.choice([1, 2, 3, 5, 8, 13, 21, 40])):
        part = rng.choice(WORDS) if rng.random() < 0.5 else chr(rng.randint(*rng.choice(BLOCKS)))
        parts.append(part * rng.choice([2, 3, 4, 9, 17, 65]) if rng.random() < 0.1 else part)
    text = bytearray("".join(parts).encode("utf-8", "surrogatepass"))
    for _ in range(rng.choice([0] * 12 + [1, 3]) if text else 0):
        text[rng.randrange(len(text))] = rng.choice(BROKEN)
    return bytes(text)


def ids_of(library, vocab, text: bytes) -> list[int]:
    ids = (C.c_int32 * (3 * len(text) + 8))()
    n = library.llama_tokenize(vocab, text, len(text), ids, len(ids), False, False)
    return ids[:n]


class Family:
    """One pre-tokenizer, loaded here and, where it is installed, in llama.cpp."""

    def __init__(self, name: str, path: Path, stack: ExitStack):
        split_tools.pair_gguf(name).write(path)
        self.ours = C.c_void_p(stack.enter_context(model_abi.loaded(path, vocab_only=True)))
        self.pieces = split_tools.pair_pieces()
        self.theirs = None
        if llama_cpp is not None:
            params = llama_cpp.llama_model_default_params()
            params.vocab_only = True
            model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
            stack.callback(llama_cpp.llama_model_free, model)
            self.theirs = llama_cpp.llama_model_get_vocab(model)

    def wrong(self, text: bytes) -> str | None:
        ids = ids_of(model_abi.lib, self.ours, text)
        if b"".join(self.pieces[i] for i in ids) != split_tools.repaired(text):
            return f"the pieces of {ids} do not spell the text"
        if self.theirs is not None and ids != (expected := ids_of(llama_cpp, self.theirs, text)):
            return f"ids {ids}, llama.cpp has {expected}"
        return None

    def shortened(self, text: bytes) -> bytes:
        at = 0
        while at < len(text):
            shorter = text[:at] + text[at + 1 :]
            if self.wrong(shorter):
                text, at = shorter, 0
            else:
                at += 1
        return text


def fuzz(names: list[str], seconds: float, seed: int) -> tuple[int, list[str]]:
    """(how many texts, findings); the time is shared out equally."""
    findings, n = [], 0
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for name in names:
            family = Family(name, Path(folder) / "v.gguf", stack)
            rng = random.Random(f"{seed} {name}")
            end = time.monotonic() + seconds / len(names)
            while time.monotonic() < end:
                text = random_text(rng)
                n += 1
                if family.wrong(text):
                    text = family.shortened(text)
                    findings.append(f"{name}: {text!r}: {family.wrong(text)}")
                    break
    return n, findings


def main() -> None:
    families = list({row[0]: name for name, row in reversed(NAMES.items())}.values())
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--names", type=lambda text: text.split(","), default=families)
    args = parser.parse_args()
    n, findings = fuzz(args.names, args.seconds, args.seed)
    print(*findings, sep="\n", end="\n" if findings else "")
    print(f"{n} texts, {len(args.names)} pre-tokenizers, {'with' if llama_cpp else 'without'} llama.cpp: {len(findings)} findings")
    raise SystemExit(1 if findings else 0)


if __name__ == "__main__":
    main()
