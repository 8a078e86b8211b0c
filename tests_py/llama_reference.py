"""The forward pass of a Llama model with F32 weights, in NumPy and float64: what the library must compute, but for rounding.

Plain on purpose; nothing here may import the library. Causal or not, with LoRA adapters and control vectors.
"""
import numpy as np

from reference import read_gguf


def rmsnorm(x, w, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w


class Llama:
    """weights: name -> float64 array [m][k]. loras: name without ".weight" -> [(a [rank][k], b [m][rank], scale)], of the embedding a
    [n_vocab][rank], b [n_embd][rank]. control: layer -> vector."""

    def __init__(self, path):
        kv, infos, data = read_gguf(path)
        self.kv = {key.removeprefix("llama."): value for key, value in kv.items()}
        self.weights = {}
        for name, (dims, kind, offset) in infos.items():
            assert kind == 0, f"{name} is not F32"
            self.weights[name] = np.frombuffer(data, "<f4", int(np.prod(dims)), offset).reshape(dims[::-1]).astype(np.float64)
        self.loras, self.control = {}, {}

    def linear(self, name, x):
        y = x @ self.weights[name + ".weight"].T
        for a, b, scale in self.loras.get(name, []):
            y = y + scale * (x @ a.T) @ b.T
        return y

    def rope(self, x):
        """x: [tokens][heads][d], pairs (2i, 2i + 1), positions from 0."""
        n, _, d = x.shape
        angle = np.arange(n)[:, None] * self.kv["rope.freq_base"] ** (-2.0 * np.arange(d // 2) / d)
        cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
        even, odd = x[..., 0::2], x[..., 1::2]
        return np.stack([even * cos - odd * sin, even * sin + odd * cos], -1).reshape(x.shape)

    def attention(self, i, x, causal):
        n, h, hkv = len(x), self.kv["attention.head_count"], self.kv["attention.head_count_kv"]
        q, k, v = (self.linear(f"blk.{i}.attn_{part}", x).reshape(n, heads, -1) for part, heads in (("q", h), ("k", hkv), ("v", hkv)))
        q, k, v = self.rope(q), self.rope(k).repeat(h // hkv, 1), v.repeat(h // hkv, 1)
        scores = np.einsum("thd,shd->hts", q, k) / np.sqrt(q.shape[-1])
        if causal:
            scores = np.where(np.tri(n, dtype=bool), scores, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        return self.linear(f"blk.{i}.attn_output", np.einsum("hts,shd->thd", weights, v).reshape(n, -1))

    def states(self, tokens, causal=True):
        """Normed states: [tokens][n_embd]."""
        eps = self.kv["attention.layer_norm_rms_epsilon"]
        x = self.weights["token_embd.weight"][list(tokens)]
        for a, b, scale in self.loras.get("token_embd", []):
            x = x + scale * a[list(tokens)] @ b.T
        for i in range(self.kv["block_count"]):
            x = x + self.attention(i, rmsnorm(x, self.weights[f"blk.{i}.attn_norm.weight"], eps), causal)
            h = rmsnorm(x, self.weights[f"blk.{i}.ffn_norm.weight"], eps)
            gate, up = self.linear(f"blk.{i}.ffn_gate", h), self.linear(f"blk.{i}.ffn_up", h)
            x = x + self.linear(f"blk.{i}.ffn_down", gate / (1 + np.exp(-gate)) * up) + self.control.get(i, 0)
        return rmsnorm(x, self.weights["output_norm.weight"], eps)

    def scores(self, tokens, causal=True):
        """The classifier's numbers: of the last token, or of the first where attention is not causal."""
        x = self.states(tokens, causal)[-1 if causal else 0]
        zero = np.zeros(1)
        if "cls.weight" in self.weights:
            x = np.tanh(self.weights["cls.weight"] @ x + self.weights.get("cls.bias", zero))
        if "cls.output.weight" in self.weights:
            x = self.weights["cls.output.weight"] @ x + self.weights.get("cls.output.bias", zero)
        return x

    def logits(self, tokens, causal=True):
        states = self.states(tokens, causal)
        if "output.weight" in self.weights:
            return self.linear("output", states)
        logits = states @ self.weights["token_embd.weight"].T
        for a, b, scale in self.loras.get("token_embd", []):       # the head is the embedding: its rows have changed
            logits = logits + scale * (states @ b) @ a.T
        return logits
