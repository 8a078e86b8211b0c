"""bitnet_ffi/_cdef.py: the declarations of include/bitnet_ffi.h for cffi, cut from the header by the C preprocessor.

cffi's out-of-line ABI mode: the module holds parsed tables, nothing is compiled, and importing it costs a millisecond.
So the header stays the only copy of every declaration.
"""

import contextlib
import io
import re

import bnf_build


def declarations(tools: bnf_build.Toolchain) -> str:
    """What cffi understands of the header: every type and prototype, and the #defines that are one integer."""
    text = bnf_build.preprocessed_header(tools).replace(bnf_build.EXPORT_MARK, "")
    text = re.sub(r" __attribute__\(\(.*\)\);", ";", text)
    kept = []
    for line in text.splitlines():
        if line.startswith("#"):
            define = re.fullmatch(r"#define (\w+) \(?(-?(?:0x[0-9A-Fa-f]+|\d+))[uUlL]*\)?", line)
            if define:
                kept.append(f"#define {define[1]} {define[2]}")
        else:
            kept.append(line)
    return "\n".join(kept)


def module_text(tools: bnf_build.Toolchain) -> str:
    try:
        from cffi import FFI
    except ImportError:
        raise bnf_build.BuildError("cffi is missing: pip install cffi.") from None
    ffi = FFI()
    ffi.set_source("bitnet_ffi._cdef", None)
    ffi.cdef(declarations(tools))
    text = io.StringIO()
    with contextlib.redirect_stdout(None):  # cffi reports the object it writes to
        ffi.emit_python_code(text)
    return text.getvalue()
