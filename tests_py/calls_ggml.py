"""Checks of the header's "From ggml": the clock, names of types, the one device and its backend, kept thread pools, ggml_abort."""
import os
import resource
import signal
import time

from calls import INT_MAX, INT_MIN, NULL, REAL, Room, SIZE_MAX, ffi, folder

room = Room()


room.does_nothing("ggml_time_init", ())


@room.use("ggml_time_us", "ggml_time_ms")
def _(api, w):
    for call, unit in ((api.ggml_time_us, 1000), (api.ggml_time_ms, 1_000_000)):
        begin = call()
        assert abs(begin * unit - time.monotonic_ns()) < 1_000_000_000
        while call() == begin:
            pass


room.gives("ggml_type_name", (REAL.GGML_TYPE_Q8_0,), b"q8_0")
room.answers("ggml_type_name", (1000,), b"unknown")
room.gives("ggml_is_quantized", (REAL.GGML_TYPE_Q8_0,), True)
room.answers("ggml_is_quantized", (1000,), False)


# ---- the one device, its backend, its memory ----

def reg():
    return REAL.ggml_backend_reg_get(0)


def memory():
    return REAL.ggml_backend_cpu_buffer_type()


CPU = REAL.GGML_BACKEND_DEVICE_TYPE_CPU
room.gives("ggml_backend_dev_count ggml_backend_reg_count", (), 1)
room.gives("ggml_backend_dev_get", (0,), lambda w: REAL.ggml_backend_dev_by_type(CPU))
room.gives("ggml_backend_dev_by_name", (b"CPU",), lambda w: w.cpu)
room.gives("ggml_backend_dev_by_type", (CPU,), lambda w: w.cpu)
room.gives("ggml_backend_dev_name", lambda w: (w.cpu,), b"CPU")
room.gives("ggml_backend_dev_type", lambda w: (w.cpu,), CPU)
room.gives("ggml_backend_dev_backend_reg", lambda w: (w.cpu,), lambda w: reg())
room.gives("ggml_backend_dev_buffer_type", lambda w: (w.cpu,), lambda w: memory())
room.gives("ggml_backend_reg_get", (0,), lambda w: REAL.ggml_backend_dev_backend_reg(w.cpu))
room.gives("ggml_backend_reg_by_name", (b"cpu",), lambda w: reg())
room.gives("ggml_backend_reg_name", lambda w: (reg(),), b"CPU")
room.gives("ggml_backend_reg_dev_count", lambda w: (reg(),), 1)
room.gives("ggml_backend_reg_dev_get", lambda w: (reg(), 0), lambda w: w.cpu)
room.gives("ggml_backend_cpu_buffer_type", (), lambda w: REAL.ggml_backend_dev_buffer_type(w.cpu))
room.gives("ggml_backend_buft_name", lambda w: (memory(),), b"CPU")
room.gives("ggml_backend_buft_is_host", lambda w: (memory(),), True)
room.gives("ggml_backend_buft_get_device", lambda w: (memory(),), lambda w: w.cpu)
room.does_nothing("ggml_backend_load_all", ())
room.does_nothing("ggml_backend_load_all_from_path", (b"/no/such/folder",))
room.answers("ggml_backend_load_all_from_path", (NULL,), None)


@room.use("ggml_backend_dev_description", "ggml_backend_dev_memory", "ggml_backend_dev_get_props")
def _(api, w):
    free, total, props = ffi.new("size_t *"), ffi.new("size_t *"), ffi.new("struct ggml_backend_dev_props *")
    api.ggml_backend_dev_memory(w.cpu, free, total)
    assert total[0] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE") >= free[0] > 0
    api.ggml_backend_dev_get_props(w.cpu, props)
    assert (props.memory_total, props.type, ffi.string(props.name)) == (total[0], CPU, b"CPU")
    assert ffi.string(api.ggml_backend_dev_description(w.cpu)) == ffi.string(props.description) != b""


@room.use("ggml_backend_reg_get_proc_address")
def _(api, w):
    found = api.ggml_backend_reg_get_proc_address(reg(), b"ggml_threadpool_new")
    assert found == ffi.cast("void *", ffi.addressof(REAL, "ggml_threadpool_new")) != NULL


DEVICE, REG, MEMORY = (ffi.cast(f"ggml_backend_{kind}_t", 16) for kind in ("dev", "reg", "buffer_type"))
for handle, what, calls in (
        (DEVICE, "not a device", [("dev_name", (), None), ("dev_description", (), None), ("dev_type", (), 0),
                                  ("dev_memory", (NULL, NULL), None),
                                  ("dev_get_props", (ffi.new("struct ggml_backend_dev_props *"),), None), ("dev_backend_reg", (), NULL),
                                  ("dev_buffer_type", (), NULL)]),
        (REG, "not a backend", [("reg_name", (), None), ("reg_dev_count", (), 0), ("reg_dev_get", (0,), NULL),
                                ("reg_get_proc_address", (b"x",), NULL)]),
        (MEMORY, "not a kind of memory", [("buft_name", (), None), ("buft_is_host", (), False), ("buft_get_device", (), NULL)])):
    for name, more, result in calls:
        for none in (handle, NULL):
            room.refuses(f"ggml_backend_{name}", (none, *more), result, what)
room.refuses("ggml_backend_dev_get", (SIZE_MAX,), NULL, "there is one device, 0")
room.refuses("ggml_backend_reg_get", (1,), NULL, "there is one backend, 0")
room.refuses("ggml_backend_reg_dev_get", lambda w: (reg(), SIZE_MAX), NULL, "there is one device, 0")
room.refuses("ggml_backend_dev_get_props", lambda w: (w.cpu, NULL), None, "props is NULL")
# Not found is an answer, not an error: ggml has no other way to ask.
for name in (NULL, b"", b"CUDA0"):
    room.answers("ggml_backend_dev_by_name ggml_backend_reg_by_name", (name,), NULL)
    room.answers("ggml_backend_reg_get_proc_address", lambda w, name=name: (reg(), name), NULL)
room.answers("ggml_backend_dev_by_type", (1000,), NULL)
OTHERS = "nothing to add or take away"
room.absent("ggml_backend_load", (b"libggml-cuda.so",), NULL, OTHERS)
room.refuses("ggml_backend_load", (NULL,), NULL, OTHERS)
room.absent("ggml_backend_unload ggml_backend_register", lambda w: (reg(),), None, OTHERS)
room.refuses("ggml_backend_unload ggml_backend_register", lambda w: (REG,), None, OTHERS)
room.absent("ggml_backend_device_register", lambda w: (w.cpu,), None, OTHERS)


# ---- thread pools ----

def params(n, prio=0):
    made = ffi.new("struct ggml_threadpool_params *", REAL.ggml_threadpool_params_default(n))
    ffi.cast("int *", ffi.addressof(made, "prio"))[0] = prio
    return made


@room.use("ggml_threadpool_params_default", "ggml_threadpool_params_init", "ggml_threadpool_params_match")
def _(api, w):
    made, other = api.ggml_threadpool_params_default(5), params(6)
    assert (made.n_threads, made.prio, made.poll) == (5, REAL.GGML_SCHED_PRIO_NORMAL, 50)
    same = ffi.new("struct ggml_threadpool_params *", made)
    assert not api.ggml_threadpool_params_match(same, other)
    api.ggml_threadpool_params_init(other, 5)
    assert api.ggml_threadpool_params_match(same, other)


@room.use("ggml_threadpool_new", "ggml_threadpool_free", "ggml_threadpool_get_n_threads")
def _(api, w):
    pool = api.ggml_threadpool_new(params(3))
    assert api.ggml_threadpool_get_n_threads(pool) == 3
    api.ggml_threadpool_free(pool)
    assert REAL.ggml_threadpool_get_n_threads(pool) == 0
    api.ggml_threadpool_free(NULL)


room.does_nothing("ggml_threadpool_pause ggml_threadpool_resume", lambda w: (pool(),))


def pool():
    return ffi.gc(REAL.ggml_threadpool_new(params(1)), REAL.ggml_threadpool_free)


for n in (0, -1, 513, INT_MAX, INT_MIN):
    room.refuses("ggml_threadpool_new", lambda w, n=n: (params(n),), NULL, f"n_threads is {n}, expected 1 to 512")
    room.behaves("ggml_threadpool_params_default", lambda api, w, n=n: api.ggml_threadpool_params_default(n).n_threads == n or 1 / 0)
room.refuses("ggml_threadpool_new", (NULL,), NULL, "params is NULL")
for prio in (-2, 4, INT_MAX):
    room.refuses("ggml_threadpool_new", lambda w, prio=prio: (params(1, prio),), NULL, f"prio is {prio}, expected -1 (low) to 3 (realtime)")
room.refuses("ggml_threadpool_params_init", (NULL, 3), None, "p is NULL")
room.refuses("ggml_threadpool_params_match", lambda w: (NULL, params(1)), False, "p0 is NULL")
room.refuses("ggml_threadpool_params_match", lambda w: (params(1), NULL), False, "p1 is NULL")
for name, result in (("get_n_threads", 0), ("pause", None), ("resume", None), ("free", None)):
    for none in (ffi.cast("ggml_threadpool_t", 16), NULL):
        if name != "free" or none != NULL:
            room.refuses(f"ggml_threadpool_{name}", (none,), result, "not a pool")


# ---- the end ----

def ends(call) -> tuple[int, bytes]:
    """The signal that ended a child process which made the call, 0 for none, and what it wrote to stderr."""
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.dup2(os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            signal.signal(signal.SIGABRT, signal.SIG_DFL)     # pytest's faulthandler
            call()
        finally:
            os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1]), (folder / "stderr").read_bytes()


@room.use("ggml_abort")
def _(api, w):
    @ffi.callback("ggml_log_callback")
    def log(level, text, user_data):
        os.write(2, b"%d " % level + ffi.string(text))

    def abort():
        REAL.llama_log_set(log, NULL)
        api.ggml_abort(b"file.c", 7, b"%s %d", ffi.new("char[]", b"no"), ffi.cast("int", 9))

    assert ends(abort) == (signal.SIGABRT, b"%d file.c:7: no 9\n" % REAL.GGML_LOG_LEVEL_ERROR)


room.behaves("ggml_abort", lambda api, w: ends(lambda: api.ggml_abort(NULL, INT_MIN, NULL))[0] == signal.SIGABRT or 1 / 0)


@room.use("ggml_set_abort_callback")
def _(api, w):
    callback = ffi.callback("void(char const *)", lambda text: os.write(2, b"said " + ffi.string(text)))
    before = api.ggml_set_abort_callback(callback)
    try:
        assert b"said file.c:7: no" in ends(lambda: REAL.ggml_abort(b"file.c", 7, b"no"))[1]
    finally:
        assert api.ggml_set_abort_callback(before) == callback
