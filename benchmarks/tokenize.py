"""Tokenizers beside each other: `python -m benchmarks.tokenize VOCAB.gguf ...`; megabytes a second, one thread.

Each engine loads a vocabulary in a process of its own, which gives its loading time and memory, then tokenizes the same
texts: this library, llama.cpp (llama-cpp-python) and tiktoken where they are installed and know the vocabulary. The ids are
compared; a ratio between different ids is not printed. encode_batch is timed on short and long texts, with one thread and with all
CPUs. Medians of --repeats; no speed is asserted anywhere.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import platform
import random
import statistics
import time
from pathlib import Path

import click

from .installed import is_installed

ENGINES = ("bitnet_ffi", "llama.cpp", "tiktoken")
MODULES = {"llama.cpp": "llama_cpp", "tiktoken": "tiktoken"}
# What tiktoken's users give it, by tokenizer.ggml.pre; in these vocabularies a token's id is its rank.
PATTERNS = {
    "gpt-2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "llama-bpe": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
                 r"|\s+(?!\S)|\s+",
}
PARTS = (500, 4_000, 31_000)   # bytes of the texts of a batch
ALPHABETS = ((0x61, 26), (0x61, 26), (0x61, 26), (0x430, 32), (0x3B1, 25), (0x5D0, 27), (0x905, 53), (0x4E00, 3000), (0x3042, 80),
             (0xAC00, 3000))


def english(size: int) -> str:
    """Python's own manual, as often as it takes."""
    from pydoc_data.topics import topics
    text = "\n".join(topics[name] for name in sorted(topics))
    return (text * (1 + size // len(text)))[:size]


def mixed(size: int) -> str:
    """Made-up words of ten alphabets, as often used as words are (by Zipf's law), with marks, numbers and lines."""
    rng = random.Random(1)
    words = []
    for _ in range(20_000):
        first, n = rng.choice(ALPHABETS)
        words.append("".join(chr(first + min(rng.randrange(n), rng.randrange(n))) for _ in range(rng.randint(1, 9))))
    weights = [1 / (i + 2) for i in range(len(words))]
    parts = []
    for word in rng.choices(words, weights, k=size // 5):
        parts += word, rng.choice((" ", " ", " ", " ", " ", " ", ", ", ". ", "\n", f" {rng.randrange(1000)} "))
    return "".join(parts)[:size]


def rss_kib() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


# ---- engines: a function that loads a vocabulary and gives a function from bytes to ids ----

def load_bitnet_ffi(path: str):
    from bitnet_ffi import Model
    def load():
        model = Model(path, vocab_only=True)

        def encode(data):
            return model.encode(data, add_special=False)
        encode.batch = model.encode_batch
        return encode
    return load


def load_llama_cpp(path: str):
    import llama_cpp
    import numpy as np
    quiet = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(quiet, None)

    def load(_keep=quiet):
        params = llama_cpp.llama_model_default_params()
        params.vocab_only = True
        model = llama_cpp.llama_model_load_from_file(path.encode(), params)
        vocab = llama_cpp.llama_model_get_vocab(model)

        def encode(data: bytes):
            ids = (llama_cpp.llama_token * (len(data) + 8))()
            n = llama_cpp.llama_tokenize(vocab, data, len(data), ids, len(ids), False, False)
            return np.frombuffer(ids, np.int32, max(n, 0))
        return encode
    return load


def load_tiktoken(path: str):
    import numpy as np
    import tiktoken
    from bitnet_ffi import Model
    with Model(path, vocab_only=True) as model:
        pattern = PATTERNS.get(model.metadata.get("tokenizer.ggml.pre", ""))
        if pattern is None:
            return None
        ranks = {model.token_to_piece(i): i for i in range(model.n_vocab) if model.token_to_piece(i, special=False)}

    def load():
        encoding = tiktoken.Encoding("measured", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
        return lambda data: np.asarray(encoding.encode_ordinary(data.decode()), np.int32)
    return load


def measure(engine: str, path: str, texts: dict[str, bytes], repeats: int, answers) -> None:
    """In the engine's own process: load, then each text. Puts a dict, or None where the engine does not know the vocabulary."""
    prepared = {"bitnet_ffi": load_bitnet_ffi, "llama.cpp": load_llama_cpp, "tiktoken": load_tiktoken}[engine](path)
    if prepared is None:
        answers.put(None)
        return
    before, start = rss_kib(), time.perf_counter()
    encode = prepared()
    found = {"load_ms": (time.perf_counter() - start) * 1e3, "load_mb": (rss_kib() - before) * 1024 / 1e6, "texts": {}}
    for name, data in texts.items():
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            ids = encode(data)
            seconds.append(time.perf_counter() - start)
        found["texts"][name] = {"mb_per_s": len(data) / 1e6 / statistics.median(seconds), "n_tokens": len(ids),
                                "spread": max(seconds) / min(seconds) - 1, "ids": hashlib.sha256(ids.tobytes()).hexdigest()}
    if engine == "bitnet_ffi":
        found["threads"] = {name: scaling(encode.batch, data, repeats) for name, data in texts.items()}
    answers.put(found)


def scaling(batch, data: bytes, repeats: int) -> list[tuple[int, int, float, float]]:
    """For the text in parts of each of PARTS bytes: (bytes, threads, MB/s of encode_batch with one, how many times as fast it is with
    them); the least times count."""
    threads, found = len(os.sched_getaffinity(0)), []
    for size in PARTS:
        parts = [data[i:i + size] for i in range(0, len(data), size)]
        least = {1: float("inf"), threads: float("inf")}
        for _ in range(max(repeats, 3)):
            for n in least:
                start = time.perf_counter()
                batch(parts, n_threads=n, add_special=False)
                least[n] = min(least[n], time.perf_counter() - start)
        found.append((size, threads, len(data) / 1e6 / least[1], least[1] / least[threads]))
    return found


def in_process(*arguments):
    context = multiprocessing.get_context("spawn")
    answers = context.SimpleQueue()
    child = context.Process(target=measure, args=(*arguments, answers))
    child.start()
    child.join()
    if child.exitcode != 0:
        raise click.ClickException(f"{arguments[0]} on {arguments[1]}: the process ended with {child.exitcode}")
    return answers.get()


def lines(path: str, found: dict[str, dict]) -> list[str]:
    """The report of one vocabulary; `found` by engine, bitnet_ffi among them."""
    out = [Path(path).name]
    out += [f"  {engine:<11} loaded in {run['load_ms']:7.1f} ms, {run['load_mb']:6.1f} MB" for engine, run in found.items()]
    for text, ours in found["bitnet_ffi"]["texts"].items():
        for engine, run in found.items():
            cell = run["texts"][text]
            beside = "" if engine == "bitnet_ffi" else "  other ids: no ratio" if cell["ids"] != ours["ids"] else \
                f"  {ours['mb_per_s'] / cell['mb_per_s']:5.1f} times as long"
            out.append(f"  {text:<10} {engine:<11} {cell['mb_per_s']:7.2f} MB/s (spread {cell['spread']:4.0%}) "
                       f"{cell['n_tokens']:>9} tokens{beside}")
        for size, threads, speed, ratio in found["bitnet_ffi"]["threads"][text]:
            out.append(f"  {text:<10} encode_batch of texts of {size / 1000:g} kB: {speed:7.2f} MB/s with one thread, "
                       f"{ratio:.2f} times that with {threads}")
    return out


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("vocabularies", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False), metavar="VOCAB.gguf...")
@click.option("--text", "files", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="Text to tokenize, UTF-8; may be given several times.  [Python's manual, and words of ten alphabets]")
@click.option("--size", type=click.FloatRange(0.001), default=2.0, show_default=True, help="Megabytes of the texts of its own.")
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True, help="The median counts.")
@click.option("--peer/--no-peer", default=True, help="Run llama.cpp and tiktoken beside it where they are installed.")
def main(vocabularies, files, size, repeats, peer) -> None:
    """Measure loading and tokenizing of vocabularies, one thread."""
    n = int(size * 1e6)
    texts = {path.name: path.read_bytes() for path in files} or {
        "english": english(n).encode(), "mixed": mixed(n).encode()[:n].decode(errors="ignore").encode()}
    engines = [name for name in ENGINES if name == "bitnet_ffi" or (peer and is_installed(MODULES[name]))]
    click.echo(f"{platform.machine()}, Python {platform.python_version()}, one thread, median of {repeats}; "
               + ", ".join(f"{name} {len(data) / 1e6:.1f} MB" for name, data in texts.items()))
    for path in vocabularies:
        found = {engine: in_process(engine, path, texts, repeats) for engine in engines}
        click.echo("\n".join(lines(path, {engine: run for engine, run in found.items() if run})))


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.tokenize")
