"""A moment of fuzz_memory.py, the same calls here and in llama.cpp, where llama-cpp-python has it. Next: fuzz_memory.py."""
import pytest

from peer_tools import peer_or_skip

peer_or_skip()

import fuzz_memory  # noqa: E402


def test_a_moment_of_fuzzing_finds_nothing():
    n, findings = fuzz_memory.fuzz(seconds=6, seed=1)
    assert not findings, "\n".join(findings)
    assert n > 5


@pytest.mark.parametrize("name", ["memory_seq_pos_max", "get_logits_ith", "decode"])
def test_a_wrong_result_is_a_finding(tmp_path, monkeypatch, name):
    """The fuzzer must be able to fail."""
    with fuzz_memory.opened(tmp_path) as both:
        right = getattr(both[0], name)
        wrong = {"memory_seq_pos_max": lambda memory, seq: right(memory, seq) + 1,
                 "get_logits_ith": lambda ctx, i: right(ctx, max(i - 1, 0) if i >= 0 else i),
                 "decode": lambda ctx, batch: 0}[name]
        monkeypatch.setattr(both[0], name, wrong)
        findings = [fuzz_memory.try_run(both, f"wrong/{n}") for n in range(10)]
        assert any(finding and "ours" in finding for finding in findings), findings


def test_a_process_that_ends_is_a_finding(tmp_path, monkeypatch):
    with fuzz_memory.opened(tmp_path) as both:
        monkeypatch.setattr(both[0], "decode", lambda ctx, batch: fuzz_memory.os._exit(3))
        findings = [fuzz_memory.try_run(both, f"dead/{n}") for n in range(10)]
        assert any(finding and "ended the process" in finding for finding in findings)
