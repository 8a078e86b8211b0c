"""Ask llama.cpp for the ids of split_tools.TEXTS under every pre-tokenizer, and write tests_py/data/split_ids.json.

    pip install llama-cpp-python==0.3.36 && python tests_py/record_splits.py
Names that give the same ids share one list of them.
"""
from __future__ import annotations

import ctypes as C
import json
import tempfile
from pathlib import Path

import llama_cpp as L

import split_tools

NAMES = """default minicpm5 llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano deepseek-llm deepseek-coder
deepseek-v3 spark2_5 youtu falcon mpt starcoder gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert
jais-2 jina-v1-en jina-v2-code roberta-bpe refact command-r qwen2 deepseek-r1-qwen kormo f2llmv2 qwen35 stablelm2 olmo dbrx smaug-bpe
poro-chat glm4 glm5 chatglm-bpe viking jais tekken smollm codeshell bloom gpt3-finnish exaone exaone4 exaone-moe chameleon minerva-7b
megrez gpt-4o llama4 kanana2 talkie granite-embed-multi-97m tiny_aya cohere2moe superbpe trillion granite-docling bailingmoe
bailingmoe2 llada-moe seed-coder hunyuan hunyuan-dense hy_v4 joyai-llm kimi-k2 ufakzeka grok-2 afmoe laguna minimax-m2 solar-open
mellum2""".split()


def tokenize(vocab, text: bytes) -> list[int]:
    ids = (C.c_int32 * (3 * len(text) + 8))()
    n = L.llama_tokenize(vocab, text, len(text), ids, len(ids), False, False)
    return ids[:n]


def detokenize(vocab, ids: list[int]) -> bytes:
    out = C.create_string_buffer(256)
    n = L.llama_detokenize(vocab, (C.c_int32 * len(ids))(*ids), len(ids), out, len(out), False, False)
    return out.raw[:n]


def ask(name: str, path: Path) -> tuple[list, list]:
    """(add_bos, add_eos, add_sep, spaces removed), ids of each text."""
    split_tools.pair_gguf(name).write(path)
    params = L.llama_model_default_params()
    params.vocab_only = True
    model = L.llama_model_load_from_file(str(path).encode(), params)
    vocab = L.llama_model_get_vocab(model)
    flags = [L.llama_vocab_get_add_bos(vocab), L.llama_vocab_get_add_eos(vocab), L.llama_vocab_get_add_sep(vocab),
             detokenize(vocab, tokenize(vocab, split_tools.PROBE)) != split_tools.PROBE]
    ids = [tokenize(vocab, text) for text in split_tools.TEXTS]
    L.llama_model_free(model)
    return flags, ids


def main() -> None:
    quiet = L.llama_log_callback(lambda level, text, user: None)
    L.llama_log_set(quiet, None)
    names, lists = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            flags, ids = ask(name, Path(folder) / "v.gguf")
            if ids not in lists:
                lists.append(ids)
            names[name] = [lists.index(ids), *map(bool, flags)]
    rows = [f'"{name}": {json.dumps(row)}' for name, row in names.items()]
    families = ["[" + ",\n".join(json.dumps(ids, separators=(",", ":")) for ids in family) + "]" for family in lists]
    path = Path(__file__).parent / "data" / "split_ids.json"
    path.write_text('{"made_with": "python tests_py/record_splits.py, llama-cpp-python ' + L.__version__ + '",\n"names": {\n'
                    + ",\n".join(rows) + '},\n"ids": [\n' + ",\n\n".join(families) + "]}\n")
    print(path, len(names), "names", len(lists), "lists")


if __name__ == "__main__":
    main()
