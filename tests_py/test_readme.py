"""CI runs what the README tells a new user to run."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_ci_runs_the_test_command_of_the_readme():
    command, = [line for line in (ROOT / "README.md").read_text().splitlines() if line.endswith(".venv/bin/pytest")]
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()
