"""Writes tests_py/data/grammars_llama_cpp.json: the tokens that llama.cpp's grammar sampler allows along random texts.

    python tests_py/make_grammar_golden.py LIBLLAMA      # a libllama.so of 2026, its ggml libraries beside it

Read by test_grammar.py, which walks the same texts with bitnet_ffi.
"""

import ctypes as C
import json
import sys
from pathlib import Path

import numpy as np

import model_abi
import sampling_abi as abi
from sampling_abi import Candidates

DATA = Path(__file__).with_name("data")
VOCAB = DATA / "tiny-bitnet-tq2.gguf"
STEPS = 40

GRAMMARS = {
    "json": r"""
root ::= object
value ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
array ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws ::= | " " | "\n" [ \t]{0,20}
""",
    "list": 'root ::= ("- " item)+   # a list\nitem ::= [^\\n]+ "\\n"\n',
    "arithmetic": r"""
root  ::= (expr "=" ws term "\n")+
expr  ::= term ([-+*/] term)*
term  ::= ident | num |
          "(" ws expr ")" ws
ident ::= [a-z] [a-z0-9_]* ws
num   ::= [0-9]+ ws
ws    ::= [ \t\n]*
""",
    "kana": "root ::= jp-char+ ([ \\t\\n] jp-char+)*\njp-char ::= [ぁ-ゟ] | [ァ-ヿ] | [\\u3001-\\u303E]\n",
    "repeats": 'root ::= ("ab"{2,4} | "x"{3} "y"?){1,3} .{0,5} "é" [^a-z]*\n',
    "emoji": 'root ::= [\\U0001F600-\\U0001F64F]+ "end"\n',
    "ambiguous": 'root ::= ("a" | "a" "a" | [a-c]){0,50} "z" ("zz" | "z" "z")*\n',
    "empty": 'root ::= "" | maybe maybe\nmaybe ::= ("ok" | "")\n',
    "tokens": "root ::= <[300]> !<[301]> <[302]> [a-z]*\n",
}


def declare(lib):
    for name, (result, *arguments) in abi.SIGNATURES.items():
        if hasattr(lib, name):
            getattr(lib, name).restype, getattr(lib, name).argtypes = result, arguments
    lib.llama_model_default_params.restype = model_abi.Params
    lib.llama_model_load_from_file.restype = C.c_void_p
    lib.llama_model_load_from_file.argtypes = [C.c_char_p, model_abi.Params]
    lib.llama_vocab_n_tokens.argtypes = [C.c_void_p]
    lib.llama_vocab_is_eog.argtypes, lib.llama_vocab_is_eog.restype = [C.c_void_p, C.c_int32], C.c_bool
    lib.llama_model_get_vocab.argtypes, lib.llama_model_get_vocab.restype = [C.c_void_p], C.c_void_p
    return lib


def vocab_of(lib, path=VOCAB):
    params = lib.llama_model_default_params()
    params.vocab_only = True
    model = lib.llama_model_load_from_file(str(path).encode(), params)
    assert model
    return lib.llama_model_get_vocab(model)


def allowed(lib, sampler, n_tokens):
    candidates = Candidates(np.zeros(n_tokens))
    lib.llama_sampler_apply(sampler, C.byref(candidates.c))
    return candidates.items["logit"] == 0


def walk(lib, vocab, grammar):
    """[allowed tokens as hexadecimal bits, token accepted then] along one random text."""
    n_tokens = lib.llama_vocab_n_tokens(vocab)
    sampler = lib.llama_sampler_init_grammar(vocab, grammar.encode(), b"root")
    assert sampler
    random = np.random.RandomState(7)
    for _ in range(STEPS):
        bits = allowed(lib, sampler, n_tokens)
        texts = [t for t in np.flatnonzero(bits).tolist() if not lib.llama_vocab_is_eog(vocab, t)]
        token = texts[random.randint(len(texts))] if texts else -1
        yield [np.packbits(bits).tobytes().hex(), token]
        if token < 0:
            return
        lib.llama_sampler_accept(sampler, token)


def main(path):
    for name in ("libggml-base.so", "libggml-cpu.so", "libggml.so"):
        for library in sorted(Path(path).parent.glob(name + "*")):
            C.CDLL(str(library), mode=C.RTLD_GLOBAL)
    lib = declare(C.CDLL(path))
    lib.llama_backend_init()
    vocab = vocab_of(lib)
    cases = {name: list(walk(lib, vocab, grammar)) for name, grammar in GRAMMARS.items()}
    (DATA / "grammars_llama_cpp.json").write_text(json.dumps(cases, separators=(",", ":")).replace(']],"', ']],\n"') + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
