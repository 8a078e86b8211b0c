"""ggml's tensors and gguf's files: what was written is what is read, byte for byte, from files, from models, from C programs.

calls_tensors.py has the use and misuse of each call. Files that lie are read in a child process, by the same reader that loads models.
Next: test_gguf.py for that reader, test_observe.py for the tensors of a decode.
"""
import os
import random
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bitnet_ffi import config
from bitnet_ffi._ffi import ffi, lib
from engine_abi import last_error
from gguf_writer import (ARRAY, BOOL, F32, F64, Gguf, I8, I16, I32, I64, STRING, TYPES, Tensor, U8, U16, U32, U64, _SCALAR, pack_value,
                         tiny_model)
from test_gguf_fuzz import cases, small_model

HERE = Path(__file__).parent
NULL = ffi.NULL
BLOB = "GGUF tensor data binary blob"


def opened(path, no_alloc=False):
    out = ffi.new("struct ggml_context **")
    gguf = lib.gguf_init_from_file(str(path).encode(), {"no_alloc": no_alloc, "ctx": out})
    assert gguf != NULL and out[0] != NULL, last_error()
    return ffi.gc(gguf, lib.gguf_free), ffi.gc(out[0], lib.ggml_free)


def tensors_of(ctx):
    found = []
    tensor = lib.ggml_get_first_tensor(ctx)
    while tensor != NULL:
        found.append(tensor)
        tensor = lib.ggml_get_next_tensor(ctx, tensor)
    return found


def content(tensor) -> bytes:
    """Through the call, and at data: the same."""
    n = lib.ggml_nbytes(tensor)
    copy = ffi.new("char[]", max(n, 1))
    lib.ggml_backend_tensor_get(tensor, copy, 0, n)
    assert last_error() == (0, "")
    assert n == 0 or bytes(ffi.buffer(copy, n)) == bytes(ffi.buffer(tensor.data, n))
    return bytes(ffi.buffer(copy, n))


GETTERS = {U8: "u8", I8: "i8", U16: "u16", I16: "i16", U32: "u32", I32: "i32", F32: "f32", BOOL: "bool", STRING: "str", U64: "u64", I64: "i64",
           F64: "f64"}


def value_of(gguf, i):
    """(type, value) as gguf_writer takes it."""
    kind = lib.gguf_get_kv_type(gguf, i)
    if kind != ARRAY:
        value = getattr(lib, f"gguf_get_val_{GETTERS[kind]}")(gguf, i)
        return kind, ffi.string(value).decode() if kind == STRING else value
    elem, n = lib.gguf_get_arr_type(gguf, i), lib.gguf_get_arr_n(gguf, i)
    if elem == STRING:
        return kind, (elem, [ffi.string(lib.gguf_get_arr_str(gguf, i, j)).decode() for j in range(n)])
    at = lib.gguf_get_arr_data(gguf, i)
    assert int(ffi.cast("uintptr_t", at)) % 8 == 0
    size = struct.calcsize("<" + _SCALAR[elem])
    return kind, (elem, list(struct.unpack(f"<{n}{_SCALAR[elem]}", bytes(ffi.buffer(at, n * size)))))


def random_value(rng, kind):
    if kind == STRING:
        return "".join(rng.choice("abc é\n") for _ in range(rng.randrange(20)))
    if kind == BOOL:
        return rng.random() < 0.5
    size = struct.calcsize("<" + _SCALAR[kind])
    if kind in (F32, F64):
        return struct.unpack("<" + _SCALAR[kind], struct.pack("<" + _SCALAR[kind], rng.gauss(0, 1000)))[0]
    return struct.unpack("<" + _SCALAR[kind], rng.randbytes(size))[0]


def random_file(seed) -> Gguf:
    rng = random.Random(seed)
    g = Gguf(version=rng.choice([2, 3]), alignment=rng.choice([32, 32, 16, 64, 4096]))
    for i in range(rng.randrange(12)):
        kind = rng.choice([*GETTERS, ARRAY, ARRAY, ARRAY])
        if kind == ARRAY:
            elem = rng.choice(list(GETTERS))
            g.set(f"key.{i}", ARRAY, (elem, [random_value(rng, elem) for _ in range(rng.randrange(9))]))
        else:
            g.set(f"key.{i}", kind, random_value(rng, kind))
    blocks = {number: (length, size) for number, length, size, _ in TYPES.values() if number != 36}
    blocks |= {20: (32, 18), 24: (1, 1), 26: (1, 4), 28: (1, 8), 39: (32, 17)}      # iq4_nl, i8, i32, f64, mxfp4: read, not computed with
    for i in range(rng.randrange(6)):
        kind = rng.choice(list(blocks))
        length, size = blocks[kind]
        ne = (length * rng.randrange(1, 4), *(rng.randrange(1, 4) for _ in range(rng.randrange(4))))
        n = 1
        for axis in ne:
            n *= axis
        g.tensors.append(Tensor(f"t.{i}", ne, kind, rng.randbytes(n // length * size)))
    return g


@pytest.mark.parametrize("seed", range(40))
def test_random_file_is_read_as_it_was_written(tmp_path, seed):
    g = random_file(seed)
    gguf, ctx = opened(g.write(tmp_path / "random.gguf"))
    written = [*g.kv, *([("general.alignment", U32, g.alignment)] if g.alignment != 32 else [])]
    read = [(ffi.string(lib.gguf_get_key(gguf, i)).decode(), *value_of(gguf, i)) for i in range(lib.gguf_get_n_kv(gguf))]
    def packed(entries):
        return [(key, kind, pack_value(kind, value)) for key, kind, value in entries]

    assert packed(read) == packed(written)
    assert [lib.gguf_find_key(gguf, key.encode()) for key, *_ in written] == list(range(len(written)))
    assert (lib.gguf_get_version(gguf), lib.gguf_get_alignment(gguf)) == (g.version, g.alignment)
    whole, start = g.to_bytes(), lib.gguf_get_data_offset(gguf)
    blob, *tensors = tensors_of(ctx)
    assert len(tensors) == len(g.tensors) == lib.gguf_get_n_tensors(gguf)
    for i, (t, tensor) in enumerate(zip(g.tensors, tensors)):
        assert (ffi.string(tensor.name), tuple(tensor.ne), tensor.type, tensor.op) == (t.name.encode(), (*t.ne, 1, 1, 1)[:4], t.type, 0)
        assert content(tensor) == t.data and lib.gguf_get_tensor_size(gguf, i) == len(t.data)
        assert lib.ggml_get_tensor(ctx, t.name.encode()) == tensor and lib.gguf_find_tensor(gguf, t.name.encode()) == i
        at = start + lib.gguf_get_tensor_offset(gguf, i)
        assert whole[at:at + len(t.data)] == t.data
        assert (lib.ggml_n_dims(tensor), lib.ggml_is_contiguous(tensor)) == (max([1] + [j + 1 for j, axis in enumerate(t.ne) if axis > 1]), True)
    assert ffi.string(blob.name).decode() == BLOB and content(blob) == (whole[start:] if tensors else b"")


def test_without_data(tmp_path):
    gguf, ctx = opened(random_file(3).write(tmp_path / "bare.gguf"), no_alloc=True)
    tensors = tensors_of(ctx)
    assert len(tensors) == lib.gguf_get_n_tensors(gguf) > 0
    assert all(tensor.data == NULL and tensor.buffer == NULL for tensor in tensors)


def test_file_may_change_and_either_context_go_first(tmp_path):
    g = random_file(3)
    path = g.write(tmp_path / "goes.gguf")
    gguf, ctx = opened(path)
    path.write_bytes(b"something else")                  # a mapping of it would end the process here
    assert [content(tensor) for tensor in tensors_of(ctx)[1:]] == [t.data for t in g.tensors]
    ffi.gc(gguf, None)
    lib.gguf_free(gguf)
    first = tensors_of(ctx)[1]
    assert content(first) == g.tensors[0].data
    ffi.memmove(first.data, b"\1", 1)                    # it is the client's memory


def test_part_of_a_model_is_a_file(tmp_path):
    g = tiny_model(n_layer=2, n_vocab=280)
    parts = g.write_split(tmp_path / "model", 3)
    names = [ffi.string(tensor.name).decode() for part in parts for tensor in tensors_of(opened(part, no_alloc=True)[1])]
    assert names == [t.name for t in g.tensors]


@pytest.mark.parametrize("kind, ne, n_bytes", [(20, (33,), 18), (20, (64,), 32), (28, (4,), 31), (28, (1 << 32, 1 << 28), 64)])
def test_type_that_is_not_computed_with_must_fit_all_the_same(tmp_path, kind, ne, n_bytes):
    path = Gguf(tensors=[Tensor("short", ne, kind, bytes(n_bytes))], pad_last=False).write(tmp_path / "short.gguf")
    assert lib.gguf_init_from_file(str(path).encode(), {"no_alloc": True, "ctx": NULL}) == NULL
    assert "tensor 'short' of type" in last_error()[1]


def test_blocks_nobody_knows_have_the_bytes_of_the_file(tmp_path):
    path = Gguf(tensors=[Tensor("odd", (64, 3), 135, bytes(48)), Tensor("next", (1,), 0, bytes(4))]).write(tmp_path / "odd.gguf")
    gguf, ctx = opened(path)
    tensor = lib.ggml_get_tensor(ctx, b"odd")
    assert lib.gguf_get_tensor_size(gguf, 0) == 64 and lib.ggml_nbytes(tensor) == 0 and list(tensor.nb) == [0] * 4


# ---- weights of a model ----

@pytest.fixture(scope="module", params=["i2_s", "tq2_0", "tq1_0", "q4_0", "q6_k", "f16", "f32"])
def written(request, tmp_path_factory):
    """A model of these weights, and what was written. I2_S has a stream, not rows."""
    arch = "bitnet-b1.58" if request.param in ("i2_s", "tq1_0", "tq2_0") else "llama"
    g = tiny_model(arch, weights=request.param, n_layer=2, n_embd=256, n_ff=512, n_head=4, n_head_kv=2, n_vocab=280)
    return g, g.write(tmp_path_factory.mktemp("weights") / "weights.gguf")


@pytest.mark.parametrize("mode", ["LLAMA_LOAD_MODE_AUTO", "LLAMA_LOAD_MODE_NONE", "LLAMA_LOAD_MODE_MMAP"])
def test_weights_are_those_of_the_file(written, mode):
    g, path = written
    params = lib.llama_model_default_params()
    params.load_mode = getattr(lib, mode)
    model = lib.llama_model_load_from_file(str(path).encode(), params)
    try:
        for t in g.tensors:
            tensor = lib.llama_get_model_tensor(model, t.name.encode())
            assert (tuple(tensor.ne), tensor.type) == ((*t.ne, 1, 1, 1)[:4], t.type)
            assert content(tensor) == t.data and lib.ggml_backend_buffer_is_host(tensor.buffer)
    finally:
        lib.llama_model_free(model)


def test_vocabulary_alone_has_its_files_weights(written):
    g, path = written
    params = lib.llama_model_default_params()
    params.vocab_only = True
    model = lib.llama_model_load_from_file(str(path).encode(), params)
    assert content(lib.llama_get_model_tensor(model, g.tensors[0].name.encode())) == g.tensors[0].data
    lib.llama_model_free(model)


def test_many_threads_ask_first(written):
    g, path = written
    for _ in range(20):
        model = lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params())
        start, found = threading.Barrier(8), []

        def ask():
            start.wait()
            found.append(lib.llama_get_model_tensor(model, g.tensors[-1].name.encode()))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8 and len(set(found)) == 1 and content(found[0]) == g.tensors[-1].data
        lib.llama_model_free(model)


# ---- C and C++ ----

def line_of_key(key, kind, value) -> str:
    names = {F32: "f32", I32: "i32", STRING: "str"}

    def one(kind, value):
        return "%.9g" % struct.unpack("f", struct.pack("f", value)) if kind == F32 else str(value).lower() if kind == BOOL else str(value)
    if kind != ARRAY:
        return f"{key} {one(kind, value)}"
    elem, items = value
    return " ".join([f"{key} {names[elem]}[{len(items)}]", *(one(elem, item) for item in items[:3])])


def line_of_tensor(t) -> str:
    total = 0
    for byte in t.data:
        total = (total * 31 + byte) % 2**64
    name = ffi.string(lib.ggml_type_name(t.type)).decode()
    return f"{t.name} {name} {len(t.ne)} {t.ne[0]} {(*t.ne, 1)[1]} {len(t.data)} {total}"


@pytest.mark.parametrize("compiler", [("cc", "c", "c11"), ("c++", "c++", "c++11"), ("c++", "c++", "c++20")], ids=lambda compiler: compiler[2])
@pytest.mark.parametrize("era", [2023, 2024, 2026])
def test_client_in_c(tmp_path, compiler, era):
    """finetune of 2023 took its weights by name: so does this one."""
    command, language, standard = compiler
    g = tiny_model(n_layer=1, n_vocab=280)
    path = g.write(tmp_path / "model.gguf")
    program = tmp_path / "client"
    subprocess.run([command, "-x", language, f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-pedantic", f"-DBITNET_FFI_API={era}",
                    str(HERE / "gguf_client.c"), "-x", "none", *config.cflags(), *config.libs(), "-o", str(program)], check=True)
    done = subprocess.run([program, path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [line_of_key(*entry) for entry in g.kv] + [line_of_tensor(t) for t in g.tensors]


# ---- files that lie ----

def walk(path) -> bool:
    """Ask everything of a file; False when it is refused, with a sentence."""
    out = ffi.new("struct ggml_context **")
    gguf = lib.gguf_init_from_file(str(path).encode(), {"no_alloc": False, "ctx": out})
    if gguf == NULL:
        code, text = last_error()
        assert code < 0 and len(text) > 20 and str(path) in text and out[0] == NULL, (code, text)
        return False
    for i in range(lib.gguf_get_n_kv(gguf)):
        ffi.string(lib.gguf_get_key(gguf, i))
        try:
            value_of(gguf, i)
        except UnicodeDecodeError:
            pass
    for tensor in tensors_of(out[0]):
        content(tensor)
    lib.gguf_free(gguf)
    lib.ggml_free(out[0])
    return True


def child(kind: str, folder: str) -> None:
    data = small_model().to_bytes()
    head = small_model().head()
    path = Path(folder) / "lies.gguf"
    n = n_read = 0
    for what, lies in cases(kind, head, data[len(head):]):
        path.write_bytes(lies)
        print(what, flush=True)
        n_read += walk(path)
        n += 1
    print(f"done: {n} files, {n_read} read", flush=True)


@pytest.mark.parametrize("kind", ["truncations", "flips", "noise"])
def test_no_file_crashes(kind, tmp_path):
    environment = {**os.environ, "PYTHONPATH": f"{HERE}:{config.PACKAGE.parent}"}
    done = subprocess.run([sys.executable, __file__, kind, str(tmp_path)], capture_output=True, text=True, timeout=120, env=environment)
    last = done.stdout.splitlines()[-1:] or [""]
    assert done.returncode == 0, f"after {last[0]}: exit {done.returncode}\n{done.stderr[-2000:]}"
    assert last[0].startswith("done")
    if kind == "truncations":
        assert last[0].endswith(" 0 read")


if __name__ == "__main__":
    child(*sys.argv[1:])
