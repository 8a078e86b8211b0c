"""Model: a GGUF file in memory, its vocabulary, its metadata and its chat templates.

A model never changes after loading: any number of threads and contexts share it. What changes is in context.py.
Next: generate.py for text, context.py for logits.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _log  # noqa: F401  the first library call should already reach the logger
from ._ffi import check, check_done, check_pointer, fail, ffi, lib, read_string, text_of
from .errors import InvalidArgumentError, TokenizeError, Utf8Error

if TYPE_CHECKING:
    from .context import Context
    from .generate import Generation


def kernel_name() -> str:
    """The kernel table of this process: "avx512vbmi", "avx512vnni", "avxvnni", "avx2", "i8mm", "neon" or "scalar".
    BITNET_FFI_KERNELS forces one."""
    return text_of(check_pointer(lib.bitnet_kernel_name()))


def system_info() -> str:
    """What the library found in this CPU, in llama.cpp's form: "AVX2 = 1 | ..."."""
    return text_of(lib.llama_print_system_info())


@dataclass(frozen=True)
class HParams:
    """The numbers that shape a model. Sizes in elements, `size_bytes` in bytes of tensors."""

    description: str
    n_vocab: int
    n_ctx_train: int
    n_layer: int
    n_embd: int
    n_head: int
    n_head_kv: int
    n_params: int
    size_bytes: int


class Metadata(Mapping):
    """The file's keys and values, both str, in the file's order; a value is formatted when it is asked for."""

    def __init__(self, model: Model):
        self._model = model
        pointer = model._pointer
        self._index = {
            read_string(lambda buffer, size, i=i: lib.llama_model_meta_key_by_index(pointer, i, buffer, size)): i
            for i in range(lib.llama_model_meta_count(pointer))
        }

    def __getitem__(self, key: str) -> str:
        i, pointer = self._index[key], self._model._pointer
        return read_string(lambda buffer, size: lib.llama_model_meta_val_str_by_index(pointer, i, buffer, size))

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)


class Model:
    """A loaded GGUF model.

    path: str or path-like, a file (of a split model the first part). `Model.open` also takes registered names.
    vocab_only: load the vocabulary and metadata, no weights; such a model tokenizes and cannot decode.
    mmap: map the file (default) rather than read it.
    repack: make copies of the weights in the layouts that are fastest here (default). False: use all of them where the mapped file has
        them; ready sooner, no memory beyond the file, the same results slower. Needs mmap.
    check_tensors: look through all weights for invalid values; slow.
    tokenizer: a tokenizer.json, tokenizer.model or tiktoken rank file, or a folder with one, instead of the file's own tokenizer.
        None: the file's own, else one beside the file or in the folder above. False: none but the file's own.
    progress: called with 0.0 to 1.0 while loading; returning False stops the load. Ctrl-C works during the load either way.
    Errors: ModelNotFoundError, ModelLoadError, InvalidModelError, OutOfMemoryError.
    Threads: shared freely. `close()` must not race with a call that uses the model; contexts keep the weights alive.
    """

    def __init__(self, path: str | os.PathLike, *, vocab_only: bool = False, mmap: bool = True,
                 repack: bool = True, check_tensors: bool = False, progress: Callable[[float], bool | None] | None = None,
                 tokenizer: str | os.PathLike | bool | None = None):
        self._handle = self._text = None
        self.path = os.fspath(path)
        params = lib.llama_model_default_params()
        params.vocab_only = vocab_only
        params.check_tensors = check_tensors
        if not (mmap or repack):
            raise ValueError("repack=False uses the weights in the mapped file, so it needs mmap=True")
        params.load_mode = (lib.LLAMA_LOAD_MODE_NONE if not mmap else lib.LLAMA_LOAD_MODE_AUTO if repack else
                            lib.LLAMA_LOAD_MODE_MMAP)
        raised = []

        def on_error(_kind, error, _traceback):
            raised.append(error)

        # Also without a listener: running Python bytecode now and then is what lets Ctrl-C through.
        @ffi.callback("bool(float, void *)", error=False, onerror=on_error)
        def on_progress(fraction, _user_data):
            return progress is None or progress(fraction) is not False

        params.progress_callback = on_progress
        pointer = lib.llama_model_load_from_file(os.fsencode(self.path), params)
        if raised:
            lib.llama_model_free(pointer)
            raise raised[0]
        self._handle = ffi.gc(check_pointer(pointer), lib.llama_model_free)
        self.vocab_only = vocab_only
        self._text = self._find_tokenizer(tokenizer)

    def _find_tokenizer(self, tokenizer) -> Model | None:
        """A second model, of a vocabulary alone, for files that have none or whose own is not wanted."""
        if tokenizer is None and lib.llama_model_meta_val_str(self._handle, b"tokenizer.ggml.model", ffi.NULL, 0) < 0:
            from .vocab_sources import beside_model
            tokenizer = beside_model(self.path)
        if tokenizer is None or tokenizer is False:
            return None
        from .repair import load_vocabulary
        return load_vocabulary(self.path, tokenizer)

    @classmethod
    def open(cls, source: str | os.PathLike, *, download: bool = True, **options) -> Model:
        """Load a file, or a model of the registry by its name ("smollm2"), fetching it on first use unless download=False.

        Further options as in the constructor. Errors: also RegistryError, OfflineError.
        """
        from .registry import resolve
        return cls(resolve(source, download=download), **options)

    # ---- lifetime ----

    @property
    def _pointer(self):
        if self._handle is None:
            raise ValueError("the model is closed")
        return self._handle

    @property
    def _text_pointer(self):
        """What tokenizes: the model itself, or the vocabulary that was found for it."""
        return self._pointer if self._text is None or self._handle is None else self._text._pointer

    def close(self) -> None:
        """Give the memory back as soon as no context uses it. Calling it again does nothing."""
        self._text = None
        self._handle = None  # cffi frees with the last reference

    @property
    def closed(self) -> bool:
        return self._handle is None

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_exc) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Model {self.path!r}{' closed' if self.closed else ''}>"

    # ---- what it is ----

    @property
    def metadata(self) -> Metadata:
        """The GGUF keys as a mapping of str to str."""
        return Metadata(self)

    @property
    def description(self) -> str:
        """One line: architecture, size, quantization."""
        pointer = self._pointer
        return read_string(lambda buffer, size: lib.llama_model_desc(pointer, buffer, size)) or ""

    @property
    def hparams(self) -> HParams:
        p = self._pointer
        return HParams(
            description=self.description, n_vocab=self.n_vocab, n_ctx_train=lib.llama_model_n_ctx_train(p),
            n_layer=lib.llama_model_n_layer(p), n_embd=lib.llama_model_n_embd(p), n_head=lib.llama_model_n_head(p),
            n_head_kv=lib.llama_model_n_head_kv(p), n_params=lib.llama_model_n_params(p),
            size_bytes=lib.llama_model_size(p))

    @property
    def n_vocab(self) -> int:
        return lib.llama_vocab_n_tokens(self._text_pointer)

    @property
    def n_ctx_train(self) -> int:
        """Positions the model was trained for."""
        return lib.llama_model_n_ctx_train(self._pointer)

    @property
    def bos(self) -> int | None:
        """Token that begins a text; None where the vocabulary has none. Likewise eos, eot."""
        return _token_or_none(lib.llama_vocab_bos(self._text_pointer))

    @property
    def eos(self) -> int | None:
        return _token_or_none(lib.llama_vocab_eos(self._text_pointer))

    @property
    def eot(self) -> int | None:
        return _token_or_none(lib.llama_vocab_eot(self._text_pointer))

    def is_eog(self, token: int) -> bool:
        """Does this token end a generation?"""
        return lib.llama_vocab_is_eog(self._text_pointer, token)

    # ---- text and tokens ----

    def tokenize(self, text: str | bytes, *, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Tokens of a text.

        text: str, or bytes that hold UTF-8.
        add_special: add BOS/EOS where the vocabulary asks for them.
        parse_special: read "<|im_end|>" and the like as control tokens; leave it off for text that you did not write.
        Errors: Utf8Error, TokenizeError. Threads: any.
        """
        data, pointer = _utf8(text), self._text_pointer
        # Byte fallback is the worst case: a token a byte, and the specials.
        tokens, n = _filled("int32_t[]", len(data) + 8, lambda array, room: lib.llama_tokenize(
            pointer, data, len(data), array, room, add_special, parse_special))
        return ffi.unpack(tokens, n)

    def detokenize(self, tokens: Sequence[int], *, remove_special: bool = False, unparse_special: bool = True,
                   errors: str = "replace") -> str:
        """The text of tokens. remove_special: drop BOS/EOS; unparse_special: spell control tokens out.

        errors: what to do with bytes that are not UTF-8, as in bytes.decode. Threads: any.
        """
        ids, pointer = np.ascontiguousarray(tokens, np.int32), self._text_pointer
        if ids.ndim != 1:
            raise ValueError(f"tokens: an array of {ids.ndim} dimensions, expected 1")
        text, n = _filled("char[]", 16 + 8 * len(ids), lambda array, room: lib.llama_detokenize(
            pointer, _int32s(ids), len(ids), array, room, remove_special, unparse_special))
        return ffi.buffer(text, n)[:].decode("utf-8", errors)

    def encode(self, text: str | bytes, *, add_special: bool = True, parse_special: bool = False,
               return_offsets: bool = False) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """`tokenize` with NumPy output: int32 tokens.

        return_offsets: also int32[n, 2], the bytes [begin, end) of the text (in UTF-8) that each token stands for; empty
        for BOS, EOS and a space that the vocabulary puts in front. Arguments and errors otherwise as `tokenize`.
        """
        return self._encode(_utf8(text), _flags(add_special, parse_special), return_offsets)

    def _encode(self, data: bytes, flags: int, return_offsets: bool = False):
        pointer = self._text_pointer
        # A token a byte is nearly always the most; pages that are not reached are never touched.
        room = len(data) + 8
        while True:
            ids = np.empty(room, np.int32)
            ranges = np.empty((room, 2), np.int32) if return_offsets else None
            n = lib.bitnet_tokenize(pointer, data, len(data), _int32s(ids), ffi.NULL if ranges is None else _int32s(ranges),
                                    room, flags)
            check_done()
            if n >= 0:
                return (ids[:n].copy(), ranges[:n].copy()) if return_offsets else ids[:n].copy()
            room = -n

    def encode_stream(self, blocks: Iterable[str | bytes], *, add_special: bool = True, parse_special: bool = False,
                      return_offsets: bool = False) -> Iterator:
        """`encode` for a text that comes in blocks, in memory that does not grow with the text.

        Yields what `encode` returns, for one part of the text after the other: joined, that is `encode` of all of it, with
        offsets into the whole text. A part ends before a space between two ASCII letters; text without such a place, and
        vocabularies whose words go on over spaces, are read to the end first. blocks: str, or bytes cut anywhere.
        """
        flags = _flags(add_special, parse_special) | lib.BITNET_TOKENIZE_NOT_LAST
        rest, wanted, begin = bytearray(), 1, 0

        def part(data: bytes, flags: int):
            found = self._encode(data, flags, return_offsets)
            return (found[0], found[1].astype(np.int64) + begin) if return_offsets else found

        for block in blocks:
            rest += _utf8(block)
            if len(rest) < wanted:
                continue
            end = lib.bitnet_tokenize_cut(self._text_pointer, bytes(rest), len(rest), flags)
            check_done()
            if end == 0:
                wanted = 2 * len(rest)  # a text without places to cut is not searched for them block by block
                continue
            yield part(bytes(rest[:end]), flags)
            begin += end
            del rest[:end]
            flags, wanted = flags | lib.BITNET_TOKENIZE_NOT_FIRST, 1
        yield part(bytes(rest), flags & ~lib.BITNET_TOKENIZE_NOT_LAST)

    def encode_batch(self, texts: Iterable[str | bytes], *, n_threads: int | None = None, add_special: bool = True,
                     parse_special: bool = False, return_offsets: bool = False) -> list:
        """`encode` of many texts in one call of the library, several at once, without the GIL.

        The arrays are views of one array that holds the tokens of all texts (and one that holds their offsets).
        n_threads: at most so many texts at a time; None for the CPUs that this process may use, which is also the most.
        Errors: as `encode`; TokenizeError names the text by its number from 0.
        """
        flags, pointer = _flags(add_special, parse_special), self._text_pointer
        _check_threads(n_threads)
        data = [_utf8(text) for text in texts]
        if not data:
            return []
        lengths, joined = np.fromiter(map(len, data), np.int64, len(data)), ffi.from_buffer(b"".join(data))
        texts = int(ffi.cast("uintptr_t", joined)) + np.cumsum(lengths) - lengths
        ends, room = np.empty(len(data) + 1, np.int64), int(lengths.sum()) + 8 * len(data)
        while True:
            ids = np.empty(room, np.int32)
            ranges = np.empty((room, 2), np.int32) if return_offsets else None
            n = lib.bitnet_tokenize_batch(
                pointer, ffi.cast("char **", texts.ctypes.data), ffi.cast("int64_t *", lengths.ctypes.data), len(data), _int32s(ids),
                ffi.NULL if ranges is None else _int32s(ranges), room, ffi.cast("int64_t *", ends.ctypes.data), flags, n_threads or 0)
            check_done()
            if n >= 0:
                break
            room = -n
        ends = ends.tolist()
        if return_offsets:
            return [(ids[begin:end], ranges[begin:end]) for begin, end in itertools.pairwise(ends)]
        return [ids[begin:end] for begin, end in itertools.pairwise(ends)]

    def decode(self, tokens: Sequence[int] | np.ndarray, *, remove_special: bool = False, unparse_special: bool = True,
               errors: str = "replace") -> str:
        """The inverse of `encode`; arguments as in `detokenize`."""
        return self.detokenize(tokens, remove_special=remove_special, unparse_special=unparse_special, errors=errors)

    def decode_batch(self, batch: Iterable[Sequence[int] | np.ndarray], *, n_threads: int | None = None, **options) -> list[str]:
        """`decode` of many, several at once; n_threads as in `encode_batch`, options as in `decode`."""
        return _in_threads(lambda tokens: self.decode(tokens, **options), list(batch), n_threads)

    def token_to_piece(self, token: int, *, special: bool = True) -> bytes:
        """The bytes of one token; a character may be cut between tokens. special: spell control tokens out."""
        pointer = self._text_pointer
        piece, n = _filled("char[]", 64, lambda array, room: lib.llama_token_to_piece(
            pointer, token, array, room, 0, special))
        return ffi.buffer(piece, n)[:]

    def token_type(self, token: int) -> int:
        """tokenizer.ggml.token_type of a token as loaded: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte, 0 none."""
        if not 0 <= token < self.n_vocab:
            raise TokenizeError(f"token {token}, expected 0 to {self.n_vocab - 1}")
        attributes = lib.llama_token_get_attr(self._text_pointer, token)
        return next((number for number, bit in _TYPE_BITS if attributes & bit), 0)

    def chat_template(self, name: str | None = None) -> str | None:
        """The file's chat template (Jinja text), or one of its named ones; None where there is none."""
        text = lib.llama_model_chat_template(self._text_pointer, ffi.NULL if name is None else name.encode())
        return None if text == ffi.NULL else text_of(text)

    def apply_chat_template(self, messages: Sequence[Mapping[str, Any]], *, template: str | None = None,
                            add_assistant: bool = True, **variables: Any) -> str:
        """The prompt of a conversation, to be tokenized as `generate` does it: with parse_special, and add_special as by default.

        messages: dicts with "role" and "content" (and what else the template reads). template: None for the file's own; the
        name of one that the library has built in ("chatml", "llama3"), or of another of the file's ("tool_use"); or Jinja text.
        add_assistant: end with the opening of the assistant's turn. variables: what else a Jinja text reads: tools, documents,
        date_string; with tools the file's template "tool_use" serves where there is one.
        Jinja texts can name bos_token, eos_token and pad_token; a BOS at the beginning and an EOS at the end are left out
        where tokenizing adds them.
        Errors: InvalidArgumentError when there is no template, none of that name, or it refuses the conversation.
        """
        from . import chat
        if template is None:
            template = (variables.get("tools") and self.chat_template("tool_use")) or self.chat_template()
            if template is None:
                raise InvalidArgumentError(f"{self.path}: the file has no chat template; pass template=")
        elif not chat.is_jinja(template):
            text = self.chat_template(template)
            if text is None:
                return self._apply_built_in(template, messages, add_assistant, variables)
            template = text
        vocab = self._text_pointer
        tokens = {"bos_token": lib.llama_vocab_bos(vocab), "eos_token": lib.llama_vocab_eos(vocab), "pad_token": lib.llama_vocab_pad(vocab)}
        variables = {name: self._text_of_token(token) for name, token in tokens.items()} | variables
        prompt = chat.render(template, messages, add_generation_prompt=add_assistant, **variables)
        if lib.llama_vocab_get_add_bos(vocab):
            prompt = prompt.removeprefix(variables["bos_token"])
        return prompt.removesuffix(variables["eos_token"]) if lib.llama_vocab_get_add_eos(vocab) else prompt

    def _text_of_token(self, token: int) -> str:
        return "" if token == lib.LLAMA_TOKEN_NULL else self.token_to_piece(token).decode("utf-8", "replace")

    def _apply_built_in(self, name: str, messages, add_assistant: bool, variables: Mapping[str, Any]) -> str:
        """By the library's own knowledge of a family, which is of roles and texts alone."""
        if variables:
            raise InvalidArgumentError(f"{next(iter(variables))}: the built-in template {name!r} knows roles and contents alone")
        for i, message in enumerate(messages):
            if not isinstance(message, Mapping) or not all(isinstance(message.get(key), str) for key in ("role", "content")):
                raise InvalidArgumentError(f"message {i}: {message!r:.60}, expected a role and a content, both str")
        keep = [(ffi.new("char[]", _utf8(m["role"])), ffi.new("char[]", _utf8(m["content"]))) for m in messages]
        talk = ffi.new("struct llama_chat_message[]", [{"role": role, "content": content} for role, content in keep])
        room = 256 + 2 * sum(len(role) + len(content) for role, content in keep)
        while True:
            buffer = ffi.new("char[]", room)
            n = check(lib.llama_chat_apply_template(_utf8(name), talk, len(keep), add_assistant, buffer, room))
            if n <= room:
                return ffi.buffer(buffer, n)[:].decode("utf-8", "replace")
            room = n

    # ---- running it ----

    def context(self, **options) -> Context:
        """A new Context of this model; options as in its constructor."""
        from .context import Context
        return Context(self, **options)

    def generate(self, prompt: str | Sequence[int], **options) -> Generation:
        """Stream a continuation of `prompt`: an iterator of str; options as in `bitnet_ffi.generate.generate`."""
        from .generate import generate
        return generate(self, prompt, **options)


def _filled(kind: str, room: int, call):
    """An array of `kind` as call(array, room) filled it, and how far. A negative answer says how much room it wants.

    A wrong token id gives 0 and a last error, so the error decides, not the number.
    """
    while True:
        array = ffi.new(kind, room)
        n = call(array, room)
        if lib.bitnet_last_error_code() != 0:
            fail()
        if n >= 0:
            return array, n
        room = -n


def _int32s(array: np.ndarray):
    """A C array that is the NumPy one; an empty one has an address too."""
    return ffi.from_buffer("int32_t[]", array, require_writable=False)


def _flags(add_special: bool, parse_special: bool) -> int:
    return (lib.BITNET_TOKENIZE_ADD_SPECIAL * bool(add_special)) | (lib.BITNET_TOKENIZE_PARSE_SPECIAL * bool(parse_special))


def _check_threads(n_threads: int | None) -> None:
    if n_threads is not None and n_threads < 1:
        raise ValueError(f"n_threads: {n_threads}, expected 1 or more")


def _in_threads(call, items: list, n_threads: int | None) -> list:
    _check_threads(n_threads)
    n = min(len(items), len(os.sched_getaffinity(0)) if n_threads is None else n_threads)
    if n <= 1:
        return [call(item) for item in items]
    step = max(1, len(items) // (8 * n))  # a task for each text would take longer than a short text itself
    groups = [items[i:i + step] for i in range(0, len(items), step)]
    with ThreadPoolExecutor(n) as pool:
        return [result for group in pool.map(lambda group: [call(item) for item in group], groups) for result in group]


# A token that repairs marked as control is normal as well, so the stronger word comes first.
_TYPE_BITS = ((2, lib.LLAMA_TOKEN_ATTR_UNKNOWN), (3, lib.LLAMA_TOKEN_ATTR_CONTROL), (4, lib.LLAMA_TOKEN_ATTR_USER_DEFINED),
              (6, lib.LLAMA_TOKEN_ATTR_BYTE), (5, lib.LLAMA_TOKEN_ATTR_UNUSED), (1, lib.LLAMA_TOKEN_ATTR_NORMAL))


def _token_or_none(token: int) -> int | None:
    return None if token == lib.LLAMA_TOKEN_NULL else token


def _utf8(text: str | bytes) -> bytes:
    if isinstance(text, bytes):
        return text
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Utf8Error(f"character {error.start} of the text is a lone surrogate, "
                        f"U+{ord(text[error.start]):04X}") from None
