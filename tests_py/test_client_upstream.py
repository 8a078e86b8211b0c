"""llama.cpp's own tests, as llama-cpp-python's source archives carry them, compiled as they are against bitnet_ffi.h (docs/CLIENTS.md).

A test fails as theirs do, by an end of the process. Vocabularies come with them. Next: test_client_examples.py for its programs.
"""
import subprocess

import pytest

from client_tools import GGML_CPU_STUBS, Sources

# Headers of ggml's: llama.h again.
GGML = ["ggml.h", "ggml-cpu.h", "ggml-backend.h", "ggml-opt.h", "ggml-alloc.h", "gguf.h"]
MORE = "#define GGML_MROPE_SECTIONS 4\n"
VOCABULARIES = ["bert-bge", "command-r", "deepseek-coder", "deepseek-llm", "falcon", "gemma-4", "gpt-2", "llama-bpe", "llama-spm", "mpt",
                "phi-3", "qwen2", "qwen35", "refact", "starcoder"]
# What of llama.cpp's `common` these tests call.
COMMON = ["common/common.cpp", "common/console.cpp", "common/json.cpp", "common/log.cpp", "common/unicode.cpp"]


@pytest.fixture(scope="module")
def today(tmp_path_factory):
    wanted = ("common/", "tests/test-", "vendor/", "src/unicode", "models/ggml-vocab")
    made = Sources("0.3.36", tmp_path_factory.mktemp("upstream"), (*wanted, "include/llama-cpp.h"), (), MORE, GGML)
    (made.folder / "include" / "llama-cpp.h").rename(made.folder / "llama-cpp.h")
    return made


@pytest.fixture(scope="module", params=["0.2.18/2023", "0.2.42/2024"])
def old(request, tmp_path_factory):
    version, era = request.param.split("/")
    return Sources(version, tmp_path_factory.mktemp("old"), ("common/", "tests/test-", "unicode.h"), [f"-DBITNET_FFI_API={era}"], GGML_CPU_STUBS,
                   ["ggml.h"])


def passes(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout + done.stderr


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_tokenizer_0(today, vocabulary):
    """Their texts, with the ids that the original tokenizers gave."""
    passes(today.program(*COMMON, "tests/test-tokenizer-0.cpp"), today.folder / "models" / f"ggml-vocab-{vocabulary}.gguf")


def test_tokenizer_1_spm(today):
    """Every token and every code point, to text and back."""
    program = today.program(*COMMON, "src/unicode.cpp", "src/unicode-data.cpp", "tests/test-tokenizer-1-spm.cpp")
    passes(program, today.folder / "models" / "ggml-vocab-llama-spm.gguf")


@pytest.mark.parametrize("name", ["model-load-cancel", "autorelease"])
def test_loading(today, name, smollm2_path):
    passes(today.program(*COMMON, f"tests/test-{name}.cpp"), smollm2_path)


# Three more do not hold here: logit_bias and what a text after a bias is drawn from are of another model than SmolLM2; top_k looks for
# the backend_* members of the library's samplers, and multi_output_cpu for calls of the client's, which this library does not call.
@pytest.mark.parametrize("name", """cpu_mixed dist dist_and_cpu greedy min_p mixed multi_output_dist_transaction multi_output_limit
    multi_output_sampling_chain multi_sequence multi_sequence_multi_output_dist penalties set_sampler temp temp_ext top_p""".split())
def test_backend_sampler(today, name, smollm2_path):
    program = today.program(*COMMON, "common/trie.cpp", "common/sampling.cpp", "common/reasoning-budget.cpp",
                            "tests/test-backend-sampler.cpp")
    assert f"=== {name} ===" in passes(program, "--model", smollm2_path, "--test", name)


def test_sampling_of_old(old):
    assert "OK" in passes(old.program("tests/test-sampling.cpp"))


def test_grammar_parser_of_old(old):
    passes(old.program("common/grammar-parser.cpp", "tests/test-grammar-parser.cpp"))


@pytest.mark.parametrize("name, vocabulary", [("llama", "llama-spm"), ("falcon", "falcon")])
def test_tokenizer_0_of_old(old, today, name, vocabulary):
    """Their vocabularies were not in these archives: October's are the same tokenizers."""
    program = old.program(*[f"common/{part}.cpp" for part in ("common", "sampling", "grammar-parser", "console", "build-info")],
                          f"tests/test-tokenizer-0-{name}.cpp")
    passes(program, today.folder / "models" / f"ggml-vocab-{vocabulary}.gguf")
