// tests/engine/test_tokenizer.c - tokenizers against the ids Hugging Face gives
// (tests/engine/ref/tokenizer). Also a tool: test_tokenizer --encode TOKENIZER FILE prints the ids
// of each line (--decode appends the decoded text as a JSON string), and --train OUT VOCAB FILE
// trains on the lines of FILE.
#include "../core/check.h"
#include "core/file.h"
#include "core/json.h"
#include "core/rng.h"
#include "engine/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int tool_encode(const char *tokenizer_path, const char *path, unsigned flags, bool decode) {
    struct error err = {0};
    struct tokenizer *t;
    char *text;
    size_t n_bytes;
    if (!tokenizer_open(&t, tokenizer_path, &err) || !file_read(&text, &n_bytes, path, 0, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    struct token_list list = {0};
    struct buf out = {0};
    for (size_t i = 0; i < n_bytes;) {
        const char *end = memchr(text + i, '\n', n_bytes - i);
        size_t n = end == NULL ? n_bytes - i : (size_t)(end - text) - i;
        token_list_reset(&list);
        // NUL stands for the line feed within a line.
        for (size_t k = i; k < i + n; k++) {
            if (text[k] == '\0') text[k] = '\n';
        }
        if (!tokenizer_encode(t, &list, text + i, n, flags, &err)) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
        for (int64_t k = 0; k < list.n; k++) printf("%s%d", k > 0 ? " " : "", list.ids[k]);
        if (decode) {
            struct buf decoded = {0};
            buf_reset(&out);
            if (!tokenizer_decode(t, &decoded, list.ids, list.n, true, &err)) return 1;
            buf_append_json_string(&out, decoded.data == NULL ? "" : decoded.data, decoded.n_bytes);
            printf("\t%s", out.data);
            buf_release(&decoded);
        }
        printf("\n");
        i += n + 1;
    }
    token_list_release(&list);
    buf_release(&out);
    free(text);
    tokenizer_close(t);
    return 0;
}

static const char *const specials[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>", NULL};

static int tool_train(const char *out, const char *vocab, const char *path) {
    struct error err = {0};
    char *text;
    size_t n_bytes;
    if (!file_read(&text, &n_bytes, path, 0, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    struct tokenizer_training training = {
        .vocab = atoll(vocab), .specials = specials, .min_frequency = 2, .nfc = true};
    const char *texts[] = {text};
    bool ok = tokenizer_train(out, &training, texts, &n_bytes, 1, &err);
    if (!ok) fprintf(stderr, "%s\n", err.text);
    free(text);
    return ok ? 0 : 1;
}

static void check_ids(const char *name, const json_t *line, const struct token_list *got,
                      const json_t *want) {
    bool same = (size_t)got->n == json_array_size(want);
    for (int64_t i = 0; same && i < got->n; i++)
        same = json_integer_value(json_array_get(want, (size_t)i)) == got->ids[i];
    if (same) return;
    char *text = json_dumps(line, JSON_ENCODE_ANY), *ids = json_dumps(want, JSON_COMPACT);
    printf("%s: %s\n  want %s\n  got  [", name, text, ids);
    for (int64_t i = 0; i < got->n; i++) printf("%s%d", i > 0 ? "," : "", got->ids[i]);
    printf("]\n");
    n_failed++;
    free(text);
    free(ids);
}

static size_t from_hex(const char *hex, char *out, size_t out_bytes) {
    size_t n = 0;
    for (; hex[0] != '\0' && hex[1] != '\0' && n < out_bytes; hex += 2) {
        unsigned byte = 0;
        if (sscanf(hex, "%2x", &byte) != 1) break;
        out[n++] = (char)byte;
    }
    return n;
}

// Offsets lie in the text and do not go back; for a tokenizer that changes nothing they are the
// bytes.
static void check_offsets(const char *name, const struct tokenizer *t,
                          const struct token_list *list, const char *text, size_t n, bool exact) {
    for (int64_t i = 0; i < list->n; i++) {
        CHECK(list->begin[i] >= 0 && list->begin[i] <= list->end[i] && (size_t)list->end[i] <= n,
              "%s: token %lld covers [%d, %d) of %zu bytes", name, (long long)i, list->begin[i],
              list->end[i], n);
        if (!exact) continue;
        size_t n_token;
        const char *token = tokenizer_token_bytes(t, list->ids[i], &n_token);
        CHECK(token != NULL && n_token == (size_t)(list->end[i] - list->begin[i]) &&
                  memcmp(token, text + list->begin[i], n_token) == 0,
              "%s: token %lld: [%d, %d) are not its %zu bytes", name, (long long)i, list->begin[i],
              list->end[i], n_token);
        CHECK(list->begin[i] == (i > 0 ? list->end[i - 1] : 0), "%s: token %lld leaves a gap", name,
              (long long)i);
    }
}

static void run_case(const json_t *c) {
    const char *name = json_string_value(json_object_get(c, "name"));
    struct error err = {0};
    struct tokenizer *t;
    char *json = json_dumps(json_object_get(c, "tokenizer"), JSON_COMPACT);
    bool opened = tokenizer_parse(&t, json, strlen(json), name, &err);
    free(json);
    CHECK(opened, "%s", err.text);
    if (!opened) return;
    const json_t *lines = json_object_get(c, "lines"), *row;
    struct token_list list = {0}, again = {0};
    struct buf out = {0};
    size_t i;
    json_array_foreach(lines, i, row) {
        const json_t *line = json_array_get(row, 0), *want = json_array_get(row, 1);
        const json_t *plain = json_array_size(row) > 3 ? json_array_get(row, 3) : want;
        char raw[1024];
        size_t n = json_is_string(line)
                       ? json_string_length(line)
                       : from_hex(json_string_value(json_object_get(line, "hex")), raw, sizeof raw);
        // An exact-size block, so that ASan sees a read past the end.
        char *text = malloc(n > 0 ? n : 1);
        if (text == NULL) break;
        memcpy(text, json_is_string(line) ? json_string_value(line) : raw, n);
        token_list_reset(&list);
        buf_reset(&out);
        CHECK(tokenizer_encode(t, &list, text, n, TOKENIZER_ADD_SPECIAL | TOKENIZER_PARSE_SPECIAL,
                               &err),
              "%s", err.text);
        check_ids(name, line, &list, want);
        check_offsets(name, t, &list, text, n, false);
        CHECK(tokenizer_decode(t, &out, list.ids, list.n, true, &err), "%s", err.text);
        const char *decoded = json_string_value(json_array_get(row, 2));
        CHECK(strcmp(out.data == NULL ? "" : out.data, decoded) == 0,
              "%s: decoded \"%s\", want \"%s\"", name, out.data, decoded);
        token_list_reset(&list);
        CHECK(tokenizer_encode(t, &list, text, n, 0, &err), "%s", err.text);
        check_ids(name, line, &list, plain);
        struct rng rng;
        rng_init(&rng, 1);
        token_list_reset(&again);
        CHECK(tokenizer_encode_dropout(t, &again, text, n, 0, 0.0f, &rng, &err), "%s", err.text);
        check_ids(name, line, &again, plain);
        free(text);
    }
    token_list_release(&list);
    token_list_release(&again);
    buf_release(&out);
    tokenizer_close(t);
}

static json_t *load_cases(void) {
    struct error err = {0};
    json_t *cases = NULL;
    CHECK(json_parse_file(&cases, "tests/engine/ref/tokenizer/cases.json", &err), "%s", err.text);
    return cases;
}

static void test_reference(const json_t *cases) {
    size_t i;
    const json_t *c;
    json_array_foreach(cases, i, c) run_case(c);
    CHECK(i >= 20, "only %zu tokenizers in cases.json", i);
}

// Each line: what the error says, a tab, a tokenizer.json.
static void test_hostile(void) {
    struct error err = {0};
    char *text;
    size_t n_bytes;
    CHECK(file_read(&text, &n_bytes, "tests/engine/ref/tokenizer/hostile.txt", 0, &err), "%s",
          err.text);
    if (err.code != ERR_NONE) return;
    int line = 0;
    for (char *s = text; *s != '\0';) {
        size_t n = strcspn(s, "\n");
        char *tab = memchr(s, '\t', n);
        line++;
        if (tab != NULL) {
            struct tokenizer *t = NULL;
            struct error e = {0};
            *tab = '\0';
            size_t n_json = n - (size_t)(tab + 1 - s);
            bool ok = tokenizer_parse(&t, tab + 1, n_json, "hostile", &e);
            CHECK(!ok && strstr(e.text, s) != NULL, "hostile.txt:%d: got \"%s\", want \"%s\"", line,
                  ok ? "no error" : e.text, s);
            if (ok) tokenizer_close(t);
        }
        s += n + (s[n] == '\n');
    }
    CHECK(line > 30, "only %d hostile lines", line);
    free(text);
    // Depth, by program: a Sequence in a Sequence in a...
    struct buf b = {0};
    buf_append_str(&b, "{\"normalizer\":");
    for (int i = 0; i < 200; i++) buf_append_str(&b, "{\"type\":\"Sequence\",\"normalizers\":[");
    buf_append_str(&b, "{\"type\":\"NFC\"}");
    for (int i = 0; i < 200; i++) buf_append_str(&b, "]}");
    buf_append_str(&b, ",\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}");
    struct tokenizer *t = NULL;
    struct error e = {0};
    CHECK(!tokenizer_parse(&t, b.data, b.n_bytes, "deep", &e) && strstr(e.text, "Sequences inside"),
          "deep: %s", e.text);
    buf_release(&b);
    struct error missing = {0};
    CHECK(!tokenizer_open(&t, "/nonexistent/tokenizer.json", &missing) && missing.code != ERR_NONE,
          "opened nothing");
}

// The committed tokenizer "ours" comes out again, and Hugging Face's ids for it are among the
// cases.
static void test_train(const json_t *cases) {
    struct error err = {0};
    char path[] = "/tmp/test_tokenizer_XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0, "mkstemp");
    if (fd < 0) return;
    close(fd);
    CHECK(tool_train(path, "600", "tests/engine/ref/tokenizer/corpus.txt") == 0, "training");
    json_t *got = NULL, *want = NULL;
    size_t i;
    const json_t *c;
    json_array_foreach(cases, i, c) {
        if (strcmp(json_string_value(json_object_get(c, "name")), "ours") == 0)
            want = json_object_get(c, "tokenizer");
    }
    CHECK(json_parse_file(&got, path, &err), "%s", err.text);
    CHECK(json_equal(json_object_get(json_object_get(got, "model"), "vocab"),
                     json_object_get(json_object_get(want, "model"), "vocab")),
          "training gives another vocabulary than the one committed");
    json_decref(got);
    struct tokenizer *t;
    if (!tokenizer_open(&t, path, &err)) {
        CHECK(false, "%s", err.text);
        return;
    }
    CHECK(tokenizer_vocab(t) == 600, "%lld tokens", (long long)tokenizer_vocab(t));
    CHECK(tokenizer_find(t, "<|im_end|>") == 2 && tokenizer_is_special(t, 2),
          "special tokens come first");
    CHECK(!tokenizer_is_special(t, 3) && !tokenizer_is_special(t, -1) &&
              !tokenizer_is_special(t, 600),
          "specials end");
    CHECK(tokenizer_find(t, "no such token") == -1, "found nothing");
    size_t n;
    CHECK(tokenizer_token_bytes(t, 600, &n) == NULL && tokenizer_token_bytes(t, -1, &n) == NULL,
          "id out of range");
    const char *byte = tokenizer_token_bytes(t, 3 + 0x20, &n);
    CHECK(byte != NULL && n == 1 && *byte == ' ', "byte 0x20 is id 35");
    static const char *const texts[] = {
        "",
        "a",
        "Le métro est arrêté à Châtelet, 12 min de retard 🚇\r\n\t x",
        "<|im_start|>user\n<|im_end|>",
        "aaaaaaaa",
        " \xE2\x80\x8D\n \n",
        "l'été"};
    struct token_list list = {0};
    struct rng rng;
    rng_init(&rng, 7);
    for (int64_t k = 0; k < COUNT_OF(texts); k++) {
        for (int drop = 0; drop <= 4; drop++) { // whatever the dropout, the tokens spell the text
            size_t n_text = strlen(texts[k]);
            struct buf out = {0};
            token_list_reset(&list);
            CHECK(tokenizer_encode_dropout(t, &list, texts[k], n_text, 0, (float)drop / 4, &rng,
                                           &err),
                  "%s", err.text);
            check_offsets("ours", t, &list, texts[k], n_text, true);
            CHECK(drop < 4 || list.n == (int64_t)n_text, "dropout 1 gives bytes");
            CHECK(tokenizer_decode(t, &out, list.ids, list.n, false, &err), "%s", err.text);
            CHECK(strcmp(out.data == NULL ? "" : out.data, texts[k]) == 0,
                  "decoded \"%s\", want \"%s\"", out.data, texts[k]);
            for (int64_t j = 0; j < list.n; j++)
                CHECK(list.ids[j] > 2, "a special token typed in the text is data");
            buf_release(&out);
        }
    }
    token_list_reset(&list);
    CHECK(tokenizer_encode(t, &list, texts[3], strlen(texts[3]), TOKENIZER_PARSE_SPECIAL, &err),
          "%s", err.text);
    CHECK(list.n >= 3 && list.ids[0] == 1 && list.ids[list.n - 1] == 2,
          "special tokens are read when asked");
    check_offsets("ours", t, &list, texts[3], strlen(texts[3]), true);
    struct error bad = {0};
    CHECK(!tokenizer_encode_dropout(t, &list, "a", 1, 0, 1.5f, &rng, &bad), "dropout 1.5");
    token_list_release(&list);
    tokenizer_close(t);
    unlink(path);
}

static void test_train_refuses(void) {
    const char *texts[] = {"a"};
    size_t n_bytes[] = {1};
    static const char *const twice[] = {"<x>", "<x>", NULL}, *const empty[] = {"", NULL},
                             *const one[] = {"a", NULL};
    const struct {
        struct tokenizer_training training;
        const char *why;
    } cases[] = {{{.vocab = 255}, "outside"},
                 {{.vocab = 1ll << 40}, "outside"},
                 {{.vocab = 256, .specials = specials}, "no room"},
                 {{.vocab = 300, .specials = twice}, "twice"},
                 {{.vocab = 300, .specials = empty}, "empty"},
                 {{.vocab = 300, .specials = one}, "single byte"},
                 {{.vocab = 300, .split_regex = "a("}, "missing closing"},
                 {{.vocab = 300, .split_regex = "[a[b]]"}, "classes inside"}};
    for (int64_t i = 0; i < COUNT_OF(cases); i++) {
        struct error err = {0};
        CHECK(!tokenizer_train("/tmp/never_written.json", &cases[i].training, texts, n_bytes, 1,
                               &err) &&
                  strstr(err.text, cases[i].why) != NULL,
              "training case %lld: \"%s\", want \"%s\"", (long long)i, err.text, cases[i].why);
    }
    struct error err = {0};
    struct tokenizer_training none = {.vocab = 300};
    CHECK(!tokenizer_train("/nonexistent/x.json", &none, texts, n_bytes, 1, &err) &&
              err.code == ERR_IO,
          "%s", err.text);
}

// A long text without a space is one word: it must not take quadratic time (CTest's limit would see
// it).
static void test_long_word(const json_t *cases) {
    size_t n = 1 << 20;
    char *text = malloc(n);
    if (text == NULL) return;
    for (size_t i = 0; i < n; i++) text[i] = "abcdetre"[i * 7 % 8];
    size_t i;
    const json_t *c;
    json_array_foreach(cases, i, c) {
        const char *name = json_string_value(json_object_get(c, "name"));
        if (strcmp(name, "ours") != 0 && strcmp(name, "llama2") != 0 && strcmp(name, "qwen") != 0)
            continue;
        struct error err = {0};
        struct tokenizer *t;
        char *json = json_dumps(json_object_get(c, "tokenizer"), JSON_COMPACT);
        struct token_list list = {0};
        struct buf out = {0};
        if (tokenizer_parse(&t, json, strlen(json), name, &err)) {
            for (int fill = 0; fill < 2; fill++) {
                if (fill) memset(text, ' ', n);
                token_list_reset(&list);
                buf_reset(&out);
                CHECK(tokenizer_encode(t, &list, text, n, 0, &err), "%s", err.text);
                CHECK(tokenizer_decode(t, &out, list.ids, list.n, false, &err), "%s", err.text);
                CHECK(out.n_bytes == n && memcmp(out.data, text, n) == 0,
                      "%s: 1 MiB does not come back", name);
            }
            for (size_t k = 0; k < n; k++) text[k] = "abcdetre"[k * 7 % 8];
            tokenizer_close(t);
        }
        token_list_release(&list);
        buf_release(&out);
        free(json);
    }
    free(text);
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "--encode") == 0)
        return tool_encode(argv[2], argv[3], TOKENIZER_ADD_SPECIAL | TOKENIZER_PARSE_SPECIAL,
                           false);
    if (argc == 4 && strcmp(argv[1], "--decode") == 0)
        return tool_encode(argv[2], argv[3], TOKENIZER_ADD_SPECIAL | TOKENIZER_PARSE_SPECIAL, true);
    if (argc == 4 && strcmp(argv[1], "--encode-plain") == 0)
        return tool_encode(argv[2], argv[3], 0, false);
    if (argc == 5 && strcmp(argv[1], "--train") == 0) return tool_train(argv[2], argv[3], argv[4]);
    json_t *cases = load_cases();
    test_reference(cases);
    test_hostile();
    test_train(cases);
    test_train_refuses();
    test_long_word(cases);
    json_decref(cases);
    printf(n_failed == 0 ? "passed\n" : "%d failed\n", n_failed);
    return n_failed == 0 ? 0 : 1;
}
