"""`bitnet compat-check` and `bitnet compat-fix`: what a file lacks, and a copy that lacks it no more. Next: repair.py."""

from __future__ import annotations

import json
import signal
import sys
from contextlib import contextmanager
from dataclasses import asdict

import click

from ..errors import BitnetError
from . import options


@click.command("compat-check")
@click.argument("file", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON.")
def compat_check(file, as_json) -> int:
    """List what the library repairs each time it loads FILE.

    Exit code 0: nothing; 1: repairs are needed, which `bitnet compat-fix` makes; 2: the file cannot be read.
    """
    from .. import repair
    try:
        plan = repair.plan(file)
    except (BitnetError, OSError) as error:
        click.secho(f"bitnet: {' '.join(str(error).split())}", fg="red", err=True)
        return 2
    needed = bool(plan.changes) or plan.needs_tokenizer
    if as_json:
        click.echo(json.dumps({"file": file, "repairs_needed": needed, "needs_tokenizer": plan.needs_tokenizer,
                               "repairs": [asdict(change) for change in plan.changes], "notes": plan.notes},
                              ensure_ascii=False, indent=1))
    else:
        _list(plan.changes, plan.notes)
        if needed:
            wanted = " --tokenizer PATH" if plan.needs_tokenizer else ""
            options.note(f"repair it with: bitnet compat-fix {file} OUT{wanted}")
    return 1 if needed else 0


@click.command("compat-fix")
@click.argument("source", metavar="IN")
@click.argument("out", metavar="OUT")
@click.option("--tokenizer", metavar="PATH", help="tokenizer.json, tokenizer.model, a tiktoken rank file, or a folder with one of "
                                                  "them: it takes the place of the file's own.")
@click.option("--force", is_flag=True, help="Replace OUT.")
@click.option("--json", "as_json", is_flag=True, help="The audit as JSON on stdout, too.")
def compat_fix(source, out, tokenizer, force, as_json) -> None:
    """Write OUT, a copy of IN with its metadata repaired, and OUT.compat.json, which says what was changed and why.

    Tensors are copied as they are. IN is never changed.
    """
    from .. import repair
    plan = repair.plan(source, tokenizer)
    bar, update = options.byte_progress(out)
    with bar, _sigterm_unwinds():
        audit = repair.write(plan, out, force=force, progress=update)
    if as_json:
        click.echo(json.dumps(audit, ensure_ascii=False, indent=1))
    else:
        _list(plan.changes, audit["notes"])
        options.note(f"wrote {out} and {out}{repair.AUDIT_SUFFIX}")


def _list(changes, notes) -> None:
    for change in changes:
        what = f"{change.before} -> {change.after}" if change.before is not None and change.after is not None else \
            change.after if change.after is not None else "removed"
        click.echo(f"{click.style(change.key, bold=True)}: {what} ({change.why})")
    for line in notes:
        click.echo(f"note: {line}")


@contextmanager
def _sigterm_unwinds():
    """Being told to end is like Ctrl-C: what is half written goes away."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
