// train/attention.h - causal attention inside each document of a packed batch, forward and
// backward. softmax(q k^T / sqrt(D)) v, Vaswani et al. 2017 eq. 1, arXiv:1706.03762; the backward
// pass recomputes the probabilities block by block instead of keeping them (Dao et al. 2022,
// section 3.1, arXiv:2205.14135). Work is shared by (document, key head) pairs: each owns its rows
// of every output, so results do not depend on the number of threads.
#ifndef TRAIN_ATTENTION_H
#define TRAIN_ATTENTION_H

#include "core/arena.h"
#include "core/pool.h"
#include "kernels/gemm.h"

struct attention {
    const struct kernels *k;
    struct pool *pool;
    int64_t H, H_kv, D;
    int64_t n_max;  // tokens of the longest document
    float *scratch; // [threads, scratch_floats]
    int64_t scratch_floats;
};

// One layer's tensors. Rows of q and k are qk_stride floats apart, those of v v_stride, of out
// out_stride.
struct attention_layer {
    const float *q, *k; // [T, H D], [T, H_kv D]: normalised and rotated
    const float *v;     // [T, H_kv D]
    int64_t qk_stride, v_stride;
    float *out; // [T, H D]
    int64_t out_stride;
    // backward only
    const float *dout;   // [T, H D], rows out_stride apart
    float *dq, *dk, *dv; // overwritten; rows dqkv_stride apart
    int64_t dqkv_stride;
    // document i is rows [doc_begin[i], doc_begin[i + 1])
    const int32_t *doc_begin;
    int64_t n_docs;
};

// Scratch comes from `arena` (check arena_ok() after).
void attention_init(struct attention *a, struct arena *arena, const struct kernels *k,
                    struct pool *pool, int64_t H, int64_t H_kv, int64_t D, int64_t n_max);
void attention_forward(const struct attention *a, const struct attention_layer *layer);
void attention_backward(const struct attention *a, const struct attention_layer *layer);

#endif
