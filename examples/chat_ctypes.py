"""chat_ctypes.py - the C library from Python's ctypes, with nothing of ours but the .so: how any FFI would use it.

    python chat_ctypes.py MODEL.gguf                       a chat in the terminal (Ctrl-D ends it)
    python chat_ctypes.py MODEL.gguf --raw PROMPT [N]      greedy completion of a prompt, no template

The declarations below are the few that a chat needs; include/bitnet_ffi.h is the manual.
"""
import ctypes as c
import sys


def library_path() -> str:
    """libbitnet_ffi.so of the installed package; any path to it will do."""
    import bitnet_ffi.config

    return str(bitnet_ffi.config.lib_dir() / "libbitnet_ffi.so")


class ModelParams(c.Structure):
    """struct llama_model_params: 80 bytes that llama_model_default_params fills; we change none of them."""

    _fields_ = [("opaque", c.c_uint64 * 10)]


class ContextParams(c.Structure):
    """struct llama_context_params, 160 bytes; only the sizes are named here."""

    _fields_ = [("n_ctx", c.c_uint32), ("n_batch", c.c_uint32), ("n_ubatch", c.c_uint32), ("n_seq_max", c.c_uint32),
                ("opaque", c.c_uint64 * 18)]


class Batch(c.Structure):
    """struct llama_batch."""

    _fields_ = [("n_tokens", c.c_int32), ("token", c.POINTER(c.c_int32)), ("embd", c.c_void_p), ("pos", c.c_void_p),
                ("n_seq_id", c.c_void_p), ("seq_id", c.c_void_p), ("logits", c.c_void_p)]


class ChatMessage(c.Structure):
    """struct llama_chat_message."""

    _fields_ = [("role", c.c_char_p), ("content", c.c_char_p)]


class ChainParams(c.Structure):
    """struct llama_sampler_chain_params."""

    _fields_ = [("no_perf", c.c_bool)]


def load_library(path: str) -> c.CDLL:
    lib = c.CDLL(path)
    pointer, tokens = c.c_void_p, c.POINTER(c.c_int32)
    for name, result, *arguments in [
        ("bitnet_last_error", c.c_char_p),
        ("llama_model_default_params", ModelParams),
        ("llama_model_load_from_file", pointer, c.c_char_p, ModelParams),
        ("llama_model_free", None, pointer),
        ("llama_model_get_vocab", pointer, pointer),
        ("llama_model_chat_template", c.c_char_p, pointer, c.c_char_p),
        ("llama_context_default_params", ContextParams),
        ("llama_init_from_model", pointer, pointer, ContextParams),
        ("llama_free", None, pointer),
        ("llama_get_memory", pointer, pointer),
        ("llama_memory_clear", None, pointer, c.c_bool),
        ("llama_tokenize", c.c_int32, pointer, c.c_char_p, c.c_int32, tokens, c.c_int32, c.c_bool, c.c_bool),
        ("llama_token_to_piece", c.c_int32, pointer, c.c_int32, c.c_char_p, c.c_int32, c.c_int32, c.c_bool),
        ("llama_vocab_is_eog", c.c_bool, pointer, c.c_int32),
        ("llama_batch_get_one", Batch, tokens, c.c_int32),
        ("llama_decode", c.c_int32, pointer, Batch),
        ("llama_sampler_chain_default_params", ChainParams),
        ("llama_sampler_chain_init", pointer, ChainParams),
        ("llama_sampler_chain_add", None, pointer, pointer),
        ("llama_sampler_init_greedy", pointer),
        ("llama_sampler_sample", c.c_int32, pointer, pointer, c.c_int32),
        ("llama_sampler_free", None, pointer),
        ("llama_chat_apply_template", c.c_int32, c.c_char_p, c.POINTER(ChatMessage), c.c_size_t, c.c_bool, c.c_char_p, c.c_int32),
    ]:
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


class Chat:
    """A model, a context and a greedy sampler, held through the C API."""

    def __init__(self, lib: c.CDLL, path: str, n_ctx: int = 2048):
        self.lib = lib
        self.model = self.check(lib.llama_model_load_from_file(path.encode(), lib.llama_model_default_params()))
        self.vocab = lib.llama_model_get_vocab(self.model)
        params = lib.llama_context_default_params()
        params.n_ctx = n_ctx
        self.ctx = self.check(lib.llama_init_from_model(self.model, params))
        self.sampler = self.check(lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params()))
        lib.llama_sampler_chain_add(self.sampler, lib.llama_sampler_init_greedy())
        self.messages: list[tuple[str, str]] = []

    def check(self, handle):
        if not handle:
            raise RuntimeError(self.lib.bitnet_last_error().decode())
        return handle

    def close(self) -> None:
        self.lib.llama_sampler_free(self.sampler)
        self.lib.llama_free(self.ctx)
        self.lib.llama_model_free(self.model)

    def tokenize(self, text: str):
        data = text.encode()
        n = -self.lib.llama_tokenize(self.vocab, data, len(data), None, 0, True, True)
        if n <= 0:
            raise RuntimeError(self.lib.bitnet_last_error().decode() or "no tokens in the prompt")
        tokens = (c.c_int32 * n)()
        self.lib.llama_tokenize(self.vocab, data, len(data), tokens, n, True, True)
        return tokens

    def piece(self, token: int) -> bytes:
        buffer = c.create_string_buffer(256)
        n = self.lib.llama_token_to_piece(self.vocab, token, buffer, len(buffer), 0, False)
        return buffer.raw[:max(n, 0)]

    def complete(self, prompt: str, n_predict: int):
        """Bytes of the continuation, piece by piece; a character may be cut between two pieces."""
        tokens = self.tokenize(prompt)
        for _ in range(n_predict):
            batch = self.lib.llama_batch_get_one(tokens, len(tokens))
            if self.lib.llama_decode(self.ctx, batch) != 0:
                raise RuntimeError(self.lib.bitnet_last_error().decode())
            token = self.lib.llama_sampler_sample(self.sampler, self.ctx, -1)
            if self.lib.llama_vocab_is_eog(self.vocab, token):
                return
            yield self.piece(token)
            tokens = (c.c_int32 * 1)(token)

    def prompt(self) -> str:
        """The conversation so far in the model's own template."""
        chat = (ChatMessage * len(self.messages))(*[ChatMessage(role.encode(), text.encode()) for role, text in self.messages])
        template = self.lib.llama_model_chat_template(self.model, None)
        size = self.lib.llama_chat_apply_template(template, chat, len(chat), True, None, 0)
        if size < 0:
            raise RuntimeError(self.lib.bitnet_last_error().decode())
        buffer = c.create_string_buffer(size + 1)
        self.lib.llama_chat_apply_template(template, chat, len(chat), True, buffer, size + 1)
        return buffer.value.decode()

    def ask(self, question: str, n_predict: int = 256):
        """Bytes of the answer; the whole conversation is decoded anew, which keeps the example short."""
        self.messages.append(("user", question))
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.ctx), True)
        answer = b""
        for piece in self.complete(self.prompt(), n_predict):
            answer += piece
            yield piece
        self.messages.append(("assistant", answer.decode(errors="replace")))


def write(pieces) -> None:
    for piece in pieces:
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()


def main(arguments: list[str]) -> int:
    if not arguments or (len(arguments) > 1 and (arguments[1] != "--raw" or len(arguments) < 3)):
        print(__doc__, file=sys.stderr)
        return 2
    chat = Chat(load_library(library_path()), arguments[0])
    try:
        if len(arguments) > 1:
            write(chat.complete(arguments[2], int(arguments[3]) if len(arguments) > 3 else 32))
            return 0
        while True:
            try:
                question = input("> ")
            except (EOFError, KeyboardInterrupt):
                return 0
            write(chat.ask(question))
    finally:
        chat.close()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (RuntimeError, OSError) as error:
        sys.exit(str(error))
