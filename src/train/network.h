// train/network.h - loss and gradients of a decoder over packed documents.
// Forward and backward of the Llama, Qwen2 and Qwen3 families: x += attention(rmsnorm(x)); x += mlp(rmsnorm(x)).
// Owns: activations and packed weights, planned at open for one micro-batch; a pass allocates nothing.
// Thread: one owner; the pool is used inside a call. Results do not depend on the number of threads.
#ifndef TRAIN_NETWORK_H
#define TRAIN_NETWORK_H

#include "core/pool.h"
#include "kernels/gemm.h"
#include "train/params.h"

struct network; // opaque

struct network_options {
    int64_t max_tokens;    // of one micro-batch
    int64_t max_doc;       // tokens of one document
    float dropout;         // of each residual branch; 0: none
    float embedding_dropout; // of the embeddings' components; 0: none
    float token_dropout;   // of whole tokens (their embedding becomes 0), ids from token_dropout_first_id on; 0: none
    int32_t token_dropout_first_id;
    // Closed groups: a target in [closed[i], closed[i + 1]) competes with the ids of that range only (label tokens at
    // fixed positions, which are read that way too). n_closed boundaries, increasing; borrowed. 0: none.
    const int32_t *closed;
    int64_t n_closed;
    float label_smoothing; // share of the target spread evenly over the vocabulary
};

// Documents one after the other; positions restart at 0 in each and attention stays inside it.
struct network_batch {
    const int32_t *tokens;    // [T]
    const float *weights;     // [T]: weight of predicting tokens[t] from the tokens before it in its document
    const int32_t *doc_begin; // [n_docs + 1], doc_begin[0] = 0, doc_begin[n_docs] = T
    int64_t T, n_docs;
};

// `params` and `pool` are borrowed.
NODISCARD bool network_open(struct network **out, const struct params *params, const struct network_options *options,
                            struct pool *pool, struct error *err);
void network_close(struct network *network); // NULL is fine
int64_t network_bytes(const struct network *network);

// Takes a copy of w [params->n_floats] for the products; the small tensors are read from `w` itself, which must
// stay until the next call. Call after each change of the weights. `backward` also packs what gradients need.
void network_load(struct network *network, const float *w, bool backward);

// Sum over the batch of weight * cross-entropy, and *grad += scale * its gradient. grad may be NULL: loss only,
// without dropout. `dropout_key` makes the dropout masks: same key, same masks.
double network_pass(struct network *network, const struct network_batch *batch, float *grad, float scale,
                    uint64_t dropout_key);

#endif
