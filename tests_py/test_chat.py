"""Chats by Jinja: what templates of published models use, what goes wrong in one, and what it may not reach.

test_chat_template.py has the formats that the library has built in. Next: bitnet_ffi/chat.py.
"""
import datetime
import json
import subprocess
import sys

import pytest

from bitnet_ffi import InvalidArgumentError, Model
from bitnet_ffi.chat import render
from gguf_writer import BOOL, STRING, tiny_model

TALK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]


def test_blocks_leave_no_lines_behind():
    """trim_blocks and lstrip_blocks: templates are written with them in mind."""
    text = "{% for m in messages %}\n    {% if m['role'] == 'user' %}\nU {{ m['content'] }}\n    {% endif %}\n{% endfor %}\nend"
    assert render(text, TALK) == "U Why?\nend"


@pytest.mark.parametrize("text, expected", [
    ("{% if add_generation_prompt %}go{% endif %}", "go"),
    ("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + loop.index %}{% endfor %}{{ ns.n }}", "3"),
    ("{% for m in messages %}{% if loop.last %}{% break %}{% endif %}{{ m.role }}{% endfor %}", "system"),
    ("{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.role }}{% endfor %}", "user"),
    ("{{ messages[0]['content'][:-1] | upper }}{{ messages[1]['content'].strip('?') }}", "BE BRIEFWhy"),
    ("{% macro turn(m) %}<{{ m.role }}>{% endmacro %}{{ turn(messages[0]) }}", "<system>"),
    ("{% generation %}a{% for m in messages %}{{ loop.index }}{% endfor %}{% endgeneration %}.", "a12."),
    ("{{ missing }}|{{ tools is defined }}|{{ tools is none }}", "|False|False"),
    ("{{ bos_token }}", ""),
])
def test_what_templates_use(text, expected):
    assert render(text, TALK) == expected


def test_tojson_is_json_not_html():
    tool = {"name": "größe", "b": 1, "a": ["<x>", None, "it's"]}
    assert render("{{ tool | tojson }}", TALK, tool=tool) == json.dumps(tool, ensure_ascii=False)
    assert render("{{ tool | tojson(indent=2) }}", TALK, tool=tool) == json.dumps(tool, ensure_ascii=False, indent=2)
    assert render("{{ tool | tojson(sort_keys=true, separators=(',', ':'), ensure_ascii=true) }}", TALK, tool=tool) == json.dumps(
        tool, sort_keys=True, separators=(",", ":"))


def test_the_day_is_todays_or_the_callers():
    text = "{{ strftime_now('%Y') }}"
    assert int(render(text, TALK)) == pytest.approx(datetime.datetime.now().year, abs=1)
    assert render(text, TALK, strftime_now=lambda form: "1999") == "1999"


@pytest.mark.parametrize("text, sentence", [
    ("a\n{% for %}", "chat template, line 2: "),
    ("{% if messages %}", "chat template, line 1: .*end of template"),
    ("{{ raise_exception('Roles must alternate') }}", "refuses this conversation: Roles must alternate"),
    ("{{ missing.attribute }}", "'missing' is undefined"),
    ("{{ 1 / 0 }}", "division by zero"),
    ("{{ messages[0].content + 1 }}", "chat template: .*str"),
    ("{{ messages.append(1) }}", "'append' of 'list' object is unsafe"),
    ("{{ ''.__class__.__mro__ }}", "unsafe"),
    ("{{ strftime_now.__globals__.keys() }}", "unsafe"),
    ("{% for i in range(1000000000) %}{% endfor %}", "Range too big"),
    ("{% include 'x' %}", "no loader"),
    ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion"),
])
def test_a_template_that_goes_wrong(text, sentence):
    with pytest.raises(InvalidArgumentError, match=sentence):
        render(text, TALK)


@pytest.mark.parametrize("message", ["hello", {}, {"content": "x"}, {"role": 1}, None])
def test_messages_have_roles(message):
    with pytest.raises(InvalidArgumentError, match="message 1: .*expected a mapping with a role"):
        render("{{ messages }}", [TALK[0], message])


# ---- by a model ----

TEMPLATE = ("{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}"
            "{% if add_generation_prompt %}[assistant]{% endif %}")


@pytest.fixture
def model_with(tmp_path):
    """A model whose file has these templates; "default" is the one without a name."""
    def make(add_bos=True, add_eos=False, **templates) -> Model:
        file = tiny_model().set("tokenizer.ggml.add_bos_token", BOOL, add_bos).set("tokenizer.ggml.add_eos_token", BOOL, add_eos)
        for name, text in templates.items():
            file.set("tokenizer.chat_template" + ("" if name == "default" else f".{name}"), STRING, text)
        return Model(file.write(tmp_path / "chat.gguf"), vocab_only=True)
    return make


def test_the_files_own_template_is_run(model_with):
    model = model_with(default=TEMPLATE)
    assert model.apply_chat_template(TALK) == "[system]Be brief.</s>[user]Why?</s>[assistant]"
    assert model.apply_chat_template(TALK, add_assistant=False) == "[system]Be brief.</s>[user]Why?</s>"
    assert model.apply_chat_template([]) == "[assistant]"


@pytest.mark.parametrize("add_bos", [True, False])
@pytest.mark.parametrize("add_eos", [True, False])
def test_tokens_that_tokenizing_adds_are_left_out(model_with, add_bos, add_eos):
    """So that each is there once, whoever puts it in."""
    model = model_with(add_bos, add_eos, default=TEMPLATE)
    prompt = model.apply_chat_template(TALK, add_assistant=False)
    assert prompt == ("" if add_bos else "<s>") + "[system]Be brief.</s>[user]Why?" + ("" if add_eos else "</s>")
    tokens = model.tokenize(prompt, parse_special=True)
    assert (tokens[0], tokens.count(model.bos)) == (model.bos, 1) and (tokens[-1], tokens.count(model.eos)) == (model.eos, 2)


def test_templates_by_name_and_by_text(model_with):
    model = model_with(default=TEMPLATE, short="{{ messages[-1].content }}", chatml="mine")
    assert model.apply_chat_template(TALK, template="short") == "Why?"
    assert model.apply_chat_template(TALK, template="chatml") == "mine"      # the file knows better than the library
    assert model.apply_chat_template(TALK, template="{{ messages | length }} {{ pad_token }}.") == "2 ."
    assert model.apply_chat_template(TALK, template="llama3").startswith("<|start_header_id|>system")
    with pytest.raises(InvalidArgumentError, match="chat template"):
        model.apply_chat_template(TALK, template="no-such-format")


def test_variables_reach_the_template(model_with):
    tools = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
    text = "{{ tools[0].function.name if tools else 'none' }} {{ date_string }} {{ bos_token }}"
    model = model_with(default=text)
    assert model.apply_chat_template(TALK, tools=tools, date_string="1 May", bos_token="B") == "look 1 May B"
    assert model.apply_chat_template(TALK, tools=None).startswith("none")
    model = model_with(default=text, tool_use="with {{ tools | tojson }}")
    assert model.apply_chat_template(TALK, tools=tools) == "with " + json.dumps(tools)
    with pytest.raises(InvalidArgumentError, match="tools: the built-in template 'llama3' knows roles and contents alone"):
        model.apply_chat_template(TALK, template="llama3", tools=tools)


def test_a_real_one(smollm2):
    """It gives a system message to who has none, which chatml, as the library recognises it, does not."""
    own = smollm2.apply_chat_template(TALK[1:])
    assert own.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
    assert own.endswith("<|im_end|>\n" + smollm2.apply_chat_template(TALK[1:], template="chatml"))
    assert smollm2.apply_chat_template(TALK) == smollm2.apply_chat_template(TALK, template="chatml")


def test_no_template_is_an_error(model_with):
    with pytest.raises(InvalidArgumentError, match="has no chat template; pass template="):
        model_with().apply_chat_template(TALK)


@pytest.mark.parametrize("message, sentence", [({"role": "user"}, "message 1"), ({"role": "user", "content": ["x"]}, "message 1"), ("x", "message 1")])
def test_built_in_formats_want_texts(model_with, message, sentence):
    with pytest.raises(InvalidArgumentError, match=sentence):
        model_with().apply_chat_template([TALK[0], message], template="chatml")


def test_jinja_is_imported_when_it_is_needed():
    done = subprocess.run([sys.executable, "-c", "import sys, bitnet_ffi.model, bitnet_ffi.cli.run; print('jinja2' in sys.modules)"],
                          capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
