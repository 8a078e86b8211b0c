"""The build runs what changed and nothing else, says in one sentence why it cannot, and holds for clang too."""

import os
import shutil
import subprocess
import sys

import pytest

import bnf_build


@pytest.fixture
def step(tmp_path):
    """A compiler step with a header, run once."""
    (tmp_path / "part.h").write_text("#define PART 1\n")
    source = tmp_path / "part.c"
    source.write_text('#include "part.h"\nint part(void);\nint part(void) { return PART; }\n')
    command = ["cc", "-c", str(source), "-o", "@OUT@"]
    made = bnf_build.Step(tmp_path / "out" / "part.o", command, [source], depfile=True)
    bnf_build.run_all([made])
    return made


def save_later(path, step):
    later = step.output.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))


def test_step_is_current_after_it_ran(step):
    assert step.is_current()


def test_step_is_stale_after_its_source_changed(step):
    save_later(step.inputs[0], step)
    assert not step.is_current()


def test_step_is_stale_after_a_header_changed(step):
    save_later(step.inputs[0].with_suffix(".h"), step)
    assert not step.is_current()


def test_step_is_stale_after_a_header_vanished(step):
    step.inputs[0].with_suffix(".h").unlink()
    assert not step.is_current()


def test_step_is_stale_with_other_flags(step):
    step.command.insert(1, "-O2")
    assert not step.is_current()


def test_failed_step_keeps_the_old_output_and_shows_the_compiler(step):
    before = step.output.read_bytes()
    step.inputs[0].write_text("int part(void) { return absent; }\n")
    with pytest.raises(bnf_build.BuildError, match="part.o: cc failed(.|\n)*absent"):
        bnf_build.run_all([step])
    assert step.output.read_bytes() == before
    assert sorted(path.name for path in step.output.parent.iterdir()) == ["part.o", "part.o.d", "part.o.key"]


def test_engine_module_is_stale_when_a_pxd_that_it_reads_changed_and_no_other():
    step, = bnf_build.cython_steps([bnf_build.ROOT / "bitnet_ffi" / "_core" / "api" / "api_perf.pyx"])
    names = {path.name for path in step.inputs}
    assert {"api_perf.pyx", "bnf_context.pxd", "bnf_types.pxd"} <= names     # the last one through bnf_context.pxd
    assert "bnf_grammar.pxd" not in names


def test_library_is_current_after_the_installation(monkeypatch):
    def refuse(step):
        raise AssertionError(f"{step.output} is built again")
    tools = bnf_build.Toolchain()
    bnf_build.build_library(tools)
    monkeypatch.setattr(bnf_build.Step, "run", refuse)
    bnf_build.build_library(tools)


def test_missing_compiler_is_one_sentence():
    done = subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=bnf_build.ROOT,
                          env=os.environ | {"CC": "no-such-compiler"}, capture_output=True, text=True)
    assert done.returncode != 0
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: no working C compiler: 'no-such-compiler' cannot be run; install gcc")


def test_library_builds_with_clang_without_a_warning():
    if not shutil.which("clang"):
        pytest.skip("clang is not installed")
    tools = bnf_build.Toolchain(cc="clang", cxx="clang++")
    tools.folder = bnf_build.ROOT / "build" / "clang"
    tools.flags = ["-Werror"]
    assert bnf_build.build_library(tools).exists()
