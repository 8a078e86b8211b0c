"""Random LoRA adapters as GGUF files, beside the arrays that they were made of. Next: test_adapter.py."""
import numpy as np

from gguf_writer import F32, STRING, Gguf

# Of tiny_model's Llama with these: (k, m) of each product.
E, F, HEADS, HEADS_KV, N_VOCAB, N_LAYER = 64, 96, 4, 2, 280, 2
SHAPE = dict(n_layer=N_LAYER, n_embd=E, n_ff=F, n_head=HEADS, n_head_kv=HEADS_KV, n_vocab=N_VOCAB, n_ctx=512)
PARTS = {"attn_q": (E, E), "attn_k": (E, E // 2), "attn_v": (E, E // 2), "attn_output": (E, E), "ffn_gate": (E, F), "ffn_up": (E, F), "ffn_down": (F, E)}


def all_weights() -> dict[str, tuple[int, int]]:
    return {f"blk.{i}.{part}": shape for i in range(N_LAYER) for part, shape in PARTS.items()} | {"output": (E, N_VOCAB), "token_embd": (E, N_VOCAB)}


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
