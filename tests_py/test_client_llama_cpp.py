"""llama-cpp-python, unchanged, on this library: its high-level Llama and its ctypes API (docs/CLIENTS.md).

It is installed without an engine of its own (CMAKE_ARGS=-DLLAMA_BUILD=OFF) and finds ours through LLAMA_CPP_LIB_PATH. Skipped where it is
not installed, or with llama.cpp in it, which test_vocab_peer.py compares with; .ci/run installs it.
Next: test_cli.py for `bitnet run`, whose text must be the same.
"""
import contextlib
import ctypes
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from bitnet_ffi import Model
from peer_tools import client_or_skip

llama_cpp = client_or_skip()

PROMPT = "The capital of France is"
TINY = os.path.join(os.path.dirname(__file__), "data", "tiny-b158-i2_s.gguf")


def open_llama(path, **options):
    """A Llama, closed at the end of a `with`."""
    return contextlib.closing(llama_cpp.Llama(str(path), verbose=False, **{"n_ctx": 256, "n_threads": 2, "n_threads_batch": 2, **options}))


@pytest.fixture(scope="module", params=["smollm2", "ternary"])
def path(request):
    return TINY if request.param == "ternary" else request.getfixturevalue("smollm2_path")


@pytest.fixture(scope="module")
def llm(path):
    # The ternary one has no template, so the client is told which.
    with open_llama(path, chat_format="chatml" if path == TINY else None) as llm:
        yield llm


@pytest.fixture(scope="module")
def ours(path):
    with Model(path) as model:
        yield model


def text_of(llm, prompt=PROMPT, **options):
    return llm(prompt, **{"max_tokens": 12, "temperature": 0, **options})["choices"][0]["text"]


def bitnet_run(path, prompt, n, *flags) -> str:
    command = [sys.executable, "-m", "bitnet_ffi", "run", "-m", str(path), "-p", prompt, "--greedy", "-n", str(n), "-q", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.removesuffix("\n")


def test_the_library_is_ours():
    lib = llama_cpp.llama_cpp._lib
    lib.bitnet_version.restype = ctypes.c_char_p
    assert lib.bitnet_version() == llama_cpp.llama_cpp._lib.bitnet_version()
    assert os.path.samefile(os.path.dirname(lib._name), os.environ["LLAMA_CPP_LIB_PATH"])


# ---- text ----

@pytest.mark.parametrize("prompt", [PROMPT, "def fibonacci(n):", "Once upon a time", "\u00dcber den Wolken"])
def test_greedy_text_is_that_of_bitnet_run(llm, path, prompt):
    # Half characters, of which the random weights make some: the client leaves them out, `bitnet run` shows U+FFFD.
    assert text_of(llm, prompt, max_tokens=24) == bitnet_run(path, prompt, 24).replace("\ufffd", "")


def test_streaming(llm):
    whole = text_of(llm, max_tokens=16)
    pieces = [chunk["choices"][0]["text"] for chunk in llm(PROMPT, max_tokens=16, temperature=0, stream=True)]
    assert len(pieces) > 4 and "".join(pieces) == whole


def test_stop_and_finish_reason(llm):
    whole = text_of(llm, max_tokens=24)
    stop = whole[6:9]
    done = llm(PROMPT, max_tokens=24, temperature=0, stop=[stop])["choices"][0]
    assert done["text"] == whole[:whole.index(stop)] and done["finish_reason"] == "stop"
    assert llm(PROMPT, max_tokens=3, temperature=0)["choices"][0]["finish_reason"] == "length"


def test_a_seed_gives_the_same_text(llm):
    first, again, other = (text_of(llm, temperature=1.0, seed=seed, top_k=0, top_p=1.0, min_p=0.0) for seed in (7, 7, 8))
    assert first == again != other


@pytest.mark.parametrize("options", [dict(top_k=20, top_p=0.9, min_p=0.1, typical_p=0.9), dict(repeat_penalty=1.3, presence_penalty=0.5),
                                     dict(mirostat_mode=1), dict(mirostat_mode=2, mirostat_tau=4.0)])
def test_samplers(llm, options):
    assert text_of(llm, temperature=0.9, seed=3, **options) == text_of(llm, temperature=0.9, seed=3, **options) != ""


def test_usage_counts_tokens(llm):
    usage = llm(PROMPT, max_tokens=5, temperature=0)["usage"]
    n = len(llm.tokenize(PROMPT.encode()))
    assert usage == {"prompt_tokens": n, "completion_tokens": 5, "total_tokens": n + 5}


# ---- what is allowed ----

def test_logit_bias(llm):
    usual = llm.tokenize(text_of(llm, max_tokens=1).encode(), add_bos=False)[-1]
    assert text_of(llm, max_tokens=1, logit_bias={usual: -100.0}) != text_of(llm, max_tokens=1)
    wanted = llm.tokenize(b"x cheese", add_bos=False)[-1]
    assert text_of(llm, max_tokens=3, logit_bias={wanted: 100.0}) == llm.detokenize([wanted] * 3).decode()


def test_grammar(llm):
    grammar = llama_cpp.LlamaGrammar.from_string('root ::= " " ("yes" | "no") "!"', verbose=False)
    assert text_of(llm, "Is water wet?", max_tokens=16, grammar=grammar) in (" yes!", " no!")


def test_json_schema(llm):
    schema = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "maximum": 150}},
              "required": ["name", "age"]}
    answer = llm.create_chat_completion([{"role": "user", "content": "Invent a person."}], temperature=0, max_tokens=160,
                                        response_format={"type": "json_object", "schema": schema})
    assert answer["choices"][0]["finish_reason"] == "stop"
    person = json.loads(answer["choices"][0]["message"]["content"])
    assert isinstance(person["name"], str) and isinstance(person["age"], int)


# ---- chat ----

def test_chat_is_that_of_bitnet_run(llm, path):
    messages = [{"role": "system", "content": "You are terse."}, {"role": "user", "content": "Name a colour."}]
    answer = llm.create_chat_completion(messages, temperature=0, max_tokens=16)["choices"][0]["message"]
    assert answer["role"] == "assistant"
    if path == TINY:   # `bitnet run` takes a model without a template as one without a chat
        prompt = "<|im_start|>system\nYou are terse.<|im_end|>\n<|im_start|>user\nName a colour.<|im_end|>\n<|im_start|>assistant\n"
        assert answer["content"] == text_of(llm, prompt, max_tokens=16)
    else:
        assert answer["content"] == bitnet_run(path, "Name a colour.", 16, "--system-prompt", "You are terse.")


def test_both_run_the_files_template(llm, path):
    """It has a system message of its own for who gives none, which the formats that the library recognises have not."""
    if path == TINY:
        pytest.skip("no template in this file")
    answer = llm.create_chat_completion([{"role": "user", "content": "Who are you?"}], temperature=0, max_tokens=16)
    assert answer["choices"][0]["message"]["content"] == bitnet_run(path, "Who are you?", 16, "--prompt-template", "auto")


def test_chat_streams(llm):
    messages = [{"role": "user", "content": "Say hello."}]
    whole = llm.create_chat_completion(messages, temperature=0, max_tokens=12)["choices"][0]["message"]["content"]
    deltas = [chunk["choices"][0]["delta"] for chunk in llm.create_chat_completion(messages, temperature=0, max_tokens=12, stream=True)]
    assert "".join(delta.get("content") or "" for delta in deltas) == whole != ""


# ---- numbers ----

def test_logprobs(path):
    with open_llama(path, logits_all=True) as llm:
        found = llm(PROMPT, max_tokens=4, temperature=0, logprobs=3)["choices"][0]["logprobs"]
    assert len(found["tokens"]) == len(found["token_logprobs"]) == 4
    for own, top in zip(found["token_logprobs"], found["top_logprobs"]):
        assert own == max(top.values()) and len(top) >= 2 and sum(math.exp(p) for p in top.values()) <= 1 + 1e-5


def test_scores_are_the_logits_of_bitnet_ffi(llm, ours):
    tokens = llm.tokenize(PROMPT.encode())
    llm.reset()
    llm.eval(tokens)
    theirs = np.ctypeslib.as_array(llm._ctx.get_logits(), shape=(llm.n_vocab(),))
    with ours.context(n_ctx=64) as context:
        context.decode(tokens)
        assert np.array_equal(theirs, context.logits())


def test_embeddings(path):
    with open_llama(path, embedding=True, pooling_type=llama_cpp.LLAMA_POOLING_TYPE_MEAN) as llm:
        first, again, other = (np.array(llm.embed(text)) for text in ("a cat", "a cat", "the stock market"))
        assert first.shape == (llm.n_embd(),) and np.isfinite(first).all()
        assert np.array_equal(first, again) and not np.array_equal(first, other)
        many = llm.create_embedding(["a cat", "the stock market"])["data"]
        assert np.allclose([d["embedding"] for d in many], [first, other], atol=1e-6)


# ---- state ----

def test_state_goes_back(llm):
    llm.reset()
    llm.eval(llm.tokenize(PROMPT.encode()))
    state = llm.save_state()
    expected = [llm.sample(temp=0.0)]
    llm.eval(expected)
    expected.append(llm.sample(temp=0.0))
    llm.reset()
    llm.eval(llm.tokenize(b"Something else entirely, and longer than that"))
    llm.load_state(state)
    llm.eval(expected[:1])
    assert llm.sample(temp=0.0) == expected[1]


def test_ram_cache(path):
    with open_llama(path) as plain:
        expected = text_of(plain)
    with open_llama(path) as llm:
        llm.set_cache(llama_cpp.LlamaRAMCache(capacity_bytes=64 << 20))
        assert [text_of(llm), text_of(llm, "Another text between"), text_of(llm)][::2] == [expected, expected]
        assert len(llm.cache.cache_state) >= 2


def test_prompts_that_begin_alike(llm):
    """The client keeps the common beginning in the cache and removes the rest."""
    long = PROMPT + " Paris, and the capital of Italy is"
    first = text_of(llm, long)
    text_of(llm, PROMPT)
    assert text_of(llm, long) == first


# ---- tokenizer and model ----

@pytest.mark.parametrize("text", ["Hello, world!", "  two  spaces\n\n", "\u4f60\u597d \U0001f600", ""])
def test_tokenizer(llm, ours, text):
    raw = text.encode()
    tokens = llm.tokenize(raw, add_bos=False, special=False)
    assert tokens == list(ours.encode(text, add_special=False, parse_special=False))
    if ours.n_vocab > 512:   # the ternary one is SentencePiece's, which puts a space before the text
        assert llm.detokenize(tokens) == raw
        assert llm.tokenizer().decode(tokens) == text


def test_what_it_says_of_the_model(llm, path):
    ternary = path == TINY
    assert (llm.n_vocab(), llm.n_ctx()) == (512 if ternary else 49152, 256)
    assert llm.metadata["general.architecture"] == ("bitnet-b1.58" if ternary else "llama")
    assert ("tokenizer.chat_template" in llm.metadata) is not ternary
    assert (llm.token_bos(), llm.token_eos()) == (1, 2)


def test_a_file_that_is_no_model(tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(b"no model" * 10)
    with pytest.raises(ValueError, match="Failed to load model"):
        open_llama(path)


# ---- its ctypes API ----

def test_low_level(path, llm):
    low = llama_cpp
    low.llama_backend_init()
    model = low.llama_model_load_from_file(str(path).encode(), low.llama_model_default_params())
    params = low.llama_context_default_params()
    params.n_ctx = 64
    ctx = low.llama_init_from_model(model, params)
    vocab = low.llama_model_get_vocab(model)
    raw = PROMPT.encode()
    tokens = (low.llama_token * 32)()
    n = low.llama_tokenize(vocab, raw, len(raw), tokens, 32, True, True)
    sampler = low.llama_sampler_chain_init(low.llama_sampler_chain_default_params())
    low.llama_sampler_chain_add(sampler, low.llama_sampler_init_greedy())
    batch, out = low.llama_batch_get_one(tokens, n), b""
    piece, one = ctypes.create_string_buffer(64), (low.llama_token * 1)()
    for _ in range(12):
        assert low.llama_decode(ctx, batch) == 0
        one[0] = low.llama_sampler_sample(sampler, ctx, -1)
        n = low.llama_token_to_piece(vocab, one[0], piece, 64, 0, False)
        out += piece.raw[:n]
        batch = low.llama_batch_get_one(one, 1)
    low.llama_sampler_free(sampler)
    low.llama_free(ctx)
    low.llama_model_free(model)
    low.llama_backend_free()
    assert out.decode(errors="ignore") == text_of(llm)
