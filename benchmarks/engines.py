"""One interface over the engines that are compared: this package, and llama.cpp through llama-cpp-python's low-level calls.

Each method is one call of the engine's own API, with nothing of ours around it that costs time. Runs inside a worker
process (worker.py), so that memory and crashes stay apart. Next: worker.py.
"""

from __future__ import annotations

import ctypes
import logging
from collections import deque
from collections.abc import Sequence

import numpy as np

from .reads import Reads, from_log


class LastLines(logging.Handler):
    """The last lines of a log, in `texts`."""

    def __init__(self):
        super().__init__(logging.INFO)
        self.texts = deque(maxlen=16)

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


class BitnetFfi:
    """This package. The kernel table is chosen by BITNET_FFI_KERNELS in the worker's environment."""

    modes = ("repacked", "in place")   # ways to load; the first is the default, and the one whose speed counts

    def __init__(self):
        import bitnet_ffi
        self.package = bitnet_ffi
        self.version = bitnet_ffi.__version__
        self.kernels = bitnet_ffi.kernel_name()
        self._lines = LastLines()
        logger = logging.getLogger("bitnet_ffi")
        logger.addHandler(self._lines)
        logger.setLevel(logging.INFO)

    def load(self, path: str, mode: str) -> None:
        self.model = self.package.Model(path, repack=mode == "repacked")

    def reads(self) -> Reads:
        return from_log(list(self._lines.texts))

    def open(self, n_ctx: int, n_seq: int, n_threads: int, kv_type: str) -> None:
        self.context = self.model.context(n_ctx=n_ctx * n_seq, n_seq_max=n_seq, n_threads=n_threads, kv_type=kv_type)
        self.sampler = self.package.Sampling(greedy=True).build(self.model)
        self.noise = self.package.Sampling(temperature=0.8, top_k=0, top_p=1, min_p=0, seed=1).build(self.model)

    def set_threads(self, n: int) -> None:
        self.context.n_threads = n

    def decode(self, tokens: Sequence[int], pos: Sequence[int], seqs: Sequence[int], all_rows: bool) -> None:
        self.context.decode(tokens, pos=pos, seq=seqs, logits="all" if all_rows else "last")

    def sample(self, row: int) -> int:
        return self.sampler.sample(self.context, row)

    def draw(self, row: int) -> int:
        return self.noise.sample(self.context, row)

    def logits(self, row: int) -> np.ndarray:
        return self.context.logits(row)

    def forget(self, n_seq: int, from_pos: int) -> None:
        for seq in range(n_seq):
            self.context.seq_remove(seq, from_pos, -1)

    def close(self) -> None:
        self.context.close()

    def unload(self) -> None:
        self.model.close()
        self.model = None


class LlamaCpp:
    """llama.cpp, as llama-cpp-python built it. Defaults of llama.cpp, no offloading."""

    modes = ("default",)

    def __init__(self):
        import llama_cpp
        self.api = llama_cpp
        self.version = llama_cpp.__version__
        self._quiet = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self._quiet, ctypes.c_void_p())
        llama_cpp.llama_backend_init()
        self.kernels = " ".join(llama_cpp.llama_print_system_info().decode().split())
        self.batch = None

    def load(self, path: str, mode: str) -> None:
        params = self.api.llama_model_default_params()
        params.n_gpu_layers = 0
        self.model = self.api.llama_model_load_from_file(path.encode(), params)
        if not self.model:
            raise RuntimeError(f"llama.cpp cannot load {path}; --no-peer measures without it")
        self.n_vocab = self.api.llama_vocab_n_tokens(self.api.llama_model_get_vocab(self.model))

    def reads(self) -> None:
        """It does not say; what the file holds is what it reads."""

    def open(self, n_ctx: int, n_seq: int, n_threads: int, kv_type: str) -> None:
        api = self.api
        params = api.llama_context_default_params()
        # Each sequence has a part of its own, which llama.cpp rounds to 256 cells.
        params.n_ctx = -(-n_ctx // 256) * 256 * n_seq
        params.n_batch, params.n_seq_max = 2048, n_seq
        params.n_threads = params.n_threads_batch = n_threads
        params.type_k = params.type_v = {"f32": 0, "f16": 1, "q8_0": 8}[kv_type]  # ggml's numbers
        self.context = api.llama_init_from_model(self.model, params)
        if not self.context:
            raise RuntimeError(f"llama.cpp cannot make a context of {params.n_ctx} tokens")
        self.memory = api.llama_get_memory(self.context)
        self.sampler = api.llama_sampler_init_greedy()
        self.chance = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
        for member in (api.llama_sampler_init_temp(0.8), api.llama_sampler_init_dist(1)):
            api.llama_sampler_chain_add(self.chance, member)
        self.batch = api.llama_batch_init(2048, 0, 1)

    def set_threads(self, n: int) -> None:
        self.api.llama_set_n_threads(self.context, n, n)

    def decode(self, tokens: Sequence[int], pos: Sequence[int], seqs: Sequence[int], all_rows: bool) -> None:
        batch = self.batch
        for begin in range(0, len(tokens), 2048):
            n = batch.n_tokens = min(2048, len(tokens) - begin)
            for i in range(n):
                batch.token[i] = tokens[begin + i]
                batch.pos[i] = pos[begin + i]
                batch.n_seq_id[i] = 1
                batch.seq_id[i][0] = seqs[begin + i]
                batch.logits[i] = all_rows or begin + i == len(tokens) - 1
            status = self.api.llama_decode(self.context, batch)
            if status != 0:
                raise RuntimeError(f"llama_decode returned {status}")

    def sample(self, row: int) -> int:
        return self.api.llama_sampler_sample(self.sampler, self.context, row)

    def draw(self, row: int) -> int:
        return self.api.llama_sampler_sample(self.chance, self.context, row)

    def logits(self, row: int) -> np.ndarray:
        return np.ctypeslib.as_array(self.api.llama_get_logits_ith(self.context, row), (self.n_vocab,))

    def forget(self, n_seq: int, from_pos: int) -> None:
        for seq in range(n_seq):
            self.api.llama_memory_seq_rm(self.memory, seq, from_pos, -1)

    def close(self) -> None:
        self.api.llama_batch_free(self.batch)
        self.api.llama_sampler_free(self.sampler)
        self.api.llama_sampler_free(self.chance)
        self.api.llama_free(self.context)

    def unload(self) -> None:
        self.api.llama_model_free(self.model)


ENGINES = {"bitnet_ffi": BitnetFfi, "llama.cpp": LlamaCpp}
