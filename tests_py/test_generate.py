"""Sampling and Generation over tiny random models, and the stream of text that comes out of them."""

import gc
import threading
import time
import weakref

import numpy as np
import pytest

from bitnet_ffi import BitnetError, Context, ContextFullError, InvalidArgumentError, Model, Sampling
from bitnet_ffi.generate import TextStream, generate

GREEDY = Sampling(greedy=True)
PROMPT = [5, 17, 99, 42, 7, 300]


# ---- sampling ----

def test_greedy_is_argmax(model):
    with Context(model, n_ctx=32) as context, GREEDY.build(model) as sampler:
        context.decode(PROMPT)
        assert sampler.sample(context) == int(context.logits().argmax())
        assert sampler.names[-1] == "greedy" and sampler.seed is None


def test_temperature_zero_is_greedy(model):
    assert Sampling(temperature=0).build(model).names == GREEDY.build(model).names


def test_chain_holds_what_is_not_neutral(model):
    assert Sampling(seed=1).build(model).names == ["top-k", "top-p", "min-p", "temp", "dist"]
    plain = Sampling(top_k=0, top_p=1, min_p=0, seed=1)
    assert plain.build(model).names == ["temp", "gumbel"]
    assert Sampling(repetition_penalty=1.1, logit_bias={3: 1.0}, greedy=True).build(model).names == [
        "logit-bias", "penalties", "greedy"]


def test_noise_and_random_numbers_can_be_asked_for(model):
    assert Sampling(seed=1, gumbel=True).build(model).names == ["top-k", "top-p", "min-p", "temp", "gumbel"]
    assert Sampling(top_k=0, top_p=1, min_p=0, seed=1, gumbel=False).build(model).names == ["temp", "dist"]
    assert Sampling(top_k=0, top_p=0.9, min_p=0, seed=1).build(model).names == ["top-p", "temp", "dist"]
    with Sampling(top_k=0, top_p=1, min_p=0).build(model) as sampler:
        assert sampler.seed is not None
    assert Sampling(gumbel=True, greedy=True).build(model).names == ["greedy"]


def test_same_seed_same_tokens(model):
    def tokens(seed):
        generation = model.generate(PROMPT, max_tokens=12, sampling=Sampling(seed=seed, temperature=2.0))
        list(generation)
        return generation.tokens
    assert tokens(7) == tokens(7)
    assert len({tuple(tokens(seed)) for seed in range(6)}) > 1


def test_drawn_seed_is_told_and_repeats(model):
    first = model.generate(PROMPT, max_tokens=8, sampling=Sampling(temperature=2.0))
    list(first)
    again = model.generate(PROMPT, max_tokens=8, sampling=Sampling(temperature=2.0, seed=first.seed))
    list(again)
    assert again.tokens == first.tokens


def test_logit_bias_forbids(model):
    with Context(model, n_ctx=32) as context:
        context.decode(PROMPT)
        best = int(context.logits().argmax())
        with Sampling(greedy=True, logit_bias={best: -np.inf}).build(model) as sampler:
            assert sampler.sample(context) == int(np.argsort(context.logits())[-2])


@pytest.mark.parametrize("fields", [dict(temperature=-1), dict(temperature=float("nan")), dict(top_k=-1), dict(top_p=0),
                                    dict(top_p=1.5), dict(min_p=-0.1), dict(repetition_penalty=0), dict(seed=-1),
                                    dict(seed=2**32 - 1), dict(penalty_last_n=-1)])
def test_wrong_sampling_is_refused_at_once(fields):
    (name,) = fields
    with pytest.raises(ValueError, match=f"{name}: .*, expected"):
        Sampling(**fields)


def test_sample_without_logits(model):
    with Context(model, n_ctx=32) as context, GREEDY.build(model) as sampler:
        with pytest.raises(BitnetError):
            sampler.sample(context)


# ---- generation ----

def greedy_by_hand(model, prompt, n):
    out = []
    with Context(model, n_ctx=128) as context:
        tokens = list(prompt)
        for _ in range(n):
            context.decode(tokens)
            token = int(context.logits().argmax())
            if model.is_eog(token):
                break
            out.append(token)
            tokens = [token]
    return out


def test_greedy_generation_is_the_loop_by_hand(model):
    seen = []
    generation = model.generate(PROMPT, max_tokens=20, sampling=GREEDY, on_token=seen.append)
    text = "".join(generation)
    expected = greedy_by_hand(model, PROMPT, 20)
    assert generation.tokens == seen == expected
    assert text == generation.text
    assert text == b"".join(model.token_to_piece(t, special=False) for t in expected).decode("utf-8", "replace")
    assert generation.finish_reason == ("length" if len(expected) == 20 else "stop")


def test_metrics_are_complete(model):
    generation = model.generate("hello", max_tokens=5, sampling=GREEDY)
    list(generation)
    figures = generation.metrics.as_dict()
    assert figures["prompt_tokens"] == len(model.tokenize("hello", parse_special=True))
    assert figures["generated_tokens"] == len(generation.tokens)
    assert figures["total_ms"] >= figures["first_token_ms"] >= figures["prefill_ms"] > 0
    assert figures["memory_bytes"] > 1_000_000
    for name in ("prefill_tokens_per_sec", "decode_tokens_per_sec", "end_to_end_tokens_per_sec"):
        assert figures[name] >= 0


def test_generation_continues_a_context(model):
    with Context(model, n_ctx=128) as context:
        first = generate(context, PROMPT, max_tokens=3, sampling=GREEDY)
        list(first)
        assert not context.closed
        # The last chosen token was not decoded yet: it begins the next prompt.
        second = generate(context, first.tokens[-1:], max_tokens=3, sampling=GREEDY)
        list(second)
    assert first.tokens + second.tokens == greedy_by_hand(model, PROMPT, 6)


def test_full_context_ends_the_text(model):
    generation = model.generate(PROMPT, n_ctx=64, sampling=Sampling(greedy=True, logit_bias={model.eos: -np.inf}))
    n_ctx = generation.context.n_ctx
    list(generation)
    assert generation.finish_reason == "context"
    assert len(PROMPT) + len(generation.tokens) == n_ctx + 1  # the last one was chosen, and had no room


def test_prompt_above_the_context_is_refused(model):
    with pytest.raises(ContextFullError, match="the prompt has 300 tokens"):
        model.generate([5] * 300)


def test_max_tokens_zero_yields_nothing(model):
    generation = model.generate(PROMPT, max_tokens=0)
    assert list(generation) == [] and generation.finish_reason == "length"


def test_empty_prompt_is_refused(model):
    with pytest.raises(InvalidArgumentError, match="the prompt is empty"):
        model.generate([])


def test_close_and_with_free_the_context(model):
    with model.generate(PROMPT, max_tokens=50, sampling=GREEDY) as generation:
        next(generation)
        context = generation.context
    assert context.closed and generation.finish_reason == "cancelled"
    assert list(generation) == []


def test_abandoned_generation_is_collected(model):
    generation = model.generate(PROMPT, max_tokens=50, sampling=GREEDY)
    next(generation)
    context = weakref.ref(generation.context)
    del generation
    gc.collect()
    assert context() is None


def test_cancel_from_another_thread(slow_path):
    with Model(slow_path) as model:
        generation = model.generate([5] * 2000, n_threads=1)
        threading.Timer(0.2, generation.cancel).start()
        start = time.monotonic()
        assert list(generation) == []
        assert generation.finish_reason == "cancelled"
        assert time.monotonic() - start < 3


def test_cancel_does_not_outlive_the_generation(model):
    with Context(model, n_ctx=64) as context:
        generation = generate(context, PROMPT, max_tokens=9, sampling=GREEDY)
        next(generation)
        generation.cancel()
        list(generation)
        context.decode([1])


# ---- text as it comes ----

def feed_all(stream, data, size=1):
    pieces = [stream.feed(data[i:i + size]) for i in range(0, len(data), size)]
    return [piece for piece in [*pieces, stream.feed(b"", final=True)] if piece]


def test_stream_never_cuts_a_character():
    text = "añ北🙂e\u0301!"
    pieces = feed_all(TextStream(), text.encode())
    assert "".join(pieces) == text and "\ufffd" not in pieces
    assert pieces == list(text)


def test_stream_replaces_what_is_not_utf8():
    assert "".join(feed_all(TextStream(), b"a\xffb\xf0\x9f")) == "a\ufffdb\ufffd"


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_stop_string_is_found_across_pieces(size):
    stream = TextStream(["\nUser:", "END"])
    assert "".join(feed_all(stream, "one\ntwo\nUser: hi".encode(), size)) == "one\ntwo"
    assert stream.stopped


def test_what_only_looked_like_a_stop_string_comes_later():
    stream = TextStream(["STOP"])
    assert [stream.feed(b) for b in (b"a S", b"TO", b"P", b"x")] == ["a ", "", "", ""]
    stream = TextStream(["STOP"])
    assert [stream.feed(b) for b in (b"a S", b"TO", b"O!")] == ["a ", "", "STOO!"]
    stream = TextStream(["STOP"])
    assert [stream.feed(b"STO"), stream.feed(b"", final=True)] == ["", "STO"]


def test_the_first_stop_string_wins():
    assert "".join(feed_all(TextStream(["bc", "b", "abcd"]), b"xxabcd")) == "xxa"


def test_empty_stop_string_is_refused(model):
    with pytest.raises(InvalidArgumentError, match="stop: an empty string"):
        model.generate(PROMPT, stop=[""])


def test_generation_stops_before_a_stop_string(model):
    whole = "".join(model.generate(PROMPT, max_tokens=20, sampling=GREEDY))
    stop = whole[len(whole) // 2:len(whole) // 2 + 2]
    generation = model.generate(PROMPT, max_tokens=20, sampling=GREEDY, stop=stop)
    assert "".join(generation) == whole[:whole.find(stop)]
    assert generation.finish_reason == "stop_string"
