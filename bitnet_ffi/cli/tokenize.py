"""`bitnet tokenize`: the tokens of a text, of a file or of stdin, of any size. Loads the vocabulary only.

A long text is read in blocks and tokenized in parts that end where the tokens are sure (Model.encode_stream), so memory
does not grow with it, except where a text has no space between two letters.
Next: Model.encode.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import nullcontext

import click

from . import options

BLOCK = 1 << 20  # bytes read at once
COLOURS = ("blue", "green", "magenta", "cyan", "yellow")  # of tokens beside each other


@click.command()
@click.argument("text", required=False)
@options.model
@options.tokenizer
@options.strict
@click.option("-f", "--file", "path", type=click.Path(exists=True, dir_okay=False), metavar="FILE",
              help="Read the text from FILE; it need not be UTF-8.")
@click.option("--no-special", is_flag=True, help="Do not add BOS or EOS, even where the vocabulary asks for it.")
@click.option("--parse-special", is_flag=True, help="Read <|...|> names in the text as control tokens.")
@click.option("--ids", "form", flag_value="ids", help="Ids alone, one a line.")
@click.option("--pieces", "form", flag_value="pieces", help="The text with its tokens apart: in colours on a terminal, else one a line.")
@click.option("--count", "form", flag_value="count", help="The number of tokens alone.")
@click.option("--json", "form", flag_value="json", help="A JSON list of ids; with --offsets, a list of [id, begin, end].")
@click.option("--offsets", is_flag=True, help="Also where each token stands in the text, in bytes.")
def tokenize(text, source, tokenizer, path, no_special, parse_special, form, offsets) -> None:
    """Print id and text of each token of TEXT (or of --file, or of stdin), one a line.

    \b
    bitnet tokenize -m smollm2 "Hello world"
    bitnet tokenize -m smollm2 --count < README.md
    bitnet tokenize --tokenizer tokenizer.json --offsets "Hello world"
    """
    if text is not None and path is not None:
        raise click.UsageError("the text was given twice, as an argument and with --file")
    if offsets and form in ("ids", "pieces", "count"):
        raise click.UsageError(f"--offsets has no place in --{form}; use it alone or with --json")
    if text is None and path is None and sys.stdin.isatty():
        raise click.UsageError("no text: give it as an argument, with --file, or on stdin")
    with options.open_tokenizer(source, tokenizer) as model:
        parts = model.encode_stream(_blocks(text, path), add_special=not no_special, parse_special=parse_special,
                                    return_offsets=True)
        if form == "count":
            click.echo(sum(len(ids) for ids, _ in parts))
        elif form == "json":
            _write_json(parts, offsets)
        else:
            _write_lines(model, parts, form, offsets)


def _blocks(text: str | None, path: str | None) -> Iterator[str | bytes]:
    if text is not None:
        yield text.encode("utf-8", "surrogateescape")  # an argument that is not UTF-8 keeps its bytes
        return
    with nullcontext(sys.stdin.buffer) if path is None else open(path, "rb") as stream:
        while block := stream.read(BLOCK):
            yield block


def _write_json(parts, offsets: bool) -> None:
    """One list, written as the parts come."""
    before = "["
    for ids, ranges in parts:
        items = ids.tolist()
        if offsets:
            items = [[token, *place] for token, place in zip(items, ranges.tolist(), strict=True)]
        if items:
            sys.stdout.write(before + json.dumps(items)[1:-1])
            before = ", "
    sys.stdout.write("]\n" if before == ", " else "[]\n")


def _write_lines(model, parts, form: str | None, offsets: bool) -> None:
    coloured = form == "pieces" and sys.stdout.isatty()
    shown: dict[int, str] = {}  # tokens repeat
    n = 0
    for ids, ranges in parts:
        for token, (begin, end) in zip(ids.tolist(), ranges.tolist(), strict=True):
            if form == "ids":
                sys.stdout.write(f"{token}\n")
                continue
            if token not in shown:
                shown[token] = model.token_to_piece(token).decode("utf-8", "backslashreplace")
            if coloured:
                sys.stdout.write(click.style(shown[token], fg=COLOURS[n % len(COLOURS)], underline=not shown[token].strip()))
            elif form == "pieces":
                sys.stdout.write(f"{shown[token]!r}\n")
            else:
                place = f"{begin:>10} {end:>10}" if offsets else ""
                sys.stdout.write(f"{token:>8}{place}  {shown[token]!r}\n")
            n += 1
    if coloured:
        sys.stdout.write("\n")
