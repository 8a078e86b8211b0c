"""Random calls of llama_decode, llama_process, llama_memory_* and what reads their results, made here and in llama.cpp side by side:
the same codes, positions, rows of logits and embeddings. Needs llama-cpp-python with llama.cpp in it.

    PYTHONPATH=. python -m tests_py.fuzz_memory [--minutes 1] [--seed 1] [--only FINDING] [--steps]
Each run makes one context of each library with the same parameters on the same model of F32, and forty calls of both. What
differs on purpose (docs/ARCHITECTURE.md, "Where we differ") is not drawn, or is made equal afterwards, as said at each call here; nor
is what ends the process in llama.cpp. A finding names its run and call: --only repeats it, --steps prints every call before it is
made. Next: test_fuzz_memory.py.
"""
from __future__ import annotations

import argparse
import ctypes as C
import os
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import model_abi  # noqa: E402
import peer_tools  # noqa: E402
from gguf_writer import tiny_model  # noqa: E402

os.environ.setdefault("GGML_NO_BACKTRACE", "1")
peer = peer_tools.peer()
E, VOCAB = 32, 280
N_CTX = 256                      # llama.cpp rounds up to a multiple
FUNCTIONS = ("llama_model_load_from_file llama_model_free llama_init_from_model llama_free llama_decode llama_get_memory "
             "llama_memory_clear llama_memory_seq_rm llama_memory_seq_cp llama_memory_seq_keep llama_memory_seq_add "
             "llama_memory_seq_div llama_memory_seq_pos_min llama_memory_seq_pos_max llama_memory_can_shift llama_n_ctx llama_n_batch "
             "llama_n_ubatch llama_n_seq_max llama_n_ctx_seq llama_get_logits llama_get_logits_ith llama_get_embeddings "
             "llama_get_embeddings_ith llama_get_embeddings_seq llama_set_embeddings llama_set_causal_attn llama_set_warmup "
             "llama_set_abort_callback llama_pooling_type llama_batch_get_one llama_process llama_batch_ext_init llama_batch_ext_free "
             "llama_batch_ext_clear llama_batch_ext_add_token llama_batch_ext_add_embd llama_batch_ext_add_seq "
             "llama_batch_ext_set_pos llama_batch_ext_set_output_logits llama_batch_ext_set_output_embd "
             "llama_model_default_params llama_context_default_params").split()


class Difference(Exception):
    pass


class Library:
    """One side: the functions by their names without "llama_", with llama-cpp-python's signatures."""

    def __init__(self, name: str, path: Path):
        self.name = name
        for function in FUNCTIONS:
            theirs = getattr(peer, function)
            call = theirs
            if name == "ours":
                call = getattr(model_abi.lib, function)
                call = C.CFUNCTYPE(theirs.restype, *theirs.argtypes)(C.cast(call, C.c_void_p).value)
            setattr(self, function.removeprefix("llama_"), call)
        self.model = self.model_load_from_file(str(path).encode(), self.model_default_params())
        assert self.model, f"{name} does not load the model"
        self.ctx = None

    def open(self, fields: dict) -> bool:
        params = self.context_default_params()
        for name, value in {"n_threads": 1, "n_threads_batch": 1, "flash_attn_type": 0, "type_k": 0, "type_v": 0, **fields}.items():
            setattr(params, name, value)
        self.ctx = self.init_from_model(self.model, params)
        self.memory = self.get_memory(self.ctx) if self.ctx else None
        self.ext = self.batch_ext_init(self.ctx) if self.ctx else None
        return bool(self.ctx)

    def close(self) -> None:
        if self.ctx:
            self.batch_ext_free(self.ext)
            self.free(self.ctx)
        self.ctx = None

    def sizes(self) -> tuple:
        return tuple(getattr(self, f)(self.ctx) for f in ("n_ctx", "n_batch", "n_ubatch", "n_seq_max", "n_ctx_seq", "pooling_type"))

    def span(self, seq: int) -> tuple[int, int]:
        return self.memory_seq_pos_min(self.memory, seq), self.memory_seq_pos_max(self.memory, seq)


def floats(pointer, n: int):
    return np.ctypeslib.as_array(C.cast(pointer, C.POINTER(C.c_float)), (n,)).copy() if pointer else None


class Batch:
    """struct llama_batch over arrays that live as long as it does. Each token: (id or row, position, sequences, output)."""

    def __init__(self, tokens: list, *, embd=False, pos=True, seq=True, logits=True):
        n = len(tokens)
        self.c = peer.llama_batch()
        self.c.n_tokens = n
        self.keep = []
        if embd:
            rows = np.ascontiguousarray([t[0] for t in tokens], np.float32)
            self.keep.append(rows)
            self.c.embd = rows.ctypes.data_as(C.POINTER(C.c_float))
        else:
            self.c.token = self.array(C.c_int32, [t[0] for t in tokens])
        if pos:
            self.c.pos = self.array(C.c_int32, [t[1] for t in tokens])
        if seq:
            self.c.n_seq_id = self.array(C.c_int32, [len(t[2]) for t in tokens])
            self.c.seq_id = (C.POINTER(C.c_int32) * max(n, 1))(*[self.array(C.c_int32, t[2]) for t in tokens])
        if logits:
            self.c.logits = self.array(C.c_int8, [t[3] for t in tokens])

    def array(self, kind, values):
        self.keep.append((kind * max(len(values), 1))(*values))
        return self.keep[-1]


class Run:
    """A context of each library and the calls made of both."""

    def __init__(self, both: list[Library], rng, say):
        self.rng, self.both, self.say = rng, both, say
        self.n_seq = rng.choice([1, 1, 2, 3, 4])
        self.unified = rng.random() < 0.6
        self.pooling = rng.choice([0, 0, 0, 1 if self.n_seq != 3 else 0, 2, 3])
        self.embeddings = self.pooling != 0 or rng.random() < 0.2
        self.n_ubatch = rng.choice([8, 32, 64])
        self.fields = dict(n_ctx=rng.choice([N_CTX, N_CTX, 2 * N_CTX]), n_batch=rng.choice([64, 128]), n_ubatch=self.n_ubatch,
                           n_seq_max=self.n_seq, kv_unified=self.unified, embeddings=self.embeddings, pooling_type=self.pooling)
        self.fields["n_outputs_max"] = self.fields["n_batch"]
        self.fields["type_k"] = self.fields["type_v"] = rng.choice([0, 0, 1])
        # Of the largest number: float32 sums in another order, over two layers; F16 rounds keys and values, some to the other side.
        self.tolerance = 1e-3 if self.fields["type_k"] == 0 else 2e-2
        self.causal = True
        self.together = [{s} for s in range(self.n_seq)]     # sequences that may share tokens
        self.twin = {s: s - self.n_seq for s in range(self.n_seq)}    # equal numbers: they hold the same
        self.n_touched = 0
        self.last = None                                     # tokens of the last decode that went well

    # ---- both at once ----

    def differ(self, what: str, ours, theirs) -> None:
        raise Difference(f"{what}: ours {ours}, llama.cpp {theirs}")

    def same(self, what: str, call):
        ours, theirs = (call(library) for library in self.both)
        if ours != theirs:
            self.differ(what, ours, theirs)
        return ours

    def close_to(self, what: str, call, n: int) -> bool:
        ours, theirs = (floats(call(library), n) for library in self.both)
        if (ours is None) != (theirs is None):
            self.differ(what, "NULL" if ours is None else "a row", "NULL" if theirs is None else "a row")
        if ours is not None and not np.allclose(ours, theirs, rtol=0, atol=self.tolerance * max(1.0, float(np.abs(theirs).max()))):
            self.differ(what, ours[:4], theirs[:4])
        return ours is not None

    def spans(self) -> list[tuple[int, int]]:
        return [self.same(f"positions of sequence {s}", lambda library: library.span(s)) for s in range(self.n_seq)]

    # ---- what a batch holds ----

    def sequences(self) -> list[int]:
        return self.rng.sample(range(self.n_seq), self.rng.randint(1, self.n_seq))

    def tokens(self, embd: bool, n_max: int) -> list:
        """Tokens that go on where their sequences end, sequences in any order among each other."""
        rng, spans = self.rng, self.spans()
        seqs = self.sequences()
        if not (self.causal or self.unified):
            del seqs[1:]             # llama.cpp cuts the longer of two streams, and what comes first sees no more than that
        if self.unified and rng.random() < 0.3 and len({self.twin[s] for s in seqs}) == 1:
            groups = [seqs]                                  # each token in all of them
            self.couple(seqs)
        elif self.unified and rng.random() < 0.3 and all(spans[s] == (-1, -1) for s in seqs):
            groups = [seqs]
            self.couple(seqs)
            self.touch(*seqs)
            self.twin.update(dict.fromkeys(seqs, self.twin[seqs[0]]))
        else:
            groups = [[s] for s in seqs]
            self.touch(*seqs)
        n_all = rng.choice([1, 1, 2, 5, 20, n_max])
        order = [rng.randrange(len(groups)) for _ in range(min(n_all, n_max))]
        if rng.random() < 0.5:
            order.sort()
        nexts = [spans[g[0]][1] + 1 if spans[g[0]][1] >= 0 else rng.choice([0, 0, 0, 3, 70]) for g in groups]
        made = []
        for g in order:
            what = np.array([rng.gauss(0, 1) for _ in range(E)], np.float32) if embd else rng.randrange(VOCAB)
            again = [groups[g][0]] if len(groups[g]) < self.n_seq and rng.random() < 0.1 else []
            made.append((what, nexts[g], groups[g] + again, int(rng.random() < 0.5)))
            nexts[g] += 1
        return made

    def couple(self, seqs) -> None:
        joined = set().union(*[self.together[s] for s in seqs])
        for s in joined:
            self.together[s] = joined

    def touch(self, *seqs: int) -> None:
        """They have no twin any more, a sequence that holds the same."""
        for s in seqs:
            self.n_touched += 1
            self.twin[s] = self.n_touched

    def part(self, seq: int) -> None:
        """It holds nothing any more."""
        for s in self.together[seq] - {seq}:
            self.together[s] = self.together[s] - {seq}
        self.together[seq] = {seq}

    # ---- calls ----

    def decode(self) -> None:
        rng = self.rng
        embd = rng.random() < 0.15
        tokens = self.tokens(embd, self.n_ubatch if not self.causal else self.fields["n_batch"])
        wrong = rng.random() < 0.15 and self.spoil(tokens, embd)
        spans = self.spans()
        alone = all(t[2] == [0] for t in tokens)
        starts = {}
        for t in tokens:
            for s in t[2]:
                starts.setdefault(s, t[1])
        follows = all(at == max(spans[s][1] + 1, 0) for s, at in starts.items()) if not wrong else False
        given = dict(embd=embd, pos=not (follows and rng.random() < 0.2), seq=not (alone and rng.random() < 0.3),
                     logits=rng.random() < 0.8)
        self.say(f"decode {[t[1:] for t in tokens]} {given} {wrong or ''}")
        batch = Batch(tokens, **given)
        rc = self.same("llama_decode", lambda library: library.decode(library.ctx, batch.c))
        if rc == 0:
            self.last = [(t[2], bool(t[3]) if given["logits"] else i == len(tokens) - 1) for i, t in enumerate(tokens)]
        self.outputs(rc)

    def process(self) -> None:
        """The same as a batch that grows."""
        rng = self.rng
        embd = rng.random() < 0.3
        tokens = self.tokens(embd, self.n_ubatch if not self.causal else self.fields["n_batch"])
        self.say(f"process {'embeddings ' if embd else ''}{[t[1:] for t in tokens]}")
        for library in self.both:
            library.batch_ext_clear(library.ext)
        for number, (token, pos, seqs, output) in enumerate(tokens):
            if embd:
                row = peer.llama_embd(token.ctypes.data_as(C.POINTER(C.c_float)), 1, E)
                i = self.same("llama_batch_ext_add_embd", lambda library: library.batch_ext_add_embd(library.ext, seqs[0], row))
            else:
                i = self.same("llama_batch_ext_add_token", lambda library: library.batch_ext_add_token(library.ext, seqs[0], token))
            if i != number:
                raise Difference(f"token {number} of a llama_batch_ext has index {i}")
            for s in seqs[1:]:
                self.same("llama_batch_ext_add_seq", lambda library: library.batch_ext_add_seq(library.ext, i, s))
            at = C.c_int32(pos)
            self.same("llama_batch_ext_set_pos", lambda library: library.batch_ext_set_pos(library.ext, i, at))
            self.same("set_output_logits", lambda library: library.batch_ext_set_output_logits(library.ext, i, bool(output)))
            if self.embeddings:
                self.same("set_output_embd", lambda library: library.batch_ext_set_output_embd(library.ext, i, bool(output)))
        rc = self.same("llama_process", lambda library: library.process(library.ctx, 1, library.ext))
        if rc == 0:
            self.last = [(t[2], bool(t[3])) for t in tokens]
        self.outputs(rc)

    def spoil(self, tokens: list, embd: bool) -> str:
        """Make one token wrong in a way that both refuse."""
        rng, i = self.rng, self.rng.randrange(len(tokens))
        what, pos, seqs, output = tokens[i]
        kind = rng.choice(["id", "sequence", "gap", "back", "none"])
        if kind == "none":
            tokens.clear()
        elif kind == "id" and not embd:
            tokens[i] = (rng.choice([-1, VOCAB, 1 << 30, -(1 << 31)]), pos, seqs, output)
        elif kind == "sequence":
            tokens[i] = (what, pos, [rng.choice([-1, self.n_seq, 1 << 20])], output)
        elif kind == "gap" and self.spans()[seqs[0]][1] >= 0:
            tokens[i] = (what, pos + rng.randint(1, 100), seqs, output)
            tokens[i + 1:] = []
        elif kind == "back" and self.spans()[seqs[0]][1] > 0:
            tokens[i] = (what, pos - 2, seqs, output)
        else:
            return ""
        return kind

    def outputs(self, rc: int) -> None:
        """Every row of the last batch that went well, and some that are not there. Pooled: llama.cpp has what the last ubatch of a
        sequence makes, so only where that is all, and forgets it when there is no room for a batch."""
        if self.last is None:
            return
        rows = [i for i, (_, output) in enumerate(self.last) if output or self.embeddings]
        for i in range(len(self.last)):
            self.close_to(f"llama_get_logits_ith({i})", lambda library: library.get_logits_ith(library.ctx, i), VOCAB)
            if self.pooling == 0 and self.embeddings:
                self.close_to(f"llama_get_embeddings_ith({i})", lambda library: library.get_embeddings_ith(library.ctx, i), E)
        for i in (-1, -len(rows), -len(rows) - 1, len(self.last), len(self.last) + 5, -(1 << 31), (1 << 31) - 1):
            self.close_to(f"llama_get_logits_ith({i})", lambda library: library.get_logits_ith(library.ctx, i), VOCAB)
        if rows:
            self.close_to("llama_get_logits", lambda library: library.get_logits(library.ctx), VOCAB * len(rows))
        whole = len(self.last) <= self.n_ubatch and (self.unified or len({tuple(seqs) for seqs, _ in self.last}) == 1)
        if self.pooling and rc == 0 and whole:
            for s in range(self.n_seq):
                self.close_to(f"llama_get_embeddings_seq({s})", lambda library: library.get_embeddings_seq(library.ctx, s), E)

    def range(self, seq: int) -> tuple[int, int]:
        rng, (first, last) = self.rng, self.both[0].span(max(seq, 0))
        if rng.random() < 0.3:
            return rng.choice([(-1, -1), (0, -1), (0, 1 << 30)])
        p0 = rng.randint(-1, last + 3)
        return p0, rng.choice([-1, p0, p0 + rng.randint(0, 40), rng.randint(-1, last + 3)])

    def rm(self) -> None:
        seq = self.rng.choice([-1, *range(self.n_seq), *range(self.n_seq)])
        p0, p1 = self.range(seq)
        self.say(f"seq_rm {seq} {p0} {p1}")
        self.touch(*(range(self.n_seq) if seq < 0 else [seq]))
        self.same("llama_memory_seq_rm", lambda library: library.memory_seq_rm(library.memory, seq, p0, p1))

    def cp(self) -> None:
        """Into a place that was cleared: else llama.cpp has both tokens where sequences share n_ctx, and only those of the source
        where they do not. There, a copy of less than all ends the process."""
        source, target = (self.rng.randrange(self.n_seq) for _ in range(2))
        p0, p1 = self.range(source) if self.unified else (-1, -1)
        self.say(f"seq_cp {source} {target} {p0} {p1}")
        for library in self.both:
            if source != target:
                library.memory_seq_rm(library.memory, target, p0 if self.unified else -1, p1)
            library.memory_seq_cp(library.memory, source, target, p0, p1)
        if source != target and self.unified:
            self.couple([source, target])
            self.touch(target)
            if p0 <= 0 and p1 < 0:
                self.twin[target] = self.twin[source]

    def keep(self) -> None:
        """Where sequences do not share n_ctx, llama.cpp keeps the others too."""
        if not self.unified:
            return
        seq = self.rng.randrange(self.n_seq)
        self.say(f"seq_keep {seq}")
        self.touch(*range(self.n_seq))
        for library in self.both:
            library.memory_seq_keep(library.memory, seq)

    def add(self) -> None:
        seq = self.rng.randrange(self.n_seq)
        if len(self.together[seq]) > 1:      # llama.cpp moves tokens for all that share them
            return
        p0, p1 = self.range(seq)
        delta = self.rng.choice([1, 5, 64, -1, -5, -30, 0])
        self.touch(seq)
        self.say(f"seq_add {seq} {p0} {p1} {delta}")
        for library in self.both:
            library.memory_seq_add(library.memory, seq, p0, p1, delta)

    def div(self) -> None:
        """Positions are as in llama.cpp, which rotates the keys the wrong way: forgotten afterwards."""
        seq = self.rng.randrange(self.n_seq)
        if len(self.together[seq]) > 1:
            return
        p0, p1 = self.range(seq)
        d = self.rng.choice([1, 2, 3, 8])
        self.touch(seq)
        self.say(f"seq_div {seq} {p0} {p1} {d}")
        for library in self.both:
            library.memory_seq_div(library.memory, seq, p0, p1, d)
        self.spans()
        if d > 1:
            for library in self.both:
                library.memory_seq_rm(library.memory, seq, -1, -1)

    def clear(self) -> None:
        data = self.rng.random() < 0.5
        self.say(f"clear {data}")
        for library in self.both:
            library.memory_clear(library.memory, data)

    def shift(self) -> None:
        """The context shift, as programs do it."""
        seq = self.rng.randrange(self.n_seq)
        first, last = self.both[0].span(seq)
        if len(self.together[seq]) > 1 or last - first < 8:
            return
        keep, n = first + self.rng.randint(0, 3), (last - first) // 2
        self.say(f"shift {seq} {keep} {n}")
        self.touch(seq)
        for library in self.both:
            library.memory_seq_rm(library.memory, seq, keep, keep + n)
            library.memory_seq_add(library.memory, seq, keep + n, -1, -n)

    def switch(self) -> None:
        what = self.rng.choice(["causal", "warmup", "embeddings"])
        value = self.rng.random() < 0.5
        self.say(f"set {what} {value}")
        for library in self.both:
            if what == "causal":
                library.set_causal_attn(library.ctx, value)
                self.causal = value
            elif what == "warmup":
                library.set_warmup(library.ctx, False)

    def abort(self) -> None:
        """A decode that is stopped at once leaves the positions as they were. All is forgotten afterwards: llama.cpp has lost a shift
        that was still to be done. It also forgets a token of several sequences in one of them only."""
        tokens = [t for t in self.tokens(False, self.n_ubatch) if len(set(t[2])) == 1]
        if not tokens:
            return
        self.say(f"abort {[t[1:] for t in tokens]}")
        batch, stop = Batch(tokens), peer.ggml_abort_callback(lambda data: True)
        for library in self.both:
            library.set_abort_callback(library.ctx, stop, None)
        before = self.spans()
        rc = self.same("llama_decode", lambda library: library.decode(library.ctx, batch.c))
        if rc not in (1, 2) or self.spans() != before:
            raise Difference(f"the decode returned {rc}; positions {before}, then {self.spans()}")
        for library in self.both:
            library.set_abort_callback(library.ctx, peer.ggml_abort_callback(), None)
            library.memory_clear(library.memory, True)
        self.last = None

    CALLS = dict(decode=12, process=4, rm=3, cp=2, keep=1, add=2, div=1, clear=1, shift=1, switch=1, abort=1)

    def go(self, n_calls: int) -> None:
        self.say(f"context {self.fields}")
        if not self.same("llama_init_from_model", lambda library: library.open(self.fields)):
            return
        self.same("sizes", Library.sizes)
        names, weights = zip(*self.CALLS.items())
        for _ in range(n_calls):
            getattr(self, self.rng.choices(names, weights)[0])()
            for s, span in enumerate(self.spans()):
                if span == (-1, -1):
                    self.part(s)


def run_child(both: list[Library], name: str, pipe: int, steps: bool) -> None:
    """One line for each call before it is made, then what was found."""
    def say(text: str) -> None:
        os.write(pipe, f"{text}\n".encode())
        if steps:
            print(f"  {text}", flush=True)

    try:
        Run(both, random.Random(name), say).go(40)
        os.write(pipe, b"\n")
    except Difference as difference:
        os.write(pipe, f"\n{difference}".encode())
    except BaseException:
        os.write(pipe, b"\n" + traceback.format_exc().encode())
    os._exit(0)


def try_run(both: list[Library], name: str, steps=False) -> str | None:
    """A finding, or None. name: seed and number of the run. It has a process of its own, which a library may end."""
    get, put = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(get)
        run_child(both, name, put, steps)
    os.close(put)
    with open(get, "rb") as told:
        calls, _, found = told.read().decode().partition("\n\n")
    status = os.waitpid(child, 0)[1]
    if status:
        found = f"a library ended the process: status {status}"
    calls = calls.strip().splitlines()
    return f"{name}, call {len(calls) - 1} ({calls[-1][:160]}): {found}" if found else None


def fuzz(seconds: float, seed: int) -> tuple[int, list[str]]:
    findings, n = [], 0
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as both:
        while time.monotonic() < end and len(findings) < 20:
            finding = try_run(both, f"{seed}/{n}")
            findings += [finding] if finding else []
            n += 1
    return n, findings


class opened:
    """Both libraries with one model: two layers, so that what a token saw is in what later ones see of it."""

    def __init__(self, folder: Path):
        self.path = tiny_model(n_layer=2, n_embd=E, n_ff=32, n_head=2, n_head_kv=1, n_vocab=VOCAB, n_ctx=1 << 15,
                               head="f32").write(folder / "tiny.gguf")

    def __enter__(self) -> list[Library]:
        self.both = [Library("ours", self.path), Library("llama.cpp", self.path)]
        return self.both

    def __exit__(self, *_) -> None:
        for library in self.both:
            library.model_free(library.model)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", metavar="FINDING", help="one run again, as a finding begins: 1/17")
    parser.add_argument("--steps", action="store_true", help="print each call before it is made")
    args = parser.parse_args()
    if peer is None:
        raise SystemExit("no llama-cpp-python with llama.cpp in it")
    if args.only:
        with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as both:
            print(try_run(both, args.only, args.steps) or "nothing found")
        return
    n, findings = fuzz(60 * args.minutes, args.seed)
    print(*findings, sep="\n", end="\n" if findings else "")
    print(f"{n} runs, seed {args.seed}: {len(findings)} findings")
    raise SystemExit(1 if findings else 0)


if __name__ == "__main__":
    main()
