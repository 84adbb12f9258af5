// Gradients and loss curves against PyTorch (ref/), finite differences, and independence of the
// thread count.
#include "core/file.h"
#include "core/json.h"
#include "core/rng.h"
#include "train/network.h"
#include "train/optimizer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define REQUIRE(call)                                                                              \
    do {                                                                                           \
        struct error e_ = {0};                                                                     \
        struct error *err = &e_;                                                                   \
        if (!(call)) fail_msg("%s: %s", #call, e_.text);                                           \
    } while (0)

static float *floats(int64_t n) {
    float *p = calloc((size_t)n, sizeof *p);
    assert_non_null(p);
    return p;
}

struct reference {
    struct params params;
    struct tensor_set *set;
    float *w, *grad_want, *weights, *curve;
    int32_t *tokens, *doc_begin;
    int64_t n_batches, T, n_docs, n_steps;
};

static const struct tensor *reference_tensor(struct reference *r, const char *name) {
    const struct tensor *t = tensor_set_find(r->set, name);
    if (t == NULL) fail_msg("ref.safetensors: no %s", name);
    return t;
}

static void reference_open(struct reference *r, const char *name) {
    char path[256];
    struct model_config config;
    *r = (struct reference){0};
    snprintf(path, sizeof path, "tests/train/ref/%s", name);
    REQUIRE(model_config_read(&config, path, err));
    REQUIRE(params_init(&r->params, &config, err));
    snprintf(path, sizeof path, "tests/train/ref/%s/ref.safetensors", name);
    REQUIRE(tensor_set_open(&r->set, path, err));
    r->w = floats(r->params.n_floats);
    r->grad_want = floats(r->params.n_floats);
    REQUIRE(params_read(&r->params, r->w, r->set, "w.", path, err));
    REQUIRE(params_read(&r->params, r->grad_want, r->set, "g.", path, err));
    const struct tensor *tokens = reference_tensor(r, "tokens"),
                        *begin = reference_tensor(r, "doc_begin");
    const struct tensor *curve = reference_tensor(r, "curve"),
                        *weights = reference_tensor(r, "weights");
    r->n_batches = tokens->shape[0];
    r->T = tokens->shape[1];
    r->n_docs = begin->count - 1;
    r->n_steps = curve->count;
    r->tokens = calloc((size_t)tokens->count, sizeof(int32_t));
    r->doc_begin = calloc((size_t)begin->count, sizeof(int32_t));
    memcpy(r->tokens, tokens->data, tokens->n_bytes);
    memcpy(r->doc_begin, begin->data, begin->n_bytes);
    r->curve = floats(curve->count);
    r->weights = floats(weights->count);
    REQUIRE(tensor_read_f32(r->curve, curve, err));
    REQUIRE(tensor_read_f32(r->weights, weights, err));
}

static void reference_close(struct reference *r) {
    tensor_set_close(r->set);
    params_release(&r->params);
    free(r->w);
    free(r->grad_want);
    free(r->weights);
    free(r->curve);
    free(r->tokens);
    free(r->doc_begin);
}

static struct network_batch reference_batch(const struct reference *r, int64_t i) {
    return (struct network_batch){r->tokens + i * r->T, r->weights + i * r->T, r->doc_begin, r->T,
                                  r->n_docs};
}

static double batch_weight(const struct network_batch *b) {
    double sum = 0.0;
    for (int64_t d = 0; d < b->n_docs; d++)
        for (int64_t t = b->doc_begin[d] + 1; t < b->doc_begin[d + 1]; t++)
            sum += (double)b->weights[t];
    return sum;
}

static void check_gradients(const struct params *params, const float *got, const float *want) {
    double worst = 0.0;
    for (int64_t i = 0; i < params->n_tensors; i++) {
        const struct params_tensor *t = &params->tensors[i];
        double diff = 0.0, norm = 0.0;
        for (int64_t k = t->offset; k < t->offset + t->count; k++) {
            double d = (double)got[k] - (double)want[k];
            diff += d * d;
            norm += (double)want[k] * (double)want[k];
        }
        // A k bias shifts every score of a row alike: its gradient is 0 but for rounding.
        double relative = sqrt(diff) / fmax(sqrt(norm), 1e-4);
        if (!(relative < 1e-4))
            fail_msg("%s: relative error %.3g of the gradient, bound 1e-4 (norm %.3g)", t->name,
                     relative, sqrt(norm));
        worst = fmax(worst, relative);
    }
    print_message("worst relative error of a gradient: %.2e\n", worst);
}

static void test_reference(const char *name) {
    struct reference r;
    reference_open(&r, name);
    struct network *n;
    struct optimizer o;
    struct pool *pool;
    REQUIRE(pool_open(&pool, 2, err));
    struct network_options options = {.max_tokens = r.T, .max_doc = 55};
    REQUIRE(network_open(&n, &r.params, &options, pool, err));
    REQUIRE(optimizer_init(&o, &r.params, &(struct optimizer_options){.embedding_lr_ratio = 1.0f}, pool, err));
    int64_t P = r.params.n_floats;
    float *grad = floats(P), *m = floats(P), *v = floats(P), *w = floats(P);
    memcpy(w, r.w, (size_t)P * sizeof(float));
    double worst = 0.0;
    for (int64_t step = 0; step < r.n_steps; step++) {
        struct network_batch batch = reference_batch(&r, step % r.n_batches);
        double weight = batch_weight(&batch);
        optimizer_zero(&o, grad);
        network_load(n, w, true);
        double loss = network_pass(n, &batch, grad, (float)(1.0 / weight), 0) / weight;
        if (step == 0) check_gradients(&r.params, grad, r.grad_want);
        double error = fabs(loss - (double)r.curve[step]);
        if (!(error < 1e-3))
            fail_msg("%s step %d: loss %.6f, PyTorch %.6f, bound 1e-3", name, (int)step, loss,
                     (double)r.curve[step]);
        worst = fmax(worst, error);
        double norm = optimizer_norm(&o, grad);
        struct optimizer_step s = {.t = step + 1,
                                   .lr = 2e-3f,
                                   .b1 = 0.9f,
                                   .b2 = 0.95f,
                                   .eps = 1e-8f,
                                   .weight_decay = 0.1f,
                                   .grad_scale = norm > 1.0 ? (float)(1.0 / norm) : 1.0f};
        optimizer_apply(&o, w, m, v, grad, NULL, &s);
    }
    print_message("%s: worst difference from PyTorch's loss over %d steps: %.2e\n", name,
                  (int)r.n_steps, worst);
    free(grad);
    free(m);
    free(v);
    free(w);
    optimizer_release(&o);
    network_close(n);
    pool_close(pool);
    reference_close(&r);
}

static void test_qwen3(void **state) {
    (void)state;
    test_reference("qwen3");
}
static void test_llama(void **state) {
    (void)state;
    test_reference("llama");
}
static void test_qwen2(void **state) {
    (void)state;
    test_reference("qwen2");
}

// (L(w + h d) - L(w - h d)) / 2h against g . d, for a random direction d in each tensor, with
// dropout and label smoothing on. The loss is a smooth function of w because the key fixes the
// masks.
static void test_finite_differences(void **state) {
    (void)state;
    struct reference r;
    reference_open(&r, "llama");
    r.params.config.init_std = 0.05f;
    struct network *n;
    struct network_options options = {.max_tokens = r.T,
                                      .max_doc = 55,
                                      .dropout = 0.2f,
                                      .embedding_dropout = 0.2f,
                                      .token_dropout = 0.1f,
                                      .label_smoothing = 0.1f};
    REQUIRE(network_open(&n, &r.params, &options, NULL, err));
    int64_t P = r.params.n_floats;
    float *grad = floats(P), *other = floats(P), *w = floats(P), *d = floats(P);
    struct network_batch batch = reference_batch(&r, 1);
    double weight = batch_weight(&batch);
    network_load(n, r.w, true);
    network_pass(n, &batch, grad, (float)(1.0 / weight), 5);
    struct rng rng;
    rng_init(&rng, 3);
    for (int64_t i = 0; i < r.params.n_tensors; i++) {
        const struct params_tensor *t = &r.params.tensors[i];
        double slope = 0.0, norm = 0.0, loss[2];
        for (int64_t k = t->offset; k < t->offset + t->count; k++) {
            d[k] = grad[k] +
                   0.1f * rng_normal(&rng) * 1e-3f; // mostly along the gradient: a slope to measure
            norm += (double)d[k] * (double)d[k];
        }
        norm = sqrt(norm);
        double h = 0.02;
        for (int64_t k = t->offset; k < t->offset + t->count; k++)
            slope += (double)grad[k] * (double)d[k] / norm;
        for (int side = 0; side < 2; side++) {
            memcpy(w, r.w, (size_t)P * sizeof(float));
            for (int64_t k = t->offset; k < t->offset + t->count; k++)
                w[k] += (float)((side ? h : -h) * (double)d[k] / norm);
            network_load(n, w, true);
            loss[side] = network_pass(n, &batch, other, (float)(1.0 / weight), 5) / weight;
        }
        double measured = (loss[1] - loss[0]) / (2.0 * h), bound = 0.02 * fabs(slope) + 2e-4;
        if (!(fabs(measured - slope) <= bound))
            fail_msg("%s: slope %.6g, finite differences %.6g, bound %.2g", t->name, slope,
                     measured, bound);
    }
    free(grad);
    free(other);
    free(w);
    free(d);
    network_close(n);
    reference_close(&r);
}

// One pass and one step of a model large enough for the products to be shared; returns the new
// weights.
static float *run_with_threads(int n_threads, const struct params *params, double *loss) {
    enum { T = 700, DOCS = 9 };
    static const int32_t begin[DOCS + 1] = {0, 3, 130, 131, 260, 400, 402, 500, 620, T};
    struct pool *pool;
    REQUIRE(pool_open(&pool, n_threads, err));
    struct network *n;
    struct network_options options = {.max_tokens = T,
                                      .max_doc = 140,
                                      .dropout = 0.1f,
                                      .embedding_dropout = 0.1f,
                                      .label_smoothing = 0.05f};
    REQUIRE(network_open(&n, params, &options, pool, err));
    struct optimizer o;
    REQUIRE(optimizer_init(&o, params, &(struct optimizer_options){.decay_embeddings = true, .embedding_lr_ratio = 1.0f}, pool, err));
    int32_t tokens[T];
    float weights[T];
    struct rng rng;
    rng_init(&rng, 1);
    for (int i = 0; i < T; i++) {
        tokens[i] = (int32_t)rng_below(&rng, (uint64_t)params->config.V / 4);
        weights[i] = (float)rng_below(&rng, 3);
    }
    int64_t P = params->n_floats;
    float *w = floats(P), *grad = floats(P), *m = floats(P), *v = floats(P), *ema = floats(P);
    params_randomise(params, w, 9, false);
    struct network_batch batch = {tokens, weights, begin, T, DOCS};
    *loss = 0.0;
    for (int step = 0; step < 3; step++) {
        optimizer_zero(&o, grad);
        network_load(n, w, true);
        *loss += network_pass(n, &batch, grad, 1e-3f, (uint64_t)step);
        struct optimizer_step s = {step + 1, 1e-2f, 0.9f, 0.95f, 1e-8f, 0.1f, 1.0f, 0.9f};
        s.grad_scale = (float)fmin(1.0, 1.0 / optimizer_norm(&o, grad));
        optimizer_apply(&o, w, m, v, grad, ema, &s);
    }
    free(grad);
    free(m);
    free(v);
    free(ema);
    optimizer_release(&o);
    network_close(n);
    pool_close(pool);
    return w;
}

static void test_threads(void **state) {
    (void)state;
    struct model_config c = {.family = FAMILY_QWEN3,
                             .V = 500,
                             .C = 64,
                             .L = 2,
                             .H = 4,
                             .H_kv = 2,
                             .D = 24,
                             .F = 112,
                             .T_max = 256,
                             .norm_eps = 1e-6f,
                             .rope_theta = 10000.0,
                             .tied_head = true,
                             .qk_norm = true,
                             .qkv_bias = true,
                             .o_bias = true,
                             .init_std = 0.05f,
                             .bos = -1,
                             .pad = -1};
    struct params params;
    REQUIRE(params_init(&params, &c, err));
    double loss_1, loss_n;
    float *w_1 = run_with_threads(1, &params, &loss_1);
    for (int n_threads = 2; n_threads <= 5; n_threads++) {
        float *w_n = run_with_threads(n_threads, &params, &loss_n);
        if (loss_1 != loss_n || memcmp(w_1, w_n, (size_t)params.n_floats * sizeof(float)) != 0)
            fail_msg("%d threads: loss %.17g, one thread %.17g: must be the same bits", n_threads,
                     loss_n, loss_1);
        free(w_n);
    }
    free(w_1);
    params_release(&params);
}

// A batch whose documents are in one micro-batch or in two gives the same loss up to rounding, and
// a document's loss does not depend on its neighbours.
static void test_documents_are_alone(void **state) {
    (void)state;
    struct reference r;
    reference_open(&r, "qwen3");
    struct network *n;
    struct network_options options = {.max_tokens = r.T, .max_doc = 55};
    REQUIRE(network_open(&n, &r.params, &options, NULL, err));
    network_load(n, r.w, false);
    struct network_batch all = reference_batch(&r, 2);
    double sum = 0.0, together = network_pass(n, &all, NULL, 0.0f, 0);
    for (int64_t d = 0; d < r.n_docs; d++) {
        int32_t begin[2] = {0, r.doc_begin[d + 1] - r.doc_begin[d]};
        struct network_batch one = {all.tokens + r.doc_begin[d], all.weights + r.doc_begin[d],
                                    begin, begin[1], 1};
        sum += network_pass(n, &one, NULL, 0.0f, 0);
    }
    if (!(fabs(sum - together) < 1e-9 * fabs(together)))
        fail_msg("documents alone: %.15g, packed: %.15g", sum, together);
    network_close(n);
    reference_close(&r);
}

int main(void) {
    if (!file_exists("tests/train/ref/qwen3/ref.safetensors")) {
        printf("skipped: tests/train/ref/qwen3/ref.safetensors is absent (run from the repository "
               "root)\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_qwen3),   cmocka_unit_test(test_llama),
        cmocka_unit_test(test_qwen2),   cmocka_unit_test(test_finite_differences),
        cmocka_unit_test(test_threads), cmocka_unit_test(test_documents_are_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
