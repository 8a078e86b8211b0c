"""Sampling: how to choose a token from logits; Sampler: the library's chain that does it.

`Sampling` is a plain immutable description, to be shared and compared; `Sampler` has state (random numbers, the tokens
that penalties look at) and belongs to one generation. Next: generate.py.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from ._ffi import check_done, check_pointer, fail, ffi, lib, text_of
from .context import Context
from .model import Model

_RANDOM_SEED = lib.LLAMA_DEFAULT_SEED  # "any"


def _within(name: str, value, holds: bool, expected: str) -> None:
    if not holds:
        raise ValueError(f"{name}: {value}, expected {expected}")


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen. The steps run in the order of the fields; a step at its neutral value is left out.

    logit_bias: token -> number added to its logit (-inf forbids it).
    repetition_penalty: > 0, 1 is neutral; divides positive and multiplies negative logits of the last `penalty_last_n`
        tokens.
    frequency_penalty, presence_penalty: subtracted per occurrence, and once; 0 is neutral.
    top_k: keep the k best; 0 is neutral. top_p: keep the best that add up to p; 1 is neutral.
    min_p: keep those at least min_p times as likely as the best; 0 is neutral.
    temperature: >= 0, divides the logits; 0 is greedy.
    greedy: take the most likely token (after bias and penalties; ties go to the smaller id) and ignore the rest.
    seed: 0 to 2**32 - 2; None draws one. The same seed gives the same text.
    gumbel: draw by Gumbel noise, which a float head answers without computing all logits, or with llama.cpp's random numbers (False).
        Same probabilities, other tokens. None: by noise where nothing narrows the choice (top_k 0, top_p 1, min_p 0), as that is
        where it is faster.
    """

    logit_bias: Mapping[int, float] = field(default_factory=dict)
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    penalty_last_n: int = 64
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    temperature: float = 0.8
    greedy: bool = False
    seed: int | None = None
    gumbel: bool | None = None

    def __post_init__(self):
        _within("repetition_penalty", self.repetition_penalty, self.repetition_penalty > 0, "more than 0")
        _within("penalty_last_n", self.penalty_last_n, self.penalty_last_n >= 0, "0 or more")
        _within("top_k", self.top_k, self.top_k >= 0, "0 or more")
        _within("top_p", self.top_p, 0 < self.top_p <= 1, "more than 0, at most 1")
        _within("min_p", self.min_p, 0 <= self.min_p <= 1, "0 to 1")
        _within("temperature", self.temperature, 0 <= self.temperature < float("inf"), "0 or more")
        _within("seed", self.seed, self.seed is None or 0 <= self.seed < _RANDOM_SEED, "0 to 2**32 - 2")

    @property
    def is_greedy(self) -> bool:
        return self.greedy or self.temperature == 0

    @property
    def draws_by_noise(self) -> bool:
        """What `gumbel` comes to."""
        if self.gumbel is None:
            return self.top_k == 0 and self.top_p == 1 and self.min_p == 0
        return self.gumbel

    def build(self, model: Model) -> Sampler:
        """The chain for this model."""
        return Sampler(self, model)


class Sampler:
    """A chain of the library's samplers. One thread at a time. `close()` or a with-block frees it early."""

    def __init__(self, sampling: Sampling, model: Model):
        self._handle = None
        self.sampling = sampling
        chain = check_pointer(lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params()))
        self._handle = ffi.gc(chain, lib.llama_sampler_free)
        n_vocab = model.n_vocab
        if sampling.logit_bias:
            pairs = ffi.new("llama_logit_bias[]", [{"token": t, "bias": b} for t, b in sampling.logit_bias.items()])
            self._add(lib.llama_sampler_init_logit_bias(n_vocab, len(pairs), pairs))
        if (sampling.repetition_penalty, sampling.frequency_penalty, sampling.presence_penalty) != (1, 0, 0):
            self._add(lib.llama_sampler_init_penalties(n_vocab, sampling.penalty_last_n, sampling.repetition_penalty,
                                                       sampling.frequency_penalty, sampling.presence_penalty))
        if sampling.is_greedy:
            self._add(lib.llama_sampler_init_greedy())
            return
        if sampling.top_k > 0:
            self._add(lib.llama_sampler_init_top_k(sampling.top_k))
        if sampling.top_p < 1:
            self._add(lib.llama_sampler_init_top_p(sampling.top_p, 1))
        if sampling.min_p > 0:
            self._add(lib.llama_sampler_init_min_p(sampling.min_p, 1))
        self._add(lib.llama_sampler_init_temp(sampling.temperature))
        # Drawn here rather than by the library, so that `seed` tells which one it was.
        seed = secrets.randbelow(_RANDOM_SEED) if sampling.seed is None else sampling.seed
        self._add(lib.bitnet_sampler_init_gumbel(seed) if sampling.draws_by_noise else lib.llama_sampler_init_dist(seed))

    def _add(self, sampler) -> None:
        lib.llama_sampler_chain_add(self._pointer, check_pointer(sampler))  # the chain owns it from here
        check_done()

    @property
    def _pointer(self):
        if self._handle is None:
            raise ValueError("the sampler is closed")
        return self._handle

    def close(self) -> None:
        self._handle = None

    def __enter__(self) -> Sampler:
        return self

    def __exit__(self, *_exc) -> None:
        self.close()

    @property
    def names(self) -> list[str]:
        """The steps of the chain."""
        chain = self._pointer
        return [text_of(lib.llama_sampler_name(lib.llama_sampler_chain_get(chain, i)))
                for i in range(lib.llama_sampler_chain_n(chain))]

    @property
    def seed(self) -> int | None:
        """The seed in use; None when greedy."""
        seed = lib.llama_sampler_get_seed(self._pointer)
        return None if seed == _RANDOM_SEED else seed

    def sample(self, context: Context, i: int = -1) -> int:
        """Choose a token from the logits of the context's last decode, row `i` as in Context.logits, and remember it."""
        chain = self._pointer
        with context._inside() as pointer:
            token = lib.llama_sampler_sample(chain, pointer, i)
            return fail() if token == lib.LLAMA_TOKEN_NULL else token

    def accept(self, token: int) -> None:
        """Remember a token that was chosen elsewhere (a prompt's, for the penalties)."""
        lib.llama_sampler_accept(self._pointer, token)

    def reset(self) -> None:
        """Back to the beginning: no tokens remembered, the seed's first random number."""
        lib.llama_sampler_reset(self._pointer)
