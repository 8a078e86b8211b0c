"""`bitnet models`: list, fetch, locate and remove the named models. Next: registry.py."""

from __future__ import annotations

import click

from .. import registry
from . import options


@click.group(invoke_without_command=True)
@click.pass_context
def models(ctx) -> None:
    """Models by name: list them (default), pull, path, remove."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_models)


@models.command("list")
def list_models() -> None:
    """Names, what they are, and where they are kept."""
    for model in registry.MODELS:
        where = str(registry.cached_path(model)) if registry.is_cached(model) else f"not fetched ({model.source})"
        click.secho(model.name, bold=True)
        click.echo(f"  {model.about}\n  {where}\n  also: {', '.join(model.aliases)}")


@models.command()
@click.argument("name")
def pull(name: str) -> None:
    """Fetch a model, verify it, and print where it is."""
    bar, update = options.byte_progress(name)
    with bar:
        path = registry.pull(name, progress=update, note=lambda line: (bar.clear(), options.note(line)))
    click.echo(path)


@models.command()
@click.argument("name")
def path(name: str) -> None:
    """Print the file of a fetched model."""
    click.echo(registry.fetched_path(name))


@models.command()
@click.argument("name")
def remove(name: str) -> None:
    """Delete the file of a fetched model."""
    removed = registry.remove(name)
    options.note(f"{name} was not there" if removed is None else f"removed {removed}")
