"""Chat templates: official Jinja texts are recognised and give what Jinja gives; every named format; the buffer rules."""

import ctypes as C

import jinja2
import pytest

import sampling_abi as abi

lib = abi.load()

TALK = [("system", "You are terse."), ("user", "Hello"), ("assistant", "Hi there"), ("user", "  Who are you?  \n")]
TURN = TALK[1:]


def messages(talk):
    text = [[t if t is None else t.encode() for t in message] for message in talk]
    return (abi.ChatMessage * len(talk))(*[abi.ChatMessage(*message) for message in text])


def apply(template, talk, ask=True):
    chat = messages(talk)
    template = template if template is None else template.encode()
    size = lib.llama_chat_apply_template(template, chat, len(talk), ask, None, 0)
    assert size >= 0, lib.bitnet_last_error()
    buffer = C.create_string_buffer(b"#" * (size + 2), size + 2)
    assert lib.llama_chat_apply_template(template, chat, len(talk), ask, buffer, size + 1) == size
    assert buffer.raw[size:] == b"\0#"
    return buffer.raw[:size].decode()


# ---- templates of models, run by Jinja: the prompt must be the same but for the BOS token, which the tokenizer adds ----

JINJA = {
    "SmolLM2": "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
               "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}"
               "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
               "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "chatml": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
              "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "Llama 3": "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
               "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
               "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
               "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    "BitNet 2B-4T": "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = message['role'] | "
                    "capitalize + ': '+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = "
                    "bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
                    "{{ 'Assistant: ' }}{% endif %}",
    "Phi 3": "{% for message in messages %}{{'<|' + message['role'] + '|>' + '\n' + message['content'] + '<|end|>\n'}}"
             "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
}


@pytest.mark.parametrize("ask", [False, True])
@pytest.mark.parametrize("talk", [TALK, TURN, TURN[:1]], ids=["system", "turns", "first"])
@pytest.mark.parametrize("model", JINJA)
def test_template_of_a_model_gives_what_jinja_gives(model, talk, ask):
    source = JINJA[model]
    expected = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(source).render(
        messages=[{"role": role, "content": content} for role, content in talk], add_generation_prompt=ask, bos_token="")
    assert apply(source, talk, ask) == expected


# ---- recognition ----

@pytest.mark.parametrize("template, name", [
    ("{{ bos_token }}Human: {{ message['content'] }}\n\nBITNETAssistant: ", "bitnet"),
    ("{{ '<|im_start|>' }}...{{ '<|im_sep|>' }}", "phi4"),
    ("<|im_start|>{% ... %}<end_of_utterance>", "smolvlm"),
    ("{{ '[INST] ' }}{{ '[SYSTEM_PROMPT]' }}", "mistral-v7"),
    ("{{ ' [INST] ' }}{{ '[AVAILABLE_TOOLS]' }}", "mistral-v1"),
    ("{{ \"[INST]\" }}{{ '[AVAILABLE_TOOLS]' }}", "mistral-v3-tekken"),
    ("{{ '[INST] ' }}{{ '[AVAILABLE_TOOLS]' }}", "mistral-v3"),
    ("{{ '[INST] ' + message['content'] + ' [/INST]' }}", "llama2"),
    ("{{ '[INST] <<SYS>>' }}", "llama2-sys"),
    ("{{ bos_token + '[INST] ' }}<<SYS>>", "llama2-sys-bos"),
    ("{{ bos_token + '[INST] ' + content.strip() }}<<SYS>>", "llama2-sys-strip"),
    ("<|user|><|assistant|></s>", "falcon3"), ("<|user|><|assistant|>", "glmedge"), ("<|user|>...<|endoftext|>", "zephyr"),
    ("{{ bos_token + message['role'] }}", "monarch"), ("<start_of_turn>", "gemma"), ("GPT4 Correct User", "openchat"),
    ("'USER: ' 'ASSISTANT: '", "vicuna"), ("'USER: ' 'ASSISTANT: ' 'SYSTEM: '", "vicuna-orca"),
    ("### Instruction: <|EOT|>", "deepseek"), ("'Assistant: ' + message['content'] + eos_token", "deepseek2"),
    ("<｜User｜><｜Assistant｜><｜end▁of▁sentence｜>", "deepseek3"), ("<|START_OF_TURN_TOKEN|><|USER_TOKEN|>", "command-r"),
    ("[gMASK]sop", "chatglm3"), ("[gMASK]<sop>", "chatglm4"), ("<用户>", "minicpm"),
    ("[|system|][|assistant|][|endofturn|]", "exaone3"), ("[|system|][|assistant|][|endofturn|][|tool|]", "exaone4"),
    ("<|user|><|assistant|><|tool_declare|>", "exaone-moe"), ("<|start_of_role|><tools>", "granite-4.1"),
    ("<｜hy_begin▁of▁sentence｜><｜hy_Assistant｜>", "hunyuan-vl"), ("<|begin|><|content|><|end|>", "solar-open"),
    ("rwkv-world", "rwkv-world"), ("<|start_of_role|>", "granite"), ("<|role_start|>", "megrez"),
    ("<|header_start|><|header_end|>", "llama4"), ("<|start|><|channel|>", "gpt-oss"), ("<seed:bos>", "seed_oss")])
def test_template_text_is_recognised_by_its_marks(template, name):
    assert apply(template, TALK) == apply(name, TALK)


def test_no_template_is_chatml():
    assert apply(None, TALK) == apply("chatml", TALK)


def test_unknown_template_is_refused():
    for template in (b"", b"{{ messages }}", b"x" * 1000):
        assert lib.llama_chat_apply_template(template, messages(TALK), len(TALK), True, None, 0) == -1
        assert b"chat template" in lib.bitnet_last_error()


# ---- the named formats, written out ----

EXPECTED = {
    "llama2": "[INST] S\nU1 [/INST]A</s>[INST] U2 [/INST]",
    "llama2-sys": "[INST] <<SYS>>\nS\n<</SYS>>\n\nU1 [/INST]A</s>[INST] U2 [/INST]",
    "llama2-sys-bos": "[INST] <<SYS>>\nS\n<</SYS>>\n\nU1 [/INST]A</s><s>[INST] U2 [/INST]",
    "llama2-sys-strip": "[INST] <<SYS>>\nS\n<</SYS>>\n\nU1 [/INST]A</s>[INST] U2 [/INST]",
    "llama4": "<|header_start|>system<|header_end|>\n\nS<|eot|><|header_start|>user<|header_end|>\n\nU1<|eot|>"
              "<|header_start|>assistant<|header_end|>\n\nA<|eot|><|header_start|>user<|header_end|>\n\nU2<|eot|>"
              "<|header_start|>assistant<|header_end|>\n\n",
    "mistral-v1": " [INST] S\n\nU1 [/INST] A</s> [INST] U2 [/INST]",
    "mistral-v3": "[INST] S\n\nU1[/INST] A</s>[INST] U2[/INST]",
    "mistral-v3-tekken": "[INST]S\n\nU1[/INST]A</s>[INST]U2[/INST]",
    "mistral-v7": "[SYSTEM_PROMPT] S[/SYSTEM_PROMPT][INST] U1[/INST] A</s>[INST] U2[/INST]",
    "mistral-v7-tekken": "[SYSTEM_PROMPT]S[/SYSTEM_PROMPT][INST]U1[/INST]A</s>[INST]U2[/INST]",
    "phi4": "<|im_start|>system<|im_sep|>S<|im_end|><|im_start|>user<|im_sep|>U1<|im_end|><|im_start|>assistant<|im_sep|>A"
            "<|im_end|><|im_start|>user<|im_sep|>U2<|im_end|><|im_start|>assistant<|im_sep|>",
    "falcon3": "<|system|>\nS\n<|user|>\nU1\n<|assistant|>\nA\n<|user|>\nU2\n<|assistant|>\n",
    "zephyr": "<|system|>\nS<|endoftext|>\n<|user|>\nU1<|endoftext|>\n<|assistant|>\nA<|endoftext|>\n<|user|>\nU2<|endoftext|>\n"
              "<|assistant|>\n",
    "monarch": "system\nS</s>\n<s>user\nU1</s>\n<s>assistant\nA</s>\n<s>user\nU2</s>\n<s>assistant\n",
    "gemma": "<start_of_turn>user\nS\n\nU1<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n<start_of_turn>user\nU2"
             "<end_of_turn>\n<start_of_turn>model\n",
    "orion": "Human: S\n\nU1\n\nAssistant: </s>A</s>Human: U2\n\nAssistant: </s>",
    "openchat": "S<|end_of_turn|>GPT4 Correct User: U1<|end_of_turn|>GPT4 Correct Assistant: A<|end_of_turn|>"
                "GPT4 Correct User: U2<|end_of_turn|>GPT4 Correct Assistant:",
    "vicuna": "S\n\nUSER: U1\nASSISTANT: A</s>\nUSER: U2\nASSISTANT:",
    "vicuna-orca": "SYSTEM: S\nUSER: U1\nASSISTANT: A</s>\nUSER: U2\nASSISTANT:",
    "deepseek": "S### Instruction:\nU1\n### Response:\nA\n<|EOT|>\n### Instruction:\nU2\n### Response:\n",
    "deepseek2": "S\n\nUser: U1\n\nAssistant: A<｜end▁of▁sentence｜>User: U2\n\nAssistant:",
    "deepseek3": "S\n\n<｜User｜>U1<｜Assistant｜>A<｜end▁of▁sentence｜><｜User｜>U2<｜Assistant｜>",
    "command-r": "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>S<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>U1"
                 "<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>A<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|>"
                 "<|USER_TOKEN|>U2<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
    "chatglm3": "[gMASK]sop<|system|>\n S<|user|>\n U1<|assistant|>\n A<|user|>\n U2<|assistant|>",
    "chatglm4": "[gMASK]<sop><|system|>\nS<|user|>\nU1<|assistant|>\nA<|user|>\nU2<|assistant|>\n",
    "minicpm": "S<用户>U1<AI>A<用户>U2<AI>",
    "exaone3": "[|system|]S[|endofturn|]\n[|user|]U1\n[|assistant|]A[|endofturn|]\n[|user|]U2\n[|assistant|]",
    "exaone-moe": "<|system|>\nS<|endofturn|>\n<|user|>\nU1<|endofturn|>\n<|assistant|>\nA<|endofturn|>\n<|user|>\nU2<|endofturn|>\n"
                  "<|assistant|>\n",
    "deepseek-ocr": "SU1AU2",
    "hunyuan-vl": "<｜hy_begin▁of▁sentence｜>S<｜hy_place▁holder▁no▁3｜>U1<｜hy_User｜>A<｜hy_Assistant｜>U2<｜hy_User｜>",
    "solar-open": "<|begin|>system<|content|>S<|end|><|begin|>user<|content|>U1<|end|><|begin|>assistant<|content|>A<|end|>"
                  "<|begin|>user<|content|>U2<|end|><|begin|>assistant",
    "rwkv-world": "System: S\n\nUser: U1\n\nAssistant: A\n\nUser: U2\n\nAssistant:",
    "granite": "<|start_of_role|>system<|end_of_role|>S<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>U1<|end_of_text|>\n"
               "<|start_of_role|>assistant<|end_of_role|>A<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>U2"
               "<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",
    "gigachat": "<s>S<|message_sep|>user<|role_sep|>U1<|message_sep|>available functions<|role_sep|>[]<|message_sep|>"
                "assistant<|role_sep|>A<|message_sep|>user<|role_sep|>U2<|message_sep|>available functions<|role_sep|>[]"
                "<|message_sep|>assistant<|role_sep|>",
    "megrez": "<|role_start|>system<|role_end|>S<|turn_end|><|role_start|>user<|role_end|>U1<|turn_end|><|role_start|>assistant"
              "<|role_end|>A<|turn_end|><|role_start|>user<|role_end|>U2<|turn_end|><|role_start|>assistant<|role_end|>",
    "smolvlm": "<|im_start|>S\n\nUser: U1<end_of_utterance>\nAssistant: A<end_of_utterance>\nUser: U2<end_of_utterance>\n"
               "Assistant:",
    "gpt-oss": "<|start|>system<|message|>S<|end|><|start|>user<|message|>U1<|end|><|start|>assistant<|message|>A<|return|>"
               "<|start|>user<|message|>U2<|end|><|start|>assistant",
    "bailing": "<role>SYSTEM</role>S<role>HUMAN</role>U1<role>ASSISTANT</role>A<role>HUMAN</role>U2<role>ASSISTANT</role>",
    "kimi-k2": "<|im_system|>system<|im_middle|>S<|im_end|><|im_user|>user<|im_middle|>U1<|im_end|><|im_assistant|>assistant"
               "<|im_middle|>A<|im_end|><|im_user|>user<|im_middle|>U2<|im_end|><|im_assistant|>assistant<|im_middle|>",
    "bitnet": "System: S<|eot_id|>User: U1<|eot_id|>Assistant: A<|eot_id|>User: U2<|eot_id|>Assistant: ",
}


@pytest.mark.parametrize("name", EXPECTED)
def test_named_format(name):
    assert apply(name, [("system", "S"), ("user", "U1"), ("assistant", "A"), ("user", "U2")]) == EXPECTED[name]


def test_trimming_formats_trim():
    assert apply("llama3", [("user", " \t\n\v\f\r x y \n")], False) == "<|start_header_id|>user<|end_header_id|>\n\nx y<|eot_id|>"
    assert apply("mistral-v3", [("user", " x "), ("assistant", " \n ")]) == "[INST]  x [/INST] </s>"


def test_several_system_messages_are_merged_into_the_next_turn():
    talk = [("system", " a "), ("system", "b"), ("user", "u"), ("assistant", "x"), ("system", "c"), ("user", "v")]
    assert apply("gemma", talk, False) == ("<start_of_turn>user\nab\n\nu<end_of_turn>\n<start_of_turn>model\nx<end_of_turn>\n"
                                           "<start_of_turn>user\nc\n\nv<end_of_turn>\n")
    assert apply("gemma", [("system", " "), ("user", "u")], False) == "<start_of_turn>user\nu<end_of_turn>\n"
    assert apply("gigachat", [("user", "u"), ("system", "late")], False).endswith("[]<|message_sep|>")


def test_roles_of_their_own():
    assert apply("granite", [("assistant_tool_call", "f()")], False) == (
        "<|start_of_role|>assistant_tool_call<|end_of_role|><|tool_call|>f()<|end_of_text|>\n")
    assert apply("granite-4.0", [("assistant_tool_call", "f()")], False) == apply("granite-4.1", [("assistant_tool_call", "f()")], False) == (
        "<|start_of_role|>assistant<|end_of_role|><|tool_call|>f()<|end_of_text|>\n")
    assert apply("exaone-moe", [("tool", " 4"), ("nobody", "x")], False) == "<|tool|>\n4<|endofturn|>\n"
    assert apply("exaone4", [("tool", "4")], False) == "[|tool|]4[|endofturn|]\n"
    assert apply("bailing2", [("user", "u")]) == (
        "<role>SYSTEM</role>detailed thinking off<|role_end|><role>HUMAN</role>u<|role_end|><role>ASSISTANT</role>")
    assert apply("bailing2", [], False) == "<role>SYSTEM</role>detailed thinking off<|role_end|>"     # llama.cpp's
    assert apply("bailing2", []) == "<role>SYSTEM</role>detailed thinking off<|role_end|><role>ASSISTANT</role>"
    assert apply("pangu-embedded", [], False) == apply("smollm", [], False) == ""
    assert apply("pangu-embedded", [("function", "f")], False) == "[unused9]系统：[unused10][unused9]方法：f[unused10]"


@pytest.mark.parametrize("name", [None, "smollm", *EXPECTED])
def test_odd_conversations_do_no_harm(name):
    for talk in ([], [(None, None)], [("nobody", "x"), (None, "y"), ("user", None)], [("", "{content}{role}{")] * 3):
        for ask in (False, True):
            apply(name, talk, ask)
    # What a message says is never read as a format.
    assert apply(None, [("user", "{role}{system}")], False) == "<|im_start|>user\n{role}{system}<|im_end|>\n"


def test_rwkv_asks_only_after_the_user():
    assert not apply("rwkv-world", TALK[:1] + TURN[1:2], True).endswith("Assistant:")
    assert apply("rwkv-world", TURN, False).endswith("Assistant:")


# ---- the buffer ----

@pytest.mark.parametrize("size", [-5, 0, 1, 7, 20])
def test_small_buffer_gets_the_beginning(size):
    chat, buffer = messages(TALK), C.create_string_buffer(b"#" * 24, 24)
    whole = apply(None, TALK)
    assert lib.llama_chat_apply_template(None, chat, len(TALK), True, buffer, size) == len(whole)
    size = max(size, 0)
    assert buffer.raw == whole.encode()[:size] + b"#" * (24 - size)


def test_messages_at_null_are_refused():
    assert lib.llama_chat_apply_template(None, None, 2, True, None, 0) == -1
    assert b"2 messages at NULL" in lib.bitnet_last_error()
    assert lib.llama_chat_apply_template(None, None, 0, False, None, 0) == 0
