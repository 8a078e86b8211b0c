"""`python -m benchmarks.tokenize` on a small vocabulary and text; what it says, not how fast."""
import os
import subprocess
import sys
from pathlib import Path

from vocab_tools import bpe_gguf

ROOT = Path(__file__).parent.parent


def test_report(tmp_path):
    path = bpe_gguf("llama-bpe").write(tmp_path / "v.gguf")
    done = subprocess.run([sys.executable, "-m", "benchmarks.tokenize", path, "--size", "0.02", "--repeats", "2", "--no-peer"], cwd=ROOT,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "loaded in" in done.stdout and done.stdout.count("MB/s (spread") == 2 and done.stdout.count("encode_batch") == 6
