"""`bitnet tokenize`: the tokens of a text. Loads the vocabulary only. Next: Model.tokenize."""

from __future__ import annotations

import json
import sys

import click

from . import options


@click.command()
@click.argument("text", required=False)
@options.model
@click.option("--no-special", is_flag=True, help="Do not add BOS or EOS, even where the vocabulary asks for it.")
@click.option("--parse-special", is_flag=True, help="Read <|...|> names in the text as control tokens.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list of ids.")
def tokenize(text, source, no_special, parse_special, as_json) -> None:
    """Print id and text of each token of TEXT (or of stdin), one a line."""
    if text is None:
        if sys.stdin.isatty():
            raise click.UsageError("no text: give it as an argument or on stdin")
        text = sys.stdin.read()
    with options.open_model(source, vocab_only=True) as model:
        tokens = model.tokenize(text, add_special=not no_special, parse_special=parse_special)
        if as_json:
            click.echo(json.dumps(tokens))
            return
        for token in tokens:
            piece = model.token_to_piece(token).decode("utf-8", "backslashreplace")
            click.echo(f"{token:>8}  {piece!r}")
