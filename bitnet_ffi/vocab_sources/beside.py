"""What stands in the files beside a tokenizer: which token begins and ends a text, added tokens, the chat template.

tokenizer_config.json, added_tokens.json, config.json and chat_template.jinja, as far as they are there. Next: __init__.py.
"""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import InvalidModelError
from .vocabulary import CONTROL, USER_DEFINED, UNUSED, Vocabulary

_ROLES = {"bos": "bos_token", "eos": "eos_token", "unk": "unk_token", "sep": "sep_token", "pad": "pad_token", "mask": "mask_token",
          "cls": "cls_token"}


def load_json(path: Path) -> dict:
    """An object of a JSON file; {} when there is no such file."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise InvalidModelError(f"{path}: this is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise InvalidModelError(f"{path}: expected a JSON object")
    return content


def _text(token) -> str | None:
    return token.get("content") if isinstance(token, dict) else token if isinstance(token, str) else None


def _template(config: dict, folder: Path) -> str | None:
    own = folder / "chat_template.jinja"
    if own.is_file():
        return own.read_text("utf-8")
    template = config.get("chat_template")
    if isinstance(template, list):  # named ones; the model's own is "default"
        template = next((t.get("template") for t in template if isinstance(t, dict) and t.get("name") == "default"), None)
    return template if isinstance(template, str) else None


def _add_tokens(vocabulary: Vocabulary, config: dict, folder: Path) -> None:
    added = {}
    for text, token in load_json(folder / "added_tokens.json").items():
        added[token] = (text, False)
    decoder = config.get("added_tokens_decoder")
    for token, entry in (decoder if isinstance(decoder, dict) else {}).items():
        if isinstance(entry, dict) and str(token).isdigit():
            added[int(token)] = (entry.get("content"), bool(entry.get("special")))
    for token, (text, _) in added.items():
        if type(token) is not int or not isinstance(text, str) or not 0 <= token < len(vocabulary.tokens) + 65536:
            raise InvalidModelError(f"{folder}: added token {token!r} ({text!r}) is no token")
    for token, (text, special) in sorted(added.items()):
        while len(vocabulary.tokens) <= token:
            vocabulary.tokens.append(f"[PAD{len(vocabulary.tokens)}]")
            vocabulary.types.append(UNUSED)
            if vocabulary.scores is not None:
                vocabulary.scores.append(-1000.0)
        if vocabulary.tokens[token] != text:
            vocabulary.tokens[token] = text
            vocabulary.types[token] = CONTROL if special else USER_DEFINED


def apply(vocabulary: Vocabulary, folder: Path, *, added_tokens: bool) -> None:
    """Complete a vocabulary from its folder. added_tokens: also tokens, for formats that cannot hold them themselves."""
    config = load_json(folder / "tokenizer_config.json")
    if added_tokens:
        _add_tokens(vocabulary, config, folder)
    by_text: dict[str, int] = {}
    for token, text in enumerate(vocabulary.tokens):
        by_text.setdefault(text, token)
    for role, key in _ROLES.items():
        text = _text(config.get(key))
        if text is not None and text in by_text:
            vocabulary.roles[role] = by_text[text]
    model = load_json(folder / "config.json")
    for role in ("bos", "eos", "pad"):
        token = model.get(f"{role}_token_id")
        token = token[0] if isinstance(token, list) and token else token
        if role not in vocabulary.roles and isinstance(token, int) and 0 <= token < len(vocabulary.tokens):
            vocabulary.roles[role] = token
    for flag in ("add_bos_token", "add_eos_token"):
        if isinstance(config.get(flag), bool):
            vocabulary.flags[flag] = config[flag]
    for role in ("bos", "eos"):
        if role not in vocabulary.roles:
            vocabulary.flags[f"add_{role}_token"] = False
    template = _template(config, folder)
    if template is not None:
        vocabulary.chat_template = template
