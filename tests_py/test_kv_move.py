"""Positions that move (seq_add, seq_div): the cache against a model of it in Python, logits against attention in float64.

With one layer, keys and values depend on the token and its position alone, so what a sequence holds, positions held twice
included, says what the next logits must be. Next: test_kv_cache.py for what does not move, where logits are equal bit for bit.
"""
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bitnet_ffi import Model
from bitnet_ffi._ffi import last_error, lib
from bitnet_ffi.errors import BitnetError, ContextFullError, InvalidArgumentError
from gguf_writer import tiny_model
from reference import Reference

D = 32           # of a head


@pytest.fixture(scope="module", params=["norm", "neox"])
def path(request, tmp_path_factory):
    """neox: a BitNet, whose pairs are (i, i + n / 2); weights of both are floats."""
    arch = "llama" if request.param == "norm" else "bitnet-b1.58"
    file = tmp_path_factory.mktemp("move") / f"{request.param}.gguf"
    return tiny_model(arch=arch, n_layer=1, n_embd=2 * D, n_ff=32, n_head=2, n_head_kv=1, n_vocab=280, n_ctx=1 << 15, seed=5).write(file)


@pytest.fixture(scope="module")
def model(path):
    with Model(path) as model:
        yield model


@pytest.fixture(scope="module")
def exact(path):
    return OneLayer(path)


def context(model, n_ctx, n_seq_max=1, kv_type="f32", n_threads=1):
    return model.context(n_ctx=n_ctx, n_seq_max=n_seq_max, n_ubatch=32, n_threads=n_threads, kv_type=kv_type)


class OneLayer(Reference):
    """The model in float64, for any tokens at any positions."""

    def rows(self, name, x):
        return x @ self.dense(name + ".weight").T.astype(np.float64)

    def norm(self, name, x):
        if name + ".weight" not in self.tensors:
            return x
        return x / np.sqrt((x ** 2).mean(-1, keepdims=True) + self.eps) * self.dense(name + ".weight")

    def turned(self, x, pos):
        angle = np.asarray(pos, np.float64)[:, None] * float(self.base) ** (-2.0 * np.arange(self.d // 2) / self.d)
        z = x[:, 0::2] + 1j * x[:, 1::2] if self.arch == "llama" else x[:, :self.d // 2] + 1j * x[:, self.d // 2:]
        z = z * np.exp(1j * angle)
        if self.arch != "llama":
            return np.concatenate([z.real, z.imag], 1)
        return np.stack([z.real, z.imag], 2).reshape(x.shape)

    def logits(self, tokens, pos):
        """Of the last token, which sees all."""
        x = self.dense("token_embd.weight")[list(tokens)].astype(np.float64)
        h = self.norm("blk.0.attn_norm", x)
        q = self.rows("blk.0.attn_q", h[-1:]).reshape(self.n_head, self.d)
        k = self.turned(self.rows("blk.0.attn_k", h), pos)
        v = self.rows("blk.0.attn_v", h)
        score = self.turned(q, [pos[-1]] * self.n_head) @ k.T / np.sqrt(self.d)
        weight = np.exp(score - score.max(1, keepdims=True))
        out = (weight / weight.sum(1, keepdims=True) @ v).reshape(1, -1)
        x = x[-1:] + self.rows("blk.0.attn_output", self.norm("blk.0.attn_sub_norm", out))
        h = self.norm("blk.0.ffn_norm", x)
        g = self.rows("blk.0.ffn_gate", h)
        g = g / (1 + np.exp(-g)) if self.arch == "llama" else np.maximum(g, 0) ** 2
        x = x + self.rows("blk.0.ffn_down", self.norm("blk.0.ffn_sub_norm", g * self.rows("blk.0.ffn_up", h)))
        return self.rows("token_embd", self.norm("output_norm", x))[0]


def distance(got, want):
    return np.linalg.norm(got - want) / np.linalg.norm(want)


# A chain of a dozen sums of up to 300 terms in float32, and rotations of unit 2^-24 whose errors add up over the moves of a test.
F32_TOLERANCE = 2e-5


class Moves(RuleBasedStateMachine):
    """`sequences[s]` maps positions to lists of token numbers, in the order in which they came there."""

    weights = exact = None

    @initialize(n_ctx=st.integers(70, 200), n_seq_max=st.integers(1, 3))
    def begin(self, n_ctx, n_seq_max):
        self.n_ctx = n_ctx
        self.context = context(self.weights, n_ctx, n_seq_max)
        self.sequences = [{} for _ in range(n_seq_max)]
        self.ids = []          # by number: the token

    def teardown(self):
        if hasattr(self, "context"):
            self.context.close()

    def a_sequence(self, data, name="seq"):
        return data.draw(st.integers(0, len(self.sequences) - 1), name)

    def a_range(self, data, held):
        last = max(held, default=0)
        p0 = data.draw(st.integers(-1, last + 2), "p0")
        return p0, data.draw(st.one_of(st.just(-1), st.integers(0, last + 2)), "p1")

    @staticmethod
    def inside(p0, p1, held):
        return sorted(p for p in held if p >= p0 and (p1 < 0 or p < p1))

    def in_use(self, sequences):
        return len({number for held in sequences for numbers in held.values() for number in numbers})

    def commit(self, call, after):
        """`after` when the call worked; when it failed, what was there, and a reason."""
        try:
            call()
        except BitnetError:
            code, sentence = lib.bitnet_last_error_code(), str(last_error())
            assert code == -10 or "pages" in sentence, sentence
            return False
        assert self.in_use(after) <= self.n_ctx
        self.sequences = after
        return True

    def copied(self):
        return [{p: list(numbers) for p, numbers in held.items()} for held in self.sequences]

    @rule(data=st.data(), n=st.sampled_from([1, 1, 3, 30, 64, 70]))
    def decode(self, data, n):
        s = self.a_sequence(data)
        held = self.sequences[s]
        first = max(held, default=-1) + 1
        tokens = [(11 * len(self.ids) + 31 * i) % 280 for i in range(n)]
        after = self.copied()
        for i in range(n):
            after[s][first + i] = [len(self.ids) + i]
        if self.commit(lambda: self.context.decode(tokens, seq=s), after):
            self.ids += tokens
            seen = [(p, self.ids[number]) for p in sorted(after[s]) for number in after[s][p]]
            want = self.exact.logits([token for _, token in seen], [p for p, _ in seen])
            assert distance(self.context.logits(), want) < F32_TOLERANCE

    def move(self, s, p0, p1, place, call):
        after = self.copied()
        others = {n for t, held in enumerate(self.sequences) if t != s for numbers in held.values() for n in numbers}
        ids = list(self.ids)
        moved = [(p, after[s].pop(p)) for p in self.inside(p0, p1, after[s])]
        for p, numbers in moved:
            for number in numbers:
                if number in others:      # it parts from its copies
                    ids.append(ids[number])
                    number = len(ids) - 1
                if place(p) >= 0:
                    after[s].setdefault(place(p), []).append(number)
        if self.commit(call, after):
            self.ids = ids

    @rule(data=st.data(), delta=st.one_of(st.integers(-70, 70), st.sampled_from([-64, 64, -1, 1, -128])))
    def add(self, data, delta):
        s = self.a_sequence(data)
        p0, p1 = self.a_range(data, self.sequences[s])
        if delta:
            self.move(s, p0, p1, lambda p: p + delta, lambda: self.context.seq_add(s, delta, p0, p1))

    @rule(data=st.data(), divisor=st.integers(2, 5))
    def divide(self, data, divisor):
        s = self.a_sequence(data)
        p0, p1 = self.a_range(data, self.sequences[s])
        self.move(s, p0, p1, lambda p: p // divisor, lambda: self.context.seq_divide(s, divisor, p0, p1))

    @rule(data=st.data())
    def copy(self, data):
        source, target = self.a_sequence(data, "source"), self.a_sequence(data, "target")
        p0, p1 = self.a_range(data, self.sequences[source])
        after = self.copied()
        if source != target:
            after[target].update({p: list(self.sequences[source][p]) for p in self.inside(p0, p1, self.sequences[source])})
        self.commit(lambda: self.context.seq_copy(source, target, p0, p1), after)

    @rule(data=st.data())
    def remove(self, data):
        s = self.a_sequence(data)
        p0, p1 = self.a_range(data, self.sequences[s])
        self.context.seq_remove(s, p0, p1)
        for p in self.inside(p0, p1, self.sequences[s]):
            del self.sequences[s][p]

    @invariant()
    def positions_are_those_of_the_model(self):
        for s, held in enumerate(getattr(self, "sequences", [])):
            assert list(self.context.seq_range(s)) == (list(range(min(held), max(held) + 1)) if held else []), f"sequence {s}"


def test_moves_behave_as_their_model(model, exact):
    Moves.weights, Moves.exact = model, exact
    machine = Moves.TestCase()
    machine.settings = settings(max_examples=60, stateful_step_count=25, deadline=None, derandomize=True,
                                suppress_health_check=list(HealthCheck))
    machine.runTest()


# ---- precision ----

@pytest.mark.parametrize("kv_type, tolerance", [
    # A key is rounded twice instead of once: logits move by some of the 2^-11 that F16 rounds by.
    ("f16", 2e-3),
    # A Q8_0 step is 1/127 of a block's largest: 3e-3 of its norm each time it is rounded.
    ("q8_0", 3e-2),
    ("f32", F32_TOLERANCE)])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_moved_key_is_rounded_once_more(model, exact, kv_type, tolerance, n_threads):
    tokens = [(7 * i * i + 3 * i) % 280 for i in range(150)]
    with context(model, 200, kv_type=kv_type, n_threads=n_threads) as ctx:
        ctx.decode(tokens)
        ctx.seq_remove(0, 5, 70)
        ctx.seq_add(0, -65, 70)
        ctx.decode([9])
        assert ctx.seq_range(0) == range(0, 86)
        assert distance(ctx.logits(), exact.logits(tokens[:5] + tokens[70:] + [9], range(86))) < tolerance


@pytest.mark.parametrize("kv_type", ["f16", "f32", "q8_0"])
def test_bits_do_not_depend_on_threads(model, kv_type):
    rows = []
    for n_threads in (1, 2):
        with context(model, 400, kv_type=kv_type, n_threads=n_threads) as ctx:
            ctx.decode(range(180), logits="none")
            ctx.seq_divide(0, 3, 20, 90)
            ctx.seq_add(0, -17, 40)
            ctx.decode(range(15), logits="all")
            rows.append(ctx.all_logits().tobytes())
    assert rows[0] == rows[1]


@pytest.mark.parametrize("n_keep, n_discard", [(0, 1), (4, 60), (4, 62), (64, 32), (1, 127)])
def test_shifts_go_on_for_thousands_of_tokens(model, exact, n_keep, n_discard):
    """llama.cpp's idiom; a context of whole pages has none to spare for a careless move."""
    n_ctx = 128
    tokens = []
    with context(model, n_ctx) as ctx:
        for i in range(n_ctx + 3000 // n_discard * n_discard if n_discard > 1 else 700):
            if len(tokens) == n_ctx:
                ctx.seq_remove(0, n_keep, n_keep + n_discard)
                ctx.seq_add(0, -n_discard, n_keep + n_discard)
                del tokens[n_keep:n_keep + n_discard]
            tokens.append((7 * i) % 280)
            ctx.decode(tokens[-1:])
            assert ctx.seq_range(0) == range(len(tokens))
        # Each move adds a rounding of 2^-24 to a key, and a key lives for n_ctx / n_discard moves.
        assert distance(ctx.logits(), exact.logits(tokens, range(len(tokens)))) < F32_TOLERANCE * (1 + n_ctx / n_discard / 8)


def test_positions_divide_as_in_self_extend(model, exact):
    """passkey.cpp of llama.cpp: after each batch, the one before is brought together by the factor n_group."""
    n_batch, n_group = 32, 4
    seen, n_past = [], 0
    with context(model, 512) as ctx:
        for i in range(8):
            tokens = [(5 * j + 13 * i) % 280 for j in range(n_batch)]
            if i:
                shift = (i - 1) * (n_batch // n_group) * (n_group - 1)
                ctx.seq_add(0, shift, n_past - n_batch, n_past)
                ctx.seq_divide(0, n_group, n_past - n_batch + shift, n_past + shift)
                n_past = ctx.seq_range(0).stop
                seen[-n_batch:] = [((p + shift) // n_group, t) for p, t in seen[-n_batch:]]
            ctx.decode(tokens)
            seen += [(n_past + j, t) for j, t in enumerate(tokens)]
            n_past = ctx.seq_range(0).stop
        assert distance(ctx.logits(), exact.logits([t for _, t in seen], [p for p, _ in seen])) < F32_TOLERANCE


# ---- what others share ----

def test_only_the_named_sequence_moves(model):
    with context(model, 256, 2) as ctx:
        ctx.decode(range(70), seq=0, logits="none")
        ctx.seq_copy(0, 1)
        ctx.decode([5], seq=1)
        still = ctx.logits().tobytes()
        ctx.seq_remove(1, 70)
        ctx.seq_add(0, -3, 10)
        assert [ctx.seq_range(s) for s in (0, 1)] == [range(67), range(70)]
        ctx.decode([5], seq=1)
        assert ctx.logits().tobytes() == still


def test_moved_copies_that_do_not_fit_change_nothing(model):
    with context(model, 100, 2) as ctx:
        ctx.decode(range(70), seq=0, logits="none")
        ctx.seq_copy(0, 1)
        with pytest.raises(ContextFullError, match="shares tokens that are to move, and their copies do not fit in n_ctx = 100"):
            ctx.seq_add(0, 100)
        assert [ctx.seq_range(s) for s in (0, 1)] == [range(70)] * 2
        ctx.decode([1] * 30, seq=0)                  # the room that was there
        with pytest.raises(ContextFullError):
            ctx.decode([1], seq=0)


# ---- conventions and refusals ----

def test_open_ranges_and_zero(model):
    with context(model, 64) as ctx:
        ctx.decode(range(10), logits="none")
        ctx.seq_add(0, 5)
        assert ctx.seq_range(0) == range(5, 15)
        ctx.seq_add(0, -7, -3, 2**31 - 1)
        assert ctx.seq_range(0) == range(0, 8)        # two were forgotten
        for nothing in ((0, 0, -1), (3, 5, 5), (3, 6, 2), (3, 100, 200), (1, 2**31 - 1, 2**31 - 1)):
            delta, p0, p1 = nothing
            ctx.seq_add(0, delta, p0, p1)
            ctx.seq_divide(0, 1)
            assert ctx.seq_range(0) == range(0, 8)
        ctx.seq_add(0, -2**31)
        assert ctx.seq_range(0) == range(0)


def test_absurd_moves_are_refused(model):
    with context(model, 64) as ctx:
        ctx.decode(range(10), logits="none")
        with pytest.raises(InvalidArgumentError, match="position 9 of sequence 0 cannot move by 16777207: expected to end before 16777216"):
            ctx.seq_add(0, 2**24 - 9)
        for divisor in (0, -1, -2**31):
            with pytest.raises(InvalidArgumentError, match=f"d is {divisor}, expected 1 or more"):
                ctx.seq_divide(0, divisor)
        for seq in (-1, 1):
            with pytest.raises(InvalidArgumentError, match="expected 0 to 0"):
                ctx.seq_add(seq, 1)
            with pytest.raises(InvalidArgumentError, match="expected 0 to 0"):
                ctx.seq_divide(seq, 2)
        assert ctx.seq_range(0) == range(10)
        assert lib.llama_memory_can_shift(ctx._memory)


@pytest.mark.parametrize("n_ctx, n_group", [(64, 8), (256, 8), (256, 16), (1000, 4)])
def test_self_extend_of_a_full_context(model, n_ctx, n_group):
    """As programs do it: windows of ends that are in no page's end, until n_ctx tokens are held."""
    window = (n_ctx // 3) // n_group * n_group
    with context(model, n_ctx) as ctx:
        memory, n_past, group_at = ctx._memory, 0, 0
        for _ in range(n_ctx):
            ctx.decode([1 + n_past % 200], logits="none")
            n_past += 1
            while n_past >= group_at + window:
                n_before = n_group * group_at // window
                back = window // n_group * (n_group - 1)
                lib.llama_memory_seq_add(memory, 0, group_at, n_past, n_before * back)
                lib.llama_memory_seq_div(memory, 0, group_at + n_before * back, group_at + n_before * back + window, n_group)
                lib.llama_memory_seq_add(memory, 0, group_at + n_before * back + window, n_past + n_before * back,
                                         window // n_group - n_before * back - window)
                assert not lib.bitnet_last_error_code(), str(last_error())
                n_past -= back
                group_at += window // n_group
                assert ctx.seq_range(0) == range(n_past)
        with pytest.raises(ContextFullError):
            ctx.decode([1], logits="none")
