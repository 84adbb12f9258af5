// forge/teacher.c - five folds of the n-gram classifier.
#include "forge/teacher.h"

#include "core/buf.h"
#include "core/file.h"
#include "core/json.h"
#include "forge/seeds.h"
#include "triage/ngram.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double TEACHER_C = 0.7;
static const float TEACHER_SLOPE = 3.0f;

struct lines {
    struct label_record *items;
    int64_t n, capacity;
};

static bool lines_read(struct lines *l, const char *path, struct error *err) {
    char *text;
    size_t n_bytes;
    if (!file_read(&text, &n_bytes, path, 0, err)) return false;
    bool ok = true;
    int64_t line_i = 0;
    for (size_t i = 0; ok && i < n_bytes;) {
        const char *start = text + i, *end = memchr(start, '\n', n_bytes - i);
        size_t length = end != NULL ? (size_t)(end - start) : n_bytes - i;
        char where[1200];
        json_t *json;
        i += length + 1;
        line_i++;
        if (length == 0) continue;
        snprintf(where, sizeof where, "%.1000s:%lld", path, (long long)line_i);
        if (l->n == l->capacity) {
            int64_t wanted = l->capacity ? 2 * l->capacity : 4096;
            struct label_record *grown = realloc(l->items, (size_t)wanted * sizeof *grown);
            if (grown == NULL) {
                ok = error_set(err, ERR_NOMEM, "%s: out of memory", path);
                break;
            }
            l->items = grown;
            l->capacity = wanted;
        }
        ok = json_parse(&json, start, length, where, err) && label_record_take(&l->items[l->n], json, where, err);
        if (ok) l->n++;
    }
    free(text);
    return ok;
}

// Twins and the messages of one incident share a fold.
static int fold_of(const struct label_record *r) {
    char key[300];
    if (r->incident != NULL) {
        snprintf(key, sizeof key, "%.3s/%.200s", r->id, r->incident);
    } else {
        bool first = r->twin == NULL || strcmp(r->id, r->twin) < 0;
        snprintf(key, sizeof key, "%.250s", first ? r->id : r->twin);
    }
    return (int)(forge_hash(key, 0) % TEACHER_FOLDS);
}

static bool fold_write(struct buf *b, const struct lines *l, int fold, struct error *err) {
    const char **texts = malloc((size_t)l->n * sizeof *texts);
    int *levels = malloc((size_t)l->n * sizeof *levels);
    struct ngram *ngram = NULL;
    int64_t n = 0;
    bool ok = (texts != NULL && levels != NULL) || error_set(err, ERR_NOMEM, "teacher: out of memory");
    for (int64_t i = 0; ok && i < l->n; i++) {
        if (fold_of(&l->items[i]) == fold) continue;
        texts[n] = l->items[i].text;
        levels[n++] = l->items[i].level;
    }
    ok = ok && ngram_train(&ngram, texts, levels, n, TEACHER_C, err);
    for (int64_t i = 0; ok && i < l->n; i++) {
        const struct label_record *r = &l->items[i];
        if (fold_of(r) != fold) continue;
        float d[N_LEVELS], max = -INFINITY, sum = 0;
        ok = ngram_decide(ngram, r->text, d, err);
        for (int k = 0; k < N_LEVELS; k++) max = fmaxf(max, d[k]);
        for (int k = 0; k < N_LEVELS; k++) sum += d[k] = expf(TEACHER_SLOPE * (d[k] - max));
        buf_append_str(b, "{\"id\":");
        buf_append_json_string(b, r->id, strlen(r->id));
        buf_append_str(b, ",\"p\":[");
        for (int k = 0; k < N_LEVELS; k++) buf_printf(b, k ? ",%.4f" : "%.4f", (double)(d[k] / sum));
        buf_append_str(b, "]}\n");
    }
    ngram_close(ngram);
    free(texts);
    free(levels);
    return ok;
}

bool teacher_write(const char *in, const char *out, int64_t *n_records, struct error *err) {
    struct lines l = {0};
    struct buf b = {0};
    bool ok = lines_read(&l, in, err);
    if (ok && l.n < 2 * TEACHER_FOLDS)
        ok = error_set(err, ERR_INPUT, "%s: %lld records, at least %d are needed", in, (long long)l.n, 2 * TEACHER_FOLDS);
    for (int fold = 0; ok && fold < TEACHER_FOLDS; fold++) ok = fold_write(&b, &l, fold, err);
    ok = ok && (buf_ok(&b) || error_set(err, ERR_NOMEM, "teacher: out of memory")) &&
         file_write_atomic(out, b.data, b.n_bytes, err);
    if (n_records != NULL) *n_records = l.n;
    for (int64_t i = 0; i < l.n; i++) label_record_release(&l.items[i]);
    free(l.items);
    buf_release(&b);
    return ok;
}

// ------------------------------------------------------------------------------------------------- reading
struct entry {
    char *id;
    float p[N_LEVELS];
};

struct teacher {
    struct arena arena;
    struct entry *entries; // sorted by id
    int64_t n;
};

static int by_id(const void *a, const void *b) {
    return strcmp(((const struct entry *)a)->id, ((const struct entry *)b)->id);
}

static bool entry_read(struct teacher *t, const json_t *json, const char *where, struct error *err) {
    const char *id;
    const json_t *p = json_object_get(json, "p");
    struct entry *e = &t->entries[t->n];
    if (!json_get_string(&id, json, "id", true, where, err)) return false;
    if (!json_is_array(p) || json_array_size(p) != N_LEVELS)
        return error_set(err, ERR_INPUT, "%s: \"p\" must be %d numbers", where, N_LEVELS);
    for (size_t k = 0; k < N_LEVELS; k++) {
        e->p[k] = (float)json_number_value(json_array_get(p, k));
        if (!json_is_number(json_array_get(p, k)) || !(e->p[k] >= 0 && e->p[k] <= 1.001f))
            return error_set(err, ERR_INPUT, "%s: p[%zu] is not a probability", where, k);
    }
    e->id = arena_strndup(&t->arena, id, strlen(id));
    if (e->id == NULL) return error_set(err, ERR_NOMEM, "%s: out of memory", where);
    t->n++;
    return true;
}

bool teacher_open(struct teacher **out, const char *path, struct error *err) {
    *out = NULL;
    struct teacher *t = calloc(1, sizeof *t);
    char *text = NULL;
    size_t n_bytes = 0;
    bool ok = t != NULL || error_set(err, ERR_NOMEM, "%s: out of memory", path);
    ok = ok && file_read(&text, &n_bytes, path, 0, err);
    int64_t n_lines = 1, line_i = 0;
    for (size_t i = 0; ok && i < n_bytes; i++) n_lines += text[i] == '\n';
    if (ok) {
        t->entries = calloc((size_t)n_lines, sizeof *t->entries);
        ok = t->entries != NULL || error_set(err, ERR_NOMEM, "%s: out of memory", path);
    }
    for (size_t i = 0; ok && i < n_bytes;) {
        const char *start = text + i, *end = memchr(start, '\n', n_bytes - i);
        size_t length = end != NULL ? (size_t)(end - start) : n_bytes - i;
        char where[1200];
        json_t *json;
        i += length + 1;
        line_i++;
        if (length == 0) continue;
        snprintf(where, sizeof where, "%.1000s:%lld", path, (long long)line_i);
        ok = json_parse(&json, start, length, where, err);
        if (!ok) break;
        ok = entry_read(t, json, where, err);
        json_decref(json);
    }
    free(text);
    if (!ok) {
        teacher_close(t);
        return false;
    }
    qsort(t->entries, (size_t)t->n, sizeof *t->entries, by_id);
    *out = t;
    return true;
}

void teacher_close(struct teacher *t) {
    if (t == NULL) return;
    free(t->entries);
    arena_release(&t->arena);
    free(t);
}

const float *teacher_find(const struct teacher *t, const char *id) {
    char seed[300];
    snprintf(seed, sizeof seed, "%.*s", (int)strcspn(id, "~"), id);
    struct entry key = {.id = seed};
    const struct entry *e = t->n > 0 ? bsearch(&key, t->entries, (size_t)t->n, sizeof key, by_id) : NULL;
    return e != NULL ? e->p : NULL;
}
