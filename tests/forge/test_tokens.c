// Records to tokenizer to token file: read back, every document is a prompt, seven labels and what
// follows.
#include "forge/tokens.h"

#include "check.h"
#include "core/file.h"
#include "core/json.h"
#include "train/data.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char records[] =
    "{\"id\":\"a-1\",\"text\":\"Une dame vient de s'évanouir, quai de la "
    "13\",\"channel\":\"sms\",\"urgency\":\"U3\",\"class\":\"medical\","
    "\"source\":\"witness\",\"distress\":{\"fear\":2},\"evidence\":[\"vient de "
    "s'évanouir\"],\"for\":\"Malaise vu.\",\"against\":\"Pas de signe vital.\"}\n"
    "{\"id\":\"a-1~1\",\"text\":\"une dame vient de s'evanouir, quai de la "
    "4\",\"channel\":\"sms\",\"urgency\":\"U3\",\"class\":\"medical\","
    "\"source\":\"witness\",\"distress\":{\"fear\":2},\"evidence\":[\"vient de "
    "s'evanouir\"],\"for\":\"Malaise vu.\",\"against\":\"Pas de signe vital.\"}\n"
    "{\"id\":\"a-2\",\"text\":\"Encore du retard sur la 13, merci "
    "!\",\"urgency\":\"U1\",\"class\":\"traffic\",\"source\":\"victim\"}\n";

static bool equal_files(const char *a, const char *b) {
    char x[HASH_HEX_BYTES], y[HASH_HEX_BYTES];
    struct error err = {0};
    return hash_file_sha256_hex(x, a, &err) && hash_file_sha256_hex(y, b, &err) &&
           strcmp(x, y) == 0;
}

static void check_file(const char *tok, const char *folder) {
    struct data_file file;
    struct tokenizer *t = NULL;
    struct layout l;
    struct error err = {0};
    char path[256];
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    bool ok = data_file_open(&file, tok, &err) && tokenizer_open(&t, path, &err) &&
              layout_init(&l, t, &err);
    if (!ok) fprintf(stderr, "%s\n", err.text);
    CHECK(ok);
    if (!ok) return;
    CHECK(file.n_docs == 3 && file.vocab == tokenizer_vocab(t));
    int n_labels_only = 0; // a-2: nothing is said after its labels
    for (int64_t d = 0; d < file.n_docs; d++) {
        int32_t ids[512], legal[64];
        float w[512];
        int64_t n = data_file_doc_tokens(&file, d);
        CHECK(n > 10 && n < 512);
        data_file_doc_read(&file, d, ids, w, n);
        int64_t v = 0;
        while (v < n && ids[v] != l.verdict) v++;
        CHECK(v + N_SLOTS < n);
        for (int s = 0; s < N_SLOTS; s++) {
            int64_t k = layout_legal(&l, (enum layout_slot)s, ids + v + 1, legal);
            bool found = false;
            for (int64_t j = 0; j < k; j++) found = found || legal[j] == ids[v + 1 + s];
            CHECK(found);
        }
        CHECK(w[v + 1] == 8 && w[2] == tokens_defaults.weights.text);
        if (v + N_SLOTS == n - 1) n_labels_only++;
        else CHECK(ids[n - 1] == l.end);
        float weight = data_file_doc_weight(&file, d);
        CHECK(weight == 1.0f || weight == 0.5f);
    }
    CHECK(n_labels_only == 1);
    tokenizer_close(t);
    data_file_close(&file);
}

int main(void) {
    char folder[] = "/tmp/sillon-tokens-XXXXXX", in[128], a[128], b[128], path[256];
    struct error err = {0};
    if (mkdtemp(folder) == NULL) return 1;
    snprintf(in, sizeof in, "%s/in.ndjson", folder);
    snprintf(a, sizeof a, "%s/a.tok", folder);
    snprintf(b, sizeof b, "%s/b.tok", folder);
    CHECK(file_write_atomic(in, records, sizeof records - 1, &err));
    const char *paths[1] = {in};
    bool ok = tokens_tokenizer(folder, 400, paths, 1, &err);
    if (!ok) fprintf(stderr, "%s\n", err.text);
    CHECK(ok);
    struct tokens_options o = tokens_defaults;
    o.in = in;
    o.tokenizer = folder;
    o.out = a;
    o.seed = 4;
    o.bpe_dropout = 0.2f;
    o.variant_weight = 0.5f;
    CHECK(tokens_weights_parse(&o.weights, "level=8,flags=0.5", &err));
    int64_t n_docs, n_tokens;
    CHECK(tokens_write(&o, &n_docs, &n_tokens, &err) && n_docs == 3 && n_tokens > 60);
    check_file(a, folder);
    o.out = b;
    CHECK(tokens_write(&o, NULL, NULL, &err) && equal_files(a, b));
    o.epoch = 1; // other draws
    CHECK(tokens_write(&o, NULL, NULL, &err) && !equal_files(a, b));
    struct layout_weights w;
    static const char *const bad[] = {"level", "level=-1", "nope=1", "text=x"};
    for (int64_t i = 0; i < COUNT_OF(bad); i++) {
        error_reset(&err);
        CHECK(!tokens_weights_parse(&w, bad[i], &err) && err.code == ERR_USAGE);
    }
    static const char *const names[] = {"in.ndjson",
                                        "a.tok",
                                        "b.tok",
                                        "tokenizer.json",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json"};
    for (int64_t i = 0; i < COUNT_OF(names); i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
    return n_failed > 0;
}
