"""The library's log lines, as records of the logger "bitnet_ffi".

Silent unless the program configures logging, or BITNET_LOG asks for lines on stderr: debug, info, warn or error; any other
value, such as 1, means info.
May be called from any thread of the library; cffi takes the GIL for it. Next: csrc/bnf_log.h.
"""

from __future__ import annotations

import atexit
import logging
import os

from ._ffi import ffi, lib

logger = logging.getLogger("bitnet_ffi")
logger.addHandler(logging.NullHandler())  # else Python's last-resort handler would print our warnings

_NAMES = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
_LEVELS = {
    lib.GGML_LOG_LEVEL_DEBUG: logging.DEBUG,
    lib.GGML_LOG_LEVEL_INFO: logging.INFO,
    lib.GGML_LOG_LEVEL_WARN: logging.WARNING,
    lib.GGML_LOG_LEVEL_ERROR: logging.ERROR,
}


@ffi.callback("void(enum ggml_log_level, const char *, void *)")
def _on_line(level, text, _user_data):
    number = _LEVELS.get(int(level), logging.INFO)
    # A fault also becomes an exception, which is the louder of the two; a program that handles it wants no second voice.
    if number == logging.ERROR and not _wanted_on_stderr:
        number = logging.DEBUG
    if logger.isEnabledFor(number):
        logger.log(number, "%s", ffi.string(text).decode("utf-8", "replace").rstrip("\n"))


def _stderr_handler(name: str) -> bool:
    """Attach what BITNET_LOG asks for; False when it asks for nothing."""
    if not name:
        return False
    level = _NAMES.get(name.lower(), logging.INFO)
    handler = logging.StreamHandler()
    handler.setLevel(level)
    handler.setFormatter(logging.Formatter("%(levelname).1s bitnet_ffi: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(level)
    return True


_wanted_on_stderr = _stderr_handler(os.environ.get("BITNET_LOG", ""))
lib.llama_log_set(_on_line, ffi.NULL)
# A pool thread must not call into an interpreter that is going away.
atexit.register(lib.llama_log_set, ffi.NULL, ffi.NULL)
