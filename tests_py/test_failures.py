"""What the machine can do to a context: an allocation that fails, a fork. The next call works, with the same bits.

failing_memory.c is preloaded into a child process, where the Nth allocation of a context and its first decode fails, for each N, and
that of every call that moves sequences or takes states in and out.
Next: test_load_memory.py does the same to loading.
"""
import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bitnet_ffi import config
from gguf_writer import tiny_model

HERE = Path(__file__).parent


def fail_each_allocation(path: str, watched: str = "") -> None:
    """In the child: every N in turn, each followed by a run without failure on the same model."""
    from model_abi import MEMORY, last_error, load
    from model_abi import lib as model_lib
    run = ctypes.CDLL(None).bnf_test_decode
    run.argtypes = [ctypes.c_void_p, ctypes.c_long, ctypes.POINTER(ctypes.c_long), ctypes.POINTER(ctypes.c_float)]
    run.restype = None
    ctypes.CDLL(None).bnf_test_watch(ctypes.c_bool(bool(watched)))
    model = load(path)
    result, logits = (ctypes.c_long * 7)(), (ctypes.c_float * 280)()
    run(model, -1, result, logits)                  # the first call may set up what lasts for the whole process
    run(model, -1, result, logits)
    n, expected = result[0], bytes(logits)
    no_context = no_decode = 0
    for fail_at in range(n):
        ctypes.memset(logits, 0, 4 * 280)
        run(model, fail_at, result, logits)
        _, made, first, last, code, held, maps = result
        text = last_error()[1]
        assert (held, maps) == (0, 0), f"allocation {fail_at}: {held} blocks and {maps} mappings leaked"
        if not made or first != 0:
            no_context += not made
            no_decode += made
            assert code == MEMORY and first in (0, MEMORY) and len(text) > 10, f"allocation {fail_at}: {code} {first} {text}"
        assert last == 0 and (not made or bytes(logits) == expected), f"allocation {fail_at}: the context is spoilt"
        run(model, -1, result, logits)
        assert result[1] and result[3] == 0 and bytes(logits) == expected, f"after allocation {fail_at}: the model is spoilt"
    model_lib.llama_model_free(model)
    print(n, no_context, no_decode)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    tiny = tiny_model(weights="q8_0", n_embd=64, n_ff=64, n_head=2, n_head_kv=1, n_vocab=280)
    return tiny.write(tmp_path_factory.mktemp("failures") / "tiny.gguf")


def run(call, *arguments, **environment):
    from model_abi import library_path
    environment = {**os.environ, "BITNET_FFI_LIBRARY": str(library_path()), "PYTHONPATH": str(config.PACKAGE.parent), **environment}
    done = subprocess.run([sys.executable, __file__, call, *arguments], cwd=HERE, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-3000:]
    return done.stdout.split()


def test_context_and_decode_when_memory_runs_out(path, preload):
    n, no_context, no_decode = map(int, run("fail_each_allocation", path, LD_PRELOAD=str(preload)))
    assert no_context >= 10 and no_decode >= 3 and no_context + no_decode <= n


def test_context_that_is_watched_when_memory_runs_out(path, preload):
    n, no_context, no_decode = map(int, run("fail_each_allocation", path, "watched", LD_PRELOAD=str(preload)))
    assert no_context >= 18 and no_decode >= 3 and no_context + no_decode <= n


def test_sequences_and_states_when_memory_runs_out(path, preload, tmp_path):
    said = run("fail_each_allocation_of_calls", path, str(tmp_path), LD_PRELOAD=str(preload))
    failed = {name: (int(n), int(n_failed)) for name, n, n_failed in zip(said[::3], said[1::3], said[2::3])}
    assert len(failed) == 12 and sum(n_failed for _, n_failed in failed.values()) >= 40
    for name, (n, n_failed) in failed.items():
        assert n_failed >= n - 2 * name.endswith("_file"), failed   # a file does without a buffer of its own, and without its real path


def test_backend_sampling_when_memory_runs_out(tmp_path, preload):
    """Heads that are screened and not; a decode that samples, and each getter of what it sampled."""
    for head in ("f16", "q8_0"):
        path = tiny_model(n_layer=2, n_embd=64, n_ff=64, n_head=2, n_head_kv=1, n_vocab=1024, head=head).write(tmp_path / f"{head}.gguf")
        said = run("fail_each_allocation_of_sampling", path, LD_PRELOAD=str(preload))
        failed = {(chain, name): int(n) for chain, name, n in zip(said[::3], said[1::3], said[2::3])}
        assert len(failed) == 8 * 5 and all(failed[chain, "decode"] >= 1 for chain, _ in failed), failed
        assert sum(n for (_, name), n in failed.items() if name == "probs") >= 5 <= sum(n for (_, name), n in failed.items() if name == "logits")


TEXT = [(5 * i * i + 1) % 280 for i in range(150)]


def two_sequences(model):
    """A context with 150 positions, of which sequence 1 shares the first hundred. Its owner frees it."""
    from bitnet_ffi._ffi import ffi, lib
    from engine_abi import decode
    params = lib.llama_context_default_params()
    params.n_ctx, params.n_seq_max, params.n_threads, params.n_threads_batch, params.kv_unified = 512, 4, 1, 1, True
    ctx = lib.llama_init_from_model(model, params)
    assert ctx != ffi.NULL and decode(ctx, TEXT[:100]) == 0
    lib.llama_memory_seq_cp(lib.llama_get_memory(ctx), 0, 1, 0, -1)
    assert decode(ctx, TEXT[100:]) == 0
    return ctx


def state_of(ctx) -> bytes:
    from bitnet_ffi._ffi import ffi, lib
    buffer = ffi.new("uint8_t[]", lib.llama_state_get_size(ctx))
    return bytes(ffi.buffer(buffer, lib.llama_state_get_data(ctx, buffer, len(buffer))))


def fail_each_allocation_of_calls(path: str, folder: str) -> None:
    """In the child: call by call, every N in turn on a context of its own. A call that fails says so and changes nothing, and the same
    call then does what it should."""
    from bitnet_ffi import Model
    from bitnet_ffi._ffi import ffi, lib
    from engine_abi import decode, last_error
    call = ctypes.CDLL(None).bnf_test_call
    call.restype = None
    words = ctypes.c_long * 6
    address = lambda thing: int(ffi.cast("intptr_t", thing))
    with Model(path) as owner:
        model = owner._pointer
        saved = two_sequences(model)
        whole = ffi.from_buffer(state_of(saved))
        sequence = ffi.new("uint8_t[]", lib.llama_state_seq_get_size(saved, 1))
        assert lib.llama_state_seq_get_data(saved, sequence, len(sequence), 1) == len(sequence)
        files = [ffi.new("char[]", os.path.join(folder, name).encode()) for name in ("whole", "sequence", "out")]
        tokens, room = ffi.new("llama_token[]", TEXT), ffi.new("llama_token[]", 200)
        count = ffi.new("size_t *")
        assert lib.llama_state_save_file(saved, files[0], tokens, 150) and lib.llama_state_seq_save_file(saved, files[1], 1, tokens, 100)
        calls = {
            "llama_memory_seq_add": (0, 30, 120, 7), "llama_memory_seq_div": (0, 0, 150, 3), "llama_memory_seq_cp": (0, 2, 0, -1),
            "llama_memory_seq_rm": (0, 20, 130), "llama_memory_seq_keep": (1,), "llama_state_get_size": (),
            "llama_state_set_data": (address(whole), len(whole)), "llama_state_seq_set_data": (address(sequence), len(sequence), 3),
            "llama_state_load_file": (address(files[0]), address(room), 200, address(count)),
            "llama_state_seq_load_file": (address(files[1]), 3, address(room), 200, address(count)),
            "llama_state_save_file": (address(files[2]), address(tokens), 150),
            "llama_state_seq_save_file": (address(files[2]), 1, address(tokens), 100),
        }
        free = ctypes.c_void_p(address(ffi.cast("void *", ffi.addressof(lib, "llama_free"))))
        for name, arguments in calls.items():
            function = ctypes.c_void_p(address(ffi.cast("void *", ffi.addressof(lib, name))))
            result, failed = (ctypes.c_long * 5)(), 0
            fail_at, n, expected = -1, 1, None
            while fail_at < n:
                ctx = two_sequences(model)
                handle = lib.llama_get_memory(ctx) if "memory" in name else ctx
                before, kept = state_of(ctx), 0
                lib.llama_model_n_embd(ffi.NULL)   # an error that is none of these
                call(function, words(address(handle), *arguments), fail_at, result)
                if fail_at < 0:
                    n = result[0]
                elif result[2] == lib.BITNET_ERROR_MEMORY:
                    failed += 1
                    assert len(last_error()[1]) > 10 and state_of(ctx) == before, f"{name}, allocation {fail_at}: the context has changed"
                    kept = result[3] + result[4]
                    call(function, words(address(handle), *arguments), -1, result)
                assert result[2] != lib.BITNET_ERROR_MEMORY, f"{name}, allocation {fail_at}: {last_error()}"
                kept += result[3] + result[4]
                after = state_of(ctx)
                assert decode(ctx, [9], seq=[[1]]) == 0
                call(free, words(address(ctx)), -1, result)
                expected = expected or (after, result[3] + result[4] + kept)
                # The blocks that a call keeps are freed with the context, and no others are missing.
                assert (after, result[3] + result[4] + kept) == expected, f"{name}, allocation {fail_at}: another outcome or a leak"
                fail_at += 1
            print(name, n, failed)


SAMPLED = ("token", "probs", "logits", "candidates")


def sampled_rows(lib, ffi, ctx, name):
    """What a getter gives: a token, or an array as bytes (None for NULL)."""
    given = getattr(lib, f"llama_get_sampled_{name}_ith")(ctx, -1)
    if name == "token":
        return given
    n = getattr(lib, f"llama_get_sampled_{name}_count_ith")(ctx, -1)
    return bytes(ffi.buffer(given, 4 * n)) if given != ffi.NULL else None


def fail_each_allocation_of_sampling(path: str) -> None:
    """In the child: chain by chain, every allocation of a decode that samples fails in turn, and every one of each getter. What fails says
    so; the context and the chain are as they were; and the same call then gives what it would have given."""
    from bitnet_ffi import Model
    from bitnet_ffi._ffi import ffi, lib
    from engine_abi import last_error
    c, s = ctypes.CDLL(None), lib
    for function in (c.bnf_test_call, c.bnf_test_decode_tokens):
        function.restype = None
    address = lambda thing: int(ffi.cast("intptr_t", thing))
    tokens = ffi.new("llama_token[]", [(7 * i * i + 3) % 1000 for i in range(40)])
    chains = {
        "greedy": lambda: [s.llama_sampler_init_greedy()],
        "top-k": lambda: [s.llama_sampler_init_top_k(4), s.llama_sampler_init_temp(0.8), s.llama_sampler_init_dist(42)],
        "dist": lambda: [s.llama_sampler_init_temp(1.5), s.llama_sampler_init_dist(7)],
        "top-p": lambda: [s.llama_sampler_init_top_p(0.9, 1), s.llama_sampler_init_dist(4)],
        "penalties": lambda: [s.llama_sampler_init_penalties(1024, 64, 1.5, 0.5, 0.25), s.llama_sampler_init_top_k(20), s.llama_sampler_init_dist(7)],
        "noise": lambda: [s.llama_sampler_init_temp(0.7), s.bitnet_sampler_init_gumbel(6)],
        "mirostat": lambda: [s.llama_sampler_init_mirostat_v2(3, 5.0, 0.1)],
        "typical": lambda: [s.llama_sampler_init_typical(0.9, 1), s.llama_sampler_init_xtc(0.5, 0.1, 1, 2), s.llama_sampler_init_dist(5)],
    }
    with Model(path) as owner:
        def attached(name):
            params = lib.llama_context_default_params()
            params.n_ctx, params.n_threads, params.n_threads_batch = 64, 1, 1
            ctx = lib.llama_init_from_model(owner._pointer, params)
            chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
            for member in chains[name]():
                lib.llama_sampler_chain_add(chain, member)
            assert lib.llama_set_sampler(ctx, 0, chain), last_error()
            return ctx, chain

        def call(ctx, what, fail_at):
            """Allocations that it made and its error, if it is want of memory."""
            result = (ctypes.c_long * 5)()
            lib.llama_model_n_embd(ffi.NULL)   # an error that is no want of memory
            if what == "decode":
                n = len(tokens) if lib.llama_memory_seq_pos_max(lib.llama_get_memory(ctx), 0) < 0 else 1
                c.bnf_test_decode_tokens(ctypes.c_void_p(address(ctx)), ctypes.c_void_p(address(tokens)), n, fail_at, result)
            else:
                getter = ctypes.c_void_p(address(ffi.cast("void *", ffi.addressof(lib, f"llama_get_sampled_{what}_ith"))))
                c.bnf_test_call(getter, (ctypes.c_long * 6)(address(ctx), -1), fail_at, result)
            return result[0], result[1], result[2] == lib.BITNET_ERROR_MEMORY

        def all_rows(ctx):
            """Of this decode and the next: the chain has gone on from where it was."""
            first = [sampled_rows(lib, ffi, ctx, name) for name in SAMPLED]
            assert call(ctx, "decode", -1)[1] == 0
            return first + [sampled_rows(lib, ffi, ctx, name) for name in SAMPLED]

        for name in chains:
            for what in ("decode", *SAMPLED):
                n, failed, fail_at, expected = 1, 0, -1, None
                while fail_at < n:
                    ctx, chain = attached(name)
                    before = state_of(ctx)
                    if what != "decode":
                        assert call(ctx, "decode", -1)[1] == 0
                    made, returned, no_memory = call(ctx, what, fail_at)
                    if fail_at < 0:
                        n = made
                    elif no_memory:
                        failed += 1
                        assert len(last_error()[1]) > 10 and (returned < 0 if what == "decode" else returned == 0), (name, what, fail_at, returned)
                        if what == "decode":
                            assert state_of(ctx) == before, f"{name}, allocation {fail_at}: the context has changed"
                            assert lib.llama_get_sampled_token_ith(ctx, -1) == -1
                        assert not call(ctx, what, -1)[2]
                    assert what != "decode" or lib.llama_memory_seq_pos_max(lib.llama_get_memory(ctx), 0) == len(tokens) - 1
                    found = all_rows(ctx)
                    expected = expected or found
                    assert found == expected, f"{name}, {what}, allocation {fail_at}: another outcome"
                    lib.llama_free(ctx)
                    lib.llama_sampler_free(chain)
                    fail_at += 1
                assert failed == n, f"{name}, {what}: {n - failed} of {n} failures were not noticed"
                print(name, what, failed)


def fork_and_decode(path: str) -> None:
    """In the child: a context with two threads is used, the process forks, and both go on with it, and with new ones."""
    from engine_abi import decode, init, row, rows_alone
    from bitnet_ffi import Model
    with Model(path) as owner:
        model = owner._pointer
        tokens = [(5 * i * i + 1) % 280 for i in range(80)]
        rows = rows_alone(model, tokens)
        ctx = init(model, n_ctx=128, n_threads=2, n_threads_batch=2)
        assert decode(ctx, tokens[:70]) == 0 and row(ctx) == rows[69]
        child = os.fork()
        assert decode(ctx, tokens[70:79]) == 0 and row(ctx) == rows[78]
        assert decode(ctx, tokens[79:]) == 0 and row(ctx) == rows[79]
        assert rows_alone(model, tokens, n_threads=2, n_threads_batch=2) == rows
        from bitnet_ffi._ffi import lib
        lib.llama_set_n_threads(ctx, 1, 2)
        lib.llama_kv_cache_clear(ctx)
        assert decode(ctx, tokens) == 0 and row(ctx) == rows[79]
        del ctx
        if child:
            assert os.waitpid(child, 0)[1] == 0
            print("both")
        sys.stdout.flush()


def test_both_sides_of_a_fork_go_on(path):
    assert run("fork_and_decode", path) == ["both"]


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
