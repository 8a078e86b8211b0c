"""cb_eval beside llama.cpp's own, where llama-cpp-python is: the same names in the same order on SmolLM2, and values near by.

Next: test_observe.py, which needs no peer.
"""
import ctypes as C

import numpy as np

from engine_abi import decode
from observe_tools import F32, RESHAPE, Watcher
from peer_tools import peer_or_skip

llama_cpp = peer_or_skip()
PERMUTE, VIEW, SET_ROWS, FLASH_ATTN, GET_ROWS = 38, 37, 42, 74, 40


class Tensor(C.Structure):
    """struct ggml_tensor of llama.cpp, as test_layout_abi.py has ours."""


Tensor._fields_ = [("type", C.c_int), ("buffer", C.c_void_p), ("ne", C.c_int64 * 4), ("nb", C.c_size_t * 4), ("op", C.c_int),
                   ("op_params", C.c_int32 * 16), ("flags", C.c_int32), ("src", C.POINTER(Tensor) * 10), ("view_src", C.c_void_p),
                   ("view_offs", C.c_size_t), ("data", C.c_void_p), ("name", C.c_char * 64), ("extra", C.c_void_p)]
Callback = C.CFUNCTYPE(C.c_bool, C.POINTER(Tensor), C.c_bool, C.c_void_p)


def is_ours(t) -> bool:
    """Not what only llama.cpp does: to its cache, and to rows to choose some."""
    name = t.name.decode()
    return t.type == F32 and t.op not in (PERMUTE, VIEW, SET_ROWS, FLASH_ATTN) and not (t.op == GET_ROWS and name != "embd")


def theirs(path, tokens, wants_logits):
    seen = []

    @Callback
    def call(pointer, ask, _):
        t = pointer.contents
        if is_ours(t) and not ask:
            n = int(np.prod(list(t.ne)))
            rows = np.ctypeslib.as_array(C.cast(t.data, C.POINTER(C.c_float)), (n,)).copy()
            sources = [s.contents.name.decode() for s in t.src[:2] if s]
            seen.append((t.name.decode(), t.op, list(t.ne), rows, sources))
        return is_ours(t) if ask else True

    model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_threads, params.n_threads_batch = 256, 1, 1
    params.cb_eval = C.cast(call, type(params.cb_eval)) if params.cb_eval is not None else C.cast(call, C.c_void_p)
    ctx = llama_cpp.llama_init_from_model(model, params)
    batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
    for i, token in enumerate(tokens):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = token, i, 1, 0, wants_logits[i]
    batch.n_tokens = len(tokens)
    assert llama_cpp.llama_decode(ctx, batch) == 0
    llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(ctx)
    llama_cpp.llama_model_free(model)
    return seen


def test_names_shapes_and_values_on_smollm2(smollm2, smollm2_path):
    tokens = list(smollm2.encode("The capital of France is Paris, and that of Italy is Rome."))
    wants = [i in (4, len(tokens) - 1) for i in range(len(tokens))]
    watcher = Watcher()
    ctx = watcher.context(smollm2._pointer, n_ctx=256)
    assert decode(ctx, tokens, logits=wants) == 0
    peer = theirs(smollm2_path, tokens, wants)
    assert [(s.name, s.op, s.ne) for s in watcher.seen] == [(name, op, ne) for name, op, ne, _, _ in peer]
    far = []
    for ours, (name, op, _, rows, sources) in zip(watcher.seen, peer):
        if op != RESHAPE:       # theirs is of a tensor without a name, and ours has llama.cpp's older name of it
            named = [source for source in sources if not source.startswith("node_")]
            assert named == [s.name for s in ours.src if s.name in named], name
        far.append(np.linalg.norm(ours.data.ravel() - rows) / np.linalg.norm(rows))
    # Both round activations to 8 bits before each product, here with a scale in float32, there in half precision: 2^-11 of it, and a
    # step of 1/127 where that moves a number to the next; thirty layers of it.
    assert np.mean(far) < 0.04 and max(far) < 0.1, (np.mean(far), max(far))
    first = [f for f, s in zip(far, watcher.seen) if s.name.endswith("-0")]
    assert np.mean(first) < 0.005 and max(first) < 0.02
