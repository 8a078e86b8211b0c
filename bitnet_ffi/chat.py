"""Chats: a conversation as the text that a model was trained on, by its template's Jinja, run by jinja2 in a sandbox.

The library itself recognises the templates of well-known models and runs none; this is how any other works, from Python.
May not: know tokens or the library; what a template can name is passed in. Next: Model.apply_chat_template.
Source of what templates expect: Hugging Face transformers, docs "Chat templates", and its utils/chat_template_utils.py.
"""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

from .errors import InvalidArgumentError


def is_jinja(text: str) -> bool:
    """Is this the text of a template? A name has no braces."""
    return "{{" in text or "{%" in text


def render(template: str, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool = True,
           **variables: Any) -> str:
    """The prompt of a conversation.

    template: Jinja text. messages: mappings with "role" and whatever else the template reads: mostly "content", a str or a list of
    parts; "tool_calls". variables: anything more that it reads: bos_token, tools, documents, date_string, strftime_now (a function, so
    that a prompt does not depend on the day).
    Errors: InvalidArgumentError for a template that is wrong, that refuses the conversation (its own words) or that asks for
    what the sandbox forbids. A template is a program: one that does not end is stopped by Ctrl-C alone.
    """
    for i, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise InvalidArgumentError(f"message {i}: {message!r:.60}, expected a mapping with a role")
    try:
        return _compiled(template).render(messages=list(messages), add_generation_prompt=add_generation_prompt, **variables)
    except jinja2.TemplateSyntaxError as error:
        raise InvalidArgumentError(f"chat template, line {error.lineno}: {error.message}") from error
    except _Refused as error:
        raise InvalidArgumentError(f"the chat template refuses this conversation: {error}") from error
    except (jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError,
            ValueError) as error:
        raise InvalidArgumentError(f"chat template: {error}") from error


class _Refused(Exception):
    """What a template raised by raise_exception."""


def _raise_exception(message: str) -> None:
    raise _Refused(message)


def _strftime_now(form: str) -> str:
    return datetime.datetime.now().strftime(form)


def _tojson(value: Any, indent: int | None = None, separators: tuple[str, str] | None = None, sort_keys: bool = False,
            ensure_ascii: bool = False) -> str:
    """Jinja's own filter writes for HTML: "<" as an escape, keys sorted."""
    return json.dumps(value, indent=indent, separators=separators, sort_keys=sort_keys, ensure_ascii=ensure_ascii)


class _GenerationBlock(jinja2.ext.Extension):
    """{% generation %} marks what an assistant said, for training; as text it is what it encloses."""

    tags = {"generation"}

    def parse(self, parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_enclosed"), [], [], body).set_lineno(line)

    def _enclosed(self, caller: Callable[[], str]) -> str:
        return caller()


def _environment() -> jinja2.Environment:
    """A template comes with a file from anywhere: it may read what it is given, and change or reach nothing."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, _GenerationBlock])
    environment.filters["tojson"] = _tojson
    environment.globals.update(raise_exception=_raise_exception, strftime_now=_strftime_now)
    return environment


@functools.lru_cache(maxsize=16)
def _compiled(template: str) -> jinja2.Template:
    return _environment().from_string(template)
