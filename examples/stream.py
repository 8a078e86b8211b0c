"""stream.py - text as it comes, from Python: pieces, a stop string, cancelling, figures.

    python stream.py smollm2 "The capital of France is"      a model's name or a GGUF file
    python stream.py model.gguf "Once upon a time" 64

Ctrl-C ends the text within a layer of the model and keeps what came.
"""
import sys

from bitnet_ffi import Model, Sampling


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit(f"usage: {sys.argv[0]} MODEL PROMPT [N_PREDICT]")
    source, prompt = sys.argv[1:3]
    max_tokens = int(sys.argv[3]) if len(sys.argv) > 3 else 32
    with Model.open(source) as model:
        generation = model.generate(prompt, max_tokens=max_tokens, sampling=Sampling(greedy=True), stop=["\n\n\n"])
        # From another thread, generation.cancel() would end the loop; here Ctrl-C does.
        try:
            for piece in generation:
                print(piece, end="", flush=True)
        except KeyboardInterrupt:
            pass
        print()
    m = generation.metrics
    print(f"{m.prompt_tokens} + {m.generated_tokens} tokens, first after {m.first_token_ms:.0f} ms, "
          f"then {m.decode_tokens_per_sec:.1f}/s; ended by: {generation.finish_reason}", file=sys.stderr)


if __name__ == "__main__":
    main()
