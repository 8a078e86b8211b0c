"""What the library repairs while it loads a file, and a copy of the file in which that stands written.

The library is the judge: it says each repair as a warning, and every sentence has a rule here that makes it permanent. A
sentence without a rule is passed on as a note. Knows no tokenizer's format; next: container.py, vocab_sources.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import re
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from . import __version__, container, vocab_sources
from .container import BOOL, F32, I32, STRING, U32, Head, Progress, Value, array, value
from .errors import InvalidArgumentError, InvalidModelError
from .vocab_sources.vocabulary import KEY, UNUSED

AUDIT_SUFFIX = ".compat.json"
AUDIT_VERSION = "1.0.0"
_TOKENS, _TYPES, _SCORES, _MERGES = (KEY + name for name in ("tokens", "token_type", "scores", "merges"))
_STRICT = ("BITNET_STRICT_TOKENIZERS", "BITNET_STRICT_MODE")
_EMBEDDING = "token_embd.weight"
NO_TOKENIZER = "the file has no tokenizer; pass --tokenizer with its tokenizer.json or tokenizer.model"


@dataclass(frozen=True)
class Change:
    """One key that is set or removed: what stood there, what stands there now, and why."""

    key: str
    action: str
    before: str | None
    after: str | None
    why: str


@dataclass
class Plan:
    """What is to be done to a file. needs_tokenizer: nothing in the file can stand in for one."""

    head: Head
    changes: list[Change] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tokenizer: str | None = None
    needs_tokenizer: bool = False

    def set(self, key: str, new: Value | None, why: str) -> None:
        """Set a key, or remove it with None."""
        old = self.head.kv.get(key)
        if new is None:
            self.head.kv.pop(key, None)
        else:
            self.head.kv[key] = new
        if old != new:
            self.changes.append(Change(key, "remove" if new is None else "set", _shown(old), _shown(new), why))


def _shown(item: Value | None) -> str | None:
    if item is None:
        return None
    if item.elem is not None:
        return f"{item.count} {'strings' if item.elem == STRING else 'numbers'}"
    text = item.text() if item.type == STRING else str(item.get())
    return text if len(text) <= 80 else text[:77] + "..."


# ---- what the library says ----

@contextmanager
def _warnings_of_library():
    """A list that gets the library's warnings; strict modes are off meanwhile, else the first repair were the last."""
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage()) if record.levelno == logging.WARNING else None
    logger = logging.getLogger("bitnet_ffi")
    level, propagate = logger.level, logger.propagate
    strict = {name: os.environ.pop(name) for name in _STRICT if name in os.environ}
    logger.addHandler(handler)
    logger.setLevel(min(level, logging.WARNING) if level else logging.WARNING)
    logger.propagate = False
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
        os.environ.update(strict)


def _set_pre(plan: Plan, _model, name: str, why: str) -> None:
    plan.set(KEY + "pre", value(STRING, name), why)


def _set_role(plan: Plan, _model, role: str, token: str, why: str) -> None:
    key = {"BOS": "bos", "EOS": "eos", "unknown": "unknown"}[role]
    plan.set(f"{KEY}{key}_token_id", value(U32, int(token)), why)


def _drop_key(plan: Plan, _model, key: str, why: str) -> None:
    plan.set(key, None, why)


def _set_space_prefix(plan: Plan, _model, why: str) -> None:
    plan.set(KEY + "add_space_prefix", value(BOOL, True), why)


def _set_types(plan: Plan, model, why: str) -> None:
    plan.set(_TYPES, array(I32, map(model.token_type, range(model.n_vocab))), why)


def _set_scores(plan: Plan, model, why: str) -> None:
    plan.set(_SCORES, array(F32, [0.0] * model.n_vocab), why)


def _name_empty(plan: Plan, _model, why: str) -> None:
    texts = plan.head.kv[_TOKENS].get()
    plan.set(_TOKENS, array(STRING, [text or f"[EMPTY_{i}]" for i, text in enumerate(texts)]), why)


def _add_nothing(plan: Plan, _model, role: str, why: str) -> None:
    plan.set(f"{KEY}add_{role.lower()}_token", value(BOOL, False), why)


def _rewrite_header(plan: Plan, _model, why: str) -> None:
    plan.changes.append(Change("header", "set", None, "GGUF 3", why))


def _rewrite_alignment(plan: Plan, _model, found: str, why: str) -> None:
    plan.head.kv.pop("general.alignment", None)
    plan.changes.append(Change("general.alignment", "set", found, str(plan.head.alignment), why))


Rule = Callable[..., None]
_RULES: tuple[tuple[str, Rule], ...] = (
    (r"tokenizer\.ggml\.pre is missing: '([^']+)' is used", _set_pre),
    (r"no key says which token is (BOS|EOS|unknown): token (\d+) ", _set_role),
    (r"key '([^']+)' is not a token id; it is ignored", _drop_key),
    (r"key '([^']+)': token \d+, expected one below \d+; it is ignored", _drop_key),
    (r"tokenizer\.ggml\.add_space_prefix is missing", _set_space_prefix),
    (r"tokenizer\.ggml\.token_type is missing", _set_types),
    (r"looks like a control token but is not marked as one", _set_types),
    (r"tokenizer\.ggml\.scores is missing", _set_scores),
    (r"tokenizer\.ggml\.tokens: \d+ empty tokens", _name_empty),
    (r"texts should begin with (BOS), but no token is BOS", _add_nothing),
    (r"texts should end with (EOS), but no token is EOS", _add_nothing),
    (r"the header has 12 extra bytes", _rewrite_header),
    (r"general\.alignment is (-?\d+), expected a power of two", _rewrite_alignment),
)


def _apply_rules(plan: Plan, model, lines: list[str]) -> None:
    done: set[Rule] = set()
    for line in lines:
        why = line.removeprefix("vocabulary: ")
        for pattern, rule in _RULES:
            match = re.search(pattern, why)
            if match:
                if match.groups() or rule not in done:   # "looks like a control token" is said once a token
                    rule(plan, model, *match.groups(), why=why)
                done.add(rule)
                break
        else:
            plan.notes.append(why)


# ---- plans ----

def plan(path: str | os.PathLike, tokenizer: str | os.PathLike | None = None) -> Plan:
    """What must change in a file so that it loads without a repair.

    tokenizer: a file or folder (vocab_sources.read) whose tokenizer takes the place of the file's own.
    Errors: those of loading; InvalidModelError when the tokenizer has more tokens than the model has rows.
    Threads: one at a time, because it listens to the library's log.
    """
    from .model import Model  # loads the library
    head = container.read(path)
    if "split.count" in head.kv and head.kv["split.count"].get() != 1:
        raise InvalidModelError(f"{path}: this is a part of a split model; only whole files can be repaired")
    plan = Plan(head)
    if tokenizer is not None:
        _embed(plan, vocab_sources.read(tokenizer))
        _complete(plan)
        return plan
    if KEY + "model" not in head.kv:
        plan.needs_tokenizer = True
    with _warnings_of_library() as lines, Model(path, vocab_only=True, tokenizer=False) as model:
        if plan.needs_tokenizer:
            lines[:] = [line for line in lines if "tokenizer.ggml.model is missing" not in line]
            plan.notes.append(NO_TOKENIZER)
        _apply_rules(plan, model, lines)
    _fill_rows(plan)
    return plan


def _rows(head: Head) -> int | None:
    tensor = head.tensor(_EMBEDDING)
    return tensor.shape[1] if tensor is not None and len(tensor.shape) == 2 else None


def _fill_rows(plan: Plan) -> None:
    """Fewer tokens than rows: the rest gets names, so that the file says how many there are."""
    head, rows = plan.head, _rows(plan.head)
    tokens = head.kv.get(_TOKENS)
    if tokens is None or tokens.elem != STRING or rows is None or tokens.count == rows:
        return
    if tokens.count > rows:
        plan.notes.append(f"{tokens.count} tokens, but {rows} rows of embedding: the last {tokens.count - rows} cannot be used")
        return
    why = f"{tokens.count} tokens, but {rows} rows of embedding: the rest is unused"
    for key, kind, extra in ((_TOKENS, STRING, lambda i: f"[PAD{i}]"), (_TYPES, I32, lambda _: UNUSED), (_SCORES, F32, lambda _: -10000.0)):
        old = head.kv.get(key)
        if old is not None and old.count >= tokens.count:
            plan.set(key, array(kind, [*old.get()[:tokens.count], *map(extra, range(tokens.count, rows))]), why)


def _embed(plan: Plan, vocabulary: vocab_sources.Vocabulary) -> None:
    rows = _rows(plan.head)
    if rows is not None:
        vocabulary.pad(rows)
    kv = vocabulary.metadata()
    why = f"from {vocabulary.source}"
    for key in [key for key in plan.head.kv if key.startswith(KEY) and key not in kv]:
        plan.set(key, None, f"{why}, which does not have it")
    for key, item in kv.items():
        plan.set(key, item, why)
    plan.tokenizer = vocabulary.source
    plan.notes += vocabulary.notes


def load_vocabulary(path: str | os.PathLike, tokenizer: str | os.PathLike):
    """A vocab_only Model: the metadata of `path` with the vocabulary of `tokenizer`, as `compat-fix --tokenizer` would write it."""
    from .model import Model
    filled = plan(path, tokenizer)
    with tempfile.TemporaryDirectory() as folder:   # nothing of a mapped file is needed once its vocabulary is loaded
        file = Path(folder) / "vocabulary.gguf"
        file.write_bytes(container.encode(replace(filled.head, tensors=[])))
        return Model(file, vocab_only=True)


def standalone_vocabulary(tokenizer: str | os.PathLike):
    """A vocab_only Model of a tokenizer alone: it tokenizes as a model would that has it."""
    from .model import Model
    kv = {"general.architecture": value(STRING, "llama"), **vocab_sources.read(tokenizer).metadata()}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vocabulary.gguf"
        file.write_bytes(container.encode(Head(str(file), kv)))
        return Model(file, vocab_only=True)


def _complete(plan: Plan) -> None:
    """What the library would still repair in an embedded tokenizer, such as control tokens that its source does not mark."""
    from .model import Model
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocabulary.gguf"
        path.write_bytes(container.encode(replace(plan.head, tensors=[])))
        with _warnings_of_library() as lines, Model(path, vocab_only=True) as model:
            _apply_rules(plan, model, lines)


# ---- writing ----

def write(plan: Plan, out: str | os.PathLike, *, force: bool = False, progress: Progress | None = None) -> dict:
    """Write the repaired copy to `out` and the audit to out + AUDIT_SUFFIX; the audit is also the result.

    The copy is loaded (its vocabulary) before it gets its name, as the last of the two. A failure before that leaves neither.
    Errors: InvalidArgumentError for the file itself, or when a file is there and `force` is not given.
    """
    from .model import Model
    out, source = Path(out), plan.head.path
    if out.exists() and os.path.samefile(source, out):
        raise InvalidArgumentError(f"{out}: this is the model itself; a repaired copy needs another name")
    if plan.needs_tokenizer:
        raise InvalidModelError(f"{source}: {NO_TOKENIZER}")
    audit_path = out.with_name(out.name + AUDIT_SUFFIX)
    with container.new_file(out, force=force) as file, container.new_file(audit_path, force=force) as audit_file:
        container.copy(plan.head, file, progress)
        with _warnings_of_library() as left, Model(file.name, vocab_only=True):
            pass
        audit = {
            "schema_version": AUDIT_VERSION, "tool": "bitnet compat-fix", "version": __version__, "input": str(source),
            "output": str(out), "tokenizer": plan.tokenizer, "changes": [asdict(change) for change in plan.changes],
            "notes": list(dict.fromkeys([*plan.notes, *(line.removeprefix("vocabulary: ") for line in left)])),
            "tensors": {"count": len(plan.head.tensors), "bytes": plan.head.file_size - plan.head.data_start if plan.head.tensors else 0,
                        "changed": False},
            "timestamp": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        }
        audit_file.write(json.dumps(audit, ensure_ascii=False, indent=1).encode("utf-8") + b"\n")
    return audit
