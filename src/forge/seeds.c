// forge/seeds.c - reads the corpus folder and refuses a split that a twin or an incident crosses.
#include "forge/seeds.h"

#include "core/file.h"
#include "core/json.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t forge_hash(const char *s, uint64_t basis) {
    uint64_t h = basis == 0 ? 0xcbf29ce484222325u : basis;
    for (; *s != '\0'; s++) h = (h ^ (unsigned char)*s) * 0x100000001b3u;
    return h;
}

// A hash table from a string to a number; strings are borrowed.
struct table {
    const char **keys;
    int64_t *values;
    size_t n_slots; // a power of two, never full
};

static bool table_open(struct table *t, size_t n) {
    t->n_slots = 16;
    while (t->n_slots < 2 * n) t->n_slots *= 2;
    t->keys = calloc(t->n_slots, sizeof *t->keys);
    t->values = calloc(t->n_slots, sizeof *t->values);
    return t->keys != NULL && t->values != NULL;
}

static void table_close(struct table *t) {
    free(t->keys);
    free(t->values);
}

static size_t table_slot(const struct table *t, const char *key) {
    size_t i = forge_hash(key, 0) & (t->n_slots - 1);
    while (t->keys[i] != NULL && strcmp(t->keys[i], key) != 0) i = (i + 1) & (t->n_slots - 1);
    return i;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_free(char **names, size_t n) {
    for (size_t i = 0; i < n; i++) free(names[i]);
    free(names);
}

// The *.jsonl names of a folder, sorted.
static bool names_read(char ***out, size_t *n_out, const char *folder, struct error *err) {
    DIR *d = opendir(folder);
    if (d == NULL) return error_set(err, ERR_NOTFOUND, "seeds %s: cannot open the folder", folder);
    char **names = NULL;
    size_t n = 0;
    bool ok = true;
    for (struct dirent *e; ok && (e = readdir(d)) != NULL;) {
        size_t length = strlen(e->d_name);
        if (length < 7 || strcmp(e->d_name + length - 6, ".jsonl") != 0) continue;
        char **grown = realloc(names, (n + 1) * sizeof *names);
        if (grown != NULL) names = grown;
        ok = grown != NULL && (names[n] = strdup(e->d_name)) != NULL;
        if (ok) n++;
    }
    closedir(d);
    if (!ok) error_set(err, ERR_NOMEM, "seeds %s: out of memory", folder);
    else if (n == 0) ok = error_set(err, ERR_NOTFOUND, "seeds %s: no .jsonl file", folder);
    if (!ok) {
        names_free(names, n);
        return false;
    }
    qsort(names, n, sizeof *names, by_name);
    *out = names;
    *n_out = n;
    return true;
}

static bool file_lines(struct seeds *seeds, const char *folder, const char *name,
                       struct error *err) {
    char path[1024], where[1200], *text = NULL;
    size_t n_bytes;
    if (!file_join(path, sizeof path, folder, name, err) ||
        !file_read(&text, &n_bytes, path, 0, err))
        return false;
    bool ok = true;
    int line_i = 0;
    for (char *at = text, *end = text + n_bytes; ok && at < end;) {
        char *stop = memchr(at, '\n', (size_t)(end - at));
        if (stop == NULL) stop = end;
        line_i++;
        snprintf(where, sizeof where, "%s:%d", path, line_i);
        if (seeds->n == seeds->capacity) {
            int64_t wanted = seeds->capacity == 0 ? 1024 : 2 * seeds->capacity;
            struct seed *grown = realloc(seeds->items, (size_t)wanted * sizeof *grown);
            if (grown == NULL) {
                ok = error_set(err, ERR_NOMEM, "%s: out of memory", where);
                break;
            }
            seeds->items = grown;
            seeds->capacity = wanted;
        }
        if (stop > at) {
            struct seed *s = &seeds->items[seeds->n];
            memset(s, 0, sizeof *s);
            json_t *json;
            ok = json_parse(&json, at, (size_t)(stop - at), where, err) &&
                 label_record_take(&s->record, json, where, err);
            if (ok) {
                snprintf(s->file, sizeof s->file, "%.*s", (int)(strlen(name) - 6), name);
                s->id_hash = forge_hash(s->record.id, 0);
                seeds->n++;
            }
        }
        at = stop + 1;
    }
    free(text);
    return ok;
}

static int64_t root(const int64_t *parent, int64_t i) {
    while (parent[i] != i) i = parent[i];
    return i;
}

static void join(int64_t *parent, int64_t a, int64_t b) {
    a = root(parent, a);
    b = root(parent, b);
    if (a < b) parent[b] = a;
    else parent[a] = b;
}

// Joins items with the same (file, value) of an optional field, e.g. an incident.
static bool join_field(struct seeds *seeds, int64_t *parent, bool persona, struct error *err) {
    struct table t = {0};
    char(*keys)[64] = calloc((size_t)seeds->n + 1, sizeof *keys);
    bool ok = keys != NULL && table_open(&t, (size_t)seeds->n + 1);
    if (!ok) error_set(err, ERR_NOMEM, "seeds: out of memory");
    for (int64_t i = 0; ok && i < seeds->n; i++) {
        const struct label_record *r = &seeds->items[i].record;
        const char *value = persona ? r->persona : r->incident;
        if (value == NULL) continue;
        snprintf(keys[i], sizeof keys[i], "%s/%.40s", seeds->items[i].file, value);
        size_t slot = table_slot(&t, keys[i]);
        if (t.keys[slot] != NULL) join(parent, i, t.values[slot]);
        t.keys[slot] = keys[i];
        t.values[slot] = i;
    }
    table_close(&t);
    free(keys);
    return ok;
}

// Puts in of[i] which split record i is in, by number.
enum { N_SPLITS = 4 };
static const char *const split_names[N_SPLITS] = {"train", "dev", "ood", "validation"};
static bool split_read(const struct seeds *seeds, const struct table *ids, int *of,
                       const char *folder, struct error *err) {
    char path[1024], *text = NULL;
    size_t n_bytes;
    if (!file_join(path, sizeof path, folder, "split.tsv", err) ||
        !file_read(&text, &n_bytes, path, 0, err))
        return false;
    for (int64_t i = 0; i < seeds->n; i++) of[i] = -1;
    bool ok = true;
    int line_i = 0;
    char *rest = text;
    for (char *line; ok && (line = strsep(&rest, "\n")) != NULL;) {
        line_i++;
        if (line[0] == '\0' || line[0] == '#') continue;
        char *word = line;
        const char *id = strsep(&word, "\t");
        const char *name = word == NULL ? "" : strsep(&word, "\t\r");
        int split = label_find(split_names, N_SPLITS, name);
        size_t slot = table_slot(ids, id);
        if (split < 0)
            ok = error_set(err, ERR_INPUT,
                           "%s:%d: split \"%.40s\" is not train, dev, ood or validation", path,
                           line_i, name);
        else if (ids->keys[slot] != NULL) of[ids->values[slot]] = split;
    }
    free(text);
    for (int64_t i = 0; ok && i < seeds->n; i++)
        if (of[i] < 0)
            ok = error_set(err, ERR_INPUT, "%s: no split for %s", path, seeds->items[i].record.id);
    return ok;
}

static bool whole_check(const struct seeds *seeds, const int64_t *parent, const int *of,
                        struct error *err) {
    for (int64_t i = 0; i < seeds->n; i++) {
        int64_t first = root(parent, i);
        if (of[first] != of[i])
            return error_set(err, ERR_INPUT,
                             "seeds: %s is in %s but %s of the same twin or incident is in %s",
                             seeds->items[i].record.id, split_names[of[i]],
                             seeds->items[first].record.id, split_names[of[first]]);
    }
    return true;
}

// Keeps the records whose `keep` is set, in order; seed.group becomes the old root of its group.
static void compact(struct seeds *seeds, const int64_t *parent, const bool *keep) {
    int64_t n = 0;
    for (int64_t i = 0; i < seeds->n; i++) seeds->items[i].group = root(parent, i);
    for (int64_t i = 0; i < seeds->n; i++) {
        if (!keep[i]) {
            label_record_release(&seeds->items[i].record);
            continue;
        }
        seeds->items[n++] = seeds->items[i];
    }
    seeds->n = n;
}

// Chains the members of each group; seed.group goes from the old root to the first member's index.
static bool chain(struct seeds *seeds, int64_t n_old, struct error *err) {
    int64_t *first = malloc(((size_t)n_old + 1) * sizeof *first),
            *last = malloc(((size_t)n_old + 1) * sizeof *last);
    bool ok = first != NULL && last != NULL;
    if (!ok) error_set(err, ERR_NOMEM, "seeds: out of memory");
    for (int64_t i = 0; ok && i < n_old; i++) first[i] = -1;
    for (int64_t i = 0; ok && i < seeds->n; i++) {
        struct seed *s = &seeds->items[i];
        int64_t g = s->group;
        s->next = -1;
        if (first[g] < 0) first[g] = i;
        else seeds->items[last[g]].next = i;
        last[g] = i;
        s->group = first[g];
    }
    free(first);
    free(last);
    return ok;
}

static bool group_all(struct seeds *seeds, const char *folder, const char *split,
                      bool keep_personas, struct error *err) {
    struct table ids = {0};
    size_t n = (size_t)seeds->n;
    int64_t *parent = malloc((n + 1) * sizeof *parent),
            *persona = malloc((n + 1) * sizeof *persona);
    int *of = malloc((n + 1) * sizeof *of);
    bool *keep = malloc(n + 1), *tainted = calloc(n + 1, 1);
    bool ok = parent && persona && of && keep && tainted && table_open(&ids, n);
    if (!ok) error_set(err, ERR_NOMEM, "seeds: out of memory");
    for (int64_t i = 0; ok && i < seeds->n; i++) {
        parent[i] = persona[i] = i;
        keep[i] = true;
        size_t slot = table_slot(&ids, seeds->items[i].record.id);
        if (ids.keys[slot] != NULL)
            ok = error_set(err, ERR_INPUT, "seeds: id %s stands twice", seeds->items[i].record.id);
        ids.keys[slot] = seeds->items[i].record.id;
        ids.values[slot] = i;
    }
    for (int64_t i = 0; ok && i < seeds->n; i++) {
        const char *twin = seeds->items[i].record.twin;
        if (twin == NULL) continue;
        size_t slot = table_slot(&ids, twin);
        if (ids.keys[slot] == NULL)
            ok = error_set(err, ERR_INPUT, "seeds: the twin %s of %s is absent", twin,
                           seeds->items[i].record.id);
        else join(parent, i, ids.values[slot]);
    }
    ok = ok && join_field(seeds, parent, false, err) && join_field(seeds, persona, true, err);
    if (ok && split != NULL) {
        int wanted = label_find(split_names, N_SPLITS, split);
        if (wanted < 0)
            ok = error_set(err, ERR_USAGE, "split \"%.40s\" is not train, dev, ood or validation",
                           split);
        ok = ok && split_read(seeds, &ids, of, folder, err) && whole_check(seeds, parent, of, err);
        for (int64_t i = 0; ok && i < seeds->n; i++)
            if (of[i] != 0) tainted[root(persona, i)] = true;
        // A dropped record takes its twins and its incident with it: a pair is kept whole or not at
        // all.
        for (int64_t i = 0; ok && i < seeds->n; i++)
            if (!keep_personas && wanted == 0 && of[i] == 0 && tainted[root(persona, i)])
                keep[root(parent, i)] = false;
        for (int64_t i = 0; ok && i < seeds->n; i++) {
            keep[i] = keep[root(parent, i)];
            if (wanted == 0 && of[i] == 0 && !keep[i]) seeds->n_persona_dropped++;
            if (of[i] != wanted) keep[i] = false;
        }
    }
    if (ok) {
        int64_t n_old = seeds->n;
        compact(seeds, parent, keep);
        ok = chain(seeds, n_old, err);
    }
    table_close(&ids);
    free(parent);
    free(persona);
    free(of);
    free(keep);
    free(tainted);
    return ok;
}

bool seeds_open(struct seeds *seeds, const char *folder, const char *split, bool keep_personas,
                struct error *err) {
    memset(seeds, 0, sizeof *seeds);
    char **names = NULL;
    size_t n_names = 0;
    if (!names_read(&names, &n_names, folder, err)) return false;
    bool ok = true;
    for (size_t i = 0; ok && i < n_names; i++) ok = file_lines(seeds, folder, names[i], err);
    names_free(names, n_names);
    ok = ok && group_all(seeds, folder, split, keep_personas, err);
    if (!ok) seeds_close(seeds);
    return ok;
}

void seeds_close(struct seeds *seeds) {
    for (int64_t i = 0; i < seeds->n; i++) label_record_release(&seeds->items[i].record);
    free(seeds->items);
    memset(seeds, 0, sizeof *seeds);
}

int64_t seeds_find(const struct seeds *seeds, const char *id) {
    uint64_t h = forge_hash(id, 0);
    for (int64_t i = 0; i < seeds->n; i++)
        if (seeds->items[i].id_hash == h && strcmp(seeds->items[i].record.id, id) == 0) return i;
    return -1;
}
