// Muon: its step against the same steps in double, the singular values it promises, what it leaves
// to AdamW, and the same bits on any number of threads. (AdamW is compared with PyTorch in
// test_network.c.)
#include "core/pool.h"
#include "core/rng.h"
#include "train/optimizer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 64 };

static void init(struct params *params) {
    struct model_config c = {.family = FAMILY_QWEN3,
                             .V = 50,
                             .C = 24,
                             .L = 1,
                             .H = 2,
                             .H_kv = 1,
                             .D = 12,
                             .F = 40,
                             .T_max = 16,
                             .norm_eps = 1e-6f,
                             .rope_theta = 10000,
                             .tied_head = true,
                             .qk_norm = true,
                             .init_std = 0.02f,
                             .bos = -1,
                             .pad = -1};
    struct error err = {0};
    if (!params_init(params, &c, &err)) fail_msg("%s", err.text);
}

// x [r, c] in place.
static void newton_schulz(double *x, int64_t r, int64_t c) {
    static double a[MOST][MOST], b[MOST][MOST];
    double *y = calloc((size_t)(r * c), sizeof *y);
    assert_non_null(y);
    for (int step = 0; step < 5; step++) {
        for (int64_t i = 0; i < r; i++)
            for (int64_t j = 0; j < r; j++) {
                a[i][j] = 0;
                for (int64_t k = 0; k < c; k++) a[i][j] += x[i * c + k] * x[j * c + k];
            }
        for (int64_t i = 0; i < r; i++)
            for (int64_t j = 0; j < r; j++) {
                b[i][j] = -4.7750 * a[i][j];
                for (int64_t k = 0; k < r; k++) b[i][j] += 2.0315 * a[i][k] * a[k][j];
            }
        for (int64_t i = 0; i < r; i++)
            for (int64_t j = 0; j < c; j++) {
                y[i * c + j] = 3.4445 * x[i * c + j];
                for (int64_t k = 0; k < r; k++) y[i * c + j] += b[i][k] * x[k * c + j];
            }
        memcpy(x, y, (size_t)(r * c) * sizeof *x);
    }
    free(y);
}

static float *normals(int64_t n, uint64_t seed, float scale) {
    float *x = calloc((size_t)n, sizeof *x);
    struct rng rng;
    assert_non_null(x);
    rng_init(&rng, seed);
    for (int64_t i = 0; i < n; i++) x[i] = scale * rng_normal(&rng);
    return x;
}

struct run {
    float *w, *m, *v, *ema;
};

static struct run step_twice(const struct params *params, const float *grads[2], bool muon,
                             int n_threads) {
    struct optimizer o;
    struct pool *pool = NULL;
    struct error err = {0};
    size_t n = (size_t)params->n_floats;
    struct run r = {normals(params->n_floats, 1, 0.1f), calloc(n, 4), calloc(n, 4), calloc(n, 4)};
    struct optimizer_options options = {.muon = muon, .embedding_lr_ratio = 1.0f};
    if (!pool_open(&pool, n_threads, &err) || !optimizer_init(&o, params, &options, pool, &err))
        fail_msg("%s", err.text);
    for (int t = 1; t <= 2; t++) {
        struct optimizer_step s = {.t = t,
                                   .lr = 0.01f,
                                   .b1 = 0.9f,
                                   .b2 = 0.98f,
                                   .eps = 1e-8f,
                                   .weight_decay = 0.1f,
                                   .grad_scale = 0.5f,
                                   .ema_decay = 0.9f};
        optimizer_apply(&o, r.w, r.m, r.v, grads[t - 1], r.ema, &s);
    }
    optimizer_release(&o);
    pool_close(pool);
    return r;
}

static void run_free(struct run *r) {
    free(r->w);
    free(r->m);
    free(r->v);
    free(r->ema);
}

static void test_muon(void **state) {
    (void)state;
    struct params params;
    init(&params);
    float *start = normals(params.n_floats, 1, 0.1f), *first = normals(params.n_floats, 2, 1),
          *second = normals(params.n_floats, 3, 1);
    const float *grads[2] = {first, second};
    struct run muon = step_twice(&params, grads, true, 1),
               again = step_twice(&params, grads, true, 3),
               adamw = step_twice(&params, grads, false, 1);
    assert_memory_equal(muon.w, again.w, (size_t)params.n_floats * sizeof(float));
    for (int64_t i = 0; i < params.n_tensors; i++) {
        const struct params_tensor *t = &params.tensors[i];
        if (t->kind != PARAMS_MATRIX) { // AdamW's
            assert_memory_equal(muon.w + t->offset, adamw.w + t->offset,
                                (size_t)t->count * sizeof(float));
            continue;
        }
        int64_t rows = t->shape[0], columns = t->shape[1], r = rows < columns ? rows : columns,
                c = t->count / r;
        double *w = calloc((size_t)t->count, sizeof *w), *m = calloc((size_t)t->count, sizeof *m),
               *x = calloc((size_t)t->count, sizeof *x), worst = 0;
        assert_true(w != NULL && m != NULL && x != NULL);
        for (int64_t e = 0; e < t->count; e++) w[e] = (double)start[t->offset + e];
        for (int step = 0; step < 2; step++) {
            double norm = 0;
            for (int64_t e = 0; e < t->count; e++) {
                double g = 0.5 * (double)grads[step][t->offset + e];
                m[e] = 0.95 * m[e] + g;
                int64_t at = rows > columns ? e % columns * c + e / columns : e;
                x[at] = g + 0.95 * m[e];
                norm += x[at] * x[at];
            }
            for (int64_t e = 0; e < t->count; e++) x[e] /= sqrt(norm);
            newton_schulz(x, r, c);
            for (int64_t e = 0; e < t->count; e++)
                w[e] = (1 - 0.01 * 0.1) * w[e] -
                       0.01 * 0.2 * sqrt((double)c) *
                           x[rows > columns ? e % columns * c + e / columns : e];
        }
        for (int64_t e = 0; e < t->count; e++)
            worst = fmax(worst, fabs(w[e] - (double)muon.w[t->offset + e]));
        if (!(worst < 2e-5)) fail_msg("%s: %g from the steps in double", t->name, worst);
        // Rows of the last direction: singular values of 0.7 to 1.2 (its authors' figure) bound
        // their norms.
        for (int64_t row = 0; row < r; row++) {
            double square = 0;
            for (int64_t e = 0; e < c; e++) square += x[row * c + e] * x[row * c + e];
            assert_true(square > 0.6 * 0.6 && square < 1.25 * 1.25);
        }
        free(w);
        free(m);
        free(x);
    }
    run_free(&muon);
    run_free(&again);
    run_free(&adamw);
    free(start);
    free(first);
    free(second);
    params_release(&params);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_muon)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
