"""A context that is at work: every call that takes one, from within its decode, answers or is turned away with -8, and nothing is spoilt.

The abort callback makes the calls: it runs in the thread that decodes, so a call that waited for the context would never return.
tests_c/test_threads.cpp does the same from other threads, under the thread sanitizer. Next: test_calls.py, whose tools these are.
"""
from bitnet_ffi._ffi import ffi, lib
from calls import N_VOCAB, NULL, Stub, World, lora_path, plain
from engine_abi import last_error
from test_calls import EXPORTED, RESULT_OF, kinds, nothing

CONTEXTS = {"struct llama_context *", "struct llama_memory_i *"}

# They read what does not change or changes whole, or do nothing.
ANSWER = set("""llama_get_model llama_n_ctx llama_n_batch llama_n_ubatch llama_n_seq_max llama_n_max_seq llama_n_ctx_seq llama_n_rs_seq
    llama_n_threads llama_n_threads_batch llama_get_causal_attn llama_pooling_type llama_get_memory llama_get_kv_self
    llama_memory_can_shift llama_kv_cache_can_shift llama_kv_self_can_shift llama_perf_context llama_get_timings llama_perf_context_print
    llama_print_timings llama_dump_timing_info_yaml llama_perf_dump_yaml llama_synchronize llama_set_warmup
    llama_batch_ext_init llama_kv_cache_defrag llama_kv_cache_update llama_kv_self_defrag llama_kv_self_update
    llama_kv_cache_view_init llama_eval_export llama_beam_search llama_opt_init llama_opt_epoch llama_token_to_str llama_token_to_str_bpe
    llama_tokenize_bpe llama_get_vocab llama_grammar_sample llama_grammar_accept_token llama_sample_grammar llama_sample_softmax
    llama_sample_top_k llama_sample_top_p llama_sample_min_p llama_sample_tail_free llama_sample_typical llama_sample_temp
    llama_sample_temperature llama_sample_entropy llama_sample_repetition_penalties llama_sample_repetition_penalty
    llama_sample_frequency_and_presence_penalties llama_sample_token_greedy llama_sample_apply_guidance""".split())

# What has to be right for a call to come as far as the context.
ARGUMENTS = {
    "llama_set_n_threads": lambda w: (w.ctx, 1, 1), "llama_process": lambda w: (w.ctx, 1, w.ext),
    "llama_memory_seq_div": lambda w: (w.memory, 0, 0, 0, 2), "llama_kv_cache_seq_div": lambda w: (w.ctx, 0, 0, 0, 2),
    "llama_kv_self_seq_div": lambda w: (w.ctx, 0, 0, 0, 2), "bitnet_decode_at": lambda w: (w.ctx, w.batch([1]), 5, 1, 0),
    "llama_sampler_sample": lambda w: (w.greedy, w.ctx, -1), "llama_sample_token": lambda w: (w.ctx, w.candidates()),
    "llama_sample_token_mirostat": lambda w: (w.ctx, w.candidates(), 1, 1, 5, ffi.new("float *")),
    "llama_sample_token_mirostat_v2": lambda w: (w.ctx, w.candidates(), 1, 1, ffi.new("float *")),
    "llama_sample_classifier_free_guidance": lambda w: (w.ctx, w.candidates([0.0] * N_VOCAB), w.ctx, 2),
    "bitnet_sample_guidance": lambda w: (w.ctx, w.candidates([0.0] * N_VOCAB), w.ctx, 2, 1),
    "llama_apply_lora_from_file": lambda w: (w.ctx, lora_path(), 1, NULL, 1), "llama_perf_reset": lambda w: (w.ctx, 0),
}

# Negative numbers of these are codes, and say which fault it is.
SAY_THREAD = set("""llama_decode llama_encode llama_process bitnet_decode_at llama_eval llama_eval_embd bitnet_eval_n_threads
    llama_set_adapters_lora llama_set_adapter_lora llama_rm_adapter_lora llama_lora_adapter_set llama_lora_adapter_remove
    llama_set_adapter_cvec llama_apply_adapter_cvec llama_control_vector_apply""".split())


def test_a_context_at_work_answers_or_turns_away():
    w = World()
    taking = {name for name in EXPORTED if any(kind.cname in CONTEXTS for kind in kinds(name))}
    names = sorted(taking - {"llama_free"} | {"llama_perf_reset"})
    own = {"struct llama_context *": w.ctx, "struct llama_memory_i *": w.memory, "struct llama_model *": w.model}
    found = {}

    def ask(_):
        for name in names if not found else []:
            arguments = ARGUMENTS[name](w) if name in ARGUMENTS else [own.get(kind.cname, nothing(kind)) for kind in kinds(name)]
            lib.llama_model_n_embd(NULL)   # leaves an error that is none of these
            found[name] = plain(getattr(lib, name)(*arguments)), last_error()[0]
        return False

    callback = ffi.callback("bool(void *)", ask)
    lib.llama_set_abort_callback(w.ctx, callback, NULL)
    assert lib.llama_decode(w.ctx, w.batch([5, 6])) == 0 and sorted(found) == names
    lib.llama_set_abort_callback(w.ctx, NULL, NULL)

    turned_away = {name for name, (_, code) in found.items() if code == lib.BITNET_ERROR_THREAD}
    assert set(names) - turned_away == ANSWER
    for name in turned_away:
        nothing_done = RESULT_OF.get(name, plain(Stub(name, 0)._nothing()))
        assert found[name][0] == (lib.BITNET_ERROR_THREAD if name in SAY_THREAD else nothing_done), name
    after, untouched = w.held(), World()
    assert lib.llama_decode(untouched.ctx, untouched.batch([5, 6])) == 0 and after == untouched.held()
