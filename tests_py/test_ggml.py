"""The few functions of ggml that programs of llama.h call beside it."""
import os
import subprocess
import time

import pytest

from bitnet_ffi import config
from bitnet_ffi._ffi import ffi, lib
from engine_abi import ERROR, last_error

NULL = ffi.NULL


def test_clock_is_monotonic_and_in_its_units():
    us, ms = lib.ggml_time_us(), lib.ggml_time_ms()
    assert abs(us // 1000 - ms) <= 1000 and abs(lib.llama_time_us() - us) < 1_000_000
    time.sleep(0.01)
    assert lib.ggml_time_us() - us >= 10_000


@pytest.mark.parametrize("type, name, quantized", [
    ("F32", b"f32", False), ("F16", b"f16", False), ("BF16", b"bf16", False), ("I32", b"i32", False), ("F64", b"f64", False),
    ("Q8_0", b"q8_0", True), ("Q4_K", b"q4_K", True), ("TQ2_0", b"tq2_0", True), ("I2_S", b"i2_s", True)])
def test_types_have_names(type, name, quantized):
    number = getattr(lib, f"GGML_TYPE_{type}")
    assert ffi.string(lib.ggml_type_name(number)) == name
    assert lib.ggml_is_quantized(number) == quantized


def test_types_that_are_none():
    for number in (1000, lib.GGML_TYPE_COUNT):
        assert ffi.string(lib.ggml_type_name(number)) == b"unknown" and not lib.ggml_is_quantized(number)


def test_the_cpu_is_the_one_device():
    lib.ggml_backend_load_all()
    assert lib.ggml_backend_dev_count() == 1
    cpu = lib.ggml_backend_dev_get(0)
    assert cpu == lib.ggml_backend_dev_by_name(b"CPU") == lib.ggml_backend_dev_by_type(lib.GGML_BACKEND_DEVICE_TYPE_CPU) != NULL
    assert lib.ggml_backend_dev_by_name(b"CUDA0") == lib.ggml_backend_dev_by_type(lib.GGML_BACKEND_DEVICE_TYPE_GPU) == NULL
    assert ffi.string(lib.ggml_backend_dev_name(cpu)) == b"CPU"
    assert ffi.string(lib.ggml_backend_dev_description(cpu)) == ffi.string(lib.llama_print_system_info())
    assert lib.ggml_backend_dev_type(cpu) == lib.GGML_BACKEND_DEVICE_TYPE_CPU
    free, total = ffi.new("size_t *"), ffi.new("size_t *")
    lib.ggml_backend_dev_memory(cpu, free, total)
    assert total[0] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE") >= free[0] > 0
    lib.ggml_backend_dev_memory(cpu, NULL, NULL)
    assert last_error()[0] == 0


def test_devices_that_are_none():
    assert lib.ggml_backend_dev_get(1) == NULL and last_error()[0] == ERROR
    for call in (lib.ggml_backend_dev_name, lib.ggml_backend_dev_description):
        assert call(NULL) == NULL and last_error()[0] == ERROR
    lib.ggml_backend_dev_type(ffi.cast("ggml_backend_dev_t", 16))
    assert last_error()[0] == ERROR
    free = ffi.new("size_t *", 7)
    lib.ggml_backend_dev_memory(NULL, free, free)
    assert last_error()[0] == ERROR and free[0] == 7
    assert lib.ggml_backend_dev_by_name(NULL) == NULL


@pytest.mark.parametrize("soname", ["libllama.so", "libllama.so.0"])
def test_program_that_was_linked_with_another_libllama_starts(tmp_path, soname):
    """A stand-in of that name at link time, our library folder at run time: the loader asks for the name alone."""
    (tmp_path / "stub.c").write_text("void llama_backend_init(void) {} long ggml_time_us(void) { return 0; } const char *bitnet_version(void) { return 0; }")
    (tmp_path / "main.c").write_text(
        "#include <stdio.h>\nvoid llama_backend_init(void); long ggml_time_us(void); const char *bitnet_version(void);\n"
        "int main(void) { llama_backend_init(); printf(\"%s %d\", bitnet_version(), ggml_time_us() > 0); return 0; }")
    for command in (["cc", "-shared", "-fPIC", "stub.c", f"-Wl,-soname,{soname}", "-o", soname], ["cc", "main.c", soname, "-o", "main"]):
        subprocess.run(command, cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "main"], env={"LD_LIBRARY_PATH": str(config.lib_dir())}, capture_output=True, text=True, check=True)
    assert done.stdout == f"{config.version()} 1"
