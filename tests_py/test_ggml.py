"""The few functions of ggml that programs of llama.h call beside it."""
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bitnet_ffi import config
from bitnet_ffi._ffi import ffi, lib
from engine_abi import ERROR, forget_error, last_error

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


def name_of_the_cpu():
    """As /proc/cpuinfo has it; machines without a name there are called CPU."""
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), flags=re.M)
    return found[1].strip() if found else "CPU"


def test_the_cpu_is_the_one_device():
    lib.ggml_backend_load_all()
    assert lib.ggml_backend_dev_count() == 1
    cpu = lib.ggml_backend_dev_get(0)
    assert cpu == lib.ggml_backend_dev_by_name(b"cpu") == lib.ggml_backend_dev_by_type(lib.GGML_BACKEND_DEVICE_TYPE_CPU) != NULL
    assert lib.ggml_backend_dev_by_name(b"CUDA0") == lib.ggml_backend_dev_by_type(lib.GGML_BACKEND_DEVICE_TYPE_GPU) == NULL
    assert ffi.string(lib.ggml_backend_dev_name(cpu)) == b"CPU"
    assert ffi.string(lib.ggml_backend_dev_description(cpu)).decode() == name_of_the_cpu()
    assert lib.ggml_backend_dev_type(cpu) == lib.GGML_BACKEND_DEVICE_TYPE_CPU
    free, total = ffi.new("size_t *"), ffi.new("size_t *")
    lib.ggml_backend_dev_memory(cpu, free, total)
    assert total[0] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE") >= free[0] > 0
    lib.ggml_backend_dev_memory(cpu, NULL, NULL)
    assert last_error()[0] == 0


def test_properties_are_what_is_asked_one_by_one():
    cpu, props = lib.ggml_backend_dev_get(0), ffi.new("struct ggml_backend_dev_props *")
    lib.ggml_backend_dev_get_props(cpu, props)
    assert last_error()[0] == 0
    assert (ffi.string(props.name), ffi.string(props.description).decode()) == (b"CPU", name_of_the_cpu())
    assert props.type == lib.ggml_backend_dev_type(cpu)
    assert props.memory_total >= props.memory_free > 0 and props.device_id == NULL
    assert props.caps.mmap_support and not getattr(props.caps, "async") and not props.caps.events


def test_the_registry_has_one_backend_with_the_one_device():
    assert lib.ggml_backend_reg_count() == 1
    reg = lib.ggml_backend_reg_get(0)
    assert reg == lib.ggml_backend_reg_by_name(b"CPU") == lib.ggml_backend_reg_by_name(b"cpu") != NULL
    assert reg == lib.ggml_backend_dev_backend_reg(lib.ggml_backend_dev_get(0))
    assert ffi.string(lib.ggml_backend_reg_name(reg)) == b"CPU"
    assert lib.ggml_backend_reg_dev_count(reg) == 1
    assert lib.ggml_backend_reg_dev_get(reg, 0) == lib.ggml_backend_dev_get(0)
    assert last_error()[0] == 0


def test_functions_of_the_backend_are_found_by_name():
    """A program that finds them so need not link them."""
    reg = lib.ggml_backend_reg_get(0)
    new = ffi.cast("struct ggml_threadpool *(*)(struct ggml_threadpool_params *)",
                   lib.ggml_backend_reg_get_proc_address(reg, b"ggml_threadpool_new"))
    free = ffi.cast("void (*)(struct ggml_threadpool *)", lib.ggml_backend_reg_get_proc_address(reg, b"ggml_threadpool_free"))
    pool = new(ffi.new("struct ggml_threadpool_params *", lib.ggml_threadpool_params_default(3)))
    assert lib.ggml_threadpool_get_n_threads(pool) == 3
    free(pool)
    assert last_error()[0] == 0
    assert lib.ggml_backend_reg_get_proc_address(reg, b"ggml_backend_rpc_add_server") == NULL
    assert lib.ggml_backend_reg_get_proc_address(reg, NULL) == NULL and last_error()[0] == 0


def test_handles_that_are_none():
    """Each says so, and does not look at what the handle points to."""
    wrong = 16
    assert lib.ggml_backend_dev_get(1) == NULL and last_error()[0] == ERROR
    assert lib.ggml_backend_reg_get(1) == NULL and last_error()[0] == ERROR
    assert lib.ggml_backend_reg_dev_get(lib.ggml_backend_reg_get(0), 1) == NULL and last_error()[0] == ERROR
    for kind, calls in {
            "dev": [lib.ggml_backend_dev_name, lib.ggml_backend_dev_description, lib.ggml_backend_dev_backend_reg,
                    lib.ggml_backend_dev_buffer_type],
            "reg": [lib.ggml_backend_reg_name, lambda reg: lib.ggml_backend_reg_dev_get(reg, 0),
                    lambda reg: lib.ggml_backend_reg_get_proc_address(reg, b"x")],
            "buffer_type": [lib.ggml_backend_buft_name, lib.ggml_backend_buft_get_device]}.items():
        for call in calls:
            for handle in (NULL, ffi.cast(f"ggml_backend_{kind}_t", wrong)):
                forget_error()
                assert call(handle) == NULL and last_error()[0] == ERROR
    for call, handle in ((lib.ggml_backend_reg_dev_count, "reg"), (lib.ggml_backend_buft_is_host, "buffer_type"),
                         (lib.ggml_backend_dev_type, "dev")):
        forget_error()
        assert call(ffi.cast(f"ggml_backend_{handle}_t", wrong)) == 0 and last_error()[0] == ERROR
    free = ffi.new("size_t *", 7)
    lib.ggml_backend_dev_memory(NULL, free, free)
    assert last_error()[0] == ERROR and free[0] == 7
    props = ffi.new("struct ggml_backend_dev_props *", {"memory_free": 7})
    lib.ggml_backend_dev_get_props(NULL, props)
    assert last_error()[0] == ERROR and props.memory_free == 7
    forget_error()
    lib.ggml_backend_dev_get_props(lib.ggml_backend_dev_get(0), NULL)
    assert last_error()[0] == ERROR
    assert lib.ggml_backend_dev_by_name(NULL) == lib.ggml_backend_reg_by_name(NULL) == NULL


def test_backends_of_others_are_refused():
    reg, device = lib.ggml_backend_reg_get(0), lib.ggml_backend_dev_get(0)
    for call, arguments in ((lib.ggml_backend_load, (b"libggml-cuda.so",)), (lib.ggml_backend_unload, (reg,)),
                            (lib.ggml_backend_register, (reg,)),
                            (lib.ggml_backend_device_register, (device,))):
        forget_error()
        assert call(*arguments) in (None, NULL) and last_error()[0] == ERROR
    for call, arguments in ((lib.ggml_backend_load_all, ()), (lib.ggml_backend_load_all_from_path, (b"/no/such/folder",))):
        call(*arguments)
        assert last_error()[0] == 0
    assert lib.ggml_backend_reg_count() == lib.ggml_backend_dev_count() == 1


def test_memory_of_the_cpu():
    memory = lib.ggml_backend_cpu_buffer_type()
    assert memory == lib.ggml_backend_dev_buffer_type(lib.ggml_backend_dev_get(0)) != NULL
    assert ffi.string(lib.ggml_backend_buft_name(memory)) == b"CPU" and lib.ggml_backend_buft_is_host(memory)
    assert lib.ggml_backend_buft_get_device(memory) == lib.ggml_backend_dev_get(0)


def test_parameters_of_thread_pools_are_those_of_ggml():
    params = lib.ggml_threadpool_params_default(5)
    assert (params.n_threads, params.prio, params.poll, params.strict_cpu, params.paused) == (5, lib.GGML_SCHED_PRIO_NORMAL, 50, False, False)
    assert not any(params.cpumask) and len(params.cpumask) == lib.GGML_MAX_N_THREADS == 512
    assert ffi.sizeof(params) == 528 and ffi.offsetof("struct ggml_threadpool_params", "paused") == 525     # ggml.h's
    other = ffi.new("struct ggml_threadpool_params *")
    lib.ggml_threadpool_params_init(other, 5)
    same = ffi.new("struct ggml_threadpool_params *", params)
    assert lib.ggml_threadpool_params_match(same, other)
    other.paused = True
    assert lib.ggml_threadpool_params_match(same, other)       # how it begins, not what it is
    for field, value in (("n_threads", 6), ("prio", lib.GGML_SCHED_PRIO_HIGH), ("poll", 0), ("strict_cpu", True)):
        before = getattr(other, field)
        setattr(other, field, value)
        assert not lib.ggml_threadpool_params_match(same, other)
        setattr(other, field, before)
    other.cpumask[511] = True
    assert not lib.ggml_threadpool_params_match(other, same) and last_error()[0] == 0


def test_thread_pools_hold_their_parameters():
    pools = [lib.ggml_threadpool_new(ffi.new("struct ggml_threadpool_params *", lib.ggml_threadpool_params_default(n))) for n in (1, 2, 512)]
    for pool in pools:
        lib.ggml_threadpool_pause(pool)
        lib.ggml_threadpool_resume(pool)
    assert [lib.ggml_threadpool_get_n_threads(pool) for pool in pools] == [1, 2, 512] and last_error()[0] == 0
    lib.ggml_threadpool_free(pools.pop(1))
    lib.ggml_threadpool_free(NULL)
    assert [lib.ggml_threadpool_get_n_threads(pool) for pool in pools] == [1, 512]
    for pool in pools:
        lib.ggml_threadpool_free(pool)
    assert last_error()[0] == 0


def test_thread_pools_that_are_none():
    params = ffi.new("struct ggml_threadpool_params *", lib.ggml_threadpool_params_default(1))
    gone = lib.ggml_threadpool_new(params)
    lib.ggml_threadpool_free(gone)
    for pool in (gone, NULL, ffi.cast("struct ggml_threadpool *", 16)):
        forget_error()
        assert lib.ggml_threadpool_get_n_threads(pool) == 0 and last_error()[0] == ERROR
        for call in (lib.ggml_threadpool_pause, lib.ggml_threadpool_resume):
            forget_error()
            call(pool)
            assert last_error()[0] == ERROR
    lib.ggml_threadpool_free(ffi.cast("struct ggml_threadpool *", 16))
    assert last_error()[0] == ERROR
    for n in (0, -1, 513):
        params.n_threads = n
        assert lib.ggml_threadpool_new(params) == NULL and f"n_threads is {n}" in last_error()[1]
    assert lib.ggml_threadpool_new(NULL) == NULL and last_error()[0] == ERROR
    forget_error()
    assert not lib.ggml_threadpool_params_match(params, NULL) and last_error()[0] == ERROR
    forget_error()
    lib.ggml_threadpool_params_init(NULL, 1)
    assert last_error()[0] == ERROR


ABORTS = """
import os, sys
from bitnet_ffi._ffi import ffi, lib
@ffi.callback("ggml_abort_callback_t")
def say(message):
    os.write(1, b"heard " + ffi.string(message))
lib.llama_log_set(ffi.NULL, ffi.NULL)
assert lib.ggml_set_abort_callback(say) == ffi.NULL
if sys.argv[1] != "callback":
    assert lib.ggml_set_abort_callback(ffi.NULL) == say
lib.ggml_abort(b"model.c", 12, b"%d of %s", ffi.cast("int", 3), ffi.new("char[]", b"x" * int(sys.argv[2])))
"""


@pytest.mark.parametrize("n", [1, 5000])
@pytest.mark.parametrize("who", ["callback", "log", "quiet"])
def test_abort_says_the_message_and_ends_the_process(who, n):
    """To the callback, or to the log where there is none, which nobody may read; a message that is too long is cut."""
    env = {"PYTHONPATH": str(config.PACKAGE.parent), "BITNET_LOG": "error" if who == "log" else ""}
    done = subprocess.run([sys.executable, "-c", ABORTS, who, str(n)], capture_output=True, text=True, env=env)
    message = "model.c:12: 3 of " + "x" * n
    logged = message + "\n" if n == 1 else message[:2043] + "...\n"
    assert done.returncode == -signal.SIGABRT
    assert (done.stdout, done.stderr) == {"callback": ("heard " + message[:2047], ""), "log": ("", logged), "quiet": ("", "")}[who]


def test_checks_of_a_program_abort_by_it(tmp_path):
    """GGML_ASSERT and GGML_ABORT of the header, in C."""
    source = ('#include <bitnet_ffi.h>\nint main(int n, char **v)\n'
              '{ (void)v; GGML_ASSERT(n > 0); if (n == 3) GGML_ABORT("%d", n); GGML_ASSERT(n == 1); return 0; }\n')
    command = ["cc", "-Wall", "-Wextra", "-pedantic", "-Werror", "-x", "c", "-", "-o", tmp_path / "main", *config.cflags(), *config.libs()]
    subprocess.run(list(map(str, command)), input=source, text=True, check=True)
    said = [subprocess.run([tmp_path / "main", *["x"] * n], capture_output=True, text=True, env={"BITNET_LOG": "error"}) for n in range(3)]
    assert [done.returncode for done in said] == [0, -signal.SIGABRT, -signal.SIGABRT]
    assert said[1].stderr == "<stdin>:3: GGML_ASSERT(n == 1) failed\n" and said[2].stderr == "<stdin>:3: 3\n"


@pytest.mark.parametrize("soname", ["libllama.so", "libllama.so.0"])
def test_program_that_was_linked_with_another_libllama_starts(tmp_path, soname):
    """A stand-in of that name at link time, our library folder at run time: the loader asks for the name alone."""
    functions = "void llama_backend_init(void) {} long ggml_time_us(void) { return 0; } const char *bitnet_version(void) { return 0; }"
    (tmp_path / "other.c").write_text(functions)
    (tmp_path / "main.c").write_text(
        "#include <stdio.h>\nvoid llama_backend_init(void); long ggml_time_us(void); const char *bitnet_version(void);\n"
        "int main(void) { llama_backend_init(); printf(\"%s %d\", bitnet_version(), ggml_time_us() > 0); return 0; }")
    for command in (["cc", "-shared", "-fPIC", "other.c", f"-Wl,-soname,{soname}", "-o", soname], ["cc", "main.c", soname, "-o", "main"]):
        subprocess.run(command, cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "main"], env={"LD_LIBRARY_PATH": str(config.lib_dir())}, capture_output=True, text=True, check=True)
    assert done.stdout == f"{config.version()} 1"
