"""Models that are not one file of their own: parts with any names, a part of a larger open file, and the names of parts.

test_gguf.py has parts that are found beside the first one, and what can be wrong with them. Next: bitnet_ffi/_core/gguf/gguf.pyx.
"""
import pytest
from cffi import FFI

from bitnet_ffi._ffi import ffi, lib
from engine_abi import decode, init, last_error, row
from gguf_writer import tiny_model

NULL = ffi.NULL
ERROR, NOT_FOUND, LOAD, MODEL = -1, -4, -5, -9
libc_ffi = FFI()
libc_ffi.cdef("void *fopen(const char *, const char *); int fclose(void *); int fseek(void *, long, int); long ftell(void *);")
libc = libc_ffi.dlopen(None)


def whole():
    return tiny_model(weights="q4_0", n_layer=1, n_vocab=280)


def load_splits(paths, n=None):
    array = [ffi.new("char[]", str(path).encode()) for path in paths]
    pointer = lib.llama_model_load_from_splits(ffi.new("const char *[]", array), len(array) if n is None else n,
                                               lib.llama_model_default_params())
    return ffi.gc(pointer, lib.llama_model_free) if pointer else NULL


def load_open(path, at=0):
    """A model from byte `at` on of an open file, which is closed before the model is used."""
    file = libc.fopen(str(path).encode(), b"rb")
    assert libc.fseek(file, at, 0) == 0
    pointer = lib.llama_model_load_from_file_ptr(ffi.cast("FILE *", int(libc_ffi.cast("uintptr_t", file))), lib.llama_model_default_params())
    assert libc.ftell(file) == at
    libc.fclose(file)
    return ffi.gc(pointer, lib.llama_model_free) if pointer else NULL


def logits(model) -> bytes:
    assert model != NULL, last_error()
    ctx = init(model, n_ctx=16)
    assert decode(ctx, [1, 5, 9]) == 0
    return row(ctx)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    path = whole().write(tmp_path_factory.mktemp("whole") / "m.gguf")
    return logits(lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params()))


@pytest.fixture
def parts(tmp_path):
    """Three parts under names from which none can be guessed."""
    names = ["c.gguf", "a.gguf", "b"]
    return [part.rename(tmp_path / name) for part, name in zip(whole().write_split(tmp_path / "m", 3), names)]


# ---- parts by their paths ----

def test_parts_of_any_name(parts, expected):
    assert logits(load_splits(parts)) == expected


def test_one_path_is_a_whole_model(tmp_path, expected):
    assert logits(load_splits([whole().write(tmp_path / "m.gguf")])) == expected
    assert logits(load_splits(whole().write_split(tmp_path / "s", 1))) == expected


@pytest.mark.parametrize("order, code, text", [
    ([0, 1], LOAD, "this model has 3 parts, but 2 paths are given"), ([0], LOAD, "this model has 3 parts, but 1 paths are given"),
    ([0, 1, 2, 2], LOAD, "this model has 3 parts, but 4 paths are given"), ([1, 0, 2], LOAD, "this is part 2 of 3"),
    ([0, 2, 1], MODEL, "key 'split.no' is 2, expected 1: this file is not part 2 of 3"),
    ([0, 0, 2], MODEL, "key 'split.no' is 0, expected 1"),
])
def test_wrong_parts(parts, order, code, text):
    assert load_splits([parts[i] for i in order]) == NULL
    assert last_error()[0] == code and text in last_error()[1]


def test_two_paths_of_a_whole_model(tmp_path):
    path = whole().write(tmp_path / "m.gguf")
    assert load_splits([path, path]) == NULL
    assert last_error() == (LOAD, f"{path}: this model has 1 parts, but 2 paths are given")


def test_missing_part(parts):
    parts[1].unlink()
    assert load_splits(parts) == NULL
    assert last_error()[0] == NOT_FOUND and "a.gguf" in last_error()[1]


def test_part_of_another_model(parts, tmp_path):
    other = tiny_model(weights="q4_0", n_layer=2, n_vocab=280).write_split(tmp_path / "n", 3)
    assert load_splits([parts[0], other[1], parts[2]]) == NULL
    assert last_error()[0] == MODEL


def test_no_paths(parts):
    assert load_splits([]) == NULL and last_error() == (ERROR, "llama_model_load_from_splits: no paths")
    assert lib.llama_model_load_from_splits(NULL, 2, lib.llama_model_default_params()) == NULL and last_error()[0] == ERROR
    array = [ffi.new("char[]", str(parts[0]).encode()), NULL, NULL]
    assert lib.llama_model_load_from_splits(ffi.new("const char *[]", array), 3, lib.llama_model_default_params()) == NULL
    assert last_error() == (ERROR, "llama_model_load_from_splits: path 2 of 3 is NULL")


# ---- an open file ----

@pytest.mark.parametrize("at", [0, 64, 4096, 4096 + 128, 7, 4097])
def test_open_file(tmp_path, at, expected):
    path = tmp_path / "bundle"
    path.write_bytes(b"x" * at + whole().to_bytes())
    assert logits(load_open(path, at)) == expected


@pytest.mark.parametrize("at, text", [(3, "the open file: the file begins with bytes"),
                                      (10**6 * 8, "the open file: it stands at byte 8000000 and ends at")])
def test_open_file_at_a_wrong_place(tmp_path, at, text):
    assert load_open(whole().write(tmp_path / "m.gguf"), at) == NULL
    assert last_error()[0] in (LOAD, MODEL) and text in last_error()[1]


def test_open_file_that_is_a_part(parts):
    assert load_open(parts[0]) == NULL
    assert last_error() == (LOAD, "the open file is the first of 3 parts; give the paths of all (llama_model_load_from_splits)")


def test_open_file_that_is_none():
    assert load_open("/dev/null") == NULL and last_error() == (LOAD, "the open file: it is not a regular file")
    assert lib.llama_model_load_from_file_ptr(NULL, lib.llama_model_default_params()) == NULL and last_error()[0] == ERROR


# ---- names of parts ----

def text_of(call, size, *arguments):
    buffer = ffi.new("char[]", b"#" * 63)
    n = call(buffer, size, *arguments)
    return n, ffi.string(buffer).decode()


def test_path_of_a_part():
    assert text_of(lib.llama_split_path, 64, b"/m/abc", 2, 4) == (26, "/m/abc-00003-of-00004.gguf")
    assert text_of(lib.llama_split_path, 27, b"/m/abc", 2, 4) == (26, "/m/abc-00003-of-00004.gguf")
    for size, cut in ((26, "/m/abc-00003-of-00004.ggu"), (10, "/m/abc-00"), (1, "")):
        assert text_of(lib.llama_split_path, size, b"/m/abc", 2, 4) == (0, cut)
        assert last_error() == (ERROR, f"llama_split_path: {size} bytes, the path and its NUL take 27")
    assert lib.llama_split_path(NULL, 0, b"/m/abc", 2, 4) == 0


def test_prefix_of_a_part():
    assert text_of(lib.llama_split_prefix, 64, b"/m/abc-00003-of-00004.gguf", 2, 4) == (6, "/m/abc")
    assert text_of(lib.llama_split_prefix, 4, b"/m/abc-00003-of-00004.gguf", 2, 4) == (6, "/m/")


@pytest.mark.parametrize("path", [b"/m/abc-00002-of-00004.gguf", b"-00003-of-00004.gguf", b"x", b""])
def test_prefix_of_another_name(path):
    assert text_of(lib.llama_split_prefix, 64, path, 2, 4) == (0, "#" * 63)


@pytest.mark.parametrize("no, count", [(4, 4), (-1, 4), (0, 0)])
def test_numbers_that_no_part_has(no, count):
    assert lib.llama_split_path(ffi.new("char[64]"), 64, b"m", no, count) == 0 and last_error()[0] == ERROR
    assert lib.llama_split_prefix(ffi.new("char[64]"), 64, b"m", no, count) == 0 and last_error()[0] == ERROR
