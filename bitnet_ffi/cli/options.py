"""Flags that several commands share, and how a command gets its model.

A flag wins over its BITNET_* variable, a variable over the default. Next: run.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import click
from tqdm import tqdm

from .. import registry

INTERFACE_VERSION = "1.0.0"  # of the flags and exit codes; its first number changes when a script could break

model = click.option(
    "-m", "--model", "source", envvar="BITNET_GGUF", metavar="FILE_OR_NAME", show_envvar=True,
    help="GGUF file, or a name that `bitnet models` lists (fetched on first use).")

tokenizer = click.option(
    "--tokenizer", metavar="PATH", help="tokenizer.json, tokenizer.model, a tiktoken rank file, or a folder with one of them, "
                                        "instead of the model's own tokenizer.")


def strict(command):
    """Adds --strict."""
    def set_mode(ctx, _parameter, wanted):
        if wanted and os.environ.get("BITNET_STRICT_MODE") != "1":
            before = os.environ.copy()
            os.environ["BITNET_STRICT_MODE"] = "1"
            ctx.call_on_close(lambda: os.environ.pop("BITNET_STRICT_MODE") if "BITNET_STRICT_MODE" not in before else
                              os.environ.update(BITNET_STRICT_MODE=before["BITNET_STRICT_MODE"]))
    return click.option("--strict", is_flag=True, is_eager=True, expose_value=False, callback=set_mode,
                        help="Refuse a model that must be repaired while loading, as BITNET_STRICT_MODE=1 does.")(command)


def interface_version(command):
    """Adds --interface-version."""
    def show(ctx, _parameter, wanted):
        if wanted and not ctx.resilient_parsing:
            click.echo(INTERFACE_VERSION)
            ctx.exit()
    return click.option("--interface-version", is_flag=True, is_eager=True, expose_value=False, callback=show,
                        help="Print the version of this command line's flags and exit.")(command)


def note(line: str) -> None:
    """One line for the user, beside the result."""
    click.secho(line, dim=True, err=True)


def byte_progress(label: str) -> tuple[tqdm, Callable[[int, int | None], None]]:
    """A bar in bytes and the callback that moves it; it draws on a terminal only, and not within the first second."""
    bar = tqdm(desc=label, unit="B", unit_scale=True, disable=None, delay=1, leave=False, file=sys.stderr)

    def update(done: int, total: int | None) -> None:
        bar.total = total
        bar.update(done - bar.n)
    return bar, update


def model_path(source: str | None) -> str:
    """The file that -m means; a named model is fetched with a bar."""
    if source is None:
        raise click.UsageError("no model: pass -m FILE or -m NAME (`bitnet models` lists the names), or set BITNET_GGUF")
    bar, update = byte_progress(source)
    with bar:
        return registry.resolve(source, progress=update, note=lambda line: (bar.clear(), note(line)))


def open_model(source: str | None, **options):
    """The model that -m means, with a bar when loading takes longer than a second."""
    from ..model import Model  # loads the library: not for --help
    path = model_path(source)
    with tqdm(desc="loading", total=1.0, disable=None, delay=1, leave=False, file=sys.stderr,
              bar_format="{desc}: {percentage:3.0f}%|{bar}|") as bar:
        return Model(path, progress=lambda fraction: bar.update(fraction - bar.n) is not False, **options)


def open_tokenizer(source: str | None, tokenizer: str | None):
    """The vocabulary of the model that -m means, or of --tokenizer, which needs no model."""
    if source is None and tokenizer is not None:
        from ..repair import standalone_vocabulary
        return standalone_vocabulary(tokenizer)
    return open_model(source, vocab_only=True, tokenizer=tokenizer)
