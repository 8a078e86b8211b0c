"""The KV cache against a model of it that a reader can check at a glance: for each sequence, which token stands at which position.

Hypothesis drives both with the same random calls. With one layer, keys and values depend on the token and its position alone, so logits are
a function of what a sequence holds, and a fresh context that is fed just that must give the same bits.
"""
import functools

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bitnet_ffi import Model
from bitnet_ffi._ffi import last_error, lib
from bitnet_ffi.errors import ContextFullError
from gguf_writer import tiny_model

PAGE = 64


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    tiny = tiny_model(n_layer=1, n_embd=32, n_ff=32, n_head=2, n_head_kv=1, n_vocab=280, seed=5)
    path = tiny.write(tmp_path_factory.mktemp("kv") / "tiny.gguf")
    with Model(path) as model:
        reference.cache_clear()
        yield model


def context(model, n_ctx, n_seq_max=1):
    return model.context(n_ctx=n_ctx, n_seq_max=n_seq_max, n_ubatch=32, n_threads=1)


@functools.lru_cache(None)
def reference(model, held: tuple[tuple[int, int], ...]) -> bytes:
    """Logits of the last (position, token) of `held` in a context that never saw anything else. Gaps are filled, then cut out."""
    tokens = dict(held)
    first, last = min(tokens), max(tokens)
    with context(model, last - first + 1) as fresh:
        if first < last:
            fresh.decode([tokens.get(p, 0) for p in range(first, last)], pos=range(first, last), logits="none")
        for p in range(first, last):
            if p not in tokens:
                fresh.seq_remove(0, p, p + 1)
        fresh.decode([tokens[last]], pos=[last])
        return fresh.logits().tobytes()


class Cache(RuleBasedStateMachine):
    """`sequences[s]` maps positions to tokens; a token is the number of its decode, so copies of one are equal and others are not."""

    weights = None     # the Model

    @initialize(n_ctx=st.integers(70, 200), n_seq_max=st.integers(1, 5))
    def begin(self, n_ctx, n_seq_max):
        self.n_ctx = n_ctx
        self.context = context(self.weights, n_ctx, n_seq_max)
        self.sequences = [{} for _ in range(n_seq_max)]
        self.ids = []          # by number of decode
        self.tidy = True       # no gaps, no patchwork: then n_ctx tokens fit, however they are spread

    def teardown(self):
        if hasattr(self, "context"):
            self.context.close()

    def a_sequence(self, data, name="seq"):
        return data.draw(st.integers(0, len(self.sequences) - 1), name)

    def a_range(self, data, sequence):
        """[p0, p1) around what the sequence holds; -1: open."""
        last = max(sequence, default=0)
        return data.draw(st.integers(-1, last + 2), "p0"), data.draw(st.one_of(st.just(-1), st.integers(0, last + 2)), "p1")

    @staticmethod
    def inside(p0, p1, sequence):
        return {p for p in sequence if p >= p0 and (p1 < 0 or p < p1)}

    @staticmethod
    def has_gap(sequence):
        return bool(sequence) and max(sequence) - min(sequence) + 1 != len(sequence)

    def in_use(self, sequences):
        return len({number for sequence in sequences for number in sequence.values()})

    # ---- decode ----

    def draw_batch(self, data):
        """Runs of tokens of random sequences; some runs belong to two that stand at the same position. (tokens, positions, groups)"""
        end = {s: max(held, default=-1) + 1 for s, held in enumerate(self.sequences)}
        tokens, pos, groups = [], [], []
        for _ in range(data.draw(st.integers(1, 3), "runs")):
            s = self.a_sequence(data)
            n = data.draw(st.sampled_from([1, 1, 2, 5, 30, 63, 64, 65, 90]), "n")
            if not self.sequences[s] and s not in {g for group in groups for g in group}:
                end[s] = data.draw(st.sampled_from([0, 0, 0, 1, 63, 64, 100]), "begin")
            group = [s] + [t for t in end if t != s and end[t] == end[s] and data.draw(st.integers(0, 3), "join") == 0]
            for _ in range(n):
                tokens.append(data.draw(st.integers(0, 279), "token") if n == 1 else (7 * len(self.ids) + 31 * len(tokens)) % 280)
                pos.append(end[s])
                groups.append(group)
                for g in group:
                    end[g] += 1
        return tokens, pos, groups

    @rule(data=st.data())
    def decode(self, data):
        tokens, pos, groups = self.draw_batch(data)
        after = [dict(held) for held in self.sequences]
        for i, (p, group) in enumerate(zip(pos, groups)):
            for g in group:
                after[g][p] = len(self.ids) + i
        fits = self.in_use(after) <= self.n_ctx
        if any(len(group) > 1 for group in groups):
            self.tidy = False
        try:
            self.context.decode(tokens, pos=pos, seq=groups, logits="all")
        except ContextFullError:
            assert not fits or not self.tidy, f"{self.in_use(after)} tokens do not fit in {self.n_ctx}"
            return                                  # the invariant finds everything as it was
        assert fits, f"{self.in_use(after)} tokens in a context of {self.n_ctx}"
        self.sequences = after
        self.ids += tokens
        self.check_logits(pos, groups, {0, len(pos) // 2, len(pos) - 1})

    def check_logits(self, pos, groups, sample):
        rows = self.context.all_logits()
        for i in sample:
            held = tuple(sorted((p, self.ids[number]) for p, number in self.sequences[groups[i][0]].items() if p <= pos[i]))
            assert rows[i].tobytes() == reference(self.weights, held), f"token {i} of the batch, position {pos[i]} of {groups[i]}"

    # ---- sequences ----

    @precondition(lambda self: len(self.sequences) > 1)
    @rule(data=st.data())
    def fork(self, data):
        """Copy a whole sequence, or the beginning of one, to an empty one."""
        source, target = self.a_sequence(data, "source"), self.a_sequence(data, "target")
        if source != target:
            _, p1 = self.a_range(data, self.sequences[source])
            self.context.seq_remove(target)
            self.context.seq_copy(source, target, -1, p1)
            self.sequences[target] = {p: self.sequences[source][p] for p in self.inside(-1, p1, self.sequences[source])}

    @rule(data=st.data())
    def copy_a_range(self, data):
        source, target = self.a_sequence(data, "source"), self.a_sequence(data, "target")
        p0, p1 = self.a_range(data, self.sequences[source])
        taken = self.inside(p0, p1, self.sequences[source])
        self.context.seq_copy(source, target, p0, p1)
        if source != target and taken:
            self.tidy = False
            merged = {**self.sequences[target], **{p: self.sequences[source][p] for p in taken}}
            if list(self.context.seq_range(target)) != self.span(merged):
                assert "pages" in str(last_error())        # patchwork can use them up, and then nothing is copied
                return
            self.sequences[target] = merged

    @rule(data=st.data(), middle=st.integers(0, 3))
    def remove(self, data, middle):
        s = self.a_sequence(data)
        p0, p1 = self.a_range(data, self.sequences[s])
        if middle and p0 > 0 and p1 >= 0:            # mostly only a beginning or an end
            p1 = -1
        assert self.context.seq_remove(s, p0, p1)
        for p in self.inside(p0, p1, self.sequences[s]):
            del self.sequences[s][p]
        if self.has_gap(self.sequences[s]):
            self.tidy = False

    @rule(data=st.data(), often=st.integers(0, 4))
    def keep(self, data, often):
        if often == 0:
            s = self.a_sequence(data)
            self.context.seq_keep(s)
            self.sequences = [held if i == s else {} for i, held in enumerate(self.sequences)]

    @rule(data=st.booleans(), often=st.integers(0, 4))
    def clear(self, data, often):
        if often == 0:
            lib.llama_memory_clear(self.context._memory, data)
            self.sequences = [{} for _ in self.sequences]
            self.tidy = True

    # ---- always ----

    @staticmethod
    def span(held):
        return list(range(min(held), max(held) + 1)) if held else []

    @invariant()
    def positions_are_those_of_the_model(self):
        for s, held in enumerate(getattr(self, "sequences", [])):
            assert list(self.context.seq_range(s)) == self.span(held), f"sequence {s}"


def test_cache_behaves_as_its_model(model):
    Cache.weights = model
    machine = Cache.TestCase()
    machine.settings = settings(max_examples=80, stateful_step_count=25, deadline=None, derandomize=True,
                                suppress_health_check=list(HealthCheck))
    machine.runTest()


# ---- single cases ----

def full(context, seq, n):
    """Does the context have no room for n more tokens of a sequence? It has them no more, if it had."""
    end = len(context.seq_range(seq)) and context.seq_range(seq).stop
    try:
        context.decode([1] * n, seq=seq, logits="none")
    except ContextFullError:
        return True
    context.seq_remove(seq, end)
    return False


def test_a_copy_that_outlives_its_original_counts(model):
    with context(model, 128, 2) as ctx:
        ctx.decode(range(63), logits="none")
        ctx.seq_copy(0, 1)
        ctx.decode([1], seq=0, logits="none")
        ctx.decode([2], seq=1, logits="none")       # the same slot: sequence 1 gets copies of 63 tokens
        ctx.seq_remove(0)
        assert not full(ctx, 1, 64)
        assert full(ctx, 1, 65)


def test_a_token_of_parted_sequences_counts_once(model):
    with context(model, 128, 3) as ctx:
        for s in range(3):
            ctx.decode([s], seq=s, logits="none")
        ctx.decode([5] * 60, seq=[(0, 1, 2)] * 60, logits="none")
        assert not full(ctx, 0, 65)
        assert full(ctx, 0, 66)


def test_a_window_that_slides_never_runs_out(model):
    for n_ctx in (63, 64, 65, 127, 129):
        with context(model, n_ctx) as ctx:
            ctx.decode([1] * n_ctx, logits="none")
            for p in range(200):
                ctx.seq_remove(0, 0, p + 1)
                ctx.decode([1], logits="none")
            assert full(ctx, 0, 1)


def test_gaps_that_fill_all_pages_are_named(model):
    with context(model, 128) as ctx:
        for p in range(0, 64 * 19, 64):              # 2 pages for n_ctx, one for an end, 16 to spare
            ctx.decode([1] * 64, logits="none")
            ctx.seq_remove(0, p, p + 63)
        with pytest.raises(ContextFullError):
            ctx.decode([1], logits="none")
        assert "holds 19 of n_ctx = 128, but sequences with gaps fill all its pages" in str(last_error())
        assert ctx.seq_range(0) == range(63, 64 * 19)


def test_a_copy_without_pages_changes_nothing(model):
    with context(model, 128, 3) as ctx:
        ctx.decode([1] * 3, seq=1, logits="none")
        ctx.seq_copy(1, 2)                           # these two share a page
        for p in range(0, 64 * 23, 64):              # and sequence 0 takes all others, for one token each
            ctx.decode([1] * 64, seq=0, logits="none")
            ctx.seq_remove(0, p, p + 63)
        lib.llama_memory_seq_cp(ctx._memory, 0, 2, 63, 200)
        assert str(last_error()) == "copying positions of sequence 0 into sequence 2 needs 1 pages, and 0 are free"
        assert [ctx.seq_range(s) for s in range(3)] == [range(63, 64 * 23), range(3), range(3)]
        ctx.decode([5], seq=2)
        assert ctx.logits().tobytes() == reference(model, ((0, 1), (1, 1), (2, 1), (3, 5)))


@pytest.mark.parametrize("n_ctx", [64, 65, 130])
@pytest.mark.parametrize("n_seq", [1, 2, 7, 32])
def test_n_ctx_tokens_fit_however_they_are_spread(model, n_ctx, n_seq):
    """Sequences that start at the last slot of a page, one after the other and with one token each."""
    for sizes in ([1] * (n_seq - 1) + [n_ctx - n_seq + 1], [n_ctx // n_seq + (s < n_ctx % n_seq) for s in range(n_seq)]):
        with context(model, n_ctx, n_seq) as ctx:
            for s, n in enumerate(sizes):
                ctx.decode([1] * n, pos=range(63, 63 + n), seq=s, logits="none")
            assert full(ctx, 0, 1)


def test_rows_of_other_sequences_are_untouched_by_a_failed_decode(model):
    with context(model, 70, 2) as ctx:
        ctx.decode(range(40), seq=0, logits="none")
        ctx.seq_copy(0, 1)
        with pytest.raises(ContextFullError):
            ctx.decode([3] * 40, seq=[0, 1] * 20, logits="none")
        for s in (0, 1):
            ctx.decode([9], seq=s)
            assert ctx.logits().tobytes() == reference(model, (*enumerate(range(40)), (40, 9)))


def test_cleared_with_zeros_or_not_is_as_new(model):
    with context(model, 100) as ctx:
        for data in (False, True, False):
            ctx.decode([4] * 70)
            lib.llama_memory_clear(ctx._memory, data)
            assert ctx.seq_range(0) == range(0)
            ctx.decode(np.arange(66))
            assert ctx.logits().tobytes() == reference(model, tuple(enumerate(range(66))))
            ctx.clear()
