"""States in files, of a context or a sequence: written whole or not at all, whatever happens meanwhile; and in Python.

Next: test_state.py for what a state holds and what is refused.
"""
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from bitnet_ffi import Model
from bitnet_ffi._ffi import lib
from bitnet_ffi.errors import InvalidArgumentError
from engine_abi import decode, init, last_error
from state_tools import (  # noqa: F401  some are fixtures
    HEADER, NULL, TOKENS, folder, forked, get, go_on, load, model, saved, untouched, write)


@pytest.mark.parametrize("name", [b"state.bin", b"\xff\xfe not utf-8 \x80.bin", "Zustand \u00e4\u20ac".encode()])
def test_files(model, saved, tmp_path, name):
    path = os.path.join(os.fsencode(tmp_path), name)
    ctx = forked(model)
    assert lib.llama_state_save_file(ctx, path, TOKENS, 3), last_error()
    assert os.listdir(os.fsencode(tmp_path)) == [name]
    other = init(model, n_ctx=400, n_seq_max=4)
    assert load(lib.llama_state_load_file, other, path) == (True, TOKENS)
    assert get(other) == saved[0] and go_on(other) == saved[1]
    n = lib.llama_state_seq_save_file(other, path, 1, TOKENS, 2)
    assert n == os.path.getsize(path)
    assert load(lib.llama_state_seq_load_file, other, path, 3) == (n, TOKENS[:2])
    assert get(other, 1) == get(other, 3)


def test_a_file_without_room_for_its_tokens_changes_nothing(model, tmp_path):
    path = os.fsencode(tmp_path / "state")
    ctx = forked(model)
    assert lib.llama_state_save_file(ctx, path, TOKENS, 3)
    other = init(model, n_ctx=400, n_seq_max=4)
    before = get(other)
    assert load(lib.llama_state_load_file, other, path, room=2) == (False, None)
    assert last_error()[1] == "the state comes with 3 tokens, and there is room for 2"
    untouched(other, before)
    assert lib.llama_state_load_file(other, path, NULL, 99, NULL) is False and "room for 0" in last_error()[1]
    assert load(lib.llama_state_load_file, other, path, room=3) == (True, TOKENS)


@pytest.mark.parametrize("length", [0, 50, HEADER, 300, -9, -1])
def test_a_damaged_file_changes_nothing(model, tmp_path, length):
    path = tmp_path / "state"
    ctx = forked(model)
    assert lib.llama_state_save_file(ctx, os.fsencode(path), NULL, 0)
    whole = path.read_bytes()
    before = get(ctx)
    path.write_bytes(whole[:length])
    assert load(lib.llama_state_load_file, ctx, os.fsencode(path)) == (False, None) and "state" in last_error()[1]
    if length:
        flipped = bytearray(whole)
        flipped[length] ^= 8
        path.write_bytes(flipped)
        assert load(lib.llama_state_load_file, ctx, os.fsencode(path)) == (False, None) and "state" in last_error()[1]
    untouched(ctx, before)


def test_a_link_is_followed(model, tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    assert lib.llama_state_save_file(forked(model), os.fsencode(tmp_path / "link"), NULL, 0)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").stat().st_size > HEADER
    assert sorted(os.listdir(tmp_path)) == ["link", "real"]


def test_a_save_that_is_killed_leaves_the_old_file(folder, tmp_path):
    """Whenever: some kills find it in the middle, which a file beside the old one shows."""
    path = os.fsencode(tmp_path / "state")
    with Model(write(folder, "killed", n_embd=128, n_layer=8, n_head_kv=2)) as model:
        ctx = init(model._pointer, n_ctx=256)
        assert decode(ctx, range(200)) == 0
        assert lib.llama_state_save_file(ctx, path, TOKENS, 3)
        old = (tmp_path / "state").read_bytes()
        for kill in range(100):
            child = os.fork()
            if child == 0:
                while lib.llama_state_save_file(ctx, path, TOKENS, 3):
                    pass
                os._exit(1)
            time.sleep(0.003)
            os.kill(child, signal.SIGKILL)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
            assert (tmp_path / "state").read_bytes() == old
            if len(os.listdir(tmp_path)) > 3:
                break
        assert len(os.listdir(tmp_path)) > 3, "no kill found a save in the middle"
        assert load(lib.llama_state_load_file, ctx, path) == (True, TOKENS)


def full_disk(path):
    """In a child: files end at 4 KiB, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with Model(os.environ["STATE_MODEL"]) as model:
        ctx = forked(model._pointer)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        done = lib.llama_state_save_file(ctx, os.fsencode(path), NULL, 0)
        print(done, *last_error(), sep="|")


def test_a_full_disk_is_reported_and_leaves_the_old_file(folder, tmp_path):
    path = tmp_path / "state"
    path.write_bytes(b"the old one")
    done = subprocess.run([sys.executable, __file__, path], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "STATE_MODEL": str(write(folder, "full")), "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.stdout.startswith(f"False|-5|cannot write '{path}': "), done.stdout + done.stderr
    assert path.read_bytes() == b"the old one" and os.listdir(tmp_path) == ["state"]


# ---- Python ----

def test_contexts_of_the_python_api(folder, tmp_path):
    with Model(write(folder, "api")) as model, model.context(n_ctx=100, n_seq_max=2) as ctx, model.context(n_ctx=120, n_seq_max=2) as other:
        ctx.decode(range(30), logits="all")
        rows = ctx.all_logits().copy()
        other.set_state(ctx.get_state())
        assert other.seq_range(0) == range(30) and (other.all_logits() == rows).all() and (other.logits(3) == rows[3]).all()
        other.set_state(other.get_state(0), 1)
        assert other.seq_range(1) == range(30) and (other.all_logits() == rows).all()
        path = tmp_path / "state"
        ctx.save_state(path, [1, 2, 3])
        other.clear()
        assert other.load_state(path).tolist() == [1, 2, 3] and other.seq_range(0) == range(30)
        ctx.save_state(path, seq=0)
        assert other.load_state(path, seq=1).size == 0 and other.seq_range(1) == range(30)
        with pytest.raises(InvalidArgumentError, match="cut off"):
            other.set_state(ctx.get_state()[:-1])
        with pytest.raises(InvalidArgumentError, match="sequence 2, expected 0 to 1"):
            other.get_state(2)
        with pytest.raises(FileNotFoundError):
            other.load_state(tmp_path / "none")
        with pytest.raises(OSError):
            other.save_state(tmp_path / "none" / "file")


if __name__ == "__main__":
    full_disk(sys.argv[1])
