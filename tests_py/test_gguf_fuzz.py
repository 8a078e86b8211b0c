"""Files nobody thought of: every truncation of a header, random flips, random bytes. None may crash, hang or stay silent.

Thousands of loads run in one child process, so that a crash is a failed test with the seed of the file that caused it.
"""
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

N_FLIPS = 1000
HERE = Path(__file__).parent


def small_model():
    from gguf_writer import ARRAY, I32, tiny_model
    g = tiny_model("bitnet-b1.58", weights="i2_s", n_layer=1, n_embd=128, n_ff=128, n_head=2, n_head_kv=1, n_vocab=262, embd="q4_0")
    return g.set("test.numbers", ARRAY, (I32, list(range(20))))


def cases(kind: str, head: bytes, rest: bytes):
    """(what it is, file content) of one kind."""
    if kind == "truncations":
        # The strings of the vocabulary are all alike: every byte of the first 400 and of the last 1200, every 31st between.
        for n in range(len(head)):
            if n < 400 or n > len(head) - 1200 or n % 31 == 0:
                yield f"{n} bytes", head[:n]
        for n in range(1, 64):
            yield f"{n} bytes of data missing", (head + rest)[:-n]
    elif kind == "flips":
        for seed in range(N_FLIPS):
            rng = random.Random(seed)
            content = bytearray(head)
            for _ in range(rng.choice([1, 1, 2, 8, 64])):
                at = rng.choice([rng.randrange(len(head)), rng.randrange(24), len(head) - 1 - rng.randrange(1000)])
                content[at] = rng.choice([0, 1, 255, 127, 128, content[at] ^ (1 << rng.randrange(8)), rng.randrange(256)])
            yield f"seed {seed}", bytes(content) + rest
    else:
        for seed in range(300):
            rng = random.Random(seed)
            yield f"seed {seed}", b"GGUF\3\0\0\0" + rng.randbytes(rng.randrange(400)) + bytes(rng.randrange(64))
            words = [b"\0\0\0\0", b"\1\0\0\0", b"\2\0\0\0", b"\x09\0\0\0", b"\x08\0\0\0", b"abcd", b"\xff\xff\xff\xff", b"\0\0\0\x80"]
            yield f"words of seed {seed}", b"GGUF\3\0\0\0" + b"".join(rng.choice(words) for _ in range(60))


def child(kind: str, folder: str) -> None:
    from model_abi import desc, last_error, lib, load, meta
    content = small_model().to_bytes()
    head = small_model().head()
    path = Path(folder) / "model.gguf"
    n_loaded = n = 0
    for what, data in cases(kind, head, content[len(head):]):
        path.write_bytes(data)
        print(what, flush=True)
        n += 1
        for options in ({}, {"check_tensors": True, "vocab_only": n % 2 == 0}):
            model = load(path, **options)
            if model:
                n_loaded += 1
                desc(model), meta(model, "tokenizer.ggml.tokens"), meta(model, "test.numbers")
                lib.llama_model_free(model)
            else:
                code, text = last_error()
                assert code < 0 and len(text) > 20 and str(path) in text, (what, code, text)
                assert path.stat().st_size == 0 or code in (-5, -7, -9), (what, code, text)
    print(f"done: {n} files, {n_loaded} loads", flush=True)


@pytest.mark.parametrize("kind", ["truncations", "flips", "noise"])
def test_no_file_crashes(kind, tmp_path):
    from model_abi import library_path
    done = subprocess.run([sys.executable, __file__, kind, str(tmp_path)], cwd=HERE, capture_output=True, text=True, timeout=120,
                          env={**os.environ, "BITNET_FFI_LIBRARY": str(library_path())})
    last = done.stdout.splitlines()[-1:] or [""]
    assert done.returncode == 0, f"after {last[0]}: exit {done.returncode}\n{done.stderr[-2000:]}"
    assert last[0].startswith("done")
    if kind == "truncations":
        assert last[0].endswith(" 0 loads")


if __name__ == "__main__":
    child(*sys.argv[1:])
