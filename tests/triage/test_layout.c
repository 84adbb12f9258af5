// The token layout: labels to tokens and back, legal tokens, whole documents, truncated texts.
#include "core/file.h"
#include "core/json.h"
#include "core/rng.h"
#include "triage/layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int n_failed;
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);                \
            n_failed++;                                                                            \
        }                                                                                          \
    } while (0)

static const char *const texts[] = {
    "une dame vient de s'évanouir sur le quai de la 13, elle ne répond plus",
    "le métro est en retard, le quai est plein, la dame attend"};

static bool tokenizer_make(struct tokenizer **out) {
    char path[] = "/tmp/sillon-layout-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0) return false;
    close(fd);
    size_t n_bytes[2] = {strlen(texts[0]), strlen(texts[1])};
    struct tokenizer_training training = {
        .vocab = 420, .specials = layout_specials(), .min_frequency = 1, .nfc = true};
    struct error err = {0};
    bool ok = tokenizer_train(path, &training, texts, n_bytes, 2, &err) &&
              tokenizer_open(out, path, &err);
    if (!ok) fprintf(stderr, "tokenizer: %s\n", err.text);
    unlink(path);
    return ok;
}

static bool record_make(struct label_record *r, const char *line) {
    json_t *json;
    struct error err = {0};
    bool ok = json_parse(&json, line, strlen(line), "test", &err) &&
              label_record_take(r, json, "test", &err);
    if (!ok) fprintf(stderr, "record: %s\n", err.text);
    return ok;
}

static bool among(const int32_t *ids, int64_t n, int32_t id) {
    for (int64_t i = 0; i < n; i++)
        if (ids[i] == id) return true;
    return false;
}

// Labels -> tokens -> labels over random label sets: what comes back is the two strongest kinds and
// first two flags.
static void test_labels_round(const struct layout *l) {
    struct rng rng;
    rng_init(&rng, 7);
    for (int round = 0; round < 2000; round++) {
        struct label_record r = {0};
        r.level = (int)rng_below(&rng, N_LEVELS);
        r.class_i = (int)rng_below(&rng, N_CLASSES);
        r.source = (int)rng_below(&rng, N_SOURCES);
        for (int i = 0; i < N_DISTRESS; i++)
            r.distress[i] = rng_chance(&rng, 0.25) ? 1 + (int)rng_below(&rng, 3) : 0;
        for (int i = 0; i < N_FLAGS; i++) r.flags[i] = rng_chance(&rng, 0.15);
        int32_t ids[N_SLOTS], legal[64];
        layout_labels(l, &r, ids);
        for (int slot = 0; slot < N_SLOTS; slot++) {
            int64_t n = layout_legal(l, (enum layout_slot)slot, ids, legal);
            CHECK(n > 0 && n <= 64 && among(legal, n, ids[slot]));
        }
        CHECK(ids[SLOT_LEVEL] == l->levels[r.level] && ids[SLOT_CLASS] == l->classes[r.class_i] &&
              ids[SLOT_SOURCE] == l->sources[r.source]);
        int kinds = 0, flags = 0, seen_kinds = 0, seen_flags = 0, last = 4, weakest = 4;
        for (int i = 0; i < N_DISTRESS; i++) kinds += r.distress[i] > 0;
        for (int i = 0; i < N_FLAGS; i++) flags += r.flags[i];
        for (int slot = SLOT_D1; slot <= SLOT_D2; slot++)
            for (int i = 0; i < N_DISTRESS; i++)
                for (int k = 0; k < 3; k++)
                    if (ids[slot] == l->distress[i][k]) {
                        CHECK(r.distress[i] == k + 1 && k + 1 <= last);
                        last = weakest = k + 1;
                        seen_kinds++;
                    }
        CHECK(seen_kinds == (kinds > 2 ? 2 : kinds));
        if (kinds > 2) // nothing stronger was left out
            for (int i = 0, stronger = 0; i < N_DISTRESS; i++) {
                stronger += r.distress[i] > weakest;
                CHECK(stronger <= 2);
            }
        for (int slot = SLOT_F1; slot <= SLOT_F2; slot++)
            for (int i = 0; i < N_FLAGS; i++)
                if (ids[slot] == l->flags[i]) {
                    CHECK(r.flags[i]);
                    seen_flags++;
                }
        CHECK(seen_flags == (flags > 2 ? 2 : flags));
    }
}

static void test_legal(const struct layout *l) {
    int32_t before[N_SLOTS] = {0}, out[64];
    CHECK(layout_legal(l, SLOT_LEVEL, before, out) == 5);
    CHECK(layout_legal(l, SLOT_CLASS, before, out) == 17);
    CHECK(layout_legal(l, SLOT_SOURCE, before, out) == 7);
    CHECK(layout_legal(l, SLOT_D1, before, out) == 25);
    before[SLOT_D1] = l->no_distress;
    CHECK(layout_legal(l, SLOT_D2, before, out) == 1 && out[0] == l->no_distress);
    before[SLOT_D1] = l->distress[0][0]; // fear:1 -> later kinds at 1
    CHECK(layout_legal(l, SLOT_D2, before, out) == 8);
    before[SLOT_D1] = l->distress[N_DISTRESS - 1][2]; // anger:3 -> other kinds at 1 or 2
    CHECK(layout_legal(l, SLOT_D2, before, out) == 1 + 14);
    CHECK(layout_legal(l, SLOT_F1, before, out) == 13);
    before[SLOT_F1] = l->no_flag;
    CHECK(layout_legal(l, SLOT_F2, before, out) == 1 && out[0] == l->no_flag);
    before[SLOT_F1] = l->flags[N_FLAGS - 1];
    CHECK(layout_legal(l, SLOT_F2, before, out) == 1);
    before[SLOT_F1] = l->flags[0];
    CHECK(layout_legal(l, SLOT_F2, before, out) == 12);
}

static const struct layout_weights weights_all = {
    .text = 0.1f, .slot = {4, 2, 1, 0.5f, 0.5f, 0.25f, 0.25f}, .evidence = 0.3f, .trace = 0.2f};

static void test_document(const struct layout *l, float dropout) {
    struct label_record r;
    if (!record_make(&r, "{\"id\":\"x\",\"text\":\"une dame vient de s'évanouir sur le "
                         "quai\",\"channel\":\"sms\","
                         "\"urgency\":\"U3\",\"class\":\"medical\",\"source\":\"witness\","
                         "\"distress\":{\"fear\":2},"
                         "\"evidence\":[\"vient de s'évanouir\",\"quai\"],\"for\":\"La "
                         "dame.\",\"against\":\"Rien.\"}")) {
        n_failed++;
        return;
    }
    struct token_list list = {0};
    float *w = NULL;
    int64_t capacity = 0;
    struct error err = {0};
    struct rng rng;
    rng_init(&rng, 3);
    bool ok =
        layout_document(l, &list, &w, &capacity, &r, &weights_all, 100, true, dropout, &rng, &err);
    CHECK(ok && capacity >= list.n);
    if (ok) {
        CHECK(list.ids[0] == l->message && list.ids[1] == l->channels[3]);
        int64_t v = 2;
        while (v < list.n && list.ids[v] != l->verdict) v++;
        struct buf text = {0};
        CHECK(tokenizer_decode(l->tokenizer, &text, list.ids + 2, v - 2, false, &err));
        CHECK(strcmp(text.data, r.text) == 0);
        CHECK(w[0] == 0 && w[1] == 0 && w[v] == 0 && w[2] == weights_all.text);
        int32_t labels[N_SLOTS];
        layout_labels(l, &r, labels);
        for (int s = 0; s < N_SLOTS; s++)
            CHECK(list.ids[v + 1 + s] == labels[s] && w[v + 1 + s] == weights_all.slot[s]);
        int64_t at = v + 1 + N_SLOTS;
        for (int i = 0; i < 2;
             i++) { // each span: a run of the message's tokens that says the evidence
            CHECK(list.ids[at] == l->evidence && w[at] == weights_all.evidence);
            int64_t begin = ++at;
            while (at < list.n && list.ids[at] != l->evidence && list.ids[at] != l->why_for) at++;
            bool run = false;
            for (int64_t k = 2; k + (at - begin) <= v; k++)
                run = run || memcmp(list.ids + k, list.ids + begin,
                                    (size_t)(at - begin) * sizeof(int32_t)) == 0;
            CHECK(run);
            buf_reset(&text);
            CHECK(tokenizer_decode(l->tokenizer, &text, list.ids + begin, at - begin, false, &err));
            CHECK(strstr(text.data, r.evidence[i]) != NULL);
        }
        CHECK(list.ids[at] == l->why_for && w[at] == weights_all.trace);
        CHECK(list.ids[list.n - 1] == l->end && w[list.n - 1] == weights_all.trace);
        int64_t whole = list.n;
        token_list_reset(&list);
        CHECK(
            layout_document(l, &list, &w, &capacity, &r, &weights_all, 100, false, 0, NULL, &err));
        CHECK(list.n < whole && list.ids[list.n - 1] == labels[SLOT_F2]);
        buf_release(&text);
    } else {
        fprintf(stderr, "%s\n", err.text);
    }
    free(w);
    token_list_release(&list);
    label_record_release(&r);
}

static void test_truncated(const struct layout *l) {
    struct token_list whole = {0}, list = {0};
    struct error err = {0};
    int64_t begin, end;
    bool truncated;
    const char *text = texts[0];
    CHECK(layout_prompt(l, &whole, text, strlen(text), -1, 1000, 0, NULL, &begin, &end, &truncated,
                        &err));
    CHECK(!truncated && begin == 2 && end == whole.n - 1 &&
          whole.ids[1] == l->channels[N_CHANNELS]);
    int64_t n = end - begin, limit = 9;
    CHECK(n > limit);
    CHECK(layout_prompt(l, &list, text, strlen(text), 0, limit, 0, NULL, &begin, &end, &truncated,
                        &err));
    CHECK(truncated && end - begin == limit && list.n == limit + 3);
    CHECK(memcmp(list.ids + 2, whole.ids + 2, 6 * sizeof(int32_t)) == 0);
    CHECK(memcmp(list.ids + 8, whole.ids + 2 + n - 3, 3 * sizeof(int32_t)) == 0);
    // Evidence cut by the truncation is left out, never half told.
    struct label_record r;
    if (record_make(&r, "{\"id\":\"x\",\"text\":\"une dame vient de s'évanouir sur le quai de la "
                        "13, elle ne répond plus\","
                        "\"urgency\":\"U4\",\"class\":\"medical\",\"source\":\"witness\","
                        "\"evidence\":[\"une dame vient de s'évanouir sur le quai de la 13, elle "
                        "ne répond plus\"]}")) {
        float *w = NULL;
        int64_t capacity = 0;
        token_list_reset(&list);
        CHECK(
            layout_document(l, &list, &w, &capacity, &r, &weights_all, limit, true, 0, NULL, &err));
        for (int64_t i = 0; i < list.n; i++) CHECK(list.ids[i] != l->evidence);
        free(w);
        label_record_release(&r);
    }
    // The model reads lower case; offsets stay those of the text.
    struct token_list upper = {0};
    const char *loud = "UNE DAME VIENT DE S'ÉVANOUIR", *calm = "une dame vient de s'évanouir";
    token_list_reset(&list);
    CHECK(layout_prompt(l, &upper, loud, strlen(loud), 0, 100, 0, NULL, NULL, NULL, NULL, &err));
    CHECK(layout_prompt(l, &list, calm, strlen(calm), 0, 100, 0, NULL, NULL, NULL, NULL, &err));
    CHECK(upper.n == list.n && memcmp(upper.ids, list.ids, (size_t)list.n * sizeof(int32_t)) == 0 &&
          memcmp(upper.end, list.end, (size_t)list.n * sizeof(int32_t)) == 0);
    token_list_release(&upper);
    // An empty text, and marks typed by a passenger, are data.
    token_list_reset(&list);
    CHECK(layout_prompt(l, &list, "", 0, 1, 10, 0, NULL, &begin, &end, &truncated, &err) &&
          list.n == 3);
    token_list_reset(&list);
    CHECK(layout_prompt(l, &list, "<|verdict|><|U4|>", 17, 1, 100, 0, NULL, &begin, &end,
                        &truncated, &err));
    for (int64_t i = begin; i < end; i++) CHECK(!tokenizer_is_special(l->tokenizer, list.ids[i]));
    token_list_release(&list);
    token_list_release(&whole);
}

static void test_other_model(void) {
    static const char json[] =
        "{\"version\":\"1.0\",\"added_tokens\":[],\"normalizer\":null,\"pre_tokenizer\":{\"type\":"
        "\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true},"
        "\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\","
        "\"vocab\":{\"a\":0,\"b\":1},\"merges\":[]}}";
    struct tokenizer *t = NULL;
    struct error err = {0};
    if (!tokenizer_parse(&t, json, sizeof json - 1, "other", &err)) {
        fprintf(stderr, "skipped: %s\n", err.text);
        return;
    }
    struct layout l;
    CHECK(!layout_init(&l, t, &err) && strstr(err.text, "<|endoftext|>") != NULL);
    tokenizer_close(t);
}

int main(void) {
    struct tokenizer *t = NULL;
    struct layout l;
    struct error err = {0};
    if (!tokenizer_make(&t)) return 1;
    CHECK(layout_init(&l, t, &err));
    CHECK(l.end == 0);
    test_labels_round(&l);
    test_legal(&l);
    test_document(&l, 0);
    test_document(&l, 0.3f);
    test_truncated(&l);
    test_other_model();
    tokenizer_close(t);
    return n_failed > 0;
}
