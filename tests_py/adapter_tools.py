"""Random LoRA adapters as GGUF files and as the files of 2023 (ggla), beside the arrays that they were made of. Next: test_adapter.py."""
import struct

import numpy as np

from gguf_writer import F32, STRING, Gguf

# Of tiny_model's Llama with these: (k, m) of each product.
E, F, HEADS, HEADS_KV, N_VOCAB, N_LAYER = 64, 96, 4, 2, 280, 2
SHAPE = dict(n_layer=N_LAYER, n_embd=E, n_ff=F, n_head=HEADS, n_head_kv=HEADS_KV, n_vocab=N_VOCAB, n_ctx=512)
PARTS = {"attn_q": (E, E), "attn_k": (E, E // 2), "attn_v": (E, E // 2), "attn_output": (E, E), "ffn_gate": (E, F), "ffn_up": (E, F),
         "ffn_down": (F, E)}


def all_weights() -> dict[str, tuple[int, int]]:
    layers = {f"blk.{i}.{part}": shape for i in range(N_LAYER) for part, shape in PARTS.items()}
    return layers | {"output": (E, N_VOCAB), "token_embd": (E, N_VOCAB)}


def random_pairs(weights: dict[str, tuple[int, int]], rank: int, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """name -> (A, B): [rank][k] and [m][rank], of the embedding [n_vocab][rank] and [n_embd][rank]. Strong enough to change every token."""
    rng = np.random.default_rng(seed)
    shapes = {name: ((m, rank), (k, rank)) if name == "token_embd" else ((rank, k), (m, rank)) for name, (k, m) in weights.items()}
    return {name: (rng.normal(0, 1, a).astype("<f4"), (rng.normal(0, 0.05, b)).astype("<f4")) for name, (a, b) in shapes.items()}


def adapter(pairs, alpha: float | None = None, arch: str = "llama", kind: str = "f32") -> Gguf:
    g = Gguf(kv=[("general.type", STRING, "adapter"), ("general.architecture", STRING, arch), ("adapter.type", STRING, "lora")])
    if alpha is not None:
        g.set("adapter.lora.alpha", F32, alpha)
    for name, matrices in pairs.items():
        for letter, matrix in zip("ab", matrices):
            data = matrix.astype("<f2") if kind == "f16" else matrix
            g.add(f"{name}.weight.lora_{letter}", kind, matrix.shape[::-1], data.tobytes())
    return g


OLD_PARTS = {"attn_q": "attention.wq", "attn_k": "attention.wk", "attn_v": "attention.wv", "attn_output": "attention.wo",
             "ffn_gate": "feed_forward.w1", "ffn_up": "feed_forward.w3", "ffn_down": "feed_forward.w2"}


def old_name(name: str) -> str:
    """What models before GGUF called it."""
    if name.startswith("blk."):
        _, layer, part = name.split(".")
        return f"layers.{layer}.{OLD_PARTS[part]}"
    return {"token_embd": "tok_embeddings", "output": "output"}[name]


def ggla_tensor(at: int, name: str, kind: int, ne, data: bytes) -> bytes:
    """A tensor of a ggla file, which begins at byte `at`."""
    raw = name.encode()
    head = struct.pack(f"<iii{len(ne)}i", len(ne), len(raw), kind, *ne) + raw
    return head + bytes(-(at + len(head)) % 32) + data


def ggla(pairs, r: int, alpha: int, old: bool = False, kind: str = "f32", version: int = 1) -> bytes:
    """The same pairs as llama.cpp wrote them in 2023: A by columns; of the embedding, A and B the other way round."""
    out = struct.pack("<IIii", 0x67676C61, version, r, alpha)
    for name, (a, b) in pairs.items():
        for letter, matrix in zip("AB", (b, a) if name == "token_embd" else (a.T, b)):
            data = np.ascontiguousarray(matrix, "<f2" if kind == "f16" else "<f4")
            out += ggla_tensor(len(out), f"{old_name(name) if old else name}.weight.lora{letter}", int(kind == "f16"), matrix.shape[::-1],
                               data.tobytes())
    return out
