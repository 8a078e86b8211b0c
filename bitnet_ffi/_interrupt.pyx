# cython: language_level=3
"""The abort callback of a context: cancel() from any thread, and Ctrl-C.

A callback written in Python would need the GIL in every layer, and wait for it up to 5 ms each time while another thread
computes. This one reads a flag; only in the main thread, and at most every 20 ms, does it take the GIL to let Python's
signal handlers run. Next: context.py, which hands `function` and `data` to llama_set_abort_callback.
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uintptr_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

import threading

cdef extern from "<time.h>":  # posix.time includes <sys/time.h> alone; Python.h of 3.13 no longer brings the rest
    pass

cdef extern from "<stdbool.h>" nogil:
    ctypedef bint bool

cdef enum:
    LOOK_EVERY_NS = 20_000_000

cdef struct watch_state:
    void *owner                # the Interrupt, borrowed: it outlives the context that reads this
    volatile int cancelled
    int in_main_thread
    int64_t next_look_ns


cdef int64_t now_ns() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <int64_t>t.tv_sec * 1_000_000_000 + t.tv_nsec


cdef bool should_stop(void *data) noexcept nogil:
    cdef watch_state *watch = <watch_state *>data
    cdef int64_t now
    if watch.cancelled:
        return True
    if not watch.in_main_thread:
        return False
    now = now_ns()
    if now < watch.next_look_ns:
        return False
    watch.next_look_ns = now + LOOK_EVERY_NS
    with gil:
        return (<Interrupt>watch.owner).run_signal_handlers()


cdef class Interrupt:
    """What can stop one context's decode. One decode at a time; cancel() from any thread."""

    cdef watch_state watch
    cdef object raised

    def __cinit__(self):
        self.watch.owner = <void *>self
        self.watch.cancelled = 0
        self.watch.in_main_thread = 0
        self.watch.next_look_ns = 0
        self.raised = None

    cdef bint run_signal_handlers(self):
        try:
            PyErr_CheckSignals()
        except BaseException as error:  # KeyboardInterrupt, or whatever the program's handler raises: kept for finish()
            self.raised = error
            return True
        return False

    @property
    def function(self):
        """Address of the callback, bool (*)(void *)."""
        return <uintptr_t>&should_stop

    @property
    def data(self):
        """Address of its argument, valid as long as this object."""
        return <uintptr_t>&self.watch

    @property
    def cancelled(self):
        return self.watch.cancelled != 0

    def cancel(self):
        """Stop the decode that runs, or the next one. Any thread."""
        self.watch.cancelled = 1

    def clear(self):
        """Forget a cancel() that no decode has met."""
        self.watch.cancelled = 0

    def begin(self):
        """Before a decode, in the thread that calls it."""
        self.raised = None
        self.watch.in_main_thread = threading.current_thread() is threading.main_thread()
        self.watch.next_look_ns = now_ns() + LOOK_EVERY_NS

    def finish(self):
        """After a decode: raise what a signal handler raised during it; else return."""
        error, self.raised = self.raised, None
        if error is not None:
            raise error
