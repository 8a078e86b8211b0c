"""The grammar sampler: the language, what it allows beside llama.cpp and beside a plain statement, and hostile grammars."""

import ctypes as C
import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import make_grammar_golden as golden
import sampling_abi as abi
from sampling_abi import Candidates
from test_sampler import Owned

lib = golden.declare(abi.load())
CASES = json.loads(Path(__file__).with_name("data").joinpath("grammars_llama_cpp.json").read_text())
TEXTS = C.create_string_buffer(4096)


@pytest.fixture(scope="module")
def vocab():
    return golden.vocab_of(lib)


def piece(vocab, token):
    lib.llama_token_to_piece.argtypes = [C.c_void_p, C.c_int32, C.c_char_p, C.c_int32, C.c_int32, C.c_bool]
    n = lib.llama_token_to_piece(vocab, token, TEXTS, len(TEXTS), 0, True)
    return TEXTS.raw[:max(0, n)]


def grammar(vocab, text, root=b"root"):
    return Owned(lib.llama_sampler_init_grammar(vocab, text if isinstance(text, bytes) else text.encode(), root))


def byte_tokens(vocab):
    """Tokens by the text of one byte."""
    return {piece(vocab, t): t for t in reversed(range(lib.llama_vocab_n_tokens(vocab))) if len(piece(vocab, t)) == 1}


def accepts(vocab, sampler, text):
    """Feed bytes; False at the first that is not allowed, else whether the text may end."""
    tokens = byte_tokens(vocab)
    n = lib.llama_vocab_n_tokens(vocab)
    for i in range(len(text)):
        token = tokens[text[i:i + 1]]
        if not golden.allowed(lib, sampler, n)[token]:
            return False
        lib.llama_sampler_accept(sampler, token)
    lib.llama_vocab_eos.argtypes = [C.c_void_p]
    return bool(golden.allowed(lib, sampler, n)[lib.llama_vocab_eos(vocab)])


# ---- beside llama.cpp ----

def no_character(text, name):
    """llama.cpp takes bytes that begin no character (C0, C1, F5 to FF) for one, and a text to end at a zero byte. It does not count
    tokens of one byte from 80 on among "any token but"."""
    first = text[0] if text else 0
    return first == 0 or first in (0xC0, 0xC1) or first >= 0xF5 or (name == "tokens" and len(text) == 1 and first >= 0x80)


@pytest.mark.parametrize("name", CASES)
def test_allowed_tokens_are_those_of_llama_cpp(vocab, name):
    n = lib.llama_vocab_n_tokens(vocab)
    differ_on_purpose = np.array([no_character(piece(vocab, t), name) for t in range(n)])
    sampler = grammar(vocab, golden.GRAMMARS[name])
    for bits, token in CASES[name]:
        expected = np.unpackbits(np.frombuffer(bytes.fromhex(bits), np.uint8))[:n].astype(bool)
        wrong = (golden.allowed(lib, sampler, n) != expected) & ~differ_on_purpose
        assert not wrong.any(), [piece(vocab, int(t)) for t in np.flatnonzero(wrong)]
        if token < 0 or differ_on_purpose[token]:
            break
        lib.llama_sampler_accept(sampler, token)


def test_few_candidates_are_judged_as_all_are(vocab):
    """Short lists are asked token by token, long ones through the sorted vocabulary."""
    n = lib.llama_vocab_n_tokens(vocab)
    for name, text in golden.GRAMMARS.items():
        sampler = grammar(vocab, text)
        for _, token in CASES[name][:12]:
            whole = golden.allowed(lib, sampler, n)
            ids = np.arange(0, n, 7)
            repeated = np.concatenate([np.arange(n)] * (1 + 600 // n))
            few, many = Candidates(np.zeros(len(ids)), ids), Candidates(np.zeros(len(repeated)), repeated)
            lib.llama_sampler_apply(sampler, C.byref(few.c))
            lib.llama_sampler_apply(sampler, C.byref(many.c))
            assert ((few.items["logit"] == 0) == whole[ids]).all()
            assert ((many.items["logit"] == 0) == whole[repeated]).all()
            if token < 0:
                break
            lib.llama_sampler_accept(sampler, token)


# ---- the language ----

PATTERNS = [
    (r'root ::= "a"* "b"+ "c"?', r"a*b+c?"),
    (r'root ::= ("ab" | "c"){2,3}', r"(ab|c){2,3}"),
    (r'root ::= [a-c]{2} | "x"{0,2} "y"', r"[a-c]{2}|x{0,2}y"),
    (r'root ::= "a"{0} "b"{2,}', r"b{2,}"),
    (r'root ::= [^a-c] . "c"?', r"[^a-c][\s\S]c?"),
    (r'root ::= (("a"?)*)* "b"', r"a*b"),
    ('root ::= first second # comment\n# more\nsecond ::= "c" |\n  "d"\nfirst ::= (\n "a"\n | "b" )', r"[ab][cd]"),
    (r'root ::= "\x61" "\u0062" [\x63-\x64\]]', r"ab[cd\]]"),
    (r'root ::= "a" root "b" | "c"', r"c|acb|aacbb|aaacbbb"),
    (r'root ::= tail_1 | other-name' '\ntail_1 ::= "a" tail_1 | ""\nother-name ::= "b"', r"a*|b"),
    (r'root ::= [-a] [a-]', r"[-a][a-]"),
]


@pytest.mark.parametrize("text, pattern", PATTERNS)
@settings(max_examples=60, deadline=None)
@given(sample=st.text("abcdxy]-", max_size=7))
def test_language_equals_its_regular_expression(vocab, text, pattern, sample):
    expected = re.fullmatch(pattern, sample) is not None
    assert accepts(vocab, grammar(vocab, text), sample.encode()) == expected


def test_characters_of_several_bytes(vocab):
    text = "root ::= [α-ω]+ [^\\U0001F600-\\U0001F64F]"
    for sample, expected in (("αβ!", True), ("α", False), ("αω日", True), ("α😀", False), ("α😀"[:1] + "\U0001F700", True), ("a", False)):
        assert accepts(vocab, grammar(vocab, text), sample.encode()) == expected, sample
    for wrong in (b"\xce\xb1\xc0\x80", b"\xce\xb1\xed", b"\xce\xce", b"\xb1"):
        if wrong == b"\xce\xb1\xed":      # the beginning of a character: may go on, may not end
            sampler = grammar(vocab, text)
            assert not accepts(vocab, sampler, wrong)
            continue
        assert not accepts(vocab, grammar(vocab, text), wrong)


def test_token_by_its_text(vocab):
    special = next(t for t in range(lib.llama_vocab_n_tokens(vocab)) if piece(vocab, t) == b"</s>")
    sampler = grammar(vocab, 'root ::= !</s> "a"')
    bits = golden.allowed(lib, sampler, lib.llama_vocab_n_tokens(vocab))
    assert not bits[special] and bits.sum() >= lib.llama_vocab_n_tokens(vocab) - 3


WRONG = [
    ('root ::= "a', "line 1, column 12: the text ends inside a literal"),
    ("root ::= [a", "line 1, column 12: the text ends inside a class"),
    ('root ::= "a"\n  )', "line 2, column 3: expected the name of a rule"),
    ('root ::= ("a"', "line 1, column 14: expected )"),
    ('root ::= "a" )', "line 1, column 14: expected the end of the rule"),
    ("root = x", "line 1, column 6: expected ::="),
    ("root ::= nothing-here", "rule 'nothing-here' is used but not defined"),
    ('other ::= "a"', "no rule 'root'"),
    ("# nothing", "no rule 'root'"),
    ("root ::= *", "line 1, column 10: nothing before it to repeat"),
    ('root ::= "a"{3,1}', "a repetition of at least more than at most"),
    ('root ::= "a"{9999}', "a repetition of more than 2000 times"),
    ('root ::= "a"{x}', "expected a number of repetitions"),
    ('root ::= "a"{1', "expected }"),
    ("root ::= []", "a class without characters"),
    ("root ::= [z-a]", "a range that ends before it begins"),
    (r'root ::= "\q"', "unknown escape"),
    (r'root ::= "\x4"', "expected hexadecimal digits"),
    (r'root ::= "\U00110000"', "no character has a code above 10FFFF"),
    ("root ::= <", "expected > after a token's text"),
    ("root ::= <[x]>", "expected the number of a token"),
    ("root ::= <not one token at all>", "not one token of the vocabulary"),
    ("root ::= !x", "expected a token after !"),
    (b'root ::= "\xff"', "not UTF-8"),
    ("root ::= " + "(" * 500, "parentheses nested too deep"),
    ('root ::= root "a" | "b"', "left recursion"),
    ('root ::= a "x"\na ::= b | "y"\nb ::= "" root', "left recursion"),
    ('root ::= ("x"?) root "a" | "b"', "left recursion"),
    ('root ::= a\na ::= root | root "b" | "c"', "left recursion"),
]


@pytest.mark.parametrize("text, sentence", WRONG)
def test_wrong_grammar_says_where(vocab, text, sentence):
    assert not lib.llama_sampler_init_grammar(vocab, text if isinstance(text, bytes) else text.encode(), b"root")
    assert sentence in lib.bitnet_last_error().decode()


def test_misuse_is_refused(vocab):
    for arguments, name in (((None, b"root ::= .", b"root"), b"vocab"), ((vocab, b"root ::= .", None), b"grammar_root")):
        assert not lib.llama_sampler_init_grammar(*arguments)
        assert name + b" is NULL" in lib.bitnet_last_error()
    for nothing in (None, b""):
        sampler = Owned(lib.llama_sampler_init_grammar(vocab, nothing, b"root"))
        assert lib.llama_sampler_name(sampler) == b"?grammar"
        assert golden.allowed(lib, sampler, 50).all()


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from('root::=ab"[]()*+?{}|1,2-^\\x<>!.# \n'), max_size=60))
def test_any_text_is_a_grammar_or_a_sentence(vocab, text):
    pointer = lib.llama_sampler_init_grammar(vocab, ("root ::= " + text).encode(), b"root")
    if not pointer:
        assert lib.bitnet_last_error()
        return
    sampler = Owned(pointer)
    for token in (40, 41, 42):
        golden.allowed(lib, sampler, lib.llama_vocab_n_tokens(vocab))
        lib.llama_sampler_accept(sampler, token)


# ---- hostile grammars ----

def test_many_readings_cost_no_more_than_one(vocab):
    """30 optional letters in a row: 2^30 readings of one text."""
    start = time.perf_counter()
    assert accepts(vocab, grammar(vocab, "root ::= " + '"a"? ' * 30 + '"b"'), b"a" * 30 + b"b")
    assert accepts(vocab, grammar(vocab, 'root ::= (("a" | "a" "a" | "aaa")* "a")* "b"'), b"a" * 60 + b"b")
    assert time.perf_counter() - start < 30


def test_readings_without_end_are_an_error_and_nothing_is_allowed(vocab):
    """Each letter may open a bracket of one of two kinds: the readings double with every letter."""
    sampler = grammar(vocab, 'root ::= "a" root "x" | "a" root "y" | "b"')
    n = lib.llama_vocab_n_tokens(vocab)
    token = byte_tokens(vocab)[b"a"]
    for _ in range(40):
        lib.llama_sampler_accept(sampler, token)
        if lib.bitnet_last_error():
            break
    assert b"too ambiguous" in lib.bitnet_last_error()
    assert not golden.allowed(lib, sampler, n).any()
    lib.llama_sampler_reset(sampler)
    assert golden.allowed(lib, sampler, n)[token]


def test_deep_nesting_is_followed(vocab):
    sampler = grammar(vocab, 'root ::= "(" root ")" | "x"')
    tokens = byte_tokens(vocab)
    for _ in range(20_000):
        lib.llama_sampler_accept(sampler, tokens[b"("])
    lib.llama_sampler_accept(sampler, tokens[b"x"])
    for _ in range(20_000):
        lib.llama_sampler_accept(sampler, tokens[b")"])
    assert not lib.bitnet_last_error()
    lib.llama_vocab_eos.argtypes = [C.c_void_p]
    assert np.flatnonzero(golden.allowed(lib, sampler, lib.llama_vocab_n_tokens(vocab))).tolist() == [lib.llama_vocab_eos(vocab)]


def test_a_grammar_of_many_elements_is_refused(vocab):
    assert not lib.llama_sampler_init_grammar(vocab, b"root ::= " + b" | ".join([b'"' + b"x" * 1000 + b'"'] * 2000), b"root")
    assert b"elements" in lib.bitnet_last_error()


# ---- life ----

def test_what_does_not_fit_is_an_error_not_a_crash(vocab):
    sampler = grammar(vocab, 'root ::= "ab"')
    tokens, n = byte_tokens(vocab), lib.llama_vocab_n_tokens(vocab)
    lib.llama_sampler_accept(sampler, tokens[b"z"])
    assert b"does not fit" in lib.bitnet_last_error()
    assert not golden.allowed(lib, sampler, n).any()
    for token in (-1, n, 2**31 - 1, tokens[b"a"]):
        lib.llama_sampler_accept(sampler, token)
        assert lib.bitnet_last_error()
    lib.llama_vocab_eos.argtypes = [C.c_void_p]
    sampler = grammar(vocab, 'root ::= "ab"')
    lib.llama_sampler_accept(sampler, lib.llama_vocab_eos(vocab))
    assert b"ends the text where the grammar goes on" in lib.bitnet_last_error()


def test_clone_and_reset(vocab):
    text, n = golden.GRAMMARS["json"], lib.llama_vocab_n_tokens(vocab)
    sampler = grammar(vocab, text)
    path = [token for _, token in CASES["json"] if token >= 0]
    for token in path[:15]:
        lib.llama_sampler_accept(sampler, token)
    clone = Owned(lib.llama_sampler_clone(sampler))
    for token in path[15:25]:
        assert (golden.allowed(lib, sampler, n) == golden.allowed(lib, clone, n)).all()
        lib.llama_sampler_accept(sampler, token)
        lib.llama_sampler_accept(clone, token)
    del sampler
    lib.llama_sampler_reset(clone)
    assert (golden.allowed(lib, clone, n) == golden.allowed(lib, grammar(vocab, text), n)).all()
    assert lib.llama_sampler_name(clone) == b"grammar"


def test_a_long_text_forgets_what_it_no_longer_needs(vocab):
    """Past the limit of remembered states the machine starts its memory again, with the same answers."""
    tokens, n = byte_tokens(vocab), lib.llama_vocab_n_tokens(vocab)
    text = 'root ::= "a"{0,2000} ("b" "c"{0,2000}){0,20} "d"'
    sampler = grammar(vocab, text)
    for letter in b"a" * 2000 + (b"b" + b"c" * 1900) * 20:
        lib.llama_sampler_accept(sampler, tokens[bytes([letter])])
    assert not lib.bitnet_last_error()
    bits = golden.allowed(lib, sampler, n)
    assert {bytes([b]) for b in b"abcd" if bits[tokens[bytes([b])]]} == {b"c", b"d"}


# ---- lazy grammars ----

CALL = 'root ::= "<call>" [0-9]+ "</call>"'


def lazy(vocab, kind, triggers, tokens=()):
    init = getattr(lib, "llama_sampler_init_grammar_lazy" + kind)
    return Owned(init(vocab, CALL.encode(), b"root", (C.c_char_p * len(triggers))(*triggers), len(triggers),
                      (C.c_int32 * len(tokens))(*tokens), len(tokens)))


@pytest.mark.parametrize("kind, triggers", [
    ("", [b"<call>"]), ("", [b"never", b"<call>"]), ("_patterns", [rb"[\s\S]*?(<call>)[\s\S]*"]), ("_patterns", [rb"<c\w+>"]),
    ("_patterns", [rb"^[^<]*(<call>)$"])])
def test_lazy_grammar_waits_for_its_trigger(vocab, kind, triggers):
    tokens, n = byte_tokens(vocab), lib.llama_vocab_n_tokens(vocab)
    sampler = lazy(vocab, kind, triggers)
    for _ in range(2):
        for letter in b"I think I <cal":
            assert golden.allowed(lib, sampler, n).all()
            lib.llama_sampler_accept(sampler, tokens[bytes([letter])])
        clone = Owned(lib.llama_sampler_clone(sampler))
        for letter in b"l>":
            for one in (sampler, clone):
                assert golden.allowed(lib, one, n).all()
                lib.llama_sampler_accept(one, tokens[bytes([letter])])
        for one in (sampler, clone):
            assert not lib.bitnet_last_error()
            bits = golden.allowed(lib, one, n)
            assert bits[tokens[b"7"]] and not bits[tokens[b"x"]] and not bits[tokens[b"<"]]
        assert accepts(vocab, clone, b"42</call>")
        lib.llama_sampler_reset(sampler)


def test_lazy_grammar_starts_at_a_token(vocab):
    tokens, n = byte_tokens(vocab), lib.llama_vocab_n_tokens(vocab)
    sampler = lazy(vocab, "_patterns", [], [tokens[b"<"]])
    lib.llama_sampler_accept(sampler, tokens[b"x"])
    assert golden.allowed(lib, sampler, n).all()
    lib.llama_sampler_accept(sampler, tokens[b"<"])      # the trigger itself belongs to the grammar's text
    assert accepts(vocab, sampler, b"call>1</call>")


def test_lazy_grammar_cuts_a_token_at_the_trigger(vocab):
    """A token that holds the end of the prose and the beginning of the call: only what the group captured counts."""
    n = lib.llama_vocab_n_tokens(vocab)
    token = next(t for t in range(n) if len(piece(vocab, t)) > 2 and piece(vocab, t).isalpha())
    text = piece(vocab, token)
    sampler = Owned(lib.llama_sampler_init_grammar_lazy_patterns(
        vocab, b'root ::= "' + text[1:] + b'" "!"', b"root", (C.c_char_p * 1)(b"(" + text[1:] + b")"), 1, None, 0))
    lib.llama_sampler_accept(sampler, token)
    assert not lib.bitnet_last_error()
    assert accepts(vocab, sampler, b"!")


@pytest.mark.parametrize("pattern, sentence", [
    (b"(", "expected )"), (b")", "a ) without ("), (b"[a", "expected ]"), (b"a{2", "expected }"), (b"*", "nothing before it"),
    (b"(?=x)", "look-ahead"), (b"(a)\\1", "back references"), (b"\\q", "unknown escape"), (b"a{3,2}", "at least more"),
    (b"(?:" * 300, "nested too deep"), (b"(" * 99, "too many groups"), (b"((((a{999}){999}){999}){999})", "too long")])
def test_wrong_trigger_is_a_sentence(vocab, pattern, sentence):
    arguments = (vocab, CALL.encode(), b"root", (C.c_char_p * 1)(pattern), 1, None, 0)
    assert not lib.llama_sampler_init_grammar_lazy_patterns(*arguments)
    assert sentence in lib.bitnet_last_error().decode()
    assert not lib.llama_sampler_init_grammar_lazy_patterns(vocab, CALL.encode(), b"root", None, 1, None, 0)
    assert b"a trigger is NULL" in lib.bitnet_last_error()
    assert not lib.llama_sampler_init_grammar_lazy(vocab, CALL.encode(), b"root", None, 2**64 - 1, None, 0)
    assert b"at most 4096" in lib.bitnet_last_error()
