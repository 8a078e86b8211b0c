"""The command `bitnet`. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C.

Results go to stdout, everything else to stderr; an error is one line that ends with the next step. Uses the public Python
API alone. Next: run.py; options.py for the flags that commands share.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from .. import __version__
from ..errors import BitnetError, ContextFullError, InvalidModelError, OutOfMemoryError
from . import compat, inspect, models, run, tokenize
from .options import interface_version

_NEXT_STEPS = {
    ContextFullError: "use a larger --ctx-size",
    OutOfMemoryError: "use a smaller --ctx-size or --batch-size",
    InvalidModelError: "fetch the file again, or convert it anew",
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bitnet")
@interface_version
def cli() -> None:
    """Run BitNet b1.58 and llama-family GGUF models on the CPU.

    \b
    bitnet run -m smollm2 "The capital of France is"
    bitnet models
    """


for command in (run.run, models.models, tokenize.tokenize, inspect.inspect, compat.compat_check, compat.compat_fix):
    cli.add_command(command)


def _say_error(text: str) -> None:
    click.secho(f"bitnet: {' '.join(text.split())}", fg="red", err=True)  # click drops the colour off a terminal


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    try:
        status = cli.main(args=arguments, prog_name="bitnet", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        status = error.exit_code
    except click.ClickException as error:  # wrong usage: 2
        path = getattr(getattr(error, "ctx", None), "command_path", "bitnet")
        _say_error(f"{error.format_message()}; see: {path} --help")
        status = error.exit_code
    except BitnetError as error:
        step = next((text for cls, text in _NEXT_STEPS.items() if isinstance(error, cls)), None)
        _say_error(f"{error}; {step}" if step and step not in str(error) else str(error))
        status = 1
    except BrokenPipeError:  # the reader had enough (`| head`); what is buffered must not fail again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except (OSError, ImportError) as error:
        _say_error(str(error))
        status = 1
    except (KeyboardInterrupt, click.Abort):
        click.echo(err=True)
        status = 130
    sys.exit(status if isinstance(status, int) else 0)
