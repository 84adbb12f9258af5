// Calibration: applied by hand-computed values, fitted on simulated data, read from sillon.json.
#include "core/file.h"
#include "core/rng.h"
#include "engine/gguf.h"
#include "triage/calibration.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void test_apply(void **state) {
    (void)state;
    struct calibration c = {.temperature = 2, .bias = {0, 0, 0, 1, 0}};
    float p[N_LEVELS], logits[N_LEVELS] = {0, 2, 4, -2, 1000};
    calibration_apply(&c, p, (float[N_LEVELS]){0, 2, 4, -2, -4});
    double z[N_LEVELS] = {0, 1, 2, 0, -2}, sum = 0; // logits / 2 + bias
    for (int i = 0; i < N_LEVELS; i++) sum += exp(z[i]);
    for (int i = 0; i < N_LEVELS; i++) assert_true(fabs((double)p[i] - exp(z[i]) / sum) < 1e-6);
    calibration_apply(&c, p, logits); // no overflow
    assert_true(p[4] == 1.0f && p[0] == 0.0f);
}

static double nll(const struct calibration *c, const float (*p)[N_LEVELS], const int *levels,
                  int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        float logits[N_LEVELS], q[N_LEVELS];
        for (int k = 0; k < N_LEVELS; k++) logits[k] = logf(fmaxf(p[i][k], 1e-9f));
        calibration_apply(c, q, logits);
        sum -= log(fmax((double)q[levels[i]], 1e-12));
    }
    return sum / (double)n;
}

enum { N = 3000 };

// Labels are drawn from softmax(z); the model says softmax(sharpness (z - shift)): the fit must
// find temperature = sharpness and bias = shift (up to a constant).
static void simulate(float (*p)[N_LEVELS], int *levels, double sharpness, const double *shift) {
    struct rng rng;
    rng_init(&rng, 11);
    for (int i = 0; i < N; i++) {
        double z[N_LEVELS], sum = 0, sum_model = 0, u = (double)rng_f32(&rng), seen = 0;
        for (int k = 0; k < N_LEVELS; k++) sum += exp(z[k] = 4.0 * (double)rng_f32(&rng) - 2.0);
        levels[i] = N_LEVELS - 1;
        for (int k = N_LEVELS - 1; k >= 0; k--) {
            seen += exp(z[k]) / sum;
            if (u < seen) {
                levels[i] = k;
                break;
            }
        }
        for (int k = 0; k < N_LEVELS; k++) sum_model += exp(sharpness * (z[k] - shift[k]));
        for (int k = 0; k < N_LEVELS; k++)
            p[i][k] = (float)(exp(sharpness * (z[k] - shift[k])) / sum_model);
    }
}

static void test_fit(void **state) {
    (void)state;
    static const double shifts[2][N_LEVELS] = {{0}, {0.5, -0.5, 0, 0.5, -0.5}};
    static const double sharpness[] = {0.5, 1, 3, 8};
    float(*p)[N_LEVELS] = calloc(N, sizeof *p);
    int *levels = calloc(N, sizeof *levels);
    assert_true(p != NULL && levels != NULL);
    for (int s = 0; s < 2; s++)
        for (int64_t i = 0; i < COUNT_OF(sharpness); i++) {
            simulate(p, levels, sharpness[i], shifts[s]);
            struct calibration c, none = {.temperature = 1}, best = {.temperature = 1};
            best.temperature = (float)sharpness[i];
            for (int k = 0; k < N_LEVELS; k++) best.bias[k] = (float)shifts[s][k];
            calibration_fit(&c, (const float(*)[N_LEVELS])p, levels, N, true);
            struct calibration slope;
            calibration_fit(&slope, (const float(*)[N_LEVELS])p, levels, N, false);
            for (int k = 0; k < N_LEVELS; k++) assert_true(slope.bias[k] == 0.0f);
            assert_true(nll(&slope, (const float(*)[N_LEVELS])p, levels, N) <=
                        nll(&none, (const float(*)[N_LEVELS])p, levels, N) + 1e-9);
            double before = nll(&none, (const float(*)[N_LEVELS])p, levels, N),
                   after = nll(&c, (const float(*)[N_LEVELS])p, levels, N),
                   wanted = nll(&best, (const float(*)[N_LEVELS])p, levels, N);
            if (!(after <= before + 1e-9) || !(after <= wanted + 2e-3) ||
                !(fabs((double)c.temperature / sharpness[i] - 1) < 0.15))
                fail_msg("sharpness %g, shift %d: temperature %g, nll %g -> %g, best known %g",
                         sharpness[i], s, (double)c.temperature, before, after, wanted);
        }
    free(p);
    free(levels);
}

// A model that is sure and often wrong: probabilities at the edge of what a float holds.
static void test_fit_overconfident(void **state) {
    (void)state;
    enum { M = 200 };
    static float p[M][N_LEVELS];
    static int levels[M];
    for (int i = 0; i < M; i++) {
        int said = i % N_LEVELS;
        for (int k = 0; k < N_LEVELS; k++) p[i][k] = k == said ? 1.0f : 0.0f;
        levels[i] = i % 10 < 7 ? said : (said + 1 + i / 10 % 4) % N_LEVELS; // right 7 times in 10
    }
    struct calibration c, none = {.temperature = 1};
    calibration_fit(&c, (const float(*)[N_LEVELS])p, levels, M, true);
    double after = nll(&c, (const float(*)[N_LEVELS])p, levels, M),
           wanted = -(0.7 * log(0.7) + 0.3 * log(0.3 / 4)); // the best any temperature can do
    assert_true(isfinite(c.temperature) && c.temperature > 0);
    if (!(after < wanted + 0.05) || !(after < nll(&none, (const float(*)[N_LEVELS])p, levels, M)))
        fail_msg("nll %g, want about %g (temperature %g)", after, wanted, (double)c.temperature);
    calibration_fit(&c, (const float(*)[N_LEVELS])p, levels, 0, true); // nothing to learn from
    assert_true(c.temperature == 1.0f && c.bias[0] == 0.0f);
}

static void test_read(void **state) {
    (void)state;
    static const struct {
        const char *json, *says; // NULL json: no file; NULL says: accepted
        float temperature, bias_1, doubt;
        bool model_writes;
    } cases[] = {
        {NULL, NULL, 1, 0, 0.1f, false},
        {"{}", NULL, 1, 0, 0.1f, false},
        {"{\"calibration\":null,\"trace_writer\":\"model\"}", NULL, 1, 0, 0.1f, true},
        {"{\"calibration\":{\"temperature\":1.5,\"bias\":[0,0.25,0,0,-1],\"trace_doubt\":0.2}}",
         NULL, 1.5f, 0.25f, 0.2f, false},
        {"{\"trace_writer\":\"rules\",\"more\":1}", NULL, 1, 0, 0.1f, false},
        {"{", "sillon.json", 0, 0, 0, false},
        {"", "sillon.json", 0, 0, 0, false},
        {"{\"calibration\":[]}", "object", 0, 0, 0, false},
        {"{\"calibration\":{\"temperature\":0}}", "temperature 0", 0, 0, 0, false},
        {"{\"calibration\":{\"temperature\":-1}}", "temperature -1", 0, 0, 0, false},
        {"{\"calibration\":{\"temperature\":\"1\"}}", "temperature", 0, 0, 0, false},
        {"{\"calibration\":{\"bias\":[1,2]}}", "bias", 0, 0, 0, false},
        {"{\"calibration\":{\"bias\":[1,2,3,4,\"5\"]}}", "bias[4]", 0, 0, 0, false},
        {"{\"calibration\":{\"bias\":[1,2,3,4,1e30]}}", "bias[4]", 0, 0, 0, false},
    };
    char folder[] = "/tmp/sillon-calibration-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/sillon.json", folder);
    for (int64_t i = 0; i < COUNT_OF(cases); i++) {
        struct calibration c;
        struct error err = {0};
        if (cases[i].json != NULL &&
            !file_write_atomic(path, cases[i].json, strlen(cases[i].json), &err))
            fail_msg("%s", err.text);
        bool ok = calibration_read(&c, folder, &err);
        if (ok != (cases[i].says == NULL)) fail_msg("case %d: %s", (int)i, err.text);
        if (!ok && strstr(err.text, cases[i].says) == NULL)
            fail_msg("case %d: got \"%s\", want \"%s\"", (int)i, err.text, cases[i].says);
        if (ok)
            assert_true(c.temperature == cases[i].temperature && c.bias[1] == cases[i].bias_1 &&
                        c.trace_doubt == cases[i].doubt && c.model_writes == cases[i].model_writes);
    }
    unlink(path);
    rmdir(folder);
}

static bool no_tensor(void *context, int64_t i, float *out, struct error *err) {
    (void)context, (void)i, (void)out, (void)err;
    return false;
}

// A GGUF file carries its model's sillon.json: the defaults would be other probabilities.
static void test_read_gguf(void **state) {
    (void)state;
    static const char json[] = "{\"calibration\":{\"temperature\":1.5,\"bias\":[0,0.25,0,0,-1]}}";
    char folder[] = "/tmp/sillon-calibration-XXXXXX", path[64];
    struct calibration c;
    struct error err = {0};
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/m.gguf", folder);
    for (int i = 0; i < 3; i++) {
        struct gguf_metadata m = {0};
        if (i == 1) gguf_put_string(&m, "sillon.json", json, strlen(json));
        if (i == 2) gguf_put_string(&m, "sillon.json", "{", 1);
        if (!gguf_file_write(path, &m, NULL, 0, no_tensor, NULL, &err)) fail_msg("%s", err.text);
        gguf_metadata_release(&m);
        bool ok = calibration_read(&c, path, &err);
        if (ok != (i < 2)) fail_msg("file %d: %s", i, err.text);
        if (ok) assert_true(c.temperature == (i ? 1.5f : 1.0f) && c.bias[1] == (i ? 0.25f : 0.0f));
    }
    assert_true(strstr(err.text, "m.gguf/sillon.json") != NULL);
    unlink(path);
    rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_apply),
        cmocka_unit_test(test_fit),
        cmocka_unit_test(test_fit_overconfident),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_read_gguf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
