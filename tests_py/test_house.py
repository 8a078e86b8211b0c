"""Comments and documents that name a file of this tree name one that is there: readers follow them."""
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PATH = re.compile(r"(?<![\w/.-])((?:bitnet_ffi/)?_core|csrc|include|tests_py|tests_c|benchmarks|examples)/"
                  r"([\w/]+\.(?:pyx|pxd|py|c|h|cpp|hpp|md))\b")
ENGINE = re.compile(r"(?<![\w/*.])(\w+\.pyx)\b")
WRITTEN_BY_BUILD = {"bitnet_ffi/_cdef.py"}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines()]


def test_files_that_comments_name_exist():
    files = [path for path in tracked() if path.suffix in (".py", ".pyx", ".pxd", ".c", ".h", ".cpp", ".hpp", ".md")]
    engine = {path.name for path in files if path.suffix == ".pyx"}
    gone = []
    for path in files:
        text = path.read_text()
        for folder, name in PATH.findall(text):
            place = Path("bitnet_ffi", folder, name) if folder == "_core" else Path(folder, name)
            if not (ROOT / place).exists() and str(place) not in WRITTEN_BY_BUILD:
                gone.append((path.name, str(place)))
        gone += [(path.name, name) for name in ENGINE.findall(text) if name not in engine and path.name != Path(__file__).name]
    assert not gone


def test_names_of_source_files_are_unique():
    """Comments name files without their folders, and build/cython is one folder."""
    names = [path.name for path in tracked() if path.suffix in (".pyx", ".pxd", ".c", ".h") and "kernels" not in path.parts]
    assert sorted(names) == sorted(set(names))
