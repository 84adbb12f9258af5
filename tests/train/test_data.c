// Token files: what is written is read back; every kind of damage is refused; batches pack whole
// documents.
#include "core/buf.h"
#include "core/rng.h"
#include "train/loader.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[200];
static const char hex[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static void path_in(char out[256], const char *name) {
    snprintf(out, 256, "%s/%s", folder, name);
}

// Documents of 1..40 tokens; ids encode (document, place) so that a mix-up shows.
static void write_file(const char *name, int64_t vocab, int n_docs, int n_weights) {
    char path[256];
    struct error err = {0};
    struct data_writer *w;
    path_in(path, name);
    if (!data_writer_open(&w, path, vocab, hex, &err)) fail_msg("%s", err.text);
    for (int d = 0; d < n_docs; d++) {
        int32_t tokens[40];
        float weights[40];
        int n = 1 + d * 7 % 40;
        for (int i = 0; i < n; i++) {
            tokens[i] = (int32_t)((d * 41 + i) % vocab);
            weights[i] = (float)((d * 40 + i) % n_weights) / 8.0f;
        }
        struct data_doc doc = {tokens, weights, n, 1.0f + (float)(d % 3)};
        if (!data_writer_append(w, &doc, &err)) fail_msg("%s", err.text);
    }
    if (!data_writer_close(w, &err)) fail_msg("%s", err.text);
}

static void check_file(const char *name, int64_t vocab, int n_docs, int n_weights,
                       uint32_t token_bytes, uint32_t kind) {
    char path[256];
    struct error err = {0};
    struct data_file f;
    write_file(name, vocab, n_docs, n_weights);
    path_in(path, name);
    if (!data_file_open(&f, path, &err)) fail_msg("%s", err.text);
    assert_int_equal(f.token_bytes, token_bytes);
    assert_int_equal(f.weight_kind, kind);
    assert_int_equal(f.n_docs, n_docs);
    assert_string_equal(f.tokenizer_sha256, hex);
    for (int d = 0; d < n_docs; d++) {
        int32_t tokens[40];
        float weights[40];
        int n = 1 + d * 7 % 40;
        assert_int_equal(data_file_doc_tokens(&f, d), n);
        assert_true(data_file_doc_weight(&f, d) == 1.0f + (float)(d % 3));
        data_file_doc_read(&f, d, tokens, weights, n);
        for (int i = 0; i < n; i++) {
            assert_int_equal(tokens[i], (d * 41 + i) % vocab);
            assert_true(weights[i] == (float)((d * 40 + i) % n_weights) / 8.0f);
        }
    }
    data_file_close(&f);
}

static void test_round_trip(void **state) {
    (void)state;
    check_file("small.tok", 4096, 50, 5, 2, DATA_WEIGHT_CODES);
    check_file("table.tok", 65536, 50, 256, 2, DATA_WEIGHT_CODES);
    check_file("wide.tok", 65537, 50, 257, 4, DATA_WEIGHT_F32);
    check_file("one.tok", 1, 1, 1, 2, DATA_WEIGHT_CODES);
}

static void test_writer_refuses(void **state) {
    (void)state;
    struct data_writer *w;
    char path[256];
    path_in(path, "refused.tok");
    struct error err = {0};
    assert_false(data_writer_open(&w, path, 0, hex, &err));
    assert_false(data_writer_open(&w, path, 10, "short", &err));
    err = (struct error){0};
    assert_true(data_writer_open(&w, path, 10, hex, &err));
    int32_t tokens[] = {1, 10};
    float weights[] = {1.0f, 1.0f}, bad[] = {1.0f, (float)NAN};
    const struct {
        struct data_doc doc;
        const char *says;
    } cases[] = {
        {{tokens, weights, 0, 1.0f}, "0 tokens"},
        {{tokens, weights, 2, 1.0f}, "id 10"},
        {{tokens, bad, 1, (float)INFINITY}, "weight inf"},
        {{tokens, weights, 1, -1.0f}, "weight -1"},
    };
    for (int64_t i = 0; i < COUNT_OF(cases); i++) {
        err = (struct error){0};
        assert_false(data_writer_append(w, &cases[i].doc, &err));
        if (strstr(err.text, cases[i].says) == NULL) fail_msg("case %d: %s", (int)i, err.text);
    }
    err = (struct error){0};
    tokens[1] = 2;
    struct data_doc doc = {tokens, bad, 2, 1.0f};
    assert_false(data_writer_append(w, &doc, &err));
    err = (struct error){0};
    assert_false(data_writer_close(w, &err)); // nothing was added
    assert_false(file_exists(path));
}

// Every truncation, and every single-byte change of the header, documents and table: refused, or
// still consistent.
static void test_damage(void **state) {
    (void)state;
    char path[256], *text;
    size_t n;
    struct error err = {0};
    write_file("damage.tok", 300, 4, 5);
    path_in(path, "damage.tok");
    assert_true(file_read(&text, &n, path, 0, &err));
    for (size_t cut = 0; cut < n; cut++) {
        struct data_file f;
        uint8_t *exact = malloc(cut > 0 ? cut : 1);
        memcpy(exact, text, cut);
        err = (struct error){0};
        assert_false(data_file_parse(&f, exact, cut, "cut", &err));
        assert_int_equal(err.code, ERR_INPUT);
        free(exact);
    }
    for (size_t i = 0; i < n; i++) {
        for (int bit = 0; bit < 8; bit++) {
            struct data_file f;
            text[i] = (char)(text[i] ^ (1 << bit));
            err = (struct error){0};
            if (data_file_parse(&f, (uint8_t *)text, n, "bit", &err)) {
                assert_true(i >= 128 || (i >= 16 && i < 24) ||
                            (i >= 48 && i < 112)); // vocab, or the tokenizer's hash
                for (int64_t d = 0; d < f.n_docs; d++) {
                    int32_t tokens[64];
                    float weights[64];
                    data_file_doc_read(&f, d, tokens, weights, data_file_doc_tokens(&f, d));
                }
            }
            text[i] = (char)(text[i] ^ (1 << bit));
        }
    }
    free(text);
    struct data_file f;
    err = (struct error){0};
    assert_false(data_file_open(&f, folder, &err)); // a folder
    assert_non_null(strstr(err.text, "folder"));
}

static struct loader *open_loader(const struct loader_source *sources, int64_t n,
                                  enum loader_mode mode, bool shuffle) {
    struct loader *l;
    struct error err = {0};
    struct loader_options o = {mode, shuffle, 5, 30, 100, 64};
    if (!loader_open(&l, sources, n, &o, &err)) fail_msg("%s", err.text);
    return l;
}

static void test_loader(void **state) {
    (void)state;
    char a[256], b[256];
    write_file("a.tok", 4096, 50, 5);
    write_file("b.tok", 4096, 20, 3);
    path_in(a, "a.tok");
    path_in(b, "b.tok");
    struct loader_source sources[] = {{a, 1.5}, {b, 2.0}};
    struct loader *l = open_loader(sources, 2, LOADER_ROTATE, true);
    assert_int_equal(loader_n_cut(l), 10 + 1 + 5);
    int seen_a[50] = {0}, seen_b[20] = {0};
    int64_t n_batches = 0;
    while (loader_epoch(l) < 2) {
        struct loader_batch batch;
        loader_next(l, &batch);
        n_batches++;
        assert_true(batch.n_tokens <= 100);
        int64_t doc_i = 0;
        double weight = 0.0;
        for (int64_t m = 0; m < batch.n_micros; m++) {
            const struct network_batch *micro = &batch.micros[m];
            assert_true(micro->T <= 64 && micro->doc_begin[0] == 0 &&
                        micro->doc_begin[micro->n_docs] == micro->T);
            for (int64_t d = 0; d < micro->n_docs; d++, doc_i++) {
                struct loader_doc doc = batch.docs[doc_i];
                int64_t n = micro->doc_begin[d + 1] - micro->doc_begin[d];
                assert_int_equal(n, min_i64(30, 1 + doc.doc_i * 7 % 40));
                for (int64_t i = 0; i < n; i++) {
                    assert_int_equal(micro->tokens[micro->doc_begin[d] + i],
                                     (doc.doc_i * 41 + i) % 4096);
                    if (i > 0) weight += (double)micro->weights[micro->doc_begin[d] + i];
                }
            }
        }
        assert_int_equal(doc_i, batch.n_docs);
        assert_true(fabs(weight - batch.weight) < 1e-9);
        if (loader_epoch(l) < 2)
            for (int64_t d = 0; d < batch.n_docs; d++)
                (batch.docs[d].file_i == 0 ? seen_a : seen_b)[batch.docs[d].doc_i]++;
    }
    int n_a = 0;
    for (int d = 0; d < 50; d++) {
        assert_true(seen_a[d] <= 1);
        n_a += seen_a[d];
    }
    assert_int_equal(n_a, 50); // epoch 0 is the first file, each document once
    for (int d = 0; d < 20; d++) assert_true(seen_b[d] <= 1);
    assert_int_equal(loader_count(l, 2.0), n_batches);
    // The cursor alone brings back the same batches.
    struct loader_batch batch;
    struct error err = {0};
    for (int i = 0; i < 5; i++) loader_next(l, &batch);
    uint64_t epoch = loader_epoch(l);
    int64_t position = loader_position(l);
    loader_next(l, &batch);
    struct loader_doc want = batch.docs[batch.n_docs - 1];
    assert_true(loader_seek(l, epoch, position, &err));
    loader_next(l, &batch);
    assert_memory_equal(&want, &batch.docs[batch.n_docs - 1], sizeof want);
    assert_false(loader_seek(l, 0, 1000, &err));
    loader_close(l);
    // A mixture: one and a half times a, twice b.
    l = open_loader(sources, 2, LOADER_MIX, true);
    int n_docs = 0, n_b = 0;
    while (loader_epoch(l) == 0) {
        loader_next(l, &batch);
        for (int64_t d = 0; d < batch.n_docs; d++) {
            n_docs++;
            n_b += batch.docs[d].file_i == 1;
        }
    }
    assert_true(n_docs >= 115 && n_b >= 38 &&
                n_b <= 46); // the last batch may reach into the next epoch
    loader_close(l);
    // Without shuffle: every document once, in order, no batch across the end.
    sources[0].repeat = sources[1].repeat = 1.0;
    l = open_loader(sources, 2, LOADER_MIX, false);
    n_docs = 0;
    while (loader_epoch(l) == 0) {
        loader_next(l, &batch);
        n_docs += (int)batch.n_docs;
    }
    assert_int_equal(n_docs, 70);
    loader_close(l);
}

int main(void) {
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/sillon-data-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(folder) == NULL) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_writer_refuses),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_loader),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[256];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0) fprintf(stderr, "%s is left behind\n", folder);
    return failed;
}
