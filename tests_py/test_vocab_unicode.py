"""The committed Unicode tables against the running Python's unicodedata, and the generator against the committed file."""
import importlib.util
import re
import sys
import unicodedata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "csrc" / "bnf_unicode_data.c"


def generator():
    spec = importlib.util.spec_from_file_location("bnf_unicode_tables", ROOT / "csrc" / "bnf_unicode_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def committed() -> tuple[str, list[int]]:
    """The recorded version, and the category number of every code point, read from the C source."""
    text = TABLE.read_text()
    version = re.search(r'bnf_unicode_version\[\] = "([^"]+)"', text)[1]
    index, blocks = ([int(n) for n in body.split(",") if n.strip()] for body in re.findall(r"= \{(.*?)\};", text, re.S))
    return version, [c for block in index for c in blocks[128 * block : 128 * (block + 1)]]


def test_recorded_version_is_the_generators():
    assert committed()[0] == generator().UNICODE_VERSION


def test_every_code_point_that_python_knows_has_its_category():
    tool = generator()
    version, values = committed()
    assert len(values) == tool.N_CODE_POINTS
    as_numbers = [tuple(map(int, v.split("."))) for v in (unicodedata.unidata_version, version)]
    if as_numbers[0] > as_numbers[1]:   # Python is newer: what the table does not know yet does not count
        wrong = [c for c, v in enumerate(values) if v != 0 and v != tool.category_index(unicodedata, c)]
        assert len(wrong) < 20, "a new version changes the category of a few old characters at most"
    else:
        wrong = [c for c, v in enumerate(values) if tool.category_index(unicodedata, c) not in (0, v)]
        assert wrong == []


def test_running_the_generator_again_gives_the_committed_file():
    tool = generator()
    try:
        module = tool.find_unicodedata()
    except SystemExit as missing:
        pytest.skip(str(missing))
    assert tool.render(module) == TABLE.read_text()


def test_base_letters_and_lower_case_are_pythons():
    """What a newer or older Python knows otherwise does not count: a handful at most."""
    sys.path.insert(0, str(ROOT / "csrc"))
    import bnf_unicode_folds as folds

    text = (ROOT / "csrc" / "bnf_unicode_fold.c").read_text()
    arrays = [[int(n) for n in body.split(",") if n.strip()] for body in re.findall(r"= \{(.*?)\};", text, re.S)]
    for (index, blocks), now in zip((arrays[:2], arrays[2:]), (lambda c: folds.base(unicodedata, c), folds.lower), strict=True):
        values = [c for block in index for c in blocks[128 * block : 128 * (block + 1)]]
        assert len(values) == 0x110000
        wrong = [c for c, v in enumerate(values) if v != now(c) and unicodedata.category(chr(c)) != "Cn"]
        assert len(wrong) < 20, [hex(c) for c in wrong[:40]]
