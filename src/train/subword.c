// train/subword.c - see subword.h.
#include "train/subword.h"

#include "core/utf8.h"
#include "engine/tokenizer.h"
#include "kernels/kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { TOKEN_CHARS = 48 };

struct pair {
    uint64_t hash;
    int32_t token;
};

static int by_hash(const void *a, const void *b) {
    const struct pair *x = a, *y = b;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return x->token < y->token ? -1 : x->token > y->token;
}

static int by_token(const void *a, const void *b) {
    const struct pair *x = a, *y = b;
    if (x->token != y->token) return x->token < y->token ? -1 : 1;
    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

// The token as plain characters: lower case, no accents, white space as ' '. 0 when its bytes are
// not whole characters.
static int64_t plain_chars(const char *bytes, size_t n_bytes, int32_t out[TOKEN_CHARS]) {
    int64_t n = 0;
    for (size_t i = 0; i < n_bytes;) {
        uint32_t c;
        size_t step = utf8_decode(bytes + i, n_bytes - i, &c);
        if (step == 0) return 0;
        i += step;
        utf8proc_int32_t parts[8];
        int boundary = 0;
        utf8proc_ssize_t k = utf8proc_decompose_char((utf8proc_int32_t)c, parts, 8,
                                                     UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT |
                                                         UTF8PROC_STRIPMARK | UTF8PROC_CASEFOLD,
                                                     &boundary);
        for (utf8proc_ssize_t p = 0; p < k && p < 8; p++) {
            if (n == TOKEN_CHARS) return n;
            out[n++] = parts[p];
        }
    }
    return n;
}

static int64_t token_pairs(struct pair *out, const int32_t *chars, int64_t n, int32_t token,
                           int64_t low, int64_t high) {
    int64_t n_out = 0;
    for (int64_t i = 0; i < n; i++) {
        uint64_t hash = 1469598103934665603u;
        for (int64_t length = 1; i + length <= n; length++) {
            hash = (hash ^ (uint64_t)(uint32_t)chars[i + length - 1]) * 1099511628211u; // FNV-1a
            bool whole = i == 0 && length == n;
            if (!whole && (length < low || length > high)) continue;
            out[n_out++] = (struct pair){(hash ^ (uint64_t)length) * 0x9E3779B97F4A7C15u, token};
        }
    }
    return n_out;
}

bool subword_init(struct subword *s, struct arena *arena, const struct tokenizer *tokenizer,
                  int64_t V, int64_t C, int32_t first_id, const struct subword_options *options,
                  struct error *err) {
    *s = (struct subword){.V = V, .C = C};
    int64_t low = options->low, high = options->high;
    int64_t per_token = (int64_t)TOKEN_CHARS * (high - low + 1) + 1, capacity = 0, n = 0;
    struct pair *pairs = NULL;
    for (int64_t t = first_id; t < V; t++) {
        size_t n_bytes = 0;
        const char *bytes = t < tokenizer_vocab(tokenizer)
                                ? tokenizer_token_bytes(tokenizer, (int32_t)t, &n_bytes)
                                : NULL;
        int32_t chars[TOKEN_CHARS];
        int64_t n_chars = bytes != NULL && !tokenizer_is_special(tokenizer, (int32_t)t)
                              ? plain_chars(bytes, n_bytes, chars)
                              : 0;
        if (n + per_token > capacity) {
            capacity = 2 * (n + per_token);
            struct pair *grown = realloc(pairs, (size_t)capacity * sizeof *grown);
            if (grown == NULL) {
                free(pairs);
                return error_set(err, ERR_NOMEM, "subwords: out of memory");
            }
            pairs = grown;
        }
        n += token_pairs(pairs + n, chars, n_chars, (int32_t)t, low, high);
    }
    if (n > 0) qsort(pairs, (size_t)n, sizeof *pairs, by_hash);
    // Keep n-grams of two tokens or more, number them, drop repeats inside a token.
    int64_t kept = 0;
    for (int64_t i = 0, j; i < n; i = j) {
        for (j = i; j < n && pairs[j].hash == pairs[i].hash;) j++;
        if (pairs[i].token == pairs[j - 1].token) continue;
        for (int64_t k = i; k < j; k++)
            if (k == i || pairs[k].token != pairs[k - 1].token)
                pairs[kept++] = (struct pair){(uint64_t)s->n_grams, pairs[k].token};
        s->n_grams++;
    }
    float **tables[] = {&s->m, &s->v, &s->grad, &s->move};
    for (int i = 0; i < COUNT_OF(tables); i++)
        *tables[i] = arena_alloc_array(arena, (size_t)(s->n_grams * C) + 1, sizeof(float));
    s->gram_begin = arena_alloc_array(arena, (size_t)s->n_grams + 1, sizeof(int32_t));
    s->gram_token = arena_alloc_array(arena, (size_t)kept + 1, sizeof(int32_t));
    s->token_begin = arena_alloc_array(arena, (size_t)V + 1, sizeof(int32_t));
    s->token_gram = arena_alloc_array(arena, (size_t)kept + 1, sizeof(int32_t));
    bool ok = arena_ok(arena) || error_set(err, ERR_NOMEM, "subwords: out of memory");
    if (ok) {
        for (int64_t i = 0; i < kept; i++) {
            s->gram_token[i] = pairs[i].token;
            s->gram_begin[pairs[i].hash + 1] = (int32_t)i + 1;
        }
        if (kept > 0) qsort(pairs, (size_t)kept, sizeof *pairs, by_token);
        for (int64_t i = 0; i < kept; i++) {
            s->token_gram[i] = (int32_t)pairs[i].hash;
            s->token_begin[pairs[i].token + 1] = (int32_t)i + 1;
        }
        for (int64_t t = 0; t < V; t++)
            if (s->token_begin[t + 1] < s->token_begin[t])
                s->token_begin[t + 1] = s->token_begin[t];
    }
    free(pairs);
    return ok;
}

struct subword_job {
    const struct subword *s;
    const struct kernels *k;
    float *e;
    const float *grad_e;
    const struct subword_step *step;
    float bc1, bc2;
};

static void gram_part(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    const struct subword_job *j = context;
    const struct subword *s = j->s;
    const struct subword_step *o = j->step;
    int64_t C = s->C, n = (end - begin) * C;
    memset(s->grad + begin * C, 0, (size_t)n * sizeof(float));
    memset(s->move + begin * C, 0, (size_t)n * sizeof(float));
    for (int64_t g = begin; g < end; g++)
        for (int32_t i = s->gram_begin[g]; i < s->gram_begin[g + 1]; i++) {
            int32_t t = s->gram_token[i];
            j->k->axpy(s->grad + g * C, 1.0f / (float)(s->token_begin[t + 1] - s->token_begin[t]),
                       j->grad_e + t * C, C);
        }
    j->k->adamw(s->move + begin * C, s->m + begin * C, s->v + begin * C, s->grad + begin * C, n,
                o->lr, o->b1, o->b2, o->eps, 0.0f, j->bc1, j->bc2, o->grad_scale);
}

static void token_part(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    const struct subword_job *j = context;
    const struct subword *s = j->s;
    for (int64_t t = begin; t < end; t++) {
        float share = 1.0f / (float)max_i64(1, s->token_begin[t + 1] - s->token_begin[t]);
        for (int32_t i = s->token_begin[t]; i < s->token_begin[t + 1]; i++)
            j->k->axpy(j->e + t * s->C, share, s->move + s->token_gram[i] * s->C, s->C);
    }
}

void subword_apply(struct subword *s, struct pool *pool, float *e, const float *grad_e,
                   const struct subword_step *step) {
    struct subword_job job = {.s = s, .k = kernels_best(), .e = e, .grad_e = grad_e, .step = step};
    job.bc1 = (float)(1.0 - pow((double)step->b1, (double)step->t));
    job.bc2 = (float)(1.0 - pow((double)step->b2, (double)step->t));
    pool_run(pool, gram_part, &job, s->n_grams, 64);
    pool_run(pool, token_part, &job, s->V, 64);
}

void subword_reset(struct subword *s) {
    size_t n_bytes = (size_t)(s->n_grams * s->C) * sizeof(float);
    memset(s->m, 0, n_bytes);
    memset(s->v, 0, n_bytes);
}
