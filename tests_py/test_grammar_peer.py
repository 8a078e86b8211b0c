"""Grammars beside llama.cpp itself, where llama-cpp-python is: random texts of the language, and lazy grammars with patterns that capture.

llama.cpp ends the process when a token does not fit, and can take for ever over a grammar, so each one is tried in a process of its own,
which has half a second of CPU time. Next: test_grammar.py, which needs no peer and says where we differ on purpose.
"""
import ctypes as C
import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest

import make_grammar_golden as golden
import sampling_abi as abi
from peer_tools import peer_or_skip

llama_cpp = peer_or_skip()
ours = golden.declare(abi.load())
theirs = golden.declare(C.CDLL(str(Path(llama_cpp.__file__).parent / "lib" / "libllama.so")))
OUR_VOCAB, THEIR_VOCAB = golden.vocab_of(ours), golden.vocab_of(theirs)
N = ours.llama_vocab_n_tokens(OUR_VOCAB)
ours.llama_token_to_piece.argtypes = [C.c_void_p, C.c_int32, C.c_char_p, C.c_int32, C.c_int32, C.c_bool]


def piece(token, buffer=C.create_string_buffer(256)):
    n = ours.llama_token_to_piece(OUR_VOCAB, token, buffer, 256, 0, True)
    return buffer.raw[:max(0, n)]


def is_text(text):
    try:
        return bool(text.decode()) and text[0] != 0
    except UnicodeDecodeError:
        return False


PIECES = [piece(token) for token in range(N)]
# Tokens that are whole characters: of the others, llama.cpp allows some that can become no character, and forbids some that can.
WHOLE = np.array([is_text(text) for text in PIECES])
ENDS = np.array([ours.llama_vocab_is_eog(OUR_VOCAB, token) for token in range(N)])


def apart(check, *arguments):
    """What the check returns in a process of its own; None where that did not come to an end."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.environ["GGML_NO_BACKTRACE"] = "1"
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            signal.setitimer(signal.ITIMER_PROF, 0.5)      # of CPU time
            os.write(writer, str(check(*arguments)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        said = answer.read().decode()
    os.waitpid(child, 0)
    return said or None


def step(our_sampler, their_sampler, choose, among):
    """Accept a random token that both allow; a difference as text, "" where there is none, None at the end."""
    here, there = golden.allowed(ours, our_sampler, N), golden.allowed(theirs, their_sampler, N)
    if b"too ambiguous" in ours.bitnet_last_error():         # where llama.cpp takes exponential time
        return None
    wrong = np.flatnonzero((here != there) & WHOLE)
    if len(wrong):
        return f"differs: {PIECES[wrong[0]]!r} is allowed here: {here[wrong[0]]}"
    fitting = np.flatnonzero(here & among)
    if not len(fitting):
        return None
    token = int(choose.choice(fitting))
    ours.llama_sampler_accept(our_sampler, token)
    if ours.bitnet_last_error():
        theirs.llama_sampler_accept(their_sampler, token)       # ends this process, as it must
        return f"differs: {PIECES[token]!r} does not fit here"
    theirs.llama_sampler_accept(their_sampler, token)
    return ""


# ---- random grammars ----

LETTERS = ["a", "b", "c", "0", " ", "-", "_", "\u00e9", "\u65e5", "\U0001F600", "\\n", "\\t", "\\\\", '\\"', "\\[", "\\]", "\\x41",
           "\\u00e9", "\\U0001F600", "'", "(", ")", "|", "*", "?", "#", "{", "}", "<", ">", ":", "^", ".", "the", "and"]
RANGES = ["a-z", "0-9", "A-F", "\u00e9", "\u03b1-\u03c9", "\\n", "\\]", "\\[", "_", " ", "\\\\", "\\x41-\\x5a", "\\u3040-\\u309F", "b", '"',
          "\\U0001F600-\\U0001F64F"]
REPEATS = ["*", "+", "?", "{2}", "{0}", "{1,3}", "{0,2}", "{2,}", "{ 1 , 2 }", "{0,}"]


def item(c, rules, depth):
    kind = c.random()
    if kind < 0.3 or depth == 0:
        text = '"' + "".join(c.choices(LETTERS, k=c.randrange(4))) + '"'
    elif kind < 0.5:
        text = "[" + c.choice(["", "^"]) + "".join(c.sample(RANGES, c.randrange(1, 4))) + c.choice(["", "", "-"]) + "]"
    elif kind < 0.55:
        text = "."
    elif kind < 0.75 and rules:
        text = c.choice(rules)
    else:
        text = "(" + c.choice([" ", "\t", ""]) + choices(c, rules, depth - 1) + c.choice(["", "\n "]) + ")"
    return text + (c.choice(REPEATS) if c.random() < 0.4 and text != '""' else "")


def choices(c, rules, depth):
    alternatives = [" ".join(item(c, rules, depth) for _ in range(c.choice([1, 1, 2, 3]))) for _ in range(c.choice([1, 1, 2]))]
    return c.choice([" | ", "|"]).join(alternatives)


def random_grammar(c):
    rules = c.sample(["a", "b-c", "x_1", "Tail"], c.randrange(4))
    lines = [name + c.choice([" ::= ", "::=", " ::=\n "]) + choices(c, rules, 2) for name in c.sample(["root", *rules], 1 + len(rules))]
    between = c.choice(["\n", "\r\n", "\n\n", "\n# between\n"])
    text = c.choice(["", "\n", "# first\n"]) + between.join(lines) + c.choice(["", "\n", "# last"])
    if c.random() < 0.2:                # most likely wrong now
        at = c.randrange(len(text))
        text = text[:at] + c.choice([*'"()[|\\{}x#<>*\n', "::=", "\\x", "\\u12"]) + text[at + 1:]
    return text


# What llama.cpp takes for a grammar and we do not, or the other way round: empty repetitions of what may be empty have no end there,
# and it does not look for recursion everywhere.
ON_PURPOSE = ["left recursion", "a range that ends before it begins", "a class without characters"]


def walk(text, seed):
    choose = random.Random(seed)
    our_sampler = ours.llama_sampler_init_grammar(OUR_VOCAB, text.encode(), b"root")
    said = ours.bitnet_last_error().decode()
    their_sampler = theirs.llama_sampler_init_grammar(THEIR_VOCAB, text.encode(), b"root")
    if not our_sampler or not their_sampler:
        if not our_sampler and not their_sampler:
            return "refused"
        return "on purpose" if our_sampler or any(reason in said for reason in ON_PURPOSE) else said
    for _ in range(12):
        found = step(our_sampler, their_sampler, choose, WHOLE & ~ENDS)
        if found is None:
            break
        if found:
            return found
    return "followed"


def test_random_grammars_are_followed_as_llama_cpp_follows_them():
    choose, seen = random.Random(8), []
    for seed in range(300):
        text = random_grammar(choose)
        seen.append(apart(walk, text, seed))
        assert seen[-1] in (None, "followed", "refused", "on purpose"), f"{seen[-1]}\n{text}"
    counted = {said: seen.count(said) for said in set(seen)}
    assert counted["followed"] > 110 and counted["refused"] > 30, counted


# ---- lazy grammars ----

CALL = b'root ::= "<call>" [0-9]+ "</call>" | "call" [a-z]* | [^<c] .*'
PATTERNS = [rb"<call>", rb"[\s\S]*?(<call>)[\s\S]*", rb"^[\s\S]*?(<call>)[\s\S]*$", rb"<c\w+>", rb"(a)|(<call>)", rb"(x)?(call)",
            rb"c(al)l",
            rb"(<)(call)(>)", rb"()<call>", rb"(?:a|b)(c+)", rb"^a", rb"a$", rb"^(a+)b$", rb"[ab]{2,3}(c)?", rb"a.c", rb"(a*)b",
            rb"(a|ab)(c|bcd)(d*)", rb"\bcall\b", rb"a|b|call", rb"(z*)(b)", rb"^[\s\S]*(call)", rb"((a)(b))", rb"(?:x(y))?b(c)", rb"\Bb",
            rb"[[:digit:]]a", rb"a(?:b(c)?)d*", rb"(b)*c", rb"a*?b", rb"\n(a)", "\u00e9(a)".encode(), rb"[^a](b)", rb"\x62", rb"\.|\*"]
WORDS = [b"<call>", b"ab", b".", b"a*", b"(b", b"[c]", b"c^", b"", "\u00e9".encode()]
SPOKEN = [b"a", b"b", b"c", b"<", b">", b"al", b"l", b"x", b"y", b"z", b"d", b" ", b"\n", b"in", b"1", b".", b"*", b"(", b"[", b"]"]


def talk(kind, trigger, seed):
    choose = random.Random(seed)
    among = np.isin(np.arange(N), [PIECES.index(text) for text in SPOKEN])
    tokens = [PIECES.index(b"["), PIECES.index(b"d")] if seed % 4 == 0 else []
    samplers = [getattr(api, "llama_sampler_init_grammar_lazy" + kind)(
        vocab, CALL, b"root", (C.c_char_p * 1)(trigger), 1, (C.c_int32 * 2)(*tokens), len(tokens))
        for api, vocab in ((ours, OUR_VOCAB), (theirs, THEIR_VOCAB))]
    assert all(samplers)
    for _ in range(14):
        found = step(*samplers, choose, among)
        if found is None:
            break
        if found:
            return found
    return "followed"


@pytest.mark.parametrize("kind, trigger", [*(("_patterns", p) for p in PATTERNS), *(("", w) for w in WORDS)], ids=str)
def test_lazy_grammars_begin_where_llama_cpps_do(kind, trigger):
    said = {apart(talk, kind, trigger, seed) for seed in range(10)}
    assert said <= {"followed", None}            # None: what was said did not fit the grammar
