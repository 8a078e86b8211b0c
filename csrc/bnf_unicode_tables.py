"""Write csrc/bnf_unicode_data.c: the general category of every code point, as a two-stage table.

The recorded version is UNICODE_VERSION, the one that llama.cpp's own tables have, so that words are split at the same
places. Python 3.13 carries that version in unicodedata; under another Python install unicodedata2==15.1.0.
    python csrc/bnf_unicode_tables.py [OUTPUT]
tests_py/test_vocab_unicode.py compares the committed file with the running Python.
"""

import importlib
import pathlib
import sys

UNICODE_VERSION = "15.1.0"
BLOCK_LEN = 128
N_CODE_POINTS = 0x110000
# The order is that of enum bnf_category in csrc/bnf_unicode.h. Cw is ours: control characters that are white space.
CATEGORIES = (
    "Cn Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co Cw".split()
)
WHITE_CONTROLS = {0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x85}


def category_index(unicodedata, code_point):
    """Index in CATEGORIES of one code point."""
    if code_point in WHITE_CONTROLS:
        return CATEGORIES.index("Cw")
    return CATEGORIES.index(unicodedata.category(chr(code_point)))


def two_stage(values):
    """(stage 1: block number of each run of BLOCK_LEN values, stage 2: the distinct blocks); block 0 is the first run."""
    blocks = {}
    index = []
    for start in range(0, len(values), BLOCK_LEN):
        block = tuple(values[start : start + BLOCK_LEN])
        index.append(blocks.setdefault(block, len(blocks)))
    return index, list(blocks)


def rows(values, per_line=32):
    """Comma-separated values, `per_line` to a line."""
    lines = []
    for start in range(0, len(values), per_line):
        lines.append("    " + ", ".join(str(v) for v in values[start : start + per_line]) + ",")
    return "\n".join(lines)


def render(unicodedata):
    """The text of the C file."""
    values = [category_index(unicodedata, c) for c in range(N_CODE_POINTS)]
    index, blocks = two_stage(values)
    assert len(blocks) <= 256, "stage 1 is uint8_t"
    parts = [
        "/* General categories of Unicode " + unicodedata.unidata_version + ". Written by csrc/bnf_unicode_tables.py; do not edit.\n"
        " * bnf_unicode.h says how the two stages are read. */",
        '#include "bnf_unicode.h"',
        'const char bnf_unicode_version[] = "' + unicodedata.unidata_version + '";',
        "const uint8_t bnf_unicode_index[" + str(len(index)) + "] = {\n" + rows(index) + "\n};",
        "const uint8_t bnf_unicode_blocks[" + str(len(blocks)) + " * BNF_UNICODE_BLOCK_LEN] = {\n"
        + "\n".join(rows(b) for b in blocks) + "\n};",
    ]
    return "\n\n".join(parts) + "\n"


def find_unicodedata():
    """The first installed module that has UNICODE_VERSION."""
    seen = []
    for name in ("unicodedata", "unicodedata2"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        if module.unidata_version == UNICODE_VERSION:
            return module
        seen.append(name + " " + module.unidata_version)
    raise SystemExit(f"Unicode {UNICODE_VERSION} is needed, found {', '.join(seen)}: use Python 3.13 or pip install unicodedata2==15.1.0")


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else root / "csrc" / "bnf_unicode_data.c"
    path.write_text(render(find_unicodedata()))
    print(path)


if __name__ == "__main__":
    main()
