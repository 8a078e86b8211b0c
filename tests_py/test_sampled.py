"""Backend sampling: chains attached to sequences sample in the decode what llama_sampler_sample would have sampled.

Next: test_sampled_peer.py, the same beside llama.cpp.
"""
import threading

import numpy as np
import pytest

from bitnet_ffi import Model
from bitnet_ffi._ffi import ffi, lib
from engine_abi import ERROR, THREAD, Batch, decode, forget_error, init, last_error, row, span
from gguf_writer import tiny_model

NULL, NONE = ffi.NULL, -1
V = 4096
PROMPT = [(7 * i * i + 3) % V for i in range(20)]


@pytest.fixture(scope="module", params=["f16", "q8_0"])      # with a screen of the head, and without
def model(request, tmp_path_factory):
    path = tiny_model(n_layer=2, n_embd=64, n_ff=64, n_head=2, n_head_kv=1, n_vocab=V, n_ctx=512, head=request.param).write(
        tmp_path_factory.mktemp("sampled") / "tiny.gguf")
    with Model(path) as model:
        yield model._pointer


def bias(*pairs):
    return lib.llama_sampler_init_logit_bias(V, len(pairs), ffi.new("llama_logit_bias[]", list(pairs)))


def chain_of(*members):
    chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
    for member in members:
        lib.llama_sampler_chain_add(chain, member)
    return ffi.gc(chain, lib.llama_sampler_free)


@ffi.callback("void(struct llama_sampler *, llama_token_data_array *)")
def forbid_even(_, cur):
    for i in range(cur.size):
        if cur.data[i].id % 2 == 0:
            cur.data[i].logit = -np.inf


def custom(**members):
    iface = ffi.new("struct llama_sampler_i *", members)
    sampler = lib.llama_sampler_init(iface, NULL)
    KEEP.append(iface)
    return sampler


KEEP = []
s = lib        # the constructors below fit a line
CHAINS = {
    "greedy": lambda: [s.llama_sampler_init_greedy()],
    "bias greedy": lambda: [bias((5, 3.0), (9, -1.0), (5, 1.0)), s.llama_sampler_init_greedy()],
    "penalties greedy": lambda: [s.llama_sampler_init_penalties(V, 64, 1.5, 0.5, 0.25), s.llama_sampler_init_greedy()],
    "temp greedy": lambda: [s.llama_sampler_init_temp(0.7), s.llama_sampler_init_greedy()],
    "top-k": lambda: [s.llama_sampler_init_top_k(8), s.llama_sampler_init_typical(0.9, 1), s.llama_sampler_init_dist(3)],
    "top-k temp dist": lambda: [s.llama_sampler_init_top_k(8), s.llama_sampler_init_temp(0.8), s.llama_sampler_init_dist(42)],
    "temp dist": lambda: [s.llama_sampler_init_temp(1.5), s.llama_sampler_init_dist(1)],
    "dist": lambda: [s.llama_sampler_init_dist(7)],
    "penalties top-k dist": lambda: [s.llama_sampler_init_penalties(V, 64, 1.5, 0.5, 0.25), s.llama_sampler_init_top_k(20),
                                     s.llama_sampler_init_dist(7)],
    "top-p dist": lambda: [s.llama_sampler_init_top_p(0.5, 1), s.llama_sampler_init_temp(1.2), s.llama_sampler_init_dist(4)],
    "min-p dist": lambda: [s.llama_sampler_init_min_p(0.05, 1), s.llama_sampler_init_dist(4)],
    "all": lambda: [bias((3, 2.0)), s.llama_sampler_init_top_k(50), s.llama_sampler_init_penalties(V, 8, 1.2, 0.1, 0),
                    s.llama_sampler_init_min_p(0.1, 1), s.llama_sampler_init_top_p(0.9, 1), s.llama_sampler_init_temp_ext(0.8, 0.2, 1.5),
                    s.llama_sampler_init_dist(11)],
    "temp 0 dist": lambda: [s.llama_sampler_init_temp(0), s.llama_sampler_init_dist(5)],
    "temp 0 xtc dist": lambda: [s.llama_sampler_init_temp_ext(-1, 0, 1), s.llama_sampler_init_xtc(0.5, 0.1, 1, 2),
                                s.llama_sampler_init_dist(5)],
    "noise": lambda: [s.bitnet_sampler_init_gumbel(6)],
    "bias temp noise": lambda: [bias((5, 3.0), (9, -1.0)), s.llama_sampler_init_temp(0.7), s.bitnet_sampler_init_gumbel(6)],
    "typical greedy": lambda: [s.llama_sampler_init_typical(0.9, 1), s.llama_sampler_init_greedy()],
    "mirostat": lambda: [s.llama_sampler_init_temp(0.9), s.llama_sampler_init_mirostat_v2(3, 5.0, 0.1)],
    "off": lambda: [s.llama_sampler_init_top_k(0), s.llama_sampler_init_top_p(1, 1), s.llama_sampler_init_dist(8)],
    "inner": lambda: [s.llama_sampler_init_top_k(30), inner(s.llama_sampler_init_temp(2.0), s.llama_sampler_init_dist(9))],
    "a client's": lambda: [s.llama_sampler_init_top_k(30), custom(apply=forbid_even), s.llama_sampler_init_dist(9)],
    "a client's first": lambda: [custom(apply=forbid_even), s.llama_sampler_init_greedy()],
}
IN_THE_DECODE = {"greedy", "bias greedy", "penalties greedy", "temp greedy", "top-k temp dist", "temp dist", "dist", "penalties top-k dist",
                 "top-p dist", "min-p dist", "all", "temp 0 dist", "noise", "bias temp noise", "off"}


def inner(*members):
    chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
    for member in members:
        lib.llama_sampler_chain_add(chain, member)
    return chain


def make(name):
    return chain_of(*CHAINS[name]())


def with_samplers(model, configs, **fields):
    array = ffi.new("struct llama_sampler_seq_config[]", [{"seq_id": seq, "sampler": chain} for seq, chain in configs])
    return init(model, n_ctx=256, samplers=array, n_samplers=len(configs), **fields)


def write(ctx, chain, n=12, tokens=PROMPT):
    out = []
    for _ in range(n):
        assert decode(ctx, tokens) == 0, last_error()
        tokens = [lib.llama_sampler_sample(chain, ctx, -1)]
        assert tokens[0] >= 0, last_error()
        out += tokens
    return out


class Sampled:
    """What the getters say of a row."""

    def __init__(self, ctx, i=-1):
        self.token = lib.llama_get_sampled_token_ith(ctx, i)
        self.n_probs, self.n_logits, self.n_ids = (getattr(lib, f"llama_get_sampled_{what}_count_ith")(ctx, i)
                                                   for what in ("probs", "logits", "candidates"))
        pointers = [getattr(lib, f"llama_get_sampled_{what}_ith")(ctx, i) for what in ("probs", "logits", "candidates")]
        self.probs, self.logits = (np.frombuffer(ffi.buffer(p, 4 * n), np.float32).copy() if p else None
                                   for p, n in zip(pointers, (self.n_probs, self.n_logits)))
        self.ids = np.frombuffer(ffi.buffer(pointers[2], 4 * (self.n_ids or V)), np.int32).copy()


# ---- the tokens ----

@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("by_params", [True, False])
def test_attaching_changes_no_token(model, name, by_params):
    chain, other = make(name), make(name)
    expected = write(init(model, n_ctx=256), other)
    if by_params:
        ctx = with_samplers(model, [(0, chain)])
    else:
        ctx = init(model, n_ctx=256)
        assert lib.llama_set_sampler(ctx, 0, chain), last_error()
    assert write(ctx, chain) == expected
    assert decode(ctx, [1]) == 0
    assert (lib.llama_get_sampled_token_ith(ctx, -1) != NONE) == (name in IN_THE_DECODE)


@pytest.mark.parametrize("name", sorted(IN_THE_DECODE))
def test_the_getter_has_the_token(model, name):
    """Read, not sampled: one random number a decode."""
    ctx, reference = init(model, n_ctx=256), init(model, n_ctx=256)
    chain, other = make(name), make(name)
    assert lib.llama_set_sampler(ctx, 0, chain)
    tokens = PROMPT
    for _ in range(6):
        assert decode(ctx, tokens) == decode(reference, tokens) == 0
        tokens = [lib.llama_get_sampled_token_ith(ctx, 0 if len(tokens) == 1 else len(PROMPT) - 1)]
        assert tokens == [lib.llama_get_sampled_token_ith(ctx, -1)] == [lib.llama_sampler_sample(other, reference, -1)]
        lib.llama_sampler_accept(chain, tokens[0])


def test_another_sampler_goes_on_from_the_candidates(model):
    chain, ctx = chain_of(lib.llama_sampler_init_top_k(5)), init(model, n_ctx=256)
    assert lib.llama_set_sampler(ctx, 0, chain) and decode(ctx, PROMPT) == 0
    best = set(np.argsort(-np.frombuffer(row_of_model(model), np.float32), kind="stable")[:5].tolist())
    for seed in range(30):
        assert lib.llama_sampler_sample(chain_of(lib.llama_sampler_init_temp(50.0), lib.llama_sampler_init_dist(seed)), ctx, -1) in best
    forget_error()
    assert lib.llama_sampler_sample(chain, ctx, -1) == NONE and "selected none of its 5 candidates" in last_error()[1]


def row_of_model(model) -> bytes:
    ctx = init(model, n_ctx=256)
    assert decode(ctx, PROMPT) == 0
    return row(ctx)


def test_apply_on_an_attached_chain_does_the_rest(model):
    """As llama.cpp's: programs that load the sampled candidates themselves apply the chain to them."""
    def applied(chain):
        data = ffi.new("llama_token_data[]", [(i, float(i), 0) for i in range(6)])
        cur = ffi.new("llama_token_data_array *", (data, 6, -1, False))
        lib.llama_sampler_apply(chain, cur)
        return cur.size, [cur.data[i].logit for i in range(cur.size)]

    chain = chain_of(lib.llama_sampler_init_top_k(5), lib.llama_sampler_init_temp(0.5), custom(apply=forbid_even))
    ctx = init(model, n_ctx=64)
    whole, rest = (5, [10.0, -np.inf, 6.0, -np.inf, 2.0]), (6, [-np.inf, 1.0, -np.inf, 3.0, -np.inf, 5.0])
    assert applied(chain) == whole
    assert lib.llama_set_sampler(ctx, 0, chain) and applied(chain) == rest
    copy = ffi.gc(lib.llama_sampler_clone(chain_of(lib.llama_sampler_init_top_k(2))), lib.llama_sampler_free)
    assert applied(copy)[0] == 2
    lib.llama_sampler_free(lib.llama_sampler_chain_remove(chain, 0))
    assert applied(chain) == rest
    assert lib.llama_set_sampler(ctx, 0, NULL) and applied(chain) == (6, [-np.inf, 2.0, -np.inf, 6.0, -np.inf, 10.0])


# ---- the getters ----

@pytest.mark.parametrize("name, n_probs, n_logits, n_ids", [
    ("greedy", 0, V, 0), ("bias greedy", 0, V, 0), ("temp greedy", 0, V, 0), ("top-k", 0, 8, 8), ("top-k temp dist", 8, 8, 8),
    ("temp dist", V, V, 0), ("top-p dist", V, V, V), ("min-p dist", V, V, 0), ("all", 50, 50, 50), ("temp 0 dist", 1, 1, 1),
    ("noise", 0, V, 0), ("bias temp noise", 0, V, 0), ("typical greedy", 0, V, 0), ("off", V, V, 0)])
def test_counts_are_those_of_llama_cpp(model, name, n_probs, n_logits, n_ids):
    ctx, chain = init(model, n_ctx=256), make(name)
    assert lib.llama_set_sampler(ctx, 0, chain) and decode(ctx, PROMPT) == 0
    got = Sampled(ctx)
    assert (got.n_probs, got.n_logits, got.n_ids) == (n_probs, n_logits, n_ids)
    assert (got.probs is None) == (n_probs == 0) and last_error() == (0, "")
    if not n_ids:
        assert got.ids.tolist() == list(range(V))


def applied(model, members):
    """The candidates of PROMPT after these samplers: {id: (logit, p)} in their order, and the token that was selected."""
    logits = np.frombuffer(row_of_model(model), np.float32)
    data = ffi.new("llama_token_data[]", [(i, x, 0) for i, x in enumerate(logits.tolist())])
    cur = ffi.new("llama_token_data_array *", (data, V, -1, False))
    for member in members:
        lib.llama_sampler_apply(member, cur)
        lib.llama_sampler_free(member)
    return {data[i].id: (data[i].logit, data[i].p) for i in range(cur.size)}, data[cur.selected].id


@pytest.mark.parametrize("name", ["greedy", "bias greedy", "temp greedy", "top-k temp dist", "temp dist", "top-p dist", "min-p dist", "all",
                                  "temp 0 dist", "noise", "bias temp noise", "off"])
def test_the_arrays_are_what_the_chain_left(model, name):
    ctx, chain = init(model, n_ctx=256), make(name)
    assert lib.llama_set_sampler(ctx, 0, chain) and decode(ctx, PROMPT) == 0
    got = Sampled(ctx)
    want, token = applied(model, CHAINS[name]())
    assert got.token == token
    ids = got.ids[:got.n_logits].tolist()
    assert len(set(ids)) == len(ids)
    for i, token in enumerate(ids):
        logit, p = want.get(token, (-np.inf, 0))
        assert got.logits[i] == logit
        assert not got.n_probs or got.probs[i] == p
    shown = {token for token, logit in zip(ids, got.logits) if logit > -np.inf}
    assert shown == {token for token, (logit, p) in want.items() if logit > -np.inf}
    if got.n_ids and name != "temp 0 dist":      # which has one, of all that the chain has at minus infinity
        assert ids[:len(want)] == list(want)


def test_logits_by_index_are_the_sampled_ones(model):
    ctx, chain = init(model, n_ctx=256), make("top-k temp dist")
    assert lib.llama_set_sampler(ctx, 0, chain) and decode(ctx, PROMPT) == 0
    got = Sampled(ctx)
    by_index = np.frombuffer(row(ctx), np.float32)
    assert (by_index[:8] == got.logits).all() and (by_index[8:] == -np.inf).all()
    assert bytes(ffi.buffer(lib.llama_get_logits(ctx), 4 * V)) == row_of_model(model)
    assert lib.llama_set_sampler(ctx, 0, NULL) and row(ctx) == by_index.tobytes()           # until the next decode
    assert decode(ctx, [1]) == 0 and np.isfinite(np.frombuffer(row(ctx), np.float32)).all()
    assert lib.llama_get_sampled_token_ith(ctx, -1) == NONE and Sampled(ctx).n_logits == V


def test_where_nothing_was_sampled(model):
    ctx = init(model, n_ctx=256, n_seq_max=2)
    for _ in range(2):
        forget_error()
        got = Sampled(ctx, 0)
        assert (got.token, got.n_probs, got.n_logits, got.n_ids, got.probs, got.logits) == (NONE, 0, V, 0, None, None)
        assert got.ids.tolist() == list(range(V)) and last_error() == (0, "")
        assert decode(ctx, PROMPT, logits=[1] * 20) == 0
    chain = make("greedy")
    assert lib.llama_set_sampler(ctx, 1, chain)
    assert decode(ctx, [1, 2], seq=[[0], [1]], logits=[1, 1]) == 0
    ours, other = Sampled(ctx, 1), Sampled(ctx, 0)
    assert ours.token == ours.logits.argmax() and last_error() == (0, "")
    assert (other.token, other.n_probs, other.n_logits, other.n_ids, other.probs, other.logits) == (NONE, 0, 0, 0, None, None)
    for what in ("token", "probs", "logits", "candidates", "probs_count", "logits_count", "candidates_count"):
        for i in (2, -3, 99):
            forget_error()
            assert getattr(lib, f"llama_get_sampled_{what}_ith")(ctx, i) in (NONE, NULL, 0)
            assert last_error()[0] == ERROR and f"llama_get_sampled_{what}_ith({i})" in last_error()[1]
        forget_error()
        assert getattr(lib, f"llama_get_sampled_{what}_ith")(NULL, 0) in (NONE, NULL, 0) and "ctx is NULL" in last_error()[1]


# ---- sequences and rows ----

def test_each_sequence_has_its_chain(model):
    names = ["top-k temp dist", "greedy", None]
    expected = []
    for seq, name in enumerate(names):
        expected.append(write(init(model, n_ctx=256), make(name or "temp dist"), tokens=PROMPT[seq:]))
    chains = [make(name or "temp dist") for name in names]
    ctx = with_samplers(model, [(0, chains[0]), (1, chains[1])], n_seq_max=3)
    tokens, got = [PROMPT[seq:] for seq in range(3)], [[], [], []]
    for _ in range(12):
        flat = [t for part in tokens for t in part]
        seq = [[i] for i, part in enumerate(tokens) for _ in part]
        ends = [int(i + 1 == len(seq) or seq[i + 1] != seq[i]) for i in range(len(seq))]
        assert decode(ctx, flat, seq=seq, logits=ends) == 0, last_error()
        places = [i for i, end in enumerate(ends) if end]
        assert [lib.llama_get_sampled_token_ith(ctx, i) == NONE for i in places] == [False, False, True]
        tokens = [[lib.llama_sampler_sample(chains[s_], ctx, i)] for s_, i in enumerate(places)]
        for s_ in range(3):
            got[s_] += tokens[s_]
    assert got == expected


def test_a_second_row_of_a_sequence_is_refused(model):
    ctx, chain = init(model, n_ctx=256, n_seq_max=2), make("greedy")
    assert lib.llama_set_sampler(ctx, 1, chain)
    assert decode(ctx, [1, 2, 3], seq=[[0], [0], [1]], logits=[1, 1, 1]) == 0
    before = span(ctx, 0), span(ctx, 1)
    assert decode(ctx, [1, 2, 3], seq=[[1], [0], [1]], logits=[1, 1, 1]) == ERROR
    assert last_error()[1].startswith("sequence 1, which has a sampler, has 2 outputs in the batch, expected at most 1")
    assert decode(ctx, [1, 2], seq=[[0, 1], [1]], logits=[1, 1]) == ERROR
    assert (span(ctx, 0), span(ctx, 1)) == before
    assert decode(ctx, [1, 2, 3], seq=[[1], [0], [1]], logits=[0, 1, 1]) == 0
    lib.llama_set_sampler(ctx, 1, NULL)
    assert decode(ctx, [1, 2], seq=[[1], [1]], logits=[1, 1]) == 0


def test_rows_of_a_token_with_several_sequences_are_its_firsts(model):
    ctx, chain = init(model, n_ctx=256, n_seq_max=3), make("greedy")
    assert lib.llama_set_sampler(ctx, 1, chain)
    assert decode(ctx, [5, 6], seq=[[1, 2], [0]], logits=[1, 1]) == 0
    assert Sampled(ctx, 0).token == Sampled(ctx, 0).logits.argmax() and Sampled(ctx, 1).token == NONE
    assert decode(ctx, [5], seq=[[2, 1]], logits=[1]) == 0 and lib.llama_get_sampled_token_ith(ctx, 0) == NONE


@pytest.mark.parametrize("name", ["temp dist", "top-k temp dist", "bias temp noise"])
def test_draws_of_several_rows_count_when_they_are_accepted(model, name):
    """Three rows a decode: what is not accepted is drawn again."""
    text = PROMPT[:9]
    rows = []
    for i in range(1, 10):
        reference = init(model, n_ctx=64)
        assert decode(reference, text[:i]) == 0
        rows.append(reference)
    chain, other = make(name), make(name)
    # The draw of number k in the row after text[:i].
    ctx = with_samplers(model, [(0, chain)], n_outputs_max_per_seq=3)
    decode_three = [lambda a=a: decode(ctx, text[a:a + 3], logits=[1, 1, 1]) for a in (0, 3, 6)]
    assert decode_three[0]() == 0
    first = [lib.llama_get_sampled_token_ith(ctx, i) for i in range(3)]
    assert first == [lib.llama_sampler_sample(other, rows[i], -1) for i in range(3)]           # numbers 0, 1, 2
    other = make(name)
    assert decode_three[1]() == 0                                                            # none accepted: again from 0
    assert lib.llama_sampler_sample(chain, ctx, 0) == lib.llama_sampler_sample(other, rows[3], -1)
    assert lib.llama_sampler_sample(chain, ctx, 1) == lib.llama_sampler_sample(other, rows[4], -1)
    saved = ffi.gc(lib.llama_sampler_clone(chain), lib.llama_sampler_free)
    assert decode_three[2]() == 0                                                            # two were: from 2
    assert lib.llama_sampler_sample(chain, ctx, 0) == lib.llama_sampler_sample(other, rows[6], -1)
    lib.llama_sampler_copy(saved, chain)
    lib.llama_memory_seq_rm(lib.llama_get_memory(ctx), 0, 6, -1)
    assert decode_three[2]() == 0
    other = make(name)
    for i in range(2):
        lib.llama_sampler_sample(other, rows[i], -1)
    assert lib.llama_get_sampled_token_ith(ctx, 0) == lib.llama_sampler_sample(other, rows[6], -1)


def test_penalties_of_several_rows_wait_for_what_is_accepted(model):
    ctx, chain = with_samplers(model, [], n_outputs_max_per_seq=0), make("penalties greedy")
    assert lib.llama_set_sampler(ctx, 0, chain) and decode(ctx, [1, 1, 1], logits=[1, 1, 1]) == 0
    assert lib.llama_get_sampled_token_ith(ctx, 0) == NONE
    other, reference = make("penalties greedy"), init(model, n_ctx=64)
    for i in range(3):
        assert decode(reference, [1]) == 0
        assert lib.llama_sampler_sample(chain, ctx, i) == lib.llama_sampler_sample(other, reference, -1)


def test_cut_batches_draw_the_same(model):
    chain = make("temp dist")
    expected = write(with_samplers(model, [(0, chain)]), chain, 1)
    for n_ubatch in (1, 3):
        chain = make("temp dist")
        assert write(with_samplers(model, [(0, chain)], n_ubatch=n_ubatch), chain, 1) == expected


# ---- only the logits that decide ----

def logits_of(ctx, log) -> float:
    """MB of logits that the context holds."""
    log.clear()
    lib.llama_memory_breakdown_print(ctx)
    return float(next(line for line in log if "of logits" in line).split("cache for")[1].split(", ")[1].split()[0])


@pytest.mark.parametrize("name, few", [("greedy", True), ("bias greedy", True), ("penalties greedy", True), ("top-k temp dist", True),
                                       ("top-k", True), ("penalties top-k dist", True), ("all", True), ("temp 0 dist", True),
                                       ("noise", True), ("bias temp noise", True), ("temp dist", False), ("min-p dist", False)])
def test_what_nobody_reads_is_not_computed(tmp_path, name, few):
    path = tiny_model(n_layer=1, n_embd=64, n_ff=64, n_head=2, n_head_kv=1, n_vocab=V, n_ctx=512, head="f16").write(tmp_path / "tiny.gguf")
    lines = []

    @ffi.callback("ggml_log_callback")
    def log(level, text, _):
        lines.append(ffi.string(text).decode())

    with Model(path) as owner:
        ctx, chain = init(owner._pointer, n_ctx=256, n_outputs_max_per_seq=0), make(name)
        assert lib.llama_set_sampler(ctx, 0, chain) and decode(ctx, PROMPT, logits=[1] * 20) == 0       # 20 rows of 16 kB
        before, data = ffi.new("ggml_log_callback *"), ffi.new("void **")
        lib.llama_log_get(before, data)
        lib.llama_log_set(log, NULL)
        try:
            lib.llama_sampler_sample(chain, ctx, -1)
            assert (logits_of(ctx, lines) < 0.1) == few
            assert lib.llama_get_logits(ctx) and logits_of(ctx, lines) > 0.1
        finally:
            lib.llama_log_set(before[0], data[0])


# ---- lifetimes ----

def refused(ctx, seq, chain, sentence):
    forget_error()
    assert lib.llama_set_sampler(ctx, seq, chain) is False
    assert last_error()[0] == ERROR and sentence in last_error()[1], last_error()
    return True


def test_what_cannot_be_attached(model):
    ctx, other, chain = init(model, n_ctx=64, n_seq_max=2), init(model, n_ctx=64), make("greedy")
    lonely = ffi.gc(lib.llama_sampler_init_greedy(), lib.llama_sampler_free)
    assert refused(NULL, 0, chain, "ctx is NULL")
    for seq in (-1, 2, 2**31 - 1):
        assert refused(ctx, seq, chain, f"sequence {seq}, expected 0 to 1") and refused(ctx, seq, NULL, "expected 0 to 1")
    assert refused(ctx, 0, lonely, "sampler 'greedy' is no chain")
    assert refused(ctx, 0, ffi.new("struct llama_sampler *"), "is no chain")
    assert refused(ctx, 0, chain_of(), "the chain is empty")
    assert lib.llama_set_sampler(ctx, 1, NULL) is True
    assert lib.llama_set_sampler(ctx, 1, chain) and lib.llama_set_sampler(ctx, 1, chain)       # again: the same
    assert refused(ctx, 0, chain, "attached to sequence 1 of this context")
    assert refused(other, 0, chain, "attached to sequence 1 of another context")
    assert lib.llama_set_sampler(ctx, 1, make("temp dist")) and lib.llama_set_sampler(other, 0, chain)


def test_a_refused_chain_leaves_none(model):
    ctx, chain = init(model, n_ctx=64), make("greedy")
    assert lib.llama_set_sampler(ctx, 0, chain) and refused(ctx, 0, chain_of(), "empty")
    assert decode(ctx, PROMPT) == 0 and lib.llama_get_sampled_token_ith(ctx, -1) == NONE
    assert lib.llama_set_sampler(init(model, n_ctx=64), 0, chain)


@pytest.mark.parametrize("what, sentence", [
    ("null", "number 0 is NULL"), ("lonely", "is no chain"), ("seq", "sequence 7, expected 0 to 0"), ("twice", "attached to sequence 0"),
    ("array", "samplers is NULL")])
def test_a_context_with_wrong_samplers_is_refused(model, what, sentence):
    chain = make("greedy")
    lonely = ffi.gc(lib.llama_sampler_init_greedy(), lib.llama_sampler_free)
    configs = {"null": [(0, NULL)], "lonely": [(0, chain), (0, lonely)], "seq": [(7, chain)], "twice": [(0, chain), (1, chain)]}.get(what)
    forget_error()
    if configs is None:
        assert init(model, n_ctx=64, n_samplers=1) == NULL
    else:
        assert with_samplers(model, configs, n_seq_max=2 if what == "twice" else 1) == NULL
    assert last_error()[0] == ERROR and sentence in last_error()[1]
    assert lib.llama_set_sampler(init(model, n_ctx=64), 0, chain)      # it was let go


def test_an_empty_chain_is_passed_over(model):
    ctx = with_samplers(model, [(0, chain_of())])
    assert decode(ctx, PROMPT) == 0 and lib.llama_get_sampled_token_ith(ctx, -1) == NONE


def test_either_may_end_first(model):
    ctx, chain = init(model, n_ctx=64), make("top-k temp dist")
    assert lib.llama_set_sampler(ctx, 0, chain) and decode(ctx, PROMPT) == 0
    got = Sampled(ctx)
    ffi.release(chain)
    again = Sampled(ctx)                     # what was sampled stays
    assert again.token == got.token and (again.logits == got.logits).all() and (again.ids == got.ids).all()
    assert lib.llama_sampler_sample(make("greedy"), ctx, -1) == got.token
    assert decode(ctx, [1]) == 0 and lib.llama_get_sampled_token_ith(ctx, -1) == NONE
    chain = make("top-k temp dist")
    assert lib.llama_set_sampler(ctx, 0, chain)
    ffi.release(ctx)
    assert lib.llama_set_sampler(other := init(model, n_ctx=64), 0, chain)
    assert write(other, chain) == write(init(model, n_ctx=64), make("top-k temp dist"))


def test_a_chain_that_grows_runs_the_new_member_afterwards(model):
    ctx, chain = init(model, n_ctx=256), chain_of(lib.llama_sampler_init_top_k(8))
    assert lib.llama_set_sampler(ctx, 0, chain)
    lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_temp(0.8))
    lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_dist(42))
    assert write(ctx, chain) == write(init(model, n_ctx=256), make("top-k temp dist"))
    assert lib.llama_get_sampled_token_ith(ctx, -1) == NONE


def test_a_sampler_belongs_to_the_number_of_a_sequence(model):
    ctx, chain = init(model, n_ctx=256, n_seq_max=2), make("greedy")
    memory = lib.llama_get_memory(ctx)
    assert lib.llama_set_sampler(ctx, 0, chain) and decode(ctx, PROMPT) == 0
    lib.llama_memory_seq_cp(memory, 0, 1, -1, -1)
    assert decode(ctx, [1, 1], seq=[[0], [1]], logits=[1, 1]) == 0
    assert Sampled(ctx, 0).token == Sampled(ctx, 0).logits.argmax() and Sampled(ctx, 1).token == NONE
    lib.llama_memory_clear(memory, True)
    assert decode(ctx, PROMPT) == 0 and lib.llama_get_sampled_token_ith(ctx, -1) != NONE
    lib.llama_memory_seq_rm(memory, 0, -1, -1)
    assert decode(ctx, PROMPT) == 0 and lib.llama_get_sampled_token_ith(ctx, -1) != NONE


def test_a_state_has_no_samples(model):
    ctx, chain = init(model, n_ctx=256), make("top-k temp dist")
    assert lib.llama_set_sampler(ctx, 0, chain) and decode(ctx, PROMPT) == 0
    n = lib.llama_state_get_size(ctx)
    state = ffi.new("uint8_t[]", n)
    assert lib.llama_state_get_data(ctx, state, n) == n
    assert lib.llama_get_sampled_token_ith(ctx, -1) != NONE
    assert lib.llama_state_set_data(ctx, state, n) == n
    assert lib.llama_get_sampled_token_ith(ctx, -1) == NONE and row(ctx) == row_of_model(model)
    lib.llama_sampler_reset(chain)
    assert lib.llama_sampler_sample(chain, ctx, -1) == lib.llama_sampler_sample(make("top-k temp dist"), prompted(model), -1)
    assert decode(ctx, [1]) == 0 and lib.llama_get_sampled_token_ith(ctx, -1) != NONE         # the chain stayed


def prompted(model):
    ctx = init(model, n_ctx=256)
    assert decode(ctx, PROMPT) == 0
    return ctx


def test_a_refused_batch_leaves_the_samples_of_the_one_before_and_an_encode_none(model):
    ctx, chain = init(model, n_ctx=32), make("dist")
    assert lib.llama_set_sampler(ctx, 0, chain) and decode(ctx, PROMPT) == 0
    token = lib.llama_get_sampled_token_ith(ctx, -1)
    for rc, batch in ((1, PROMPT), (-1, [-1]), (-1, [])):
        assert decode(ctx, batch) == rc and lib.llama_get_sampled_token_ith(ctx, -1) == token
    batch = Batch([1, 2], seq=[[0], [0]])
    assert lib.llama_encode(ctx, batch.pointer[0]) == 0 and lib.llama_get_sampled_token_ith(ctx, -1) == NONE
    lib.llama_sampler_reset(chain)
    lib.llama_memory_clear(lib.llama_get_memory(ctx), True)
    assert decode(ctx, PROMPT) == 0 and lib.llama_get_sampled_token_ith(ctx, -1) == token


def test_a_second_thread_is_turned_away(model):
    ctx, chain, seen = init(model, n_ctx=64), make("greedy"), []

    @ffi.callback("ggml_abort_callback")
    def inside(_):
        seen.append((lib.llama_set_sampler(ctx, 0, chain), last_error()[0]))
        seen.append((lib.llama_get_sampled_logits_ith(ctx, 0) != NULL, last_error()[0]))
        return False

    lib.llama_set_abort_callback(ctx, inside, NULL)
    thread = threading.Thread(target=lambda: decode(ctx, [1, 2]))
    thread.start()
    thread.join()
    assert seen and set(seen) == {(False, THREAD)}


# ---- a client's samplers ----

@ffi.callback("bool(struct llama_sampler *, ggml_backend_buffer_type_t, uint32_t)")
def never_init(*_):
    CALLED.append("backend_init")
    return True


@ffi.callback("void(struct llama_sampler *, struct ggml_context *, struct ggml_cgraph *, struct llama_sampler_data *)")
def never_apply(*_):
    CALLED.append("backend_apply")


@ffi.callback("void(struct llama_sampler *)")
def never_input(_):
    CALLED.append("backend_set_input")


CALLED = []
BACKEND = {"backend_init": never_init, "backend_apply": never_apply, "backend_set_input": never_input, "backend_reset": never_input}


def test_a_clients_sampler_works_by_apply(model):
    """Also one with members for tensors of ggml, of which there are none."""
    chains = [chain_of(lib.llama_sampler_init_top_k(20), custom(apply=forbid_even, **more), lib.llama_sampler_init_greedy())
              for more in ({}, BACKEND)]
    texts = []
    for chain in chains:
        ctx = init(model, n_ctx=256)
        assert lib.llama_set_sampler(ctx, 0, chain)
        texts.append(write(ctx, chain))
        assert Sampled(ctx).n_ids == 20 and lib.llama_get_sampled_token_ith(ctx, -1) == NONE
    assert texts[0] == texts[1] and all(token % 2 for token in texts[0]) and CALLED == []


def test_a_sampler_for_tensors_alone_is_refused(model):
    ctx, chain = init(model, n_ctx=64), chain_of(lib.llama_sampler_init_top_k(2), inner(custom(**BACKEND)))
    assert refused(ctx, 0, chain, "has a backend_apply and no apply")
    assert with_samplers(model, [(0, chain)]) == NULL and CALLED == []
    nothing = chain_of(custom(), lib.llama_sampler_init_greedy())      # no member at all: passed over
    assert lib.llama_set_sampler(ctx, 0, nothing) and write(ctx, nothing, 3) == write(init(model, n_ctx=64), make("greedy"), 3)
