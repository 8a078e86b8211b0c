"""Write csrc/bnf_unicode_fold.c: what WordPiece makes of a character, its base letter and its lower case, as two-stage tables.

Both are one code point, as in llama.cpp: the first of the canonical decomposition, and the first of the lower case. 0 stands for
the character itself. Hangul syllables are left out of the first table: bnf_base_char computes theirs.
    python csrc/bnf_unicode_folds.py [OUTPUT]
Wants the Python of bnf_unicode_tables.py, whose tables these match; tests_py/test_vocab_unicode.py compares the committed file.
"""

import pathlib
import sys

from bnf_unicode_tables import N_CODE_POINTS, UNICODE_VERSION, rows, two_stage

HANGUL = range(0xAC00, 0xD7A4)


def base(unicodedata, code_point):
    """The first code point of the decomposition, 0: itself."""
    first = ord(unicodedata.normalize("NFD", chr(code_point))[0])
    return 0 if first == code_point or code_point in HANGUL else first


def lower(code_point):
    first = ord(chr(code_point).lower()[0])
    return 0 if first == code_point else first


def table(name, values):
    index, blocks = two_stage(values)
    assert len(blocks) <= 256, "stage 1 is uint8_t"
    return [f"const uint8_t bnf_{name}_index[{len(index)}] = {{\n" + rows(index) + "\n};",
            f"const uint32_t bnf_{name}_blocks[{len(blocks)} * BNF_UNICODE_BLOCK_LEN] = {{\n"
            + "\n".join(rows(b, 16) for b in blocks) + "\n};"]


def render(unicodedata):
    """The text of the C file."""
    parts = [
        f"/* Base letters and lower case of Unicode {UNICODE_VERSION}. Written by csrc/bnf_unicode_folds.py; do not edit.\n"
        " * bnf_unicode_fold.h says how the tables are read. */",
        '#include "bnf_unicode_fold.h"',
        *table("base", [base(unicodedata, c) for c in range(N_CODE_POINTS)]),
        *table("lower", [lower(c) for c in range(N_CODE_POINTS)]),
    ]
    return "\n\n".join(parts) + "\n"


def main():
    import unicodedata  # str.lower() has the running Python's version too, so no other module will do

    if unicodedata.unidata_version != UNICODE_VERSION:
        raise SystemExit(f"Unicode {UNICODE_VERSION} is needed, this Python has {unicodedata.unidata_version}: use Python 3.13")
    root = pathlib.Path(__file__).resolve().parent.parent
    path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else root / "csrc" / "bnf_unicode_fold.c"
    path.write_text(render(unicodedata))
    print(path)


if __name__ == "__main__":
    main()
