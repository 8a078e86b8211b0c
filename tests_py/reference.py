"""The forward pass of BitNet b1.58 as plain NumPy: an executable statement of what the library must compute.

Slow and plain on purpose; reads I2_S, TQ2_0, F16 and F32 tensors of architectures bitnet (SiLU) and bitnet-b1.58 (squared ReLU).
Nothing here may import the library. `half` rounds keys, values, attention weights and the head's input to half precision, where the engines
that made the stored logits round. `block` quantizes activations per that many elements instead of per token (llama.cpp: 256).
"""
import struct

import numpy as np

_SCALAR = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}


def read_gguf(path):
    """(metadata, {name: (dims inner first, type, absolute offset)}, file bytes)."""
    data = open(path, "rb").read()
    at = 4

    def take(fmt):
        nonlocal at
        value = struct.unpack_from(fmt, data, at)[0]
        at += struct.calcsize(fmt)
        return value

    def string():
        nonlocal at
        n = take("<Q")
        at += n
        return data[at - n:at].decode("utf-8", "replace")

    def value(kind):
        if kind == 8:
            return string()
        if kind == 9:
            elem, n = take("<i"), take("<Q")
            return [value(elem) for _ in range(n)]
        return take(_SCALAR[kind])

    assert data[:4] == b"GGUF"
    take("<I")
    n_tensors, n_kv = take("<Q"), take("<Q")
    kv = {}
    for _ in range(n_kv):
        key = string()
        kv[key] = value(take("<i"))
    infos = {}
    for _ in range(n_tensors):
        name = string()
        dims = [take("<q") for _ in range(take("<I"))]
        infos[name] = (dims, take("<i"), take("<Q"))
    alignment = kv.get("general.alignment", 32)
    start = -(-at // alignment) * alignment
    return kv, {name: (dims, kind, start + offset) for name, (dims, kind, offset) in infos.items()}, data


def _i2_s(data, offset, n):
    groups = np.frombuffer(data, np.uint8, n // 4, offset).reshape(-1, 32)
    codes = np.stack([(groups >> shift) & 3 for shift in (6, 4, 2, 0)], 1).reshape(-1).astype(np.int32) - 1
    return codes, np.frombuffer(data, np.float32, 1, offset + n // 4)[0]


def _tq2_0(data, offset, n):
    blocks = np.frombuffer(data, np.uint8, n // 256 * 66, offset).reshape(-1, 66)
    codes = np.stack([(blocks[:, :64].reshape(-1, 2, 32) >> shift) & 3 for shift in (0, 2, 4, 6)], 2).reshape(-1, 256)
    return codes.reshape(-1).astype(np.int32) - 1, blocks[:, 64:].copy().view(np.float16).astype(np.float32).reshape(-1)


class Reference:
    def __init__(self, path, block=None):
        self.kv, self.tensors, self.data = read_gguf(path)
        self.arch = self.kv["general.architecture"]
        self.block = block
        self.n_layer, self.n_embd = self._get("block_count"), self._get("embedding_length")
        self.n_head = self._get("attention.head_count")
        self.n_head_kv = self._get("attention.head_count_kv")
        self.d = self.n_embd // self.n_head
        self.eps, self.base = self._get("attention.layer_norm_rms_epsilon"), self._get("rope.freq_base")

    def _get(self, key):
        return self.kv[f"{self.arch}.{key}"]

    def dense(self, name):
        dims, kind, offset = self.tensors[name]
        w = np.frombuffer(self.data, {0: np.float32, 1: np.float16}[kind], int(np.prod(dims)), offset)
        return w.astype(np.float32).reshape(dims[::-1])

    def linear(self, name, x):
        """float32[tokens, K] to float32[tokens, M], x quantized to int8."""
        dims, kind, offset = self.tensors[name]
        k, m = dims
        step = self.block or k
        parts = x.reshape(len(x), k // step, step)
        s = (127.0 / np.maximum(1e-5, np.abs(parts.astype(np.float64)).max(2))).astype(np.float32)
        q = np.clip(np.rint(parts * s[:, :, None]), -128, 127)
        if kind == 36:
            codes, scale = _i2_s(self.data, offset, k * m)
            weights = codes.reshape(m, k).astype(np.float64) * scale
        else:
            codes, scales = _tq2_0(self.data, offset, k * m)
            weights = (codes.reshape(-1, 256) * scales[:, None].astype(np.float64)).reshape(m, k)
        return ((q / s[:, :, None]).reshape(len(x), k) @ weights.T).astype(np.float32)

    def norm(self, name, x):
        r = (1.0 / np.sqrt((x.astype(np.float64) ** 2).mean(1) + self.eps)).astype(np.float32)
        return x * r[:, None] * self.dense(name)

    def rope(self, x, pos):
        half = self.d // 2
        angle = pos[:, None] * self.base ** (-2.0 * np.arange(half) / self.d)
        c, s = np.cos(angle)[:, None].astype(np.float32), np.sin(angle)[:, None].astype(np.float32)
        return np.concatenate([x[..., :half] * c - x[..., half:] * s, x[..., :half] * s + x[..., half:] * c], -1)

    def logits(self, tokens, half=True):
        """Causal logits float32[tokens, vocab] of one sequence from position 0."""
        h16 = (lambda a: a.astype(np.float16).astype(np.float32)) if half else (lambda a: a)
        n = len(tokens)
        pos = np.arange(n)
        x = self.dense("token_embd.weight")[tokens]
        for i in range(self.n_layer):
            w = f"blk.{i}.%s.weight"
            a = self.norm(w % "attn_norm", x)
            q = h16(self.rope(self.linear(w % "attn_q", a).reshape(n, self.n_head, self.d), pos))
            k = h16(self.rope(self.linear(w % "attn_k", a).reshape(n, self.n_head_kv, self.d), pos))
            v = h16(self.linear(w % "attn_v", a).reshape(n, self.n_head_kv, self.d))
            out = np.empty_like(q)
            for h in range(self.n_head):
                j = h // (self.n_head // self.n_head_kv)
                s = q[:, h] @ k[:, j].T / np.sqrt(self.d) + np.triu(np.full((n, n), -np.inf), 1)
                p = np.exp(s - s.max(1, keepdims=True))
                out[:, h] = h16(p / p.sum(1, keepdims=True)) @ v[:, j]
            x = x + self.linear(w % "attn_output", self.norm(w % "attn_sub_norm", out.reshape(n, -1).astype(np.float32)))
            f = self.norm(w % "ffn_norm", x)
            g = self.linear(w % "ffn_gate", f)
            g = g / (1 + np.exp(-g)) if self.arch == "bitnet" else np.maximum(g, 0) ** 2
            x = x + self.linear(w % "ffn_down", self.norm(w % "ffn_sub_norm", g * self.linear(w % "ffn_up", f)))
        head = "output.weight" if "output.weight" in self.tensors else "token_embd.weight"
        return h16(self.norm("output_norm.weight", x)) @ self.dense(head).T
