// triage/calibration.c - temperature scaling with a bias a level (Guo et al. 2017, arXiv:1706.04599, section 4.2:
// vector scaling with one common slope).
#include "triage/calibration.h"

#include "core/file.h"
#include "core/json.h"
#include "engine/source.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool parse(struct calibration *out, const json_t *c, const char *path, struct error *err) {
    double temperature = 1, doubt = 0.1;
    if (!json_get_f64(&temperature, c, "temperature", false, path, err) ||
        !json_get_f64(&doubt, c, "trace_doubt", false, path, err))
        return false;
    if (!(temperature > 0.01 && temperature < 100))
        return error_set(err, ERR_INPUT, "%s: calibration temperature %g is outside (0.01, 100)", path, temperature);
    out->temperature = (float)temperature;
    out->trace_doubt = (float)doubt;
    const json_t *bias = json_object_get(c, "bias");
    if (bias == NULL) return true;
    if (!json_is_array(bias) || json_array_size(bias) != N_LEVELS)
        return error_set(err, ERR_INPUT, "%s: calibration bias must be %d numbers", path, N_LEVELS);
    for (size_t i = 0; i < N_LEVELS; i++) {
        const json_t *b = json_array_get(bias, i);
        if (!json_is_number(b) || !(fabs(json_number_value(b)) < 100))
            return error_set(err, ERR_INPUT, "%s: calibration bias[%zu] is not a number within 100", path, i);
        out->bias[i] = (float)json_number_value(b);
    }
    return true;
}

bool calibration_read(struct calibration *out, const char *folder, struct error *err) {
    *out = (struct calibration){.temperature = 1, .trace_doubt = 0.1f};
    char path[4096];
    json_t *root;
    struct buf text = {0};
    if (!file_join(path, sizeof path, folder, "sillon.json", err)) return false;
    bool present = false;
    bool read = source_sillon_json(&text, &present, folder, err) &&
                (!present || json_parse(&root, text.n_bytes > 0 ? text.data : "", text.n_bytes, path, err));
    buf_release(&text);
    if (!read || !present) return read;
    const json_t *c = json_object_get(root, "calibration");
    const char *writer = json_string_value(json_object_get(root, "trace_writer"));
    out->model_writes = writer != NULL && strcmp(writer, "model") == 0;
    bool ok = c == NULL || json_is_null(c) ||
              (json_is_object(c) ? parse(out, c, path, err)
                                 : error_set(err, ERR_INPUT, "%s: \"calibration\" must be an object", path));
    json_decref(root);
    return ok;
}

void calibration_apply(const struct calibration *c, float p[N_LEVELS], const float logits[N_LEVELS]) {
    float max = -INFINITY, sum = 0;
    for (int i = 0; i < N_LEVELS; i++) {
        p[i] = logits[i] / c->temperature + c->bias[i];
        if (p[i] > max) max = p[i];
    }
    for (int i = 0; i < N_LEVELS; i++) sum += p[i] = expf(p[i] - max);
    for (int i = 0; i < N_LEVELS; i++) p[i] /= sum;
}

// Mean negative log-likelihood, penalty included, of slope x[0] and biases x[1..], and its gradient.
static double fit_loss(const double x[1 + N_LEVELS], double gradient[1 + N_LEVELS], const float (*p)[N_LEVELS],
                       const int *levels, int64_t n) {
    double loss = 0;
    for (int k = 0; k <= N_LEVELS; k++) gradient[k] = 0;
    for (int64_t i = 0; i < n; i++) {
        double z[N_LEVELS], l[N_LEVELS], max = -HUGE_VAL, sum = 0;
        for (int k = 0; k < N_LEVELS; k++) {
            l[k] = log(fmax((double)p[i][k], 1e-9));
            z[k] = x[0] * l[k] + x[1 + k];
            max = fmax(max, z[k]);
        }
        for (int k = 0; k < N_LEVELS; k++) sum += exp(z[k] - max);
        loss += max + log(sum) - z[levels[i]];
        for (int k = 0; k < N_LEVELS; k++) {
            double d = exp(z[k] - max) / sum - (levels[i] == k);
            gradient[0] += d * l[k];
            gradient[1 + k] += d;
        }
    }
    for (int k = 1; k <= N_LEVELS; k++) {
        loss += x[k] * x[k];
        gradient[k] += 2 * x[k];
    }
    for (int k = 0; k <= N_LEVELS; k++) gradient[k] /= (double)n;
    return loss / (double)n;
}

void calibration_fit(struct calibration *out, const float (*p)[N_LEVELS], const int *levels, int64_t n, bool with_bias) {
    enum { STEPS = 4000 };
    double x[1 + N_LEVELS] = {1}, gradient[1 + N_LEVELS], rate = 0.05;
    double loss = n > 0 ? fit_loss(x, gradient, p, levels, n) : 0;
    // Gradient descent: six numbers, a convex problem. The slope's curvature depends on how sure the model is, so the
    // rate is halved when a step does not help and grows while steps do.
    for (int step = 0; step < STEPS && n > 0 && rate > 1e-12; step++) {
        double tried[1 + N_LEVELS], tried_gradient[1 + N_LEVELS];
        for (int k = 0; k <= N_LEVELS; k++) tried[k] = k == 0 || with_bias ? x[k] - rate * gradient[k] : 0;
        tried[0] = fmax(tried[0], 0.02); // calibration_read() refuses temperatures of 100 and above
        double tried_loss = fit_loss(tried, tried_gradient, p, levels, n);
        if (!(tried_loss <= loss)) {
            rate /= 2;
            continue;
        }
        rate *= 1.2;
        loss = tried_loss;
        memcpy(x, tried, sizeof x);
        memcpy(gradient, tried_gradient, sizeof gradient);
    }
    *out = (struct calibration){.temperature = (float)(1 / x[0]), .trace_doubt = 0.1f};
    for (int k = 0; k < N_LEVELS; k++) out->bias[k] = (float)x[1 + k];
}
