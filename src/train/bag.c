// train/bag.c - see bag.h. One thread: it takes seconds.
#include "train/bag.h"

#include "core/log.h"
#include "core/rng.h"
#include "kernels/kernels.h"
#include "train/data.h"
#include "train/recipe.h"
#include "train/subword.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct bag {
    const struct kernels *k;
    const struct recipe *r;
    int64_t C, V, T;
    float *e;                    // embedding [V, C], in place
    float *grad, *m, *v;         // [V, C]
    struct subword *subword;     // NULL: none
    float *mean, *h, *dh, *mask; // [C]
    float *ones;                 // [C]
    float *z;                    // [largest group]
    int32_t *tokens;             // [T]
    float *weights;              // [T]
    double loss, weight;         // of the epoch
};

// The closed group of id, or -1.
static int64_t group_of(const struct recipe *r, int32_t id) {
    for (int64_t g = 0; g + 1 < r->n_closed; g++)
        if (id >= r->closed[g] && id < r->closed[g + 1]) return g;
    return -1;
}

// Adds one document's gradient.
static void document(struct bag *b, int64_t n, float scale, struct rng *rng) {
    const struct recipe *r = b->r;
    int64_t C = b->C, n_text = 0, kept = 0;
    while (n_text < n && !(b->weights[n_text] > 0 && group_of(r, b->tokens[n_text]) >= 0)) n_text++;
    memset(b->mean, 0, (size_t)C * sizeof(float));
    for (int64_t t = 0; t < n_text; t++) {
        bool plain = b->tokens[t] >= r->token_dropout_first_id;
        if (!plain || rng_chance(rng, r->bag.token_dropout)) {
            b->tokens[t] = -1;
            continue;
        }
        kept++;
        b->k->axpy(b->mean, 1.0f, b->e + b->tokens[t] * C, C);
    }
    if (kept == 0) return;
    for (int64_t i = 0; i < C; i++) b->mean[i] /= (float)kept;
    float rms = b->k->rmsnorm(b->h, b->mean, b->ones, C, b->r->config.norm_eps);
    float keep_scale = 1.0f / (1.0f - (float)r->bag.dropout);
    for (int64_t i = 0; i < C; i++) {
        b->mask[i] = rng_chance(rng, r->bag.dropout) ? 0.0f : keep_scale;
        b->h[i] *= b->mask[i];
    }
    memset(b->dh, 0, (size_t)C * sizeof(float));
    for (int64_t t = n_text; t < n; t++) {
        int64_t g = group_of(r, b->tokens[t]);
        if (g < 0 || !(b->weights[t] > 0)) continue;
        int32_t low = r->closed[g], count = r->closed[g + 1] - low;
        for (int32_t i = 0; i < count; i++) b->z[i] = b->k->dot(b->h, b->e + (low + i) * C, C);
        float target = b->z[b->tokens[t] - low];
        float log_sum = b->k->softmax(b->z, count);
        b->loss += (double)(b->weights[t] * (log_sum - target));
        b->weight += (double)b->weights[t];
        b->z[b->tokens[t] - low] -= 1.0f;
        for (int32_t i = 0; i < count; i++) {
            float dz = scale * b->weights[t] * b->z[i];
            b->k->axpy(b->grad + (low + i) * C, dz, b->h, C);
            b->k->axpy(b->dh, dz, b->e + (low + i) * C, C);
        }
    }
    for (int64_t i = 0; i < C; i++) b->dh[i] *= b->mask[i];
    float *dmean = b->h; // h is no longer needed
    memset(dmean, 0, (size_t)C * sizeof(float));
    b->k->rmsnorm_backward(dmean, NULL, b->dh, b->mean, b->ones, rms, C);
    for (int64_t t = 0; t < n_text; t++)
        if (b->tokens[t] >= 0) b->k->axpy(b->grad + b->tokens[t] * C, 1.0f / (float)kept, dmean, C);
}

struct bag_doc {
    int32_t file_i, doc_i;
};

static bool run(struct bag *b, const struct data_file *files, struct bag_doc *docs,
                int64_t n_docs) {
    const struct recipe *r = b->r;
    struct rng rng;
    rng_init_stream(&rng, (uint64_t)r->seed, 0xBA6);
    int64_t n_batch = r->bag.batch_docs, total = (int64_t)(r->bag.epochs * (double)n_docs),
            done = 0, step = 0;
    while (done < total) {
        for (int64_t i = n_docs - 1; i > 0; i--) {
            int64_t j = (int64_t)rng_below(&rng, (uint64_t)i + 1);
            struct bag_doc swap = docs[i];
            docs[i] = docs[j];
            docs[j] = swap;
        }
        b->loss = b->weight = 0;
        for (int64_t i = 0; i < n_docs && done < total; i += n_batch) {
            int64_t n = min_i64(n_batch, n_docs - i);
            memset(b->grad, 0, (size_t)(b->V * b->C) * sizeof(float));
            for (int64_t j = i; j < i + n; j++) {
                const struct data_file *file = &files[docs[j].file_i];
                int64_t n_tokens = min_i64(data_file_doc_tokens(file, docs[j].doc_i), b->T);
                data_file_doc_read(file, docs[j].doc_i, b->tokens, b->weights, n_tokens);
                document(b, n_tokens, data_file_doc_weight(file, docs[j].doc_i) / (float)n, &rng);
            }
            step++;
            float lr = (float)(r->bag.lr * (1.0 - (double)done / (double)total));
            b->k->adamw(b->e, b->m, b->v, b->grad, b->V * b->C, lr, 0.9f, 0.99f, 1e-8f, 0.0f,
                        (float)(1.0 - pow(0.9, (double)step)),
                        (float)(1.0 - pow(0.99, (double)step)), 1.0f);
            if (b->subword != NULL) {
                struct subword_step s = {step, lr * (float)r->subwords.lr_ratio, 0.9f, 0.99f, 1e-8f,
                                         1.0f};
                subword_apply(b->subword, NULL, b->e, b->grad, &s);
            }
            done += n;
        }
        log_info("train", "phase=bag documents=%lld/%lld loss=%.4f", (long long)done,
                 (long long)total, b->weight > 0 ? b->loss / b->weight : 0.0);
        if (b->weight > 0 && !isfinite(b->loss)) return false;
    }
    return true;
}

bool bag_train(const struct params *params, float *w, const struct recipe *recipe,
               struct subword *subword, struct error *err) {
    if (params->head != params->embedding || recipe->n_closed < 2)
        return error_set(err, ERR_INPUT, "bag: needs tie_word_embeddings and closed_groups");
    if (recipe->closed[recipe->n_closed - 1] > params->config.V)
        return error_set(err, ERR_INPUT, "bag: closed_groups end at %d, the model has %lld tokens",
                         (int)recipe->closed[recipe->n_closed - 1], (long long)params->config.V);
    struct data_file *files = calloc((size_t)recipe->n_train, sizeof *files);
    struct arena arena = {0};
    struct bag b = {.k = kernels_best(),
                    .r = recipe,
                    .C = params->config.C,
                    .V = params->config.V,
                    .e = w + params->embedding,
                    .subword = subword};
    int64_t n_docs = 0, n_open = 0;
    bool ok = files != NULL || error_set(err, ERR_NOMEM, "bag: out of memory");
    for (; ok && n_open < recipe->n_train; n_open++) {
        ok = data_file_open(&files[n_open], recipe->train[n_open].path, err);
        if (!ok) break;
        if (files[n_open].vocab > b.V) {
            ok = error_set(err, ERR_INPUT, "bag: %s: ids up to %lld, the model has %lld",
                           files[n_open].path, (long long)files[n_open].vocab, (long long)b.V);
            data_file_close(&files[n_open]);
            break;
        }
        n_docs += files[n_open].n_docs;
        b.T = max_i64(b.T, files[n_open].longest);
    }
    if (ok) {
        size_t table = (size_t)(b.V * b.C);
        float **vectors[] = {&b.mean, &b.h, &b.dh, &b.mask, &b.ones};
        b.grad = arena_alloc_array(&arena, table, sizeof(float));
        b.m = arena_alloc_array(&arena, table, sizeof(float));
        b.v = arena_alloc_array(&arena, table, sizeof(float));
        for (int i = 0; i < COUNT_OF(vectors); i++)
            *vectors[i] = arena_alloc_array(&arena, (size_t)b.C, sizeof(float));
        b.z = arena_alloc_array(&arena,
                                (size_t)(recipe->closed[recipe->n_closed - 1] - recipe->closed[0]),
                                sizeof(float));
        b.tokens = arena_alloc_array(&arena, (size_t)b.T, sizeof *b.tokens);
        b.weights = arena_alloc_array(&arena, (size_t)b.T, sizeof *b.weights);
        struct bag_doc *docs = arena_alloc_array(&arena, (size_t)n_docs, sizeof *docs);
        ok = arena_ok(&arena) || error_set(err, ERR_NOMEM, "bag: out of memory");
        int64_t at = 0;
        for (int64_t f = 0; ok && f < n_open; f++)
            for (int64_t d = 0; d < files[f].n_docs; d++)
                docs[at++] = (struct bag_doc){(int32_t)f, (int32_t)d};
        for (int64_t i = 0; ok && i < b.C; i++) b.ones[i] = 1.0f;
        ok = ok && (run(&b, files, docs, n_docs) ||
                    error_set(err, ERR_STATE, "bag: the loss is not finite (lr too large?)"));
    }
    if (subword != NULL) subword_reset(subword);
    for (int64_t i = 0; files != NULL && i < n_open; i++) data_file_close(&files[i]);
    free(files);
    arena_release(&arena);
    return ok;
}
