"""Small models that the mixtures of quantized files tell apart, and what to ask of each; for test_quantize_mixes.py and
make_mixes_golden.py. Weights are integers of a hash, the same on every machine. May not import the library.
"""
import numpy as np

from gguf_writer import F32, STRING, U32, Gguf

FTYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_S": 11, "Q3_K_M": 12,
          "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18, "Q2_K_S": 21, "BF16": 32}
MIXTURES_ONLY = ("huge", "falcon", "four experts")  # they differ from the others in the rules of K types alone
WITH_IMATRIX = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q2_K_S", "Q3_K_M", "Q4_K_M", "Q5_K_S", "Q6_K")


def numbers(n: int, seed: int) -> np.ndarray:
    """float32[n], bell-shaped and mostly below 0.1: sums of bytes of a 64-bit mix."""
    x = np.arange(n, dtype=np.uint64) + np.uint64(seed << 32)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    x ^= x >> np.uint64(31)
    return (x.view(np.uint8).reshape(n, 8).astype(np.int32).sum(axis=1) - 1020).astype(np.float32) / np.float32(8192)


def _model(arch="llama", n_layer=1, k=256, ff=512, heads=(4, 2), experts=0, head=None, kind="f32", keys=()) -> Gguf:
    """Rows are few; columns are what the rules look at."""
    g = Gguf(kv=[("general.architecture", STRING, arch)])
    for end, value in (("block_count", n_layer), ("context_length", 64), ("embedding_length", k), ("feed_forward_length", ff),
                       ("attention.head_count", heads[0]), ("attention.head_count_kv", heads[1]), ("vocab_size", 32)):
        g.set(f"{arch}.{end}", U32, value)
    g.set(f"{arch}.attention.layer_norm_rms_epsilon", F32, 1e-5)
    if experts:
        g.set(f"{arch}.expert_count", U32, experts).set(f"{arch}.expert_used_count", U32, 2)
    for key, type, value in keys:
        g.set(key, type, value)

    def add(name: str, *ne: int) -> None:
        x = numbers(int(np.prod(ne)), len(g.tensors) + 1)
        g.add(name, kind if len(ne) > 1 else "f32", ne, x.astype("<f2" if kind == "f16" and len(ne) > 1 else "<f4").tobytes())

    add("token_embd.weight", k, 8)
    for i in range(n_layer):
        for name, *ne in (("attn_norm", k), ("attn_q", k, 4), ("attn_k", k, 3), ("attn_output", k, 4), ("ffn_norm", k)):
            add(f"blk.{i}.{name}.weight", *ne)
        add(f"blk.{i}.attn_qkv.weight" if arch == "falcon" else f"blk.{i}.attn_v.weight", k, 2)
        if experts:
            add(f"blk.{i}.ffn_gate_inp.weight", k, experts)
        for name, *ne in (("ffn_gate", k, 4), ("ffn_up", k, 4), ("ffn_down", ff, 4)):
            add(f"blk.{i}.{name}{'_exps' * bool(experts)}.weight", *ne, *[experts] * bool(experts))
    add("output_norm.weight", k)
    if head is not None:
        add("output.weight", k, 8)
    return g


def models() -> dict[str, Gguf]:
    falcon = (("falcon.attention.layer_norm_epsilon", F32, 1e-5),)
    return {"tied": _model(n_layer=17, kind="f16"), "grouped": _model(n_layer=9, heads=(8, 2), head=True),
            "odd": _model(n_layer=2, k=288, ff=800),
            "odder": _model(n_layer=2, k=40, ff=256, head=True), "experts": _model(n_layer=9, heads=(8, 8), experts=8, head=True),
            "four experts": _model(n_layer=9, experts=4), "falcon": _model("falcon", n_layer=17, heads=(4, 1), head=True, keys=falcon),
            "huge": _model(n_layer=80, heads=(8, 1), head=True)}


def imatrix_of(g: Gguf) -> list[tuple[str, np.ndarray]]:
    """An importance for the columns of each matrix in a layer, the experts' one after the other."""
    return [(t.name, np.abs(numbers(t.ne[0] * (t.ne[2] if len(t.ne) > 2 else 1), 1000 + i)) + np.float32(2.0**-12))
            for i, t in enumerate(g.tensors) if len(t.ne) > 1 and t.name.startswith("blk.")]


def jobs() -> dict[str, dict]:
    """By name: the model, the type of file, and what else is asked."""
    made = {}
    for model in models():
        for name, ftype in FTYPES.items():
            if name != "Q2_K_S" and (model not in MIXTURES_ONLY or "_K" in name):
                made[f"{model} {name}"] = dict(model=model, ftype=ftype)
        for name in WITH_IMATRIX if model not in MIXTURES_ONLY else ("Q2_K_S",):
            made[f"{model} {name} imatrix"] = dict(model=model, ftype=FTYPES[name], imatrix=True)
    patterns = [(r"blk\.[0-3]\..*ffn_down", 8), ("attn_(q|k)", 10), ("token_embd", 13)]
    made |= {
        "pure": dict(model="tied", ftype=15, pure=True), "patterns": dict(model="tied", ftype=15, patterns=patterns),
        "ends": dict(model="grouped", ftype=12, output_tensor_type=8, token_embedding_type=14),
        "tied end": dict(model="tied", ftype=12, output_tensor_type=8),
        "end stays": dict(model="grouped", ftype=15, quantize_output_tensor=False),
        "pruned": dict(model="tied", ftype=15, pruned=[2, 5, 6]),
        "pruned imatrix": dict(model="tied", ftype=10, pruned=[2, 5, 6], imatrix=True),
        "pruned patterns": dict(model="tied", ftype=15, pruned=[0], patterns=[(r"blk\.0\.", 8)])}
    return made
