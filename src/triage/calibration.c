// triage/calibration.c - temperature scaling with a bias a level (Guo et al. 2017, arXiv:1706.04599, section 4.2:
// vector scaling with one common slope).
#include "triage/calibration.h"

#include "core/file.h"
#include "core/json.h"

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
    if (!file_join(path, sizeof path, folder, "sillon.json", err)) return false;
    if (!file_exists(path)) return true;
    if (!json_parse_file(&root, path, err)) return false;
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

void calibration_fit(struct calibration *out, const float (*p)[N_LEVELS], const int *levels, int64_t n) {
    double slope = 1, bias[N_LEVELS] = {0};
    enum { STEPS = 4000 };
    for (int step = 0; step < STEPS && n > 0; step++) { // plain gradient descent: six numbers, a convex problem
        double d_slope = 0, d_bias[N_LEVELS] = {0};
        for (int64_t i = 0; i < n; i++) {
            double z[N_LEVELS], l[N_LEVELS], max = -HUGE_VAL, sum = 0;
            for (int k = 0; k < N_LEVELS; k++) {
                l[k] = log(fmax((double)p[i][k], 1e-9));
                z[k] = slope * l[k] + bias[k];
                max = fmax(max, z[k]);
            }
            for (int k = 0; k < N_LEVELS; k++) sum += z[k] = exp(z[k] - max);
            for (int k = 0; k < N_LEVELS; k++) {
                double d = z[k] / sum - (levels[i] == k);
                d_slope += d * l[k];
                d_bias[k] += d;
            }
        }
        double rate = 0.05;
        slope -= rate * d_slope / (double)n;
        for (int k = 0; k < N_LEVELS; k++) bias[k] -= rate * (d_bias[k] + 2 * bias[k]) / (double)n;
        if (slope < 0.05) slope = 0.05;
    }
    *out = (struct calibration){.temperature = (float)(1 / slope), .trace_doubt = 0.1f};
    for (int k = 0; k < N_LEVELS; k++) out->bias[k] = (float)bias[k];
}
