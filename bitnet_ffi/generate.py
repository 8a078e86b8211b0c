"""Streaming generation: text in pieces as tokens come, stop strings, cancellation, and the figures of a run.

A piece is never half a character and never part of a stop string: both are held back until they are decided.
Next: context.py for the decodes, sampling.py for the choice of tokens.
"""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

from .context import Context
from .errors import BitnetError, Cancelled, ContextFullError, InvalidArgumentError
from .model import Model
from .sampling import Sampling


@dataclass
class Metrics:
    """What a generation took. first_token_ms: from the call to the first token chosen; memory_bytes: resident, of the process."""

    prompt_tokens: int = 0
    generated_tokens: int = 0
    tokenize_ms: float = 0.0
    prefill_ms: float = 0.0
    first_token_ms: float = 0.0
    decode_ms: float = 0.0
    total_ms: float = 0.0
    memory_bytes: int = 0

    @property
    def prefill_tokens_per_sec(self) -> float:
        return _rate(self.prompt_tokens, self.prefill_ms)

    @property
    def decode_tokens_per_sec(self) -> float:
        """Of the tokens after the first, which prefill pays for."""
        return _rate(self.generated_tokens - 1, self.decode_ms)

    @property
    def end_to_end_tokens_per_sec(self) -> float:
        return _rate(self.generated_tokens, self.total_ms)

    def as_dict(self) -> dict[str, float]:
        """All figures, the rates too."""
        return asdict(self) | {
            "prefill_tokens_per_sec": self.prefill_tokens_per_sec,
            "decode_tokens_per_sec": self.decode_tokens_per_sec,
            "end_to_end_tokens_per_sec": self.end_to_end_tokens_per_sec,
        }


def _rate(count: int, ms: float) -> float:
    return count * 1000 / ms if count > 0 and ms > 0 else 0.0


def resident_bytes() -> int:
    """Physical memory of this process, mapped weights included."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0


class TextStream:
    """Bytes of tokens in, text that may be shown out."""

    def __init__(self, stop: Sequence[str] = ()):
        if any(not s for s in stop):
            raise InvalidArgumentError("stop: an empty string would stop everything")
        self._stop = tuple(stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False  # a stop string came; it and what follows it are dropped

    def feed(self, data: bytes, *, final: bool = False) -> str:
        """The text that `data` decides. final: nothing follows, so nothing is held back."""
        if self.stopped:
            return ""
        text = self._held + self._decoder.decode(data, final)
        hits = [at for at in (text.find(s) for s in self._stop) if at >= 0]
        if hits:
            self.stopped, self._held = True, ""
            return text[:min(hits)]
        keep = 0 if final else max((_overlap(text, s) for s in self._stop), default=0)
        self._held = text[len(text) - keep:]
        return text[:len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    for n in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:n]):
            return n
    return 0


class Generation(Iterator[str]):
    """A running generation: iterate to get text as it comes.

    tokens: ids chosen so far. text: what was yielded so far. metrics: figures so far, complete at the end.
    finish_reason: None while running; then "stop" (end token), "stop_string", "length" (max_tokens), "context" (n_ctx is full)
        or "cancelled" (Ctrl-C too); "error" after an exception.
    Errors while iterating: those of Context.decode, except Cancelled and ContextFullError, which end the iteration.
    Threads: iterated by one; cancel() from any.
    """

    def __init__(self, context: Context, prompt: Sequence[int], *, max_tokens: int, sampling: Sampling,
                 stop: Sequence[str], special: bool, on_token: Callable[[int], None] | None,
                 owns_context: bool, started: float, tokenize_ms: float):
        self.tokens: list[int] = []
        self.text = ""
        self.finish_reason: str | None = None
        self.metrics = Metrics(prompt_tokens=len(prompt), tokenize_ms=tokenize_ms)
        self.context = context
        self._prompt = prompt
        self._max_tokens = max_tokens
        self._special = special
        self._on_token = on_token
        self._owns_context = owns_context
        self._stream = TextStream(stop)
        self._sampler = sampling.build(context.model)
        self.seed = self._sampler.seed
        for token in prompt:
            self._sampler.accept(token)
        self._started = started
        self._cancelled = False

    def __iter__(self) -> Generation:
        return self

    def __next__(self) -> str:
        while self.finish_reason is None:
            try:
                piece = self._step()
            except Cancelled:
                piece = self._finish("cancelled")
            except ContextFullError:
                piece = self._finish("context")
            except BaseException as error:
                self._finish("cancelled" if isinstance(error, KeyboardInterrupt) else "error")
                raise
            if piece:
                self.text += piece
                return piece
        raise StopIteration

    def _step(self) -> str:
        """One decode and one token; the text that it decides, perhaps none."""
        if self._cancelled:
            return self._finish("cancelled")
        if len(self.tokens) >= self._max_tokens:
            return self._finish("length")
        before = time.perf_counter()
        self.context.decode(self.tokens[-1:] or self._prompt)
        token = self._sampler.sample(self.context)
        now = time.perf_counter()
        if self.tokens:
            self.metrics.decode_ms += (now - before) * 1000
        else:
            self.metrics.prefill_ms = (now - before) * 1000
            self.metrics.first_token_ms = (now - self._started) * 1000
        if self.context.model.is_eog(token):
            return self._finish("stop")
        self.tokens.append(token)
        self.metrics.generated_tokens += 1
        if self._on_token is not None:
            self._on_token(token)
        piece = self._stream.feed(self.context.model.token_to_piece(token, special=self._special))
        if self._stream.stopped:
            self._finish("stop_string")
        return piece

    def _finish(self, reason: str) -> str:
        """End for `reason`; the text that was held back, or "" for a stop string."""
        self.finish_reason = reason
        self.metrics.total_ms = (time.perf_counter() - self._started) * 1000
        self.metrics.memory_bytes = resident_bytes()
        self._sampler.close()
        self.context._interrupt.clear()
        if self._owns_context:
            self.context.close()
        return self._stream.feed(b"", final=True)

    def cancel(self) -> None:
        """Stop within a layer, from any thread; the iteration ends with what was decided so far."""
        self._cancelled = True
        self.context.cancel()

    def close(self) -> None:
        """Stop iterating and free what the generation owns; the iterating thread's own way to cancel."""
        if self.finish_reason is None:
            self._finish("cancelled")

    def __enter__(self) -> Generation:
        return self

    def __exit__(self, *_exc) -> None:
        self.close()


def generate(where: Model | Context, prompt: str | Sequence[int], *, max_tokens: int | None = None,
             sampling: Sampling | None = None, stop: Sequence[str] = (), special: bool = False,
             add_special: bool = True, parse_special: bool = True, on_token: Callable[[int], None] | None = None,
             n_ctx: int | None = None, n_threads: int | None = None, n_batch: int = 2048, kv_type: str = "f16",
             kv_type_v: str | None = None) -> Generation:
    """Begin to generate; nothing is computed before the first piece is asked for.

    where: a Model (a context is made, and freed at the end) or a Context, whose sequence 0 is continued.
    prompt: text, or tokens as they are. add_special, parse_special: as in Model.tokenize.
    max_tokens: None: until an end token or a full context. stop: strings that end the text and are not part of it.
    sampling: None for Sampling(). special: show control tokens in the text. on_token: called with each id.
    n_ctx, n_threads, n_batch, kv_type, kv_type_v: of a context made here; n_ctx None: room for prompt and max_tokens, at most
        what the model was trained for.
    Errors: InvalidArgumentError (empty prompt), ContextFullError (the prompt alone does not fit), those of Context and
        Model.tokenize.
    """
    if max_tokens is not None and max_tokens < 0:
        raise ValueError(f"max_tokens: {max_tokens}, expected 0 or more")
    stop = (stop,) if isinstance(stop, str) else tuple(stop)
    started = time.perf_counter()
    model = where.model if isinstance(where, Context) else where
    if isinstance(prompt, (str, bytes)):
        tokens = model.tokenize(prompt, add_special=add_special, parse_special=parse_special)
    else:
        tokens = list(prompt)
    tokenize_ms = (time.perf_counter() - started) * 1000
    if not tokens:
        raise InvalidArgumentError("the prompt is empty, and this vocabulary adds no token that begins a text")
    owns = not isinstance(where, Context)
    if owns:
        if n_ctx is None:
            wanted = 4096 if max_tokens is None else len(tokens) + max_tokens
            n_ctx = min(max(wanted, len(tokens) + 1), model.n_ctx_train)
        where = Context(model, n_ctx=n_ctx, n_threads=n_threads, n_batch=n_batch, kv_type=kv_type, kv_type_v=kv_type_v)
    try:
        room = where.n_ctx - len(where.seq_range())
        if len(tokens) > room:
            raise ContextFullError(
                f"the prompt has {len(tokens)} tokens, the context has room for {room}; use a larger n_ctx")
        return Generation(where, tokens, max_tokens=where.n_ctx if max_tokens is None else max_tokens,
                          sampling=Sampling() if sampling is None else sampling, stop=stop, special=special,
                          on_token=on_token, owns_context=owns, started=started, tokenize_ms=tokenize_ms)
    except BitnetError:
        if owns:
            where.close()
        raise
