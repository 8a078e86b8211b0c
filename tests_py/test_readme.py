"""The README is true: CI runs its test command, its code compiles and runs, its links lead somewhere."""
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from bitnet_ffi import config

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
TINY = ROOT / "tests_py" / "data" / "tiny-b158-i2_s.gguf"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.S | re.M)


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_ci_runs_the_test_command_of_the_readme():
    command, = [line for line in README.splitlines() if line.endswith(".venv/bin/pytest")]
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()


def test_c_example_compiles_and_runs(tmp_path):
    code, = blocks("c")
    (tmp_path / "program.c").write_text(code)
    subprocess.run([*shlex.split(os.environ.get("CC", "gcc")), "-Wall", "-Wextra", "-Werror", tmp_path / "program.c", *config.cflags(),
                    *config.libs(), "-o", tmp_path / "program"], check=True)
    assert "512 tokens in the vocabulary" in subprocess.run([tmp_path / "program", TINY], capture_output=True, text=True, check=True).stdout
    assert subprocess.run([tmp_path / "program", "/nowhere"], capture_output=True, text=True).stderr.count("/nowhere") == 1


def test_ctypes_example_runs():
    assert run_python(blocks("python")[0]).split()[0] == re.search(r'VERSION_STRING "(.*?)"', (ROOT / "include/bitnet_ffi.h").read_text())[1]


def test_python_example_runs(smollm2_path):
    assert run_python(blocks("python")[1]).startswith(" Paris.")


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / target).exists(), target
