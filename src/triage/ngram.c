// triage/ngram.c - see ngram.h. n-grams are hashed to 2^20 buckets: with some 10^5 seen, few collide.
#include "triage/ngram.h"

#include "core/rng.h"
#include "core/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { NGRAM_LOW = 2, NGRAM_HIGH = 5, BUCKETS = 1 << 20, MIN_DOCUMENTS = 2, PASSES = 60, MAX_CHARS = 8192 };

struct feature {
    int32_t bucket;
    float value;
};

struct document {
    struct feature *features; // sorted by bucket
    int64_t n;
};

struct ngram {
    float *idf;             // [BUCKETS]; 0: too rare
    float *w[N_LEVELS];     // [BUCKETS]
    float bias[N_LEVELS];
};

// The text as lower-case code points; white space runs become one space.
static int64_t read_chars(const char *text, uint32_t *out) {
    int64_t n = 0;
    bool space = false;
    size_t n_bytes = strlen(text);
    for (size_t i = 0; i < n_bytes && n < MAX_CHARS;) {
        uint32_t c = 0xFFFD;
        size_t step = utf8_decode(text + i, n_bytes - i, &c);
        i += step > 0 ? step : 1;
        c = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
        bool is_space = c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == 0xA0 || c == 0x202F;
        if (is_space && space) continue;
        space = is_space;
        out[n++] = is_space ? ' ' : c;
    }
    return n;
}

static int by_bucket(const void *a, const void *b) {
    int32_t x = ((const struct feature *)a)->bucket, y = ((const struct feature *)b)->bucket;
    return x < y ? -1 : x > y;
}

// Counts of the text's n-grams, sorted by bucket. The caller frees doc->features.
static bool count_ngrams(struct document *doc, const char *text, struct error *err) {
    uint32_t *chars = malloc(MAX_CHARS * sizeof *chars);
    struct feature *f = NULL;
    *doc = (struct document){0};
    if (chars != NULL) {
        int64_t n = read_chars(text, chars), n_features = 0;
        f = malloc((size_t)(n * (NGRAM_HIGH - NGRAM_LOW + 1) + 1) * sizeof *f);
        for (int64_t i = 0; f != NULL && i < n; i++) {
            uint64_t hash = 1469598103934665603u;
            for (int64_t length = 1; length <= NGRAM_HIGH && i + length <= n; length++) {
                hash = (hash ^ chars[i + length - 1]) * 1099511628211u; // FNV-1a over code points
                if (length < NGRAM_LOW) continue;
                uint64_t mixed = (hash ^ (uint64_t)length) * 0x9E3779B97F4A7C15u;
                f[n_features++] = (struct feature){(int32_t)(mixed >> 44), 1.0f};
            }
        }
        if (f != NULL) {
            qsort(f, (size_t)n_features, sizeof *f, by_bucket);
            for (int64_t i = 0; i < n_features; i++) {
                if (doc->n > 0 && f[doc->n - 1].bucket == f[i].bucket) f[doc->n - 1].value += 1.0f;
                else f[doc->n++] = f[i];
            }
        }
    }
    free(chars);
    doc->features = f;
    return f != NULL || error_set(err, ERR_NOMEM, "n-gram classifier: out of memory");
}

// (1 + ln count) idf, rare n-grams dropped, unit length.
static void weigh(struct document *doc, const float *idf) {
    int64_t n = 0;
    float sum = 0;
    for (int64_t i = 0; i < doc->n; i++) {
        struct feature f = doc->features[i];
        if (!(idf[f.bucket] > 0)) continue;
        f.value = (1.0f + logf(f.value)) * idf[f.bucket];
        sum += f.value * f.value;
        doc->features[n++] = f;
    }
    doc->n = n;
    float scale = sum > 0 ? 1.0f / sqrtf(sum) : 0;
    for (int64_t i = 0; i < n; i++) doc->features[i].value *= scale;
}

static float dot(const float *w, const struct document *doc) {
    float sum = 0;
    for (int64_t i = 0; i < doc->n; i++) sum += w[doc->features[i].bucket] * doc->features[i].value;
    return sum;
}

// min 1/2 |w|^2 + C sum max(0, 1 - y (w.x + b))^2 in the dual; the bias is one more feature of value 1.
static bool train_level(struct ngram *g, int level, const struct document *docs, const int *levels, int64_t n, double C,
                        struct error *err) {
    float *w = g->w[level];
    double *alpha = calloc((size_t)n, sizeof *alpha), diagonal = 0.5 / C, bias = 0;
    int64_t *order = malloc((size_t)n * sizeof *order);
    bool ok = (alpha != NULL && order != NULL) || error_set(err, ERR_NOMEM, "n-gram classifier: out of memory");
    struct rng rng;
    rng_init_stream(&rng, 20260617, (uint64_t)level);
    for (int64_t i = 0; ok && i < n; i++) order[i] = i;
    for (int pass = 0; ok && pass < PASSES; pass++) {
        double worst = 0;
        for (int64_t i = n - 1; i > 0; i--) {
            int64_t j = (int64_t)rng_below(&rng, (uint64_t)i + 1), swap = order[i];
            order[i] = order[j];
            order[j] = swap;
        }
        for (int64_t k = 0; k < n; k++) {
            int64_t i = order[k];
            double y = levels[i] == level ? 1 : -1;
            double gradient = y * ((double)dot(w, &docs[i]) + bias) - 1 + diagonal * alpha[i];
            double projected = alpha[i] <= 0 && gradient > 0 ? 0 : gradient;
            worst = fmax(worst, fabs(projected));
            if (fabs(projected) < 1e-12) continue;
            double before = alpha[i];
            alpha[i] = fmax(0, before - gradient / (2.0 + diagonal)); // |x|^2 = 1, and 1 for the bias
            float step = (float)((alpha[i] - before) * y);
            for (int64_t f = 0; f < docs[i].n; f++) w[docs[i].features[f].bucket] += step * docs[i].features[f].value;
            bias += (alpha[i] - before) * y;
        }
        if (worst < 0.01) break;
    }
    g->bias[level] = (float)bias;
    free(alpha);
    free(order);
    return ok;
}

bool ngram_train(struct ngram **out, const char *const *texts, const int *levels, int64_t n, double C,
                 struct error *err) {
    *out = NULL;
    if (n < 1 || !(C > 0)) return error_set(err, ERR_USAGE, "n-gram classifier: %lld texts, C %g", (long long)n, C);
    struct ngram *g = calloc(1, sizeof *g);
    struct document *docs = calloc((size_t)n, sizeof *docs);
    bool ok = (g != NULL && docs != NULL) || error_set(err, ERR_NOMEM, "n-gram classifier: out of memory");
    if (ok) {
        g->idf = calloc(BUCKETS, sizeof *g->idf);
        ok = g->idf != NULL;
        for (int l = 0; l < N_LEVELS; l++) ok = (g->w[l] = calloc(BUCKETS, sizeof *g->w[l])) != NULL && ok;
        if (!ok) error_set(err, ERR_NOMEM, "n-gram classifier: out of memory");
    }
    for (int64_t i = 0; ok && i < n; i++) {
        ok = count_ngrams(&docs[i], texts[i], err);
        for (int64_t f = 0; ok && f < docs[i].n; f++) g->idf[docs[i].features[f].bucket] += 1.0f;
    }
    for (int64_t b = 0; ok && b < BUCKETS; b++) // scikit-learn's smoothed idf
        g->idf[b] = g->idf[b] >= MIN_DOCUMENTS ? logf((1.0f + (float)n) / (1.0f + g->idf[b])) + 1.0f : 0.0f;
    for (int64_t i = 0; ok && i < n; i++) weigh(&docs[i], g->idf);
    for (int l = 0; ok && l < N_LEVELS; l++) ok = train_level(g, l, docs, levels, n, C, err);
    for (int64_t i = 0; docs != NULL && i < n; i++) free(docs[i].features);
    free(docs);
    if (ok) *out = g;
    else ngram_close(g);
    return ok;
}

void ngram_close(struct ngram *g) {
    if (g == NULL) return;
    free(g->idf);
    for (int l = 0; l < N_LEVELS; l++) free(g->w[l]);
    free(g);
}

bool ngram_decide(const struct ngram *g, const char *text, float decision[N_LEVELS], struct error *err) {
    struct document doc;
    if (!count_ngrams(&doc, text, err)) return false;
    weigh(&doc, g->idf);
    for (int l = 0; l < N_LEVELS; l++) decision[l] = dot(g->w[l], &doc) + g->bias[l];
    free(doc.features);
    return true;
}
