"""The GGUF container: every limit has a file that breaks it, and a sentence that says so.

Files come from gguf_writer.py. A good file must also load, so that no test passes because everything is refused.
Next: test_load.py for what stands in the metadata and tensors, test_gguf_fuzz.py for files nobody thought of.
"""
import struct

import pytest

from gguf_writer import (ARRAY, BOOL, F32, F64, I32, I64, STRING, TYPES, U8, U16, U32, U64, Gguf, Tensor, bpe_vocab, spm_vocab, tiny_model)
from model_abi import INT, LOAD, MODEL, NOT_FOUND, STR, error_of, loaded, meta, warnings


@pytest.fixture
def file(tmp_path):
    return tmp_path / "model.gguf"


def vocabulary() -> Gguf:
    """The smallest container that loads with vocab_only."""
    return Gguf(kv=[("general.architecture", STRING, "llama"), *spm_vocab(260)])


def expect(file, content, sentence, code=MODEL, **options):
    if isinstance(content, Gguf):
        content = content.to_bytes()
    file.write_bytes(content)
    found_code, found = error_of(file, **options)
    assert sentence in found
    assert str(file)[-100:] in found
    assert found_code == code


# ---- what is good ----

@pytest.mark.parametrize("version", [2, 3])
def test_open_good_versions(file, version):
    g = tiny_model()
    g.version = version
    with loaded(g.write(file)) as model:
        assert meta(model, "general.name") == "tiny llama"


def test_open_vocabulary_without_tensors(file):
    with loaded(vocabulary().write(file), vocab_only=True) as model:
        assert meta(model, "general.architecture") == "llama"


@pytest.mark.parametrize("alignment", [8, 64, 4096])
def test_open_other_alignment(file, alignment):
    g = tiny_model(weights="q4_0")
    g.alignment = alignment
    with loaded(g.write(file), check_tensors=True):
        pass


@pytest.mark.parametrize("alignment", [1, 2])
def test_open_odd_alignment_copies_what_kernels_cannot_take(file, alignment):
    g = tiny_model(weights={"": "q4_0", "attn_q": "f32", "attn_k": "f16"}, norms="f16")
    g.tensors[0].data += b"\0"  # everything after the embedding lies one byte off
    g.alignment = alignment
    with loaded(g.write(file), check_tensors=True):
        pass


@pytest.mark.parametrize("alignment", [0, 24, 33])
def test_open_bad_alignment_is_taken_for_32(file, alignment):
    g = tiny_model(weights="i2_s")
    g.write_alignment = alignment
    with warnings() as lines, loaded(g.write(file)):
        assert any(f"general.alignment is {alignment}, expected a power of two; 32 is used" in line for line in lines)


@pytest.mark.parametrize("offset", [None, 0, 2**63])
def test_open_extra_header_fields(file, offset):
    g = tiny_model(weights="i2_s")
    g.rs_header, g.rs_offset = True, offset
    with warnings() as lines, loaded(g.write(file), check_tensors=True):
        assert any("12 extra bytes" in line for line in lines)


def test_open_last_tensor_without_padding(file):
    g = tiny_model(n_embd=4, n_head=1, n_head_kv=1, n_ff=4)
    g.pad_last = False
    with loaded(g.write(file)):
        pass


def test_open_tensors_in_any_order_with_gaps(file):
    g = tiny_model(n_layer=1)
    at = 0
    for t in reversed(g.tensors):
        t.offset = at
        at += -(-len(t.data) // 32) * 32 + 320
    size = len(g.head())
    data = bytearray(-(-size // 32) * 32 + at)
    data[:size] = g.head()
    file.write_bytes(data)
    with loaded(file):
        pass


def test_open_known_but_unsupported_type_that_nothing_needs(file):
    g = tiny_model()
    g.tensors.append(Tensor("extra.weight", (32, 4), 39, bytes(68)))
    with warnings() as lines, loaded(g.write(file)):
        assert any("'extra.weight'" in line and "1 of" in line for line in lines)


# ---- what is no GGUF ----

@pytest.mark.parametrize("content, sentence", [
    (b"<!DOCTYPE html><html>", "this is a web page (HTML), not a GGUF model"),
    (b"\r\n  <html>", "this is a web page (HTML), not a GGUF model"),
    (b'{"error": "gated"}', "this is JSON text, not a GGUF model"),
    (b"version https://git-lfs.github.com/spec/v1\n", "this is a Git LFS pointer"),
    (b"tjgg\3\0\0\0", "GGML file of before August 2023"),
    (b"PK\3\4........", "this is a ZIP or PyTorch archive"),
    (b"GG", "the file has 2 bytes, too few"),
    (b"\x01\x02\x03\x04....", "begins with bytes 01 02 03 04, expected 47 47 55 46"),
])
def test_open_other_files(file, content, sentence):
    expect(file, content, sentence)


@pytest.mark.parametrize("version, sentence", [
    (0, "GGUF version is 0, expected 2 or 3"), (1, "GGUF version 1 is not supported, expected 2 or 3"),
    (4, "GGUF version is 4, expected 2 or 3"), (0x03000000, "the file is big-endian"), (0x02000000, "the file is big-endian"),
])
def test_open_wrong_version(file, version, sentence):
    g = vocabulary()
    g.version = version
    expect(file, g, sentence)


def test_open_missing_file(tmp_path):
    assert error_of(tmp_path / "none.gguf") == (NOT_FOUND, f"'{tmp_path}/none.gguf': no such file")


def test_open_folder(tmp_path):
    assert error_of(tmp_path)[0] == LOAD


def test_open_empty_file(file):
    file.write_bytes(b"")
    assert error_of(file)[0] == LOAD


def test_open_long_path_keeps_the_reason(tmp_path):
    folder = tmp_path / ("x" * 200) / ("y" * 200)
    folder.mkdir(parents=True)
    (folder / "a.gguf").write_bytes(b"<html>")
    assert "this is a web page" in error_of(folder / "a.gguf")[1]


# ---- header and keys ----

@pytest.mark.parametrize("field, count, sentence", [
    ("n_tensors", 65537, "the header announces 65537 tensors, expected at most"),
    ("n_tensors", 2**64 - 1, "the header announces 18446744073709551615 tensors"),
    ("n_kv", 65537, "the header announces 65537 metadata keys, expected at most"),
    ("n_kv", 2**63, "the header announces 9223372036854775808 metadata keys"),
    ("n_kv", 400, "the file ends inside metadata key"),
])
def test_header_counts(file, field, count, sentence):
    g = vocabulary()
    setattr(g, field, count)
    expect(file, g, sentence)


def test_header_ends_early(file):
    expect(file, vocabulary().to_bytes()[:20], "the file ends inside its header (20 bytes)")


def raw_key(raw: bytes) -> bytes:
    """A file whose first key is these bytes."""
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + raw + bytes(64)


def key(name: bytes, kind: int, value: bytes) -> bytes:
    return raw_key(struct.pack("<Q", len(name)) + name + struct.pack("<I", kind) + value)


@pytest.mark.parametrize("content, sentence", [
    (raw_key(struct.pack("<Q", 0)), "the name of metadata key 1 of 1 is 0 bytes long, expected 1 to 65535"),
    (raw_key(struct.pack("<Q", 65536)), "the name of metadata key 1 of 1 is 65536 bytes long, expected 1 to 65535"),
    (raw_key(struct.pack("<Q", 2**64 - 1)), "the name of metadata key 1 of 1 is 18446744073709551615 bytes long"),
    (raw_key(struct.pack("<Q", 5000) + b"a"), "the file ends inside metadata key 1 of 1"),
    (key(b"k", 13, b""), "key 'k' has value type 13, expected 0 to 12"),
    (key(b"k", 2**32 - 1, b""), "key 'k' has value type -1, expected 0 to 12"),
    (key(b"bad\x1b[31m\xff", 99, b""), "key 'bad?[31m?' has value type 99"),
    (key(b"k" * 300, 99, b""), "key '" + "k" * 76 + "...' has value type 99"),
    (key(b"k", STRING, struct.pack("<Q", 2**40)), "the string of metadata key 1 of 1 is 1099511627776 bytes long, expected 0 to 67108864"),
    (key(b"k", STRING, struct.pack("<Q", 1000)), "the file ends inside metadata key 1 of 1"),
    (key(b"k", ARRAY, struct.pack("<IQ", 9, 1)), "key 'k' is an array of type 9 (array), expected scalars or strings"),
    (key(b"k", ARRAY, struct.pack("<IQ", 77, 1)), "key 'k' is an array of type 77 (unknown), expected scalars or strings"),
    (key(b"k", ARRAY, struct.pack("<IQ", F64, 2**61)),
     "key 'k' announces an array of 2305843009213693952 elements of type f64, but only 64 bytes"),
    (key(b"k", ARRAY, struct.pack("<IQ", U8, 65)), "key 'k' announces an array of 65 elements of type u8, but only 64 bytes"),
    (key(b"k", ARRAY, struct.pack("<IQ", STRING, 9)), "key 'k' announces an array of 9 elements of type string"),
    (key(b"k", ARRAY, struct.pack("<IQQ", STRING, 2, 999)), "the file ends inside metadata key 1 of 1"),
    (key(b"general.alignment", STRING, bytes(8)), "key 'general.alignment' is of type string, expected an integer"),
    (key(b"general.alignment", U32, struct.pack("<I", 131072)),
     "key 'general.alignment' is 131072, expected a power of two of at most 65536"),
])
def test_keys(file, content, sentence):
    expect(file, content, sentence)


def test_key_twice(file):
    g = vocabulary()
    g.kv.append(("general.architecture", STRING, "llama"))
    expect(file, g, "key 'general.architecture' stands twice in the metadata")


def test_architecture_missing(file):
    expect(file, vocabulary().drop("general.architecture"), "key 'general.architecture' is missing", vocab_only=True)


# ---- tensors ----

def with_tensor(**fields) -> Gguf:
    g = vocabulary()
    given = dict(name="a.weight", ne=(32, 2), type=0, data=bytes(256))
    g.tensors = [Tensor(**given | fields), Tensor("b.weight", (64,), 0, bytes(256), offset=256)]
    return g


def test_tensors_good(file):
    with loaded(with_tensor().write(file), vocab_only=True):
        pass


@pytest.mark.parametrize("fields, sentence", [
    (dict(name=""), "the name of tensor 1 of 2 is 0 bytes long, expected 1 to 63"),
    (dict(name="x" * 64), "the name of tensor 1 of 2 is 64 bytes long, expected 1 to 63"),
    (dict(name="b.weight"), "tensor 'b.weight' stands twice"),
    (dict(ne=()), "tensor 'a.weight' has 0 dimensions, expected 1 to 4"),
    (dict(ne=(1, 1, 1, 1, 1)), "tensor 'a.weight' has 5 dimensions, expected 1 to 4"),
    (dict(ne=(32, 0)), "tensor 'a.weight': dimension 1 is 0, expected 1 to 4294967296"),
    (dict(ne=(2**32 + 1,)), "tensor 'a.weight': dimension 0 is 4294967297, expected 1 to 4294967296"),
    (dict(ne=(2**64 - 1,)), "tensor 'a.weight': dimension 0 is 18446744073709551615"),
    (dict(ne=(2**32, 2**31)), "tensor 'a.weight' has more than 2^63 - 1 elements"),
    (dict(ne=(2**32, 2**30)), "tensor 'a.weight'"),
    (dict(type=200), "tensor 'a.weight' has type number 200, which is no known type"),
    (dict(type=2**32 - 1), "tensor 'a.weight' has type number -1, which is no known type"),
    (dict(type=TYPES["q4_0"][0], ne=(33, 2)), "tensor 'a.weight' of type q4_0 has 33 columns, expected a multiple of 32"),
    (dict(type=TYPES["q6_k"][0], ne=(128, 2)), "tensor 'a.weight' of type q6_K has 128 columns, expected a multiple of 256"),
    (dict(type=TYPES["i2_s"][0], ne=(100, 2)), "tensor 'a.weight' of type i2_s has 200 elements, expected a multiple of 128"),
    (dict(offset=16), "tensor 'a.weight' has offset 16, expected a multiple of 32"),
    (dict(offset=2**63), "tensor 'a.weight' needs 256 bytes at offset 9223372036854775808"),
    (dict(offset=2**64 - 32), "tensor 'a.weight' needs 256 bytes at offset 18446744073709551584"),
    (dict(ne=(32, 3)), "tensor 'a.weight' (384 bytes at offset 0) overlaps tensor 'b.weight' at offset 256"),
    (dict(ne=(32, 300)), "tensor 'a.weight' needs 38400 bytes at offset 0, but the file's data section has only 512"),
])
def test_tensors(file, fields, sentence):
    expect(file, with_tensor(**fields), sentence, vocab_only=True)


def test_tensors_of_unknown_size_at_one_offset(file):
    g = with_tensor(type=39, ne=(32, 1))
    g.tensors[1].offset = 0
    expect(file, g, "overlaps tensor", vocab_only=True)


def test_tensors_beyond_the_end(file):
    content = with_tensor().to_bytes()
    expect(file, content[:-1], "tensor 'b.weight' needs 256 bytes at offset 256, but the file's data section has only 511", vocab_only=True)
    expect(file, content[:-520], "the tensors' data should begin at byte", vocab_only=True)


def test_i2_s_size_has_a_trailer(file):
    size = 128 * 2 // 4 + 32
    with loaded(with_tensor(type=36, ne=(128, 2), data=bytes(size)).write(file), vocab_only=True):
        pass
    g = with_tensor(type=36, ne=(128, 2), data=bytes(size))
    g.tensors[1].offset = size - 32
    expect(file, g, "tensor 'a.weight' (96 bytes at offset 0) overlaps tensor 'b.weight' at offset 64", vocab_only=True)


def test_tensor_type_that_the_model_needs_but_we_lack(file):
    g = tiny_model()
    t = g.get_tensor("blk.0.attn_q.weight")
    t.type, t.data = 39, bytes(256 * 256 // 32 * 17)
    expect(file, g, "tensor 'blk.0.attn_q.weight' is of type mxfp4 (39), which is not supported", code=LOAD)


# ---- split files ----

@pytest.fixture
def parts(tmp_path):
    return tiny_model(weights="q4_0").write_split(tmp_path / "m", 3)


def test_split_good(parts):
    with loaded(parts[0], check_tensors=True) as model:
        assert meta(model, "general.name") == "tiny llama"


def test_split_of_one_part_keeps_any_name(tmp_path):
    part, = tiny_model().write_split(tmp_path / "m", 1)
    with loaded(part.rename(tmp_path / "renamed.gguf")):
        pass


def test_split_parts_may_align_differently(parts):
    g = tiny_model(weights="q4_0")
    g.alignment = 128
    g.write_split(parts[0].parent / "n", 3)[1].replace(parts[1])
    with loaded(parts[0]):
        pass


def test_split_from_another_part(parts):
    code, text = error_of(parts[1])
    assert code == LOAD and "this is part 2 of 3; give the first part, whose name ends in '-00001-of-00003.gguf'" in text


def test_split_part_missing(parts):
    parts[2].unlink()
    code, text = error_of(parts[0])
    assert code == NOT_FOUND and parts[2].name in text


def test_split_part_broken(parts):
    parts[1].write_bytes(parts[1].read_bytes()[:-1])
    code, text = error_of(parts[0])
    assert code == MODEL and parts[1].name in text and "truncated" in text


def test_split_first_part_renamed(parts):
    code, text = error_of(parts[0].rename(parts[0].with_name("x.gguf")))
    assert code == MODEL and "its name must end in '-00001-of-00003.gguf'" in text


def test_split_part_of_another_place(parts):
    parts[1].write_bytes(parts[2].read_bytes())
    code, text = error_of(parts[0])
    assert code == MODEL and "key 'split.no' is 2, expected 1: this file is not part 2 of 3" in text


def test_split_part_that_is_whole(parts):
    tiny_model().write(parts[1])
    assert "key 'split.no' is -1, expected 1" in error_of(parts[0])[1]


def test_split_wrong_total(tmp_path):
    parts = tiny_model().write_split(tmp_path / "m", 2, total=7)
    code, text = error_of(parts[0])
    assert code == MODEL and "tensors, but key 'split.tensors.count' is 7" in text


def test_split_tensor_twice(parts):
    g = tiny_model(weights="q4_0")
    g.tensors[-1].name = "token_embd.weight"
    g.write_split(parts[0].parent / "n", 3)[2].replace(parts[2])
    assert "tensor 'token_embd.weight' stands twice" in error_of(parts[0])[1]


# ---- values ----

VALUES = [("a.u8", U8, 200, "200"), ("a.i8", 1, -5, "-5"), ("a.u16", U16, 65535, "65535"), ("a.i16", 3, -300, "-300"),
          ("a.u32", U32, 2**32 - 1, "4294967295"), ("a.i32", I32, -1, "-1"), ("a.f32", F32, 0.5, "0.500000"), ("a.bool", BOOL, True, "true"),
          ("a.str", STRING, "h\u00e9\"y", "h\u00e9\"y"), ("a.u64", U64, 2**64 - 1, "18446744073709551615"),
          ("a.i64", I64, -2**63, str(-2**63)),
          ("a.f64", F64, -1e300, f"{-1e300:f}"), ("a.nul", STRING, b"ab\0cd", "ab"),
          ("a.ints", ARRAY, (I32, [1, -2, 3]), "[1, -2, 3]"), ("a.none", ARRAY, (STRING, []), "[]"),
          ("a.strs", ARRAY, (STRING, ["x", 'q"\\']), '["x", "q\\"\\\\"]'), ("a.bools", ARRAY, (BOOL, [True, False]), "[true, false]")]


def test_values_as_text(file):
    g = vocabulary()
    g.kv += [entry[:3] for entry in VALUES]
    with loaded(g.write(file), vocab_only=True) as model:
        assert {k: meta(model, k) for k, *_ in VALUES} == {k: text for k, _, _, text in VALUES}


def test_values_of_wrong_type(file):
    g = tiny_model().set("llama.block_count", STRING, "two")
    expect(file, g, "key 'llama.block_count' is of type string, expected an integer")
    g.set("llama.block_count", ARRAY, (U32, [1, 2]))
    expect(file, g, "key 'llama.block_count' is an array of 2 u32, expected an integer")
    g.set("llama.block_count", I32, -1)
    expect(file, g, "key 'llama.block_count' is -1, expected 0 to 4294967295")


@pytest.mark.parametrize("kind", [U8, 1, U16, 3, U32, I32, U64, I64])
def test_integers_of_any_width(file, kind):
    with loaded(tiny_model().set("llama.block_count", kind, 2).write(file)):
        pass


def test_overrides_of_wrong_type(file):
    g = tiny_model(vocab=bpe_vocab(320))
    expect(file, g, "the override of key 'llama.block_count' is of type string, expected int", overrides={"llama.block_count": (STR, b"1")})
    expect(file, g, "the override of key 'llama.rope.freq_base' is of type int, expected float", overrides={"llama.rope.freq_base": (INT, 1)})
