"""`bitnet run`: one prompt, its continuation streamed to stdout.

Figures and notes go to stderr, so that stdout is the text alone. The default template is raw: the text as it is, as
examples/simple.c does; a question to an instruct model wants `--prompt-template auto`. Next: generate.py.
"""

from __future__ import annotations

import json
import os
import sys

import click

from .. import __version__
from . import options

TEMPLATES = ("raw", "auto", "instruct", "llama3-chat")


KV_TYPES = ["f16", "f32", "q8_0"]


@click.command()
@click.argument("text", required=False, metavar="[PROMPT]")
@options.model
@options.tokenizer
@options.strict
@click.option("-p", "--prompt", help="The prompt; or give it as the argument, or on stdin.")
@click.option("-n", "--max-tokens", "--n-predict", "--max-new-tokens", type=click.IntRange(0), default=256,
              show_default=True, help="Most tokens to generate.")
@click.option("--stop", "--stop-sequence", "--stop_sequences", multiple=True, metavar="TEXT",
              help="Stop before this text; may be given several times.")
@click.option("--prompt-template", type=click.Choice(TEMPLATES), default=None,
              help="raw: the prompt as it is (default). auto: the model's own chat template, raw where it has none. "
                   "instruct: Q and A. llama3-chat: Llama 3's.")
@click.option("--system-prompt", metavar="TEXT", help="System message; the template is then auto unless given.")
@click.option("--temperature", type=click.FloatRange(0), default=0.8, show_default=True, help="0 is greedy.")
@click.option("--top-k", type=click.IntRange(0), default=40, show_default=True, help="0 keeps all.")
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), default=0.95, show_default=True)
@click.option("--min-p", type=click.FloatRange(0, 1), default=0.05, show_default=True)
@click.option("--repetition-penalty", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True)
@click.option("--greedy", is_flag=True, help="Always the most likely token.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 2), envvar="BITNET_SEED", show_envvar=True,
              help="Random numbers; drawn (and shown) when not given.")
@click.option("--deterministic", is_flag=True, envvar="BITNET_DETERMINISTIC", show_envvar=True,
              help="The same text in every run: seed 0 unless given.")
@click.option("-t", "--threads", type=click.IntRange(1), envvar="BITNET_NUM_THREADS", show_envvar=True,
              help="Default: physical cores. The text does not depend on it.")
@click.option("-c", "--ctx-size", type=click.IntRange(1), help="Tokens of context; default: as many as needed.")
@click.option("-b", "--batch-size", type=click.IntRange(1), default=2048, show_default=True,
              envvar="BITNET_BATCH_SIZE", show_envvar=True, help="Prompt tokens at once. The text does not depend on it.")
@click.option("-ctk", "--cache-type-k", type=click.Choice(KV_TYPES), default="f16", show_default=True,
              help="Numbers of the KV cache; q8_0 takes half the memory and rounds to 8 bits.")
@click.option("-ctv", "--cache-type-v", type=click.Choice(KV_TYPES), help="Of the values alone; default: as --cache-type-k.")
@click.option("--json-out", type=click.Path(dir_okay=False, writable=True), metavar="FILE",
              help="Also write text, tokens and figures as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="No figures on stderr.")
@options.interface_version
def run(text, source, tokenizer, prompt, max_tokens, stop, prompt_template, system_prompt, temperature, top_k, top_p, min_p,
        repetition_penalty, greedy, seed, deterministic, threads, ctx_size, batch_size,
        cache_type_k, cache_type_v, json_out, quiet) -> int:
    """Continue a PROMPT and stream the text.

    \b
    bitnet run -m smollm2 "The capital of France is"
    bitnet run -m smollm2 --prompt-template auto "Why is the sky blue?"
    """
    prompt = _prompt(text, prompt)
    if system_prompt is not None and prompt_template == "raw":
        raise click.UsageError("--system-prompt has no place in --prompt-template raw; use auto")
    template = prompt_template or ("raw" if system_prompt is None else "auto")
    if not prompt and template == "raw":
        raise click.UsageError("the prompt is empty")
    from ..generate import generate
    from ..sampling import Sampling
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, greedy=greedy,
                        repetition_penalty=repetition_penalty, seed=0 if deterministic and seed is None else seed)
    with options.open_model(source, tokenizer=tokenizer) as model:
        generation = generate(
            model, apply_template(model, template, prompt, system_prompt), max_tokens=max_tokens, sampling=sampling,
            stop=stop, n_ctx=ctx_size, n_threads=threads, n_batch=batch_size, kv_type=cache_type_k, kv_type_v=cache_type_v)
        n_threads = generation.context.n_threads
        status = _stream(generation)
        if not quiet:
            options.note(_figures(generation, n_threads))
        if json_out:
            _write_json(json_out, model, prompt, template, generation, n_threads)
    return status


def _prompt(text: str | None, prompt: str | None) -> str:
    if text is not None and prompt is not None:
        raise click.UsageError("the prompt was given twice, as an argument and with -p")
    if text is None and prompt is None:
        if sys.stdin.isatty():
            raise click.UsageError("no prompt: give it as an argument, with -p, or on stdin")
        return sys.stdin.read().removesuffix("\n")  # the one that echo adds
    return prompt if text is None else text


def apply_template(model, template: str, prompt: str, system_prompt: str | None) -> str:
    """The text to continue."""
    if template == "auto" and model.chat_template() is None:
        if system_prompt is not None:
            raise click.UsageError("this model has no chat template to put --system-prompt in; "
                                   "use --prompt-template instruct or llama3-chat")
        template = "raw"
    if template == "raw":
        return prompt
    if template == "instruct":
        return "".join(part for part in (system_prompt and f"{system_prompt}\n\n", f"Q: {prompt}\nA:") if part)
    messages = [{"role": "user", "content": prompt}]
    if system_prompt is not None:
        messages.insert(0, {"role": "system", "content": system_prompt})
    return model.apply_chat_template(messages, template="llama3" if template == "llama3-chat" else None)


def _stream(generation) -> int:
    """Print the text as it comes; the exit code. Ctrl-C ends it like any other stop, with code 130."""
    sys.stdout.reconfigure(errors="replace")
    status = 0
    with generation:
        try:
            for piece in generation:
                sys.stdout.write(piece)
                sys.stdout.flush()
        except KeyboardInterrupt:
            status = 130
    sys.stdout.write("\n")
    sys.stdout.flush()
    return status


_REASONS = {"stop": "end token", "stop_string": "stop string", "length": "--max-tokens", "context": "context full",
            "cancelled": "Ctrl-C"}


def _figures(generation, n_threads: int) -> str:
    from ..model import kernel_name
    m = generation.metrics
    seed = "" if generation.seed is None else f", seed {generation.seed}"
    return (f"prompt {m.prompt_tokens} tokens {m.prefill_ms:.0f} ms ({m.prefill_tokens_per_sec:.1f}/s) | "
            f"first token {m.first_token_ms:.0f} ms | "
            f"generated {m.generated_tokens} tokens {m.decode_ms:.0f} ms ({m.decode_tokens_per_sec:.1f}/s) | "
            f"total {m.total_ms:.0f} ms ({m.end_to_end_tokens_per_sec:.1f}/s) | {m.memory_bytes / 1e6:.0f} MB | "
            f"{kernel_name()}, {n_threads} threads{seed} | stopped: {_REASONS[generation.finish_reason]}")


def _write_json(path: str, model, prompt: str, template: str, generation, n_threads: int) -> None:
    from ..model import kernel_name
    record = {
        "version": __version__, "model": model.path, "description": model.description, "prompt": prompt,
        "prompt_template": template, "text": generation.text, "tokens": generation.tokens,
        "finish_reason": generation.finish_reason, "seed": generation.seed, "threads": n_threads,
        "kernels": kernel_name(), "metrics": generation.metrics.as_dict(),
    }
    partial = f"{path}.{os.getpid()}"
    with open(partial, "w", encoding="utf-8") as file:
        json.dump(record, file, ensure_ascii=False, indent=1)
        file.write("\n")
    os.replace(partial, path)
