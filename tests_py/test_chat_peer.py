"""Chat templates beside llama.cpp itself, where llama-cpp-python is: random conversations in every format that both name, and texts
made of the marks by which templates are recognised.

Next: test_chat_template.py, which needs no peer.
"""
import ctypes as C
import random
import re
from pathlib import Path

import pytest

import sampling_abi as abi
from peer_tools import peer_or_skip

llama_cpp = peer_or_skip()
ours = abi.load().llama_chat_apply_template
theirs = C.CDLL(str(Path(llama_cpp.__file__).parent / "lib" / "libllama.so")).llama_chat_apply_template
theirs.restype, theirs.argtypes = ours.restype, ours.argtypes

ROLES = [*(4 * [b"system", b"user", b"assistant", b"tool"]), b"function", b"nobody", b"", b"User", b"SYSTEM", b"assistant_tool_call",
         b"user ", b"tool_call", "\u00e9".encode(), b"\xff\xfe"]
PARTS = [b"", b" ", b"\n", b"\t\v\f\r", b"Hello", "\u65e5\u672c".encode(), b"{content}{role}", b"<|im_end|>", b"\xff", b"{{ x }}", b"a b  ",
         "\u00a0\u3000".encode()]


def names():
    texts = (C.c_char_p * 200)()
    found = [llama_cpp.llama_chat_builtin_templates(texts, 200), texts]
    return [name.decode() for name in found[1][:found[0]]]


def said(api, template, talk, ask, size):
    """Length, the text as far as there is room, and what lies behind the buffer."""
    buffer = C.create_string_buffer(b"#" * (size + 8), size + 8)
    messages = (abi.ChatMessage * len(talk))(*[abi.ChatMessage(*message) for message in talk])
    n = api(template, messages, len(talk), ask, buffer if size else None, size)
    return n, buffer.raw[:max(0, min(size, n))], buffer.raw[size:]


@pytest.mark.parametrize("name", [None, *names()])
def test_conversations_are_llama_cpps(name):
    choose, template = random.Random(name or "none"), None if name is None else name.encode()
    for _ in range(400):
        talk = [(choose.choice(ROLES), b"".join(choose.choices(PARTS, k=choose.randrange(5)))) for _ in range(choose.randrange(7))]
        ask, size = choose.random() < 0.5, choose.choice([0, 1, 2, 10, 50, 5000, 5000])
        assert said(ours, template, talk, ask, size) == said(theirs, template, talk, ask, size), (talk, ask, size)


def marks():
    rules = (Path(__file__).parents[1] / "csrc" / "bnf_chat.c").read_text().partition("} rules[] = {")[2].partition("\n};")[0]
    return sorted({text.replace('\\"', '"').replace("\\\\", "\\").encode() for text in re.findall(r'"((?:[^"\\]|\\.)*)"', rules)})


def ours_alone(text):
    """BitNet's and SmolLM's own templates; dots1, which llama.cpp writes and does not name."""
    return (b"BITNET" in text or b"named SmolLM" in text or (b"<|eot_id|>" in text and b"Assistant: " in text)
            or text in (b"bitnet", b"smollm", b"dots1"))


def test_texts_are_recognised_as_llama_cpp_does():
    choose, known, seen = random.Random(5), marks() + [b"mistral", b"{{ x }}"], 0
    talk = [(b"system", b" S "), (b"user", b" U "), (b"assistant", b" A "), (b"tool", b"T"), (b"user", b"V")]
    for _ in range(20_000):
        text = choose.choice([b"", b" ", b"\n"]).join(choose.choices(known, k=choose.randrange(6)))
        if not ours_alone(text):
            seen += 1
            assert said(ours, text, talk, True, 4000) == said(theirs, text, talk, True, 4000), text
    assert len(known) > 100 and seen > 15_000
