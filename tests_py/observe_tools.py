"""cb_eval, written down: what a context's decodes showed, and what float64 NumPy makes of the same file under the same names.

Next: test_observe.py and test_observe_peer.py.
"""
from dataclasses import dataclass

import numpy as np

from bitnet_ffi._ffi import ffi, lib
from engine_abi import init
from reference import read_gguf
from test_architectures import tensor

F32, I32 = 0, 26
ADD, MUL, RMS_NORM, MUL_MAT, RESHAPE, GET_ROWS, ROPE, UNARY, SQR, GLU = 2, 7, 25, 29, 36, 40, 48, 91, 9, 100


def array_of(t) -> np.ndarray:
    """A copy of an F32 or I32 tensor, the last axis of ne first; rows that lie one behind the other."""
    shape = [t.ne[i] for i in range(4)]
    kind = {F32: np.float32, I32: np.int32}[t.type]
    assert t.nb[0] == 4 and all(t.nb[i + 1] == t.nb[i] * shape[i] for i in range(3)), "one behind the other"
    return np.frombuffer(ffi.buffer(t.data, 4 * int(np.prod(shape))), kind).reshape(shape[::-1]).copy()


@dataclass
class Source:
    name: str
    type: int
    ne: list[int]
    data: np.ndarray | None     # of floats and integers of the pass; None: weights of the file


@dataclass
class Seen:
    name: str
    op: int
    ne: list[int]
    data: np.ndarray
    src: list[Source]


def source(t) -> Source:
    name = ffi.string(t.name).decode()
    weight = name.endswith((".weight", ".bias", ".scale"))
    return Source(name, t.type, [t.ne[i] for i in range(4)], None if weight else array_of(t))


class Watcher:
    """A cb_eval that writes down what it is shown. wants: of a name, is it wanted; stops: of the number of what it was shown."""

    def __init__(self, wants=lambda name: True, stops=lambda n: False, also=lambda t, ask: None):
        self.asked, self.seen, self.user_data = [], [], set()

        @ffi.callback("ggml_backend_sched_eval_callback", error=False)
        def call(t, ask, user_data):
            also(t, ask)
            self.user_data.add(user_data)
            name = ffi.string(t.name).decode()
            if ask:
                self.asked.append(name)
                return wants(name)
            assert self.asked[-1] == name and t.type == F32
            self.seen.append(Seen(name, t.op, [t.ne[i] for i in range(4)], array_of(t), [source(s) for s in t.src if s != ffi.NULL]))
            return not stops(len(self.seen))

        self.call = call

    def context(self, model, **fields):
        return init(model, cb_eval=self.call, **fields)

    def names(self):
        return [s.name for s in self.seen]


def graph(path, tokens, outputs):
    """(name, op, rows float64) in order, of a text from position 0; outputs: tokens that asked for logits, ascending."""
    kv, tensors, data = read_gguf(path)
    arch = kv["general.architecture"]
    get = lambda key, default=None: kv.get(f"{arch}.{key}", default)
    w = lambda name, default=None: tensor(tensors, data, name, default)
    n_head, n_head_kv, n_embd = get("attention.head_count"), get("attention.head_count_kv"), get("embedding_length")
    dk, dv = get("attention.key_length", n_embd // n_head), get("attention.value_length", n_embd // n_head)
    n_rot, eps, n, n_layer = get("rope.dimension_count", dk), get("attention.layer_norm_rms_epsilon"), len(tokens), get("block_count")
    angle = np.arange(n)[:, None, None] * get("rope.freq_base") ** (-2.0 * np.arange(n_rot // 2) / n_rot)
    cos, sin = np.cos(angle), np.sin(angle)
    out = []

    def say(name, op, rows):
        out.append((name, op, rows))
        return rows

    def norm(name, at, x, weight):
        return say(name + at, MUL, say("norm" + at, RMS_NORM, x / np.sqrt((x**2).mean(-1, keepdims=True) + eps)) * w(weight))

    def linear(part, at, name, x, biased=None, scaled=None):
        """The product alone, and with what comes after it."""
        y = say(name + at, MUL_MAT, x @ w(part + ".weight").T)
        if part + ".scale" in tensors:
            y = say((scaled or name) + at, MUL, y * w(part + ".scale"))
        if part + ".bias" in tensors:
            y = say((biased or name) + at, ADD, y + w(part + ".bias"))
        return y

    def rope(name, x):
        x = x.copy()
        a, b = (slice(0, n_rot, 2), slice(1, n_rot, 2)) if arch == "llama" else (slice(0, n_rot // 2), slice(n_rot // 2, n_rot))
        x[..., a], x[..., b] = x[..., a] * cos - x[..., b] * sin, x[..., a] * sin + x[..., b] * cos
        return say(name, ROPE, x)

    x = say("embd", GET_ROWS, w("token_embd.weight")[tokens])
    for i in range(n_layer):
        at, blk = f"-{i}", f"blk.{i}."
        h = norm("attn_norm", at, x, blk + "attn_norm.weight")
        q = rope("Qcur" + at, say("Qcur" + at, RESHAPE, linear(blk + "attn_q", at, "Qcur", h).reshape(n, n_head, dk)))
        v = say("Vcur" + at, RESHAPE, linear(blk + "attn_v", at, "Vcur", h).reshape(n, n_head_kv, dv))
        k = rope("Kcur" + at, say("Kcur" + at, RESHAPE, linear(blk + "attn_k", at, "Kcur", h).reshape(n, n_head_kv, dk)))
        k, v = k.repeat(n_head // n_head_kv, 1), v.repeat(n_head // n_head_kv, 1)
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(dk) + np.triu(np.full((n, n), -np.inf), 1)
        p = np.exp(scores - scores.max(-1, keepdims=True))
        attention = say("kqv_out" + at, RESHAPE, np.einsum("hqk,khd->qhd", p / p.sum(-1, keepdims=True), v).reshape(n, -1))
        if arch != "llama":
            attention = norm("attn_sub_norm", at, attention, blk + "attn_sub_norm.weight")
        y = linear(blk + "attn_output", at, "attn_o_out" if arch in ("bitnet-b1.58", "bitnet-25") else "attn_out", attention)
        if i == n_layer - 1:
            x, y = x[outputs], y[outputs]
        x = say("ffn_inp" + at, ADD, x + y)
        h = norm("ffn_norm", at, x, blk + "ffn_norm.weight")
        gate = linear(blk + "ffn_gate", at, "ffn_gate", h, "ffn_gate_b", "ffn_gate_s")
        up = linear(blk + "ffn_up", at, "ffn_up", h, "ffn_up_b", "ffn_up_s")
        if arch in ("bitnet-b1.58", "bitnet-25"):
            relu = say("ffn_relu" + at, UNARY, np.maximum(gate, 0))
            h = say("ffn_out" + at, MUL, say("ffn_sqr(relu)" + at, SQR, relu**2) * up)
        else:
            h = say(("ffn_swiglu" if arch == "llama" else "ffn_sub_out") + at, GLU, gate / (1 + np.exp(-gate)) * up)
        if arch != "llama":
            h = norm("ffn_sub_norm", at, h, blk + "ffn_sub_norm.weight")
        plain = arch == "llama" and blk + "ffn_down.bias" not in tensors
        y = linear(blk + "ffn_down", at, "ffn_out" if plain else "ffn_down", h, "ffn_out" if arch == "llama" else None)
        x = say("l_out" + at, ADD, x + y)
    h = norm("result_norm", "", x, "output_norm.weight")
    say("result_output", MUL_MAT, h @ w("output.weight", w("token_embd.weight")).T)
    return out
