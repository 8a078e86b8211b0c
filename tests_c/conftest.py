"""Lets pytest collect tests_c/test_*.cpp: builds all of them at the first, then pytest-cpp lists and runs the tests."""

import bnf_build
import c_programs
import pytest
from pytest_cpp.catch2 import Catch2Facade
from pytest_cpp.plugin import CppFile

PROGRAMS = pytest.StashKey[dict]()


class SourceFacade(Catch2Facade):
    """Catch2 for a test file that is reported by its source and run by the program built of it."""

    def __init__(self, program):
        self.program = str(program)

    def list_tests(self, source, harness_collect=()):
        return super().list_tests(self.program, harness_collect)

    def run_test(self, source, test_id="", test_args=(), harness=()):
        return super().run_test(self.program, test_id, test_args, harness)


class BrokenSource(pytest.File):
    """A test file that does not build: one error in the report, with the compiler's words."""

    def collect(self):
        raise self.CollectError(str(self.reason))


def pytest_collect_file(parent, file_path):
    if file_path.suffix != ".cpp" or not file_path.match("test_*"):
        return None
    stash = parent.config.stash
    if PROGRAMS not in stash:
        tools = bnf_build.Toolchain()
        stash[PROGRAMS] = c_programs.build_all(tools)
    program = stash[PROGRAMS][file_path]
    if isinstance(program, bnf_build.BuildError):
        broken = BrokenSource.from_parent(parent, path=file_path)
        broken.reason = program
        return broken
    return CppFile.from_parent(parent=parent, path=file_path, facade=SourceFacade(program), arguments=[])
