"""stream.py - text as it is made, with the ways to stop it, and the logits behind it.

    python stream.py MODEL.gguf|NAME PROMPT [N]

Ctrl-C stops within one layer and keeps what was written.
"""
import sys

import numpy as np

from bitnet_ffi import BitnetError, Model, Sampling


def stream(model: Model, prompt: str, max_tokens: int) -> None:
    """Greedy text, piece by piece; a piece is whole characters. generation.cancel() from any thread ends it too."""
    generation = model.generate(prompt, max_tokens=max_tokens, sampling=Sampling(greedy=True))
    try:
        for piece in generation:
            print(piece, end="", flush=True)
        print()
    except KeyboardInterrupt:
        print("\n(stopped)", file=sys.stderr)
    metrics = generation.metrics
    print(f"{metrics.prompt_tokens} + {metrics.generated_tokens} tokens, {metrics.decode_tokens_per_sec:.1f} tokens/s", file=sys.stderr)


def show_choices(model: Model, prompt: str, n: int = 5) -> None:
    """The n most likely next tokens. The array is a view of the library's memory: copy what must outlive the next decode."""
    with model.context(n_ctx=512) as context:
        context.decode(model.tokenize(prompt))
        logits = context.logits()
        probability = np.exp(logits - logits.max())
        probability /= probability.sum()
        for token in np.argsort(-logits, kind="stable")[:n]:
            print(f"{probability[token]:8.2%}  {model.detokenize([int(token)])!r}", file=sys.stderr)


def main(arguments: list[str]) -> int:
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    with Model.open(arguments[0]) as model:
        stream(model, arguments[1], int(arguments[2]) if len(arguments) > 2 else 32)
        show_choices(model, arguments[1])
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BitnetError as error:
        sys.exit(str(error))
