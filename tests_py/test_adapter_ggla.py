"""LoRA files of 2023 (magic ggla): the same bits as the same adapter in a GGUF file, and every way to go wrong.

Next: adapter_tools.py makes the files, test_adapter.py has what an adapter computes.
"""
import numpy as np
import pytest

from adapter_tools import E, SHAPE, adapter, all_weights, ggla, ggla_tensor, random_pairs
from bitnet_ffi import Model
from bitnet_ffi._ffi import ffi, lib
from engine_abi import forget_error, init, last_error
from gguf_writer import tiny_model
from test_adapter import F32_CACHE, load, logits, set_all

NULL = ffi.NULL


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ggla")


@pytest.fixture(scope="module")
def model(folder):
    with Model(tiny_model(**SHAPE, head="f32").write(folder / "tiny.gguf")) as owner:
        yield owner._pointer


@pytest.fixture(scope="module")
def base(model):
    return logits(init(model, **F32_CACHE))


def pair_q():
    return random_pairs({"blk.0.attn_q": (E, E)}, 2, 7)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("kind", ["f32", "f16"])
@pytest.mark.parametrize("head", ["f32", None])
def test_files_of_2023_are_the_same_adapters(folder, old, kind, head):
    pairs = random_pairs({name: shape for name, shape in all_weights().items() if head or name != "output"}, 4, 8)
    (folder / "lora.bin").write_bytes(ggla(pairs, 4, 6, old, kind))
    with Model(tiny_model(**SHAPE, head=head).write(folder / "any.gguf")) as owner:
        ctx = init(owner._pointer, **F32_CACHE)
        assert set_all(ctx, (load(owner._pointer, adapter(pairs, alpha=6.0, kind=kind).write(folder / "today.gguf")), 0.5)) == 0
        rows = logits(ctx)
        lib.llama_clear_adapter_lora(ctx)
        assert lib.llama_apply_lora_from_file(ctx, str(folder / "lora.bin").encode(), 0.5, b"base.bin", 2) == 0, last_error()
        assert (logits(ctx) == rows).all()
        assert lib.llama_model_apply_lora_from_file(owner._pointer, str(folder / "lora.bin").encode(), 0.5, NULL, 1) == 0, last_error()
        assert (logits(init(owner._pointer, **F32_CACHE)) == rows).all()
        pointer = load(owner._pointer, folder / "lora.bin")
        assert lib.llama_adapter_meta_count(pointer) == 0 and lib.llama_adapter_meta_val_str(pointer, b"general.type", NULL, 0) == -1


def test_a_file_of_2023_with_alpha_0_adds_nothing(folder, model, base):
    (folder / "zero.bin").write_bytes(ggla(pair_q(), 2, 0))
    ctx = init(model, **F32_CACHE)
    assert lib.llama_apply_lora_from_file(ctx, str(folder / "zero.bin").encode(), 1.0, NULL, 1) == 0 and (logits(ctx) == base).all()


def with_tensor(*arguments):
    whole = ggla(pair_q(), 2, 4)
    return whole + ggla_tensor(len(whole), *arguments)


WRONG_2023 = {
    "version": (lambda: ggla(pair_q(), 2, 4, version=2), "a LoRA file of 2023 (ggla) of version 2, expected 1"),
    "rank": (lambda: ggla(pair_q(), 0, 4), "a LoRA file of 2023 (ggla) of rank 0, expected 1 or more"),
    "dimensions": (lambda: with_tensor("x.loraA", 0, (1, 1, 1), bytes(4)), "tensor 3 has 3 dimensions and a name of 7 bytes"),
    "no name": (lambda: with_tensor("", 0, (1,), bytes(4)), "tensor 3 has 1 dimensions and a name of 0 bytes"),
    "long name": (lambda: with_tensor("x" * 64, 0, (1,), bytes(4)), "a name of 64 bytes, expected 1 or 2 and 1 to 63"),
    "type": (lambda: with_tensor("x.loraA", 2, (32,), bytes(18)), "tensor 'x.loraA' is of type 2, expected 0 (F32) or 1 (F16)"),
    "shape": (lambda: with_tensor("x.loraA", 0, (4, -1), bytes(4)), "tensor 'x.loraA' has shape {4, -1}, expected positive numbers"),
    "huge": (lambda: with_tensor("x.loraA", 0, (2**31 - 1, 2**31 - 1), bytes(4)), "the file ends inside tensor 3"),
    "twice": (lambda: with_tensor("blk.0.attn_q.weight.loraA", 0, (2, E), bytes(8 * E)), "tensor 'blk.0.attn_q.weight.loraA' stands twice"),
    "another weight": (lambda: with_tensor("blk.9.attn_q.weight.loraA", 0, (2, E), bytes(8 * E)),
                       "tensor 'blk.9.attn_q.weight.loraA' is not for a weight"),
    "half a pair": (lambda: with_tensor("blk.0.attn_k.weight.loraA", 0, (2, E), bytes(8 * E)),
                    "'blk.0.attn_k.weight' has a tensor .loraA, but none .loraB"),
    "width": (lambda: ggla({"blk.0.attn_q": (np.ones((2, 5), "<f4"), np.ones((E, 2), "<f4"))}, 2, 4),
              "tensor 'blk.0.attn_q.weight.loraA' has shape {2, 5, 1, 1}, expected {2, 64}"),
    "no tensors": (lambda: ggla({}, 2, 4), "the adapter has no tensors"),
}


@pytest.mark.parametrize("name", WRONG_2023)
def test_a_wrong_file_of_2023_is_refused(folder, model, name):
    make, sentence = WRONG_2023[name]
    (folder / "wrong.bin").write_bytes(make())
    forget_error()
    assert lib.llama_model_apply_lora_from_file(model, str(folder / "wrong.bin").encode(), 1.0, NULL, 1) == 1
    code, text = last_error()
    assert code < 0 and sentence in text and text.count("wrong.bin: ") == 1


def test_a_truncated_file_of_2023_is_refused(folder, model):
    whole = ggla(pair_q(), 2, 4)
    second = whole.index(b".loraB") - len("blk.0.attn_q.weight") - 20                 # where its tensor begins: a whole file of half a pair
    for size in [*range(0, 120), second, *range(len(whole) - 700, len(whole), 11)]:
        (folder / "cut.bin").write_bytes(whole[:size])
        forget_error()
        assert lib.llama_adapter_lora_init(model, str(folder / "cut.bin").encode()) == NULL and last_error()[0] < 0, size
