"""What a C or CMake project is told about the library compiles, links and runs, with no help from the environment."""

import os
import shlex
import shutil
import subprocess
import sys

import pytest

from bitnet_ffi import config

PROGRAM = """
#include <bitnet_ffi.h>
#include <stdio.h>
#include <string.h>
int main(void) {
    puts(bitnet_version());
    return strcmp(bitnet_version(), BITNET_FFI_VERSION_STRING) != 0;
}
"""
CMAKE = """
cmake_minimum_required(VERSION 3.16)
project(consumer C)
find_package(bitnet_ffi 0.1 REQUIRED CONFIG)
add_executable(consumer main.c)
target_link_libraries(consumer PRIVATE bitnet_ffi::bitnet_ffi)
"""
CC = shlex.split(os.environ.get("CC", "cc"))


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "main.c"
    path.write_text(PROGRAM)
    return path


def output(command, **options):
    return subprocess.run([*map(str, command)], check=True, capture_output=True, text=True, **options).stdout


def assert_runs_alone(program):
    assert output(["env", "-i", program]).strip() == config.version()


def told(*flags):
    return shlex.split(output([sys.executable, "-m", "bitnet_ffi.config", *flags]))


def test_flags_build_a_program_that_runs_with_an_empty_environment(source, tmp_path):
    program = tmp_path / "program"
    output([*CC, source, *told("--cflags", "--libs"), "-o", program])
    assert_runs_alone(program)


def test_program_linked_with_llama_name_runs_with_an_empty_environment(source, tmp_path):
    program = tmp_path / "program"
    flags = [flag.replace("-lbitnet_ffi", "-lllama") for flag in told("--cflags", "--libs")]
    output([*CC, source, *flags, "-o", program])
    assert_runs_alone(program)


def test_program_needs_nothing_but_libc(source, tmp_path):
    program = tmp_path / "program"
    output([*CC, source, *told("--cflags", "--libs"), "-o", program])
    needed = [line.split()[0].rsplit("/", 1)[-1] for line in output(["ldd", program]).splitlines()]
    allowed = ("linux-vdso.so.1", "libc.so.6", "libm.so.6", "libpthread.so.0", "ld-linux-", "libbitnet_ffi.so.0")
    assert [name for name in needed if not name.startswith(allowed)] == []


def test_pkg_config_builds_a_program_that_runs_with_an_empty_environment(source, tmp_path):
    if not shutil.which("pkg-config"):
        pytest.skip("pkg-config is not installed")
    environment = os.environ | {"PKG_CONFIG_PATH": str(config.pkgconfig_dir())}
    flags = shlex.split(output(["pkg-config", "--cflags", "--libs", "bitnet_ffi"], env=environment))
    assert output(["pkg-config", "--modversion", "bitnet_ffi"], env=environment).strip() == config.version()
    program = tmp_path / "program"
    output([*CC, source, *flags, "-o", program])
    assert_runs_alone(program)


def test_cmake_builds_a_program_that_runs_with_an_empty_environment(source, tmp_path):
    if not shutil.which("cmake"):
        pytest.skip("cmake is not installed")
    (tmp_path / "CMakeLists.txt").write_text(CMAKE)
    output(["cmake", "-S", tmp_path, "-B", tmp_path / "b", f"-Dbitnet_ffi_DIR={config.cmake_dir()}"])
    output(["cmake", "--build", tmp_path / "b"])
    assert_runs_alone(tmp_path / "b" / "consumer")


def test_answers_come_in_the_order_asked():
    assert told("--version", "--libdir") == [config.version(), str(config.lib_dir())]


def test_no_question_is_an_error():
    asked = subprocess.run([sys.executable, "-m", "bitnet_ffi.config"], capture_output=True, text=True)
    assert asked.returncode == 2 and "ask for at least one thing" in asked.stderr
