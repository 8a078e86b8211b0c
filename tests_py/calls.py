"""What tests of single calls are made of: good handles, the call as it is meant, and calls that are answered with an error.

A check of a use gets the library as an argument, because test_calls.py makes it a second time with the function that it is about
replaced by one that does nothing: a check that does not notice proves nothing. Rows are grouped by room in calls_*.py.
Next: calls_model.py, the simplest room.
"""
import functools
import tempfile
import types
import typing
from pathlib import Path

import adapter_tools
from bitnet_ffi._ffi import ffi, lib
from engine_abi import ERROR, Batch, last_error
from gguf_writer import ARRAY, BOOL, STRING, U32, tiny_model

NULL = ffi.NULL
INT_MAX, INT_MIN, SIZE_MAX = 2**31 - 1, -2**31, 2**64 - 1
NAN, INF = float("nan"), float("inf")

# The whole library, for checks of what another call has done.
REAL = lib


SOMEWHERE = ffi.new("char[4096]")


class Stub:
    """The library, but for one function, which does nothing and returns zeros; or, with a `fill`, what is made of such bytes."""

    def __init__(self, name: str, fill: int):
        self._name, self._fill = name, fill

    def __getattr__(self, attribute):
        return self._nothing if attribute == self._name else getattr(lib, attribute)

    def _nothing(self, *_):
        kind = ffi.typeof(getattr(lib, self._name)).result
        if kind.kind == "void":
            return None
        if kind.kind == "pointer":
            return ffi.cast(kind, SOMEWHERE if self._fill else NULL)
        if kind.kind == "struct":
            made = ffi.new(ffi.getctype(kind, "*"))
            ffi.memmove(made, bytes([self._fill]) * ffi.sizeof(kind), ffi.sizeof(kind))
            return made[0]
        if kind.cname in ("_Bool", "bool"):
            return bool(self._fill)
        return float(self._fill) if kind.cname in ("float", "double") else self._fill


class Room:
    """The functions of a part of the header. uses: name -> check; refusals: (name, arguments, result, words, code); queries: (name,
    arguments, result); trials: (name, check); idle: names that have no effect by their manual."""

    def __init__(self):
        self.uses, self.refusals, self.idle, self.queries, self.trials = {}, [], set(), [], []

    def use(self, *names):
        """A check of these functions: called with the library and a World, it raises when one of them does not do its work."""
        def keep(check):
            for name in names:
                assert name not in self.uses, name
                self.uses[name] = check
            return check
        return keep

    def gives(self, names: str, arguments, result):
        """The call returns this and leaves no error; text as bytes. `result` may depend on the world."""
        for name in names.split():
            def check(api, w, name=name):
                given, expected = of(w, arguments), of(w, result)
                REAL.llama_synchronize(w.ctx)         # which clears the last error
                assert plain(getattr(api, name)(*given)) == expected
                assert last_error() == (0, "")
            self.use(name)(check)

    def does_nothing(self, names: str, arguments):
        """By its manual the call has no effect: no error either, and the context is as it was."""
        for name in names.split():
            def check(api, w, name=name):
                given, before = of(w, arguments), w.held()
                REAL.llama_synchronize(w.ctx)
                assert getattr(api, name)(*given) is None
                assert last_error() == (0, "") and w.held() == before
            self.use(name)(check)
            self.idle.add(name)

    def refuses(self, names: str, arguments, result, words: str, code=ERROR):
        """The call returns this, leaves this code and a sentence with these words, and the context is as it was."""
        self.refusals += [(name, arguments, result, words, code) for name in names.split()]

    def answers(self, names: str, arguments, result):
        """A strange question that has an answer by its manual: this result, no error, and the context is as it was."""
        self.queries += [(name, arguments, result) for name in names.split()]

    def behaves(self, names: str, check):
        """What else the call must stand: a check like those of uses, of numbers that mean nothing or members that are NULL."""
        self.trials += [(name, check) for name in names.split()]

    def absent(self, names: str, arguments, result, words: str, code=ERROR):
        """The call is there to say that what it is for is not: its use is its refusal."""
        for name in names.split():
            def check(api, w, name=name):
                refused(api, w, name, arguments, result, words, code)
            self.use(name)(check)
        self.refuses(names, arguments, result, words, code)


def of(w, arguments):
    return arguments(w) if isinstance(arguments, types.FunctionType) else arguments


def plain(value):
    """Texts as bytes, structs as tuples."""
    if isinstance(value, ffi.CData):
        kind = ffi.typeof(value)
        if kind.kind == "pointer" and kind.item.cname == "char":
            return None if value == NULL else ffi.string(value)
        if kind.kind == "struct":
            return tuple(getattr(value, name) for name, _ in kind.fields)
    return value


def refused(api, w, name, arguments, result, words, code):
    given = of(w, arguments)
    before = w.held()
    lib.llama_n_vocab(NULL)                           # some other error, which must not pass for this one's
    found = plain(getattr(api, name)(*given))
    error = last_error()
    assert found == result or (result != result and found != found), (found, error)
    assert error[0] == code and words in error[1] and error[1] != "vocab: NULL, expected a model", error
    kept = w.held()
    if name in LOSES_ROWS:
        before, kept = before._replace(row=b""), kept._replace(row=b"")
    assert kept == before


# By their manual these leave no logits of the batch before, even where they fail.
LOSES_ROWS = {"llama_decode", "llama_encode", "llama_process", "llama_eval", "llama_eval_embd", "bitnet_eval_n_threads", "bitnet_decode_at"}


FOLDER = tempfile.TemporaryDirectory()
folder = Path(FOLDER.name)


ROLES = dict(eot=11, seperator=12, padding=15, mask=14, fim_pre=21, fim_suf=22, fim_mid=23, fim_pad=24, fim_rep=25, fim_sep=26)
SHAPE = dict(n_layer=3, n_embd=32, n_ff=64, n_head=2, n_head_kv=1, n_vocab=330, n_ctx=96)
N_VOCAB = SHAPE["n_vocab"]


def answered(api, w, name, arguments, result):
    given, before = of(w, arguments), w.held()
    REAL.llama_synchronize(w.ctx)
    assert plain(getattr(api, name)(*given)) == of(w, result)
    assert last_error() == (0, "") and w.held() == before


@functools.cache
def path() -> bytes:
    g = tiny_model(**SHAPE, head="f32").set("tokenizer.chat_template", STRING, "{{ chatml }}").set("tokenizer.ggml.add_eos_token", BOOL, True)
    g.set("tokenizer.ggml.add_sep_token", BOOL, True).set("tokenizer.ggml.suppress_tokens", ARRAY, (U32, [7, 9]))
    for role, token in ROLES.items():
        g.set(f"tokenizer.ggml.{role}_token_id", U32, token)
    return str(g.write(folder / "calls.gguf")).encode()


@functools.cache
def lora_path() -> bytes:
    pairs = adapter_tools.random_pairs({"blk.0.attn_q": (32, 32)}, 2, 3)
    g = adapter_tools.adapter(pairs, alpha=4.0).set("adapter.alora.invocation_tokens", ARRAY, (U32, [17, 23]))
    return str(g.write(folder / "lora.gguf")).encode()


@functools.cache
def shared_model(vocab_only=False):
    params = lib.llama_model_default_params()
    params.vocab_only = vocab_only
    model = lib.llama_model_load_from_file(path(), params)
    assert model != NULL, last_error()
    return model


TEXT = [1, 260, 270, 280, 290]


class World:
    """Handles that work: each is made when it is asked for, and lives as long as this."""

    @property
    def model(self):
        return shared_model()

    @property
    def bare(self):
        """The vocabulary alone."""
        return shared_model(vocab_only=True)

    def context(self, **fields):
        params = lib.llama_context_default_params()
        params.n_ctx, params.n_seq_max, params.n_threads, params.n_threads_batch = 64, 3, 1, 1
        params.kv_unified = True
        for name, value in fields.items():
            setattr(params, name, value)
        made = lib.llama_init_from_model(self.model, params)
        assert made != NULL, last_error()
        return ffi.gc(made, lib.llama_free)

    @functools.cached_property
    def ctx(self):
        """TEXT in sequence 0, its first three tokens in sequence 1 too; logits of the last two tokens."""
        ctx = self.context()
        assert lib.llama_decode(ctx, Batch(TEXT, logits=[0, 0, 0, 1, 1]).pointer[0]) == 0
        lib.llama_memory_seq_cp(lib.llama_get_memory(ctx), 0, 1, 0, 3)
        return ctx

    @functools.cached_property
    def fresh(self):
        """Nothing decoded yet."""
        return self.context()

    @functools.cached_property
    def embedder(self):
        """Embeddings of TEXT, one a token."""
        ctx = self.context(embeddings=True)
        assert lib.llama_decode(ctx, Batch(TEXT).pointer[0]) == 0
        return ctx

    @functools.cached_property
    def pooler(self):
        """The mean of TEXT's embeddings."""
        ctx = self.context(embeddings=True, pooling_type=lib.LLAMA_POOLING_TYPE_MEAN)
        assert lib.llama_decode(ctx, Batch(TEXT).pointer[0]) == 0
        return ctx

    @property
    def memory(self):
        return lib.llama_get_memory(self.ctx)

    @functools.cached_property
    def chain(self):
        chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_penalties(N_VOCAB, 8, 1.5, 0, 0))
        lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_dist(7))
        return ffi.gc(chain, lib.llama_sampler_free)

    @functools.cached_property
    def greedy(self):
        return ffi.gc(lib.llama_sampler_init_greedy(), lib.llama_sampler_free)

    @functools.cached_property
    def ext(self):
        """A batch with one token of sequence 0."""
        ext = ffi.gc(lib.llama_batch_ext_init(self.ctx), lib.llama_batch_ext_free)
        assert lib.llama_batch_ext_add_token(ext, 0, 5) == 0
        return ext

    @functools.cached_property
    def adapter(self):
        return ffi.gc(lib.llama_adapter_lora_init(self.model, lora_path()), lib.llama_adapter_lora_free)

    @functools.cached_property
    def foreign_adapter(self):
        """Of another model, which lives as long."""
        self._other = ffi.gc(lib.llama_model_load_from_file(path(), lib.llama_model_default_params()), lib.llama_model_free)
        return lib.llama_adapter_lora_init(self._other, lora_path())

    @functools.cached_property
    def grammar(self):
        """Of one letter, a."""
        rule = ffi.new("llama_grammar_element[]", [(lib.LLAMA_GRETYPE_CHAR, ord("a")), (lib.LLAMA_GRETYPE_END, 0)])
        return ffi.gc(lib.llama_grammar_init(ffi.new("llama_grammar_element const *[]", [rule]), 1, 0), lib.llama_grammar_free)

    @functools.cached_property
    def cpu(self):
        return lib.ggml_backend_dev_get(0)

    def batch(self, token=TEXT, **fields):
        """struct llama_batch, by value."""
        self._batch = Batch(token, **fields)
        return self._batch.pointer[0]

    def candidates(self, values=(1.0, 3.0, 2.0)):
        """A llama_token_data_array with ids from 0."""
        self._memory = ffi.new("llama_token_data[]", [(i, value, 0) for i, value in enumerate(values)])
        self.cur = ffi.new("llama_token_data_array *", {"data": self._memory, "size": len(values), "selected": -1})
        return self.cur

    def chosen(self):
        return [(self.cur.data[i].id, self.cur.data[i].logit) for i in range(self.cur.size)]

    def held(self):
        """What the context knows, bit by bit: its sequences, the last rows of logits, its settings."""
        ctx = self.ctx
        return Held([state(ctx, seq) for seq in range(3)], row(ctx), lib.llama_n_threads(ctx), lib.llama_get_causal_attn(ctx))


class Held(typing.NamedTuple):
    sequences: list[bytes]
    row: bytes
    n_threads: int
    causal: bool


def state(ctx, seq=0) -> bytes:
    n = lib.llama_state_seq_get_size(ctx, seq)
    buffer = ffi.new("uint8_t[]", n)
    assert lib.llama_state_seq_get_data(ctx, buffer, n, seq) == n, last_error()
    return bytes(buffer)


def items(pointer, n) -> list:
    assert pointer != NULL, last_error()
    return list(pointer[0:n])


def row(ctx, i=-1) -> bytes:
    pointer = lib.llama_get_logits_ith(ctx, i)
    return b"" if pointer == NULL else bytes(ffi.buffer(pointer, 4 * N_VOCAB))


def span(ctx, seq=0):
    memory = lib.llama_get_memory(ctx)
    return lib.llama_memory_seq_pos_min(memory, seq), lib.llama_memory_seq_pos_max(memory, seq)


# ---- texts into buffers: for every size of the buffer ----

def snprintf_text(call) -> bytes:
    """The text of call(buf, size): it returns the full length for every size, and writes what fits, with a NUL, and nothing behind."""
    n = call(NULL, 0)
    assert 0 < n < 4000, (n, last_error())
    whole = guarded(call, n + 1, n)[:n]
    for size in {1, 2, n // 2 + 1, n}:
        assert guarded(call, size, n) == whole[:size - 1] + b"\0"
    guarded(call, 0, n)
    return whole


def exact_text(call) -> bytes:
    """The bytes of call(buf, size): it returns their number, or minus that where they do not fit; no NUL, and nothing behind the size."""
    n = -call(NULL, 0)
    assert 0 < n < 4000, (n, last_error())
    for size in {1, n - 1} - {n}:
        guarded(call, size, -n)
    return guarded(call, n, n)


def guarded(call, size, expected) -> bytes:
    buffer = ffi.new("char[]", bytes([0xA5] * (size + 64)))
    assert call(buffer, size) == expected
    assert bytes(ffi.buffer(buffer))[size:size + 64] == bytes([0xA5] * 64)
    return bytes(ffi.buffer(buffer))[:size]


def mapped(file: bytes) -> int:
    """How often the process has this file mapped."""
    return Path("/proc/self/maps").read_bytes().count(file)
