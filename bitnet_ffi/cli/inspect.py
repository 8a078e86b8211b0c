"""`bitnet inspect`: what a model is: its sizes and its metadata. Next: Model.hparams, Model.metadata."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from . import options

WIDTH = 80  # characters of a value; the vocabulary's arrays are megabytes


@click.command()
@click.argument("file", required=False, metavar="[FILE_OR_NAME]")
@options.model
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON, values in full.")
def inspect(file, source, as_json) -> None:
    """Print the sizes and the metadata of a model."""
    with options.open_model(file or source) as model:
        numbers = asdict(model.hparams) | {"path": model.path, "chat_template": model.chat_template() is not None}
        metadata = dict(model.metadata)
    if as_json:
        click.echo(json.dumps({**numbers, "metadata": metadata}, ensure_ascii=False, indent=1))
        return
    for name, value in [*numbers.items(), *metadata.items()]:
        text = " ".join(str(value).split())
        click.echo(f"{click.style(name, bold=True)}: {text if len(text) <= WIDTH else text[:WIDTH - 3] + '...'}")
