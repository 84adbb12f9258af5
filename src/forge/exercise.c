// forge/exercise.c - draws the feed. Levels follow an ordinary day (mostly U0 and U1, a little U2,
// isolated U3 and U4); an incident is a group of the corpus replayed under one set of swapped
// places, its messages in their own order.
#include "forge/exercise.h"

#include "core/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct event {
    json_t *json; // id, text, channel, author, t
    double t;
    int64_t i; // ties
};

static int by_time(const void *a, const void *b) {
    const struct event *x = a, *y = b;
    if (x->t != y->t) return x->t < y->t ? -1 : 1;
    return x->i < y->i ? -1 : x->i > y->i;
}

static const char *const colours[] = {"ambre",  "azur",  "brun", "cyan",  "gris",
                                      "ivoire", "lilas", "ocre", "rouge", "vert"};
static const char *const animals[] = {"belette", "buse",   "cigale", "fouine", "geai",   "grive",
                                      "lynx",    "martre", "merle",  "pie",    "renard", "sterne"};

static bool add_event(struct event *events, int64_t *n, const struct forge *f, int64_t seed_i,
                      int variant, double t, struct rng *rng, struct error *err) {
    json_t *record;
    if (!forge_variant(f, seed_i, variant, &record, err)) return false;
    char author[64];
    snprintf(author, sizeof author, "%s-%s-%03d",
             animals[rng_below(rng, (uint64_t)COUNT_OF(animals))],
             colours[rng_below(rng, (uint64_t)COUNT_OF(colours))], (int)rng_below(rng, 1000));
    json_t *json =
        json_pack("{s:s, s:O, s:O, s:s, s:f}", "id", "", "text", json_object_get(record, "text"),
                  "channel", json_object_get(record, "channel"), "author", author, "t", t);
    json_decref(record);
    if (json == NULL)
        return error_set(err, ERR_INPUT, "exercise: seed %s has no channel",
                         f->seeds->items[seed_i].record.id);
    events[*n] = (struct event){json, t, *n};
    ++*n;
    return true;
}

static int64_t group_size(const struct seeds *seeds, int64_t first) {
    int64_t n = 0;
    for (int64_t i = first; i >= 0; i = seeds->items[i].next) n++;
    return n;
}

// Draws incident groups that have enough messages and at least two of U3 or U4, each once.
static int pick_incidents(const struct seeds *seeds, int wanted, int64_t *firsts, struct rng *rng) {
    int64_t *all = malloc((size_t)(seeds->n + 1) * sizeof *all);
    int n_all = 0, n = 0;
    if (all == NULL) return 0;
    for (int64_t i = 0; i < seeds->n; i++) {
        if (seeds->items[i].group != i || seeds->items[i].record.incident == NULL ||
            group_size(seeds, i) < 6)
            continue;
        int grave = 0;
        for (int64_t k = i; k >= 0; k = seeds->items[k].next)
            grave += seeds->items[k].record.level >= 3;
        if (grave >= 2) all[n_all++] = i;
    }
    for (; n < wanted && n_all > 0; n++) {
        int k = (int)rng_below(rng, (uint64_t)n_all);
        firsts[n] = all[k];
        all[k] = all[--n_all];
    }
    free(all);
    return n;
}

bool exercise_write(const struct forge *f, const struct exercise_options *o, struct buf *out,
                    int64_t *n_messages, struct error *err) {
    const struct seeds *seeds = f->seeds;
    double seconds = o->minutes * 60;
    int64_t n_feed = o->n_messages > 0 ? o->n_messages : (int64_t)(27 * o->minutes);
    if (!(seconds > 0 && o->minutes <= 1440) || o->n_incidents < 0 || o->n_incidents > 16 ||
        n_feed > 100000)
        return error_set(err, ERR_USAGE,
                         "exercise: 0 < minutes <= 1440, at most 16 incidents and 100000 messages");
    if (seeds->n == 0) return error_set(err, ERR_INPUT, "exercise: no seed");
    struct rng rng;
    rng_init_stream(&rng, f->number, 0x657865726369);
    int64_t firsts[16] = {0}, most = n_feed;
    int n_incidents = pick_incidents(seeds, o->n_incidents, firsts, &rng);
    for (int k = 0; k < n_incidents; k++) most += group_size(seeds, firsts[k]);
    struct event *events = calloc((size_t)most + 1, sizeof *events);
    bool ok = events != NULL || error_set(err, ERR_NOMEM, "exercise: out of memory");
    int64_t n = 0;
    static const double share[N_LEVELS] = {0.34, 0.52, 0.105, 0.025, 0.01};
    for (int64_t i = 0; ok && i < n_feed;) {
        double u = rng_f64(&rng);
        int level = 0;
        while (level < N_LEVELS - 1 && u >= share[level]) u -= share[level++];
        int64_t seed_i = -1;
        for (int tries = 0; tries < 200 && seed_i < 0; tries++) {
            int64_t k = (int64_t)rng_below(&rng, (uint64_t)seeds->n);
            if (seeds->items[k].record.level == level && seeds->items[k].record.incident == NULL)
                seed_i = k;
        }
        i++;
        if (seed_i < 0) continue;
        ok = add_event(events, &n, f, seed_i, 1 + (int)rng_below(&rng, 50), rng_f64(&rng) * seconds,
                       &rng, err);
    }
    // Incidents begin in turn, each lasts about a third of the exercise; its places are always
    // swapped.
    struct forge sure = *f;
    sure.options.swap = 1;
    for (int k = 0; ok && k < n_incidents; k++) {
        int64_t size = group_size(seeds, firsts[k]), m = 0;
        double begin = seconds * (0.12 + 0.7 * (double)k / n_incidents), length = seconds * 0.3;
        int variant = 1 + (int)rng_below(&rng, 50);
        for (int64_t i = firsts[k]; ok && i >= 0; i = seeds->items[i].next, m++) {
            double t = begin + length * ((double)m + rng_f64(&rng)) / (double)size;
            if (t >= seconds) t = seconds - 1 - rng_f64(&rng) * 20;
            ok = add_event(events, &n, &sure, i, variant, t < 0 ? 0 : t, &rng, err);
        }
    }
    if (ok) {
        qsort(events, (size_t)n, sizeof *events, by_time);
        for (int64_t i = 0; ok && i < n; i++) {
            char id[32];
            snprintf(id, sizeof id, "ex-%05d", (int)i + 1);
            json_object_set_new(events[i].json, "id", json_string(id));
            json_object_set_new(events[i].json, "t", json_integer((json_int_t)events[i].t));
            char *line = json_dumps(events[i].json, JSON_COMPACT);
            if (line != NULL) buf_append_str(out, line);
            buf_append_char(out, '\n');
            ok = (line != NULL && buf_ok(out)) ||
                 error_set(err, ERR_NOMEM, "exercise: out of memory");
            free(line);
        }
    }
    for (int64_t i = 0; i < n; i++) json_decref(events[i].json);
    free(events);
    if (n_messages != NULL) *n_messages = n;
    return ok;
}
