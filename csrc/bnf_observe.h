/* A client that watches decodes (llama_context_params.cb_eval): what it is asked with, and the rows that it is shown beside those of the
 * scratch. A context without such a client has none of this. Next: bitnet_ffi/_core/run/observe.pyx, which shows; forward.pyx, when. */
#ifndef BNF_OBSERVE_H
#define BNF_OBSERVE_H

#include "bnf_context.h"
#include "bnf_forward.h"
#include "bnf_ggml.h"

/* When something new is there, between two barriers of a layer, in this order. */
enum bnf_moment {
    BNF_SEEN_QKV,       /* x, h its norm, q, k and v before they are rotated */
    BNF_SEEN_ATTENTION, /* attn, h its norm if it has one, y the product of it; x as before */
    BNF_SEEN_GATED,     /* x, the sum with y; h its norm, up, gate after the activation */
    BNF_SEEN_DOWN,      /* h the norm of gate if it has one, y the product; x as before */
};

/* Rows that one tensor and its two sources may need besides: chosen tokens of each, and a value that the engine does not keep. */
#define BNF_OBSERVER_ROOMS 4

struct bnf_observer {
    ggml_backend_sched_eval_callback callback;
    void *data;                       /* of the client */
    struct ggml_tensor value, src[2]; /* what it is asked about */
    float *room[BNF_OBSERVER_ROOMS];  /* [n_ubatch][the widest row] */
    int32_t n_rooms;                  /* in use */
    float *gate;                      /* [n_ubatch][F] gate before the activation takes its place */
    float *last;                      /* [n_ubatch][E] of tokens that asked: what the last layer left */
    float *ones;                      /* [the widest row] a norm's weight that changes nothing */
    int32_t n_logits;                 /* rows of logits that the decode made so far */
};

#endif
