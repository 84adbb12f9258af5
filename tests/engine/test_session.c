// labels: ref
// tests/engine/test_session.c - the forward pass against transformers (tests/engine/ref/model), and
// what a session promises: the same bits alone or in a batch, whole or in chunks, on any number of
// threads. Also a tool: test_session --compare FOLDER IDS.json OUT.safetensors [N_GREEDY [bf16]]
// writes the logits of the ids and their greedy continuation (tools/check_model.py).
#include "../core/check.h"
#include "core/clock.h"
#include "core/file.h"
#include "core/json.h"
#include "core/rng.h"
#include "engine/safetensors.h"
#include "engine/session.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const folders[] = {
    "tests/engine/ref/model/llama",      // f32 in shards, grouped heads, llama3 rotary scaling
    "tests/engine/ref/model/llama_bias", // f16, tied, biases everywhere, one key-value head
    "tests/engine/ref/model/qwen2",      // bf16, biases of q, k, v
    "tests/engine/ref/model/qwen3",      // f32, tied, norms of q and k, head_dim 24
};

static struct model *open_model(const char *folder, enum weight_type type) {
    struct error err = {0};
    struct model *m;
    if (model_open(&m, folder, &(struct model_options){type}, &err)) return m;
    printf("%s\n", err.text);
    exit(1);
}

static struct session *open_session(const struct model *m, struct pool *pool, int64_t n_slots,
                                    int64_t slot_tokens, int64_t batch_tokens) {
    struct error err = {0};
    struct session *s;
    if (session_open(&s, m, pool, &(struct session_options){n_slots, slot_tokens, batch_tokens},
                     &err))
        return s;
    printf("%s\n", err.text);
    exit(1);
}

static void forward(struct session *s, const struct session_part *parts, int64_t n) {
    struct error err = {0};
    if (session_forward(s, parts, n, &err)) return;
    printf("%s\n", err.text);
    exit(1);
}

// Feeds `tokens` to a slot alone, `chunk` at a time; out[n, C] gets every hidden state (may be
// NULL).
static void feed(struct session *s, int64_t slot, const int32_t *tokens, int64_t n, int64_t chunk,
                 float *out) {
    int64_t C = session_model(s)->config.C;
    for (int64_t i = 0; i < n; i += chunk) {
        int64_t m = min_i64(chunk, n - i);
        struct session_part part = {.slot = slot, .tokens = tokens + i, .n = m, .want_all = true};
        forward(s, &part, 1);
        for (int64_t j = 0; out != NULL && j < m; j++)
            memcpy(out + (i + j) * C, session_hidden(s, 0, j), (size_t)C * sizeof(float));
    }
}

static int32_t argmax(const float *x, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return (int32_t)best;
}

// --- against transformers

static void test_reference(const char *folder, enum weight_type type, float bound,
                           const char *kernels) {
    struct error err = {0};
    struct tensor_set *ref;
    char path[512];
    snprintf(path, sizeof path, "%s/ref.safetensors", folder);
    if (!tensor_set_open(&ref, path, &err)) {
        CHECK(false, "%s", err.text);
        return;
    }
    const struct tensor *ids = tensor_set_find(ref, "ids"), *rows = tensor_set_find(ref, "rows"),
                        *want = tensor_set_find(ref, "logits");
    int64_t n_prompt = atoll(tensor_set_metadata(ref, "n_prompt")), n = ids->count,
            n_rows = rows->count;
    struct model *m = open_model(folder, type);
    int64_t V = m->config.V, C = m->config.C;
    struct session *s = open_session(m, NULL, 1, n, n);
    int32_t *tokens = malloc(ids->n_bytes), *row_i = malloc(rows->n_bytes);
    float *logits = malloc((size_t)V * sizeof *logits),
          *want_logits = malloc((size_t)want->count * sizeof *logits),
          *hidden = malloc((size_t)(n * C) * sizeof *hidden);
    memcpy(tokens, ids->data, ids->n_bytes);
    memcpy(row_i, rows->data, rows->n_bytes);
    CHECK(tensor_read_f32(want_logits, want, &err), "%s", err.text);
    feed(s, 0, tokens, n, n, hidden);
    float worst = 0;
    for (int64_t i = 0; i < n_rows; i++) {
        session_logits(s, logits, hidden + row_i[i] * C);
        for (int64_t v = 0; v < V; v++) {
            float d = fabsf(logits[v] - want_logits[i * V + v]);
            if (!(d <= worst)) worst = d; // a NaN stays
        }
    }
    // Greedy, a token a pass, with nothing of the reference but the prompt.
    session_truncate(s, 0, 0);
    feed(s, 0, tokens, n_prompt - 1, 17, NULL);
    int32_t token = tokens[n_prompt - 1];
    int64_t same = 0;
    for (int64_t i = n_prompt; i < n; i++) {
        feed(s, 0, &token, 1, 1, NULL);
        session_logits(s, logits, session_hidden(s, 0, 0));
        token = argmax(logits, V);
        if (token != tokens[i]) break;
        same++;
    }
    printf("%-32s %-4s %-10s max |logit - transformers| %.3g over %lld x %lld, greedy %lld of %lld "
           "tokens\n",
           folder, weight_type_names[type], kernels, (double)worst, (long long)n_rows,
           (long long)V, (long long)same, (long long)(n - n_prompt));
    CHECK(worst < bound, "%s: logits differ by %g, bound %g", folder, (double)worst, (double)bound);
    if (type == WEIGHT_F32)
        CHECK(same == n - n_prompt, "%s: greedy differs at %lld", folder, (long long)same);
    free(tokens);
    free(row_i);
    free(logits);
    free(want_logits);
    free(hidden);
    session_close(s);
    model_close(m);
    tensor_set_close(ref);
}

// --- what a session promises

enum { N_TOKENS = 61 };

static void make_tokens(int32_t *tokens, int64_t n, int64_t V, uint64_t seed) {
    struct rng rng;
    rng_init(&rng, seed);
    for (int64_t i = 0; i < n; i++) tokens[i] = (int32_t)rng_below(&rng, (uint64_t)V);
}

static bool same_bits(const float *a, const float *b, int64_t n) {
    return memcmp(a, b, (size_t)n * sizeof *a) == 0;
}

static void test_invariance(const struct model *m, const char *name) {
    int64_t V = m->config.V, C = m->config.C;
    int32_t tokens[N_TOKENS], other[7][N_TOKENS];
    make_tokens(tokens, N_TOKENS, V, 1);
    for (int64_t i = 0; i < 7; i++) make_tokens(other[i], N_TOKENS, V, 100 + (uint64_t)i);
    float *want = malloc(N_TOKENS * (size_t)C * sizeof *want),
          *got = malloc(N_TOKENS * (size_t)C * sizeof *got),
          *logits = malloc((size_t)V * sizeof *logits),
          *want_logits = malloc((size_t)V * sizeof *logits);
    struct session *s = open_session(m, NULL, 1, 64, 64);
    feed(s, 0, tokens, N_TOKENS, N_TOKENS, want);
    session_logits(s, want_logits, want + (N_TOKENS - 1) * C);
    session_close(s);
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        struct error err = {0};
        struct pool *pool;
        if (!pool_open(&pool, n_threads, &err)) exit(1);
        s = open_session(m, pool, 8, 64, 8 * 64);
        static const int64_t chunks[] = {1, 3, 17, N_TOKENS};
        for (int64_t i = 0; i < COUNT_OF(chunks); i++) {
            session_truncate(s, 5, 0);
            feed(s, 5, tokens, N_TOKENS, chunks[i], got);
            CHECK(same_bits(got, want, N_TOKENS * C), "%s: chunks of %lld on %d threads differ",
                  name, (long long)chunks[i], n_threads);
        }
        session_logits(s, logits, got + (N_TOKENS - 1) * C);
        CHECK(same_bits(logits, want_logits, V), "%s: logits on %d threads differ", name,
              n_threads);
        // Among 7 others, uneven parts in one pass after another: ours takes 2, 3, 4... tokens, the
        // others 5, 4, 3...
        for (int64_t slot = 0; slot < 8; slot++) session_truncate(s, slot, 0);
        int64_t done[8] = {0};
        for (int64_t pass = 0; done[3] < N_TOKENS; pass++) {
            struct session_part parts[8];
            int64_t n_parts = 0, ours = -1;
            for (int64_t k = 0; k < 8; k++) {
                int64_t slot = (k + pass) % 8,
                        want_n = slot == 3 ? 2 + pass : 1 + (slot + pass) % 6;
                int64_t n = min_i64(want_n, N_TOKENS - done[slot]);
                if (n == 0) continue;
                const int32_t *from = slot == 3 ? tokens : other[slot < 3 ? slot : slot - 1];
                if (slot == 3) ours = n_parts;
                parts[n_parts++] =
                    (struct session_part){slot, from + done[slot], n, k % 2 == 0, slot == 3};
            }
            forward(s, parts, n_parts);
            for (int64_t j = 0; j < parts[ours].n; j++)
                memcpy(got + (done[3] + j) * C, session_hidden(s, ours, j),
                       (size_t)C * sizeof(float));
            for (int64_t k = 0; k < n_parts; k++) done[parts[k].slot] += parts[k].n;
        }
        CHECK(same_bits(got, want, N_TOKENS * C), "%s: in a batch of 8 on %d threads differs", name,
              n_threads);
        session_close(s);
        pool_close(pool);
    }
    free(want);
    free(got);
    free(logits);
    free(want_logits);
}

static void test_copy_and_truncate(const struct model *m) {
    int64_t V = m->config.V, C = m->config.C;
    int32_t a[N_TOKENS], b[N_TOKENS];
    make_tokens(a, N_TOKENS, V, 2);
    make_tokens(b, N_TOKENS, V, 3);
    enum { PREFIX = 23 };
    memcpy(b, a, PREFIX * sizeof *a);
    float *want_a = malloc(N_TOKENS * (size_t)C * sizeof *want_a),
          *want_b = malloc(N_TOKENS * (size_t)C * sizeof *want_b),
          *got = malloc(N_TOKENS * (size_t)C * sizeof *got);
    struct session *s = open_session(m, NULL, 3, 64, 64);
    feed(s, 0, a, N_TOKENS, N_TOKENS, want_a);
    feed(s, 1, b, N_TOKENS, N_TOKENS, want_b);
    // A prefix copied over a slot that held something longer.
    session_copy(s, 1, 0, PREFIX);
    CHECK(session_length(s, 1) == PREFIX, "length %lld", (long long)session_length(s, 1));
    feed(s, 1, b + PREFIX, N_TOKENS - PREFIX, N_TOKENS, got);
    CHECK(same_bits(got, want_b + PREFIX * C, (N_TOKENS - PREFIX) * C),
          "after a copied prefix the bits differ");
    session_truncate(s, 0, PREFIX);
    feed(s, 0, b + PREFIX, N_TOKENS - PREFIX, 5, got);
    CHECK(same_bits(got, want_b + PREFIX * C, (N_TOKENS - PREFIX) * C),
          "after a truncation the bits differ");
    session_truncate(s, 0, 0);
    feed(s, 0, a, N_TOKENS, N_TOKENS, got);
    CHECK(same_bits(got, want_a, N_TOKENS * C), "after emptying a slot the bits differ");
    session_copy(s, 2, 2, 0);
    CHECK(session_length(s, 2) == 0, "an empty copy holds %lld", (long long)session_length(s, 2));
    free(want_a);
    free(want_b);
    free(got);
    session_close(s);
}

static void test_refusals(const struct model *m) {
    int32_t t[40] = {0}, bad[2] = {1, (int32_t)m->config.V}, negative[1] = {-1};
    make_tokens(t, 40, m->config.V, 4);
    struct session *s = open_session(m, NULL, 2, 20, 16);
    int64_t C = m->config.C;
    float *want = malloc(12 * (size_t)C * sizeof *want),
          *got = malloc(12 * (size_t)C * sizeof *got);
    feed(s, 0, t, 12, 12, want);
    const struct {
        const char *what;
        struct session_part parts[2];
        int64_t n;
        enum error_code code;
    } cases[] = {
        {"longer than the slot", {{.slot = 0, .tokens = t, .n = 9}}, 1, ERR_LIMIT},
        {"longer than any slot", {{.slot = 1, .tokens = t, .n = INT64_MAX}}, 1, ERR_LIMIT},
        {"more than a pass",
         {{.slot = 0, .tokens = t, .n = 8}, {.slot = 1, .tokens = t, .n = 9}},
         2,
         ERR_LIMIT},
        {"a slot twice",
         {{.slot = 1, .tokens = t, .n = 1}, {.slot = 1, .tokens = t, .n = 1}},
         2,
         ERR_USAGE},
        {"token past the vocabulary",
         {{.slot = 1, .tokens = t, .n = 1}, {.slot = 0, .tokens = bad, .n = 2}},
         2,
         ERR_INPUT},
        {"negative token", {{.slot = 1, .tokens = negative, .n = 1}}, 1, ERR_INPUT},
        {"empty part", {{.slot = 1, .tokens = t, .n = 0}}, 1, ERR_USAGE},
        {"negative part", {{.slot = 1, .tokens = t, .n = -3}}, 1, ERR_USAGE},
        {"slot too large", {{.slot = 2, .tokens = t, .n = 1}}, 1, ERR_USAGE},
        {"negative slot", {{.slot = -1, .tokens = t, .n = 1}}, 1, ERR_USAGE},
    };
    for (int64_t i = 0; i < COUNT_OF(cases); i++) {
        struct error err = {0};
        bool ok = session_forward(s, cases[i].parts, cases[i].n, &err);
        CHECK(!ok && err.code == cases[i].code, "%s: %s %s", cases[i].what,
              error_code_name(err.code), err.text);
        printf("  %-26s %s\n", cases[i].what, err.text);
        CHECK(session_length(s, 0) == 12 && session_length(s, 1) == 0, "%s: lengths changed",
              cases[i].what);
    }
    // The refused passes left the hidden states and the cache as they were.
    CHECK(same_bits(session_hidden(s, 0, 11), want + 11 * C, C),
          "hidden states changed by a refusal");
    feed(s, 1, t, 12, 12, got);
    CHECK(same_bits(got, want, 12 * C), "slot 1 differs after refusals");
    feed(s, 0, t + 12, 8, 8, NULL); // exactly full
    CHECK(session_length(s, 0) == 20, "length %lld", (long long)session_length(s, 0));
    session_close(s);
    free(want);
    free(got);
    const struct session_options wrong[] = {
        {0, 8, 8}, {1, 0, 8}, {1, 8, 0}, {-1, 8, 8}, {1, m->config.T_max + 1, 8}, {1 << 20, 8, 8}};
    for (int64_t i = 0; i < COUNT_OF(wrong); i++) {
        struct error err = {0};
        CHECK(!session_open(&s, m, NULL, &wrong[i], &err) && s == NULL && err.text[0] != '\0',
              "options %lld accepted", (long long)i);
    }
}

static void test_logits_of(const struct model *m, const char *name) {
    int64_t V = m->config.V;
    int32_t t[9], ids[40];
    make_tokens(t, 9, V, 5);
    make_tokens(ids, 40, V, 6);
    ids[0] = 0;
    ids[1] = (int32_t)V - 1;
    float *logits = malloc((size_t)V * sizeof *logits), few[40];
    for (int n_threads = 1; n_threads <= 3; n_threads += 2) {
        struct error err = {0};
        struct pool *pool;
        if (!pool_open(&pool, n_threads, &err)) exit(1);
        struct session *s = open_session(m, pool, 1, 16, 16);
        struct session_part part = {.slot = 0, .tokens = t, .n = 9, .want_hidden = true};
        forward(s, &part, 1);
        session_logits(s, logits, session_hidden(s, 0, 8));
        session_logits_of(s, few, session_hidden(s, 0, 8), ids, 40);
        for (int64_t i = 0; i < 40; i++)
            CHECK(same_bits(&few[i], &logits[ids[i]], 1),
                  "%s: logit of %d is %.9g, %.9g in the whole row", name, ids[i], (double)few[i],
                  (double)logits[ids[i]]);
        session_close(s);
        pool_close(pool);
    }
    free(logits);
}

// --- the tool

static int compare(const char *folder, const char *ids_path, const char *out_path, int64_t n_greedy,
                   enum weight_type type) {
    struct error err = {0};
    json_t *root = NULL;
    struct model *m = NULL;
    struct session *s = NULL;
    struct pool *pool = NULL;
    int64_t begin_ns = clock_monotonic_ns();
    if (!json_parse_file(&root, ids_path, &err) ||
        !model_open(&m, folder, &(struct model_options){type}, &err) ||
        !pool_open(&pool, 0, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    double open_s = (double)(clock_monotonic_ns() - begin_ns) * 1e-9;
    int64_t n = (int64_t)json_array_size(root), V = m->config.V, C = m->config.C;
    if (n < 1 || n_greedy < 1)
        return fprintf(stderr, "%s: a list of token ids was expected\n", ids_path), 2;
    int32_t *tokens = malloc((size_t)n * sizeof *tokens),
            *greedy = malloc((size_t)n_greedy * sizeof *greedy);
    for (int64_t i = 0; i < n; i++)
        tokens[i] = (int32_t)json_integer_value(json_array_get(root, (size_t)i));
    float *hidden = malloc((size_t)(n * C) * sizeof *hidden),
          *logits = malloc((size_t)(n * V) * sizeof *logits),
          *last = malloc((size_t)V * sizeof *last);
    s = open_session(m, pool, 1, n + n_greedy, n);
    begin_ns = clock_monotonic_ns();
    feed(s, 0, tokens, n, n, hidden);
    double prefill_s = (double)(clock_monotonic_ns() - begin_ns) * 1e-9;
    for (int64_t i = 0; i < n; i++) session_logits(s, logits + i * V, hidden + i * C);
    begin_ns = clock_monotonic_ns();
    greedy[0] = argmax(logits + (n - 1) * V, V);
    for (int64_t i = 1; i < n_greedy; i++) {
        struct session_part part = {
            .slot = 0, .tokens = &greedy[i - 1], .n = 1, .want_hidden = true};
        forward(s, &part, 1);
        session_logits(s, last, session_hidden(s, 0, 0));
        greedy[i] = argmax(last, V);
    }
    double decode_s = (double)(clock_monotonic_ns() - begin_ns) * 1e-9;
    const struct tensor_source out[] = {
        {.name = "greedy", .dtype = TENSOR_I32, .n_dims = 1, .shape = {n_greedy}, .data = greedy},
        {.name = "logits", .dtype = TENSOR_F32, .n_dims = 2, .shape = {n, V}, .data = logits},
    };
    bool ok = tensor_file_write(out_path, out, COUNT_OF(out), NULL, &err);
    if (!ok) fprintf(stderr, "%s\n", err.text);
    printf("open %.2f s, prefill %.0f tokens/s, decode %.1f tokens/s, weights %.0f MB, kernels %s, "
           "%d threads\n",
           open_s, (double)n / prefill_s, (double)(n_greedy - 1) / decode_s,
           (double)m->weight_bytes / 1e6, kernels_best()->name, pool_threads(pool));
    free(tokens);
    free(greedy);
    free(hidden);
    free(logits);
    free(last);
    session_close(s);
    pool_close(pool);
    model_close(m);
    json_decref(root);
    return ok ? 0 : 1;
}

static void test_references(void) {
    for (int64_t i = 0; i < COUNT_OF(folders); i++)
        test_reference(folders[i], WEIGHT_F32, 1e-3f, kernels_best()->name);
}

// The kernels are chosen once a process: another process for the scalar ones.
static void test_scalar(void) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        setenv("KERNELS", "scalar", 1);
        execl("/proc/self/exe", "test_session", "--references", (char *)NULL);
        _exit(1);
    }
    int status = 1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0,
          "with KERNELS=scalar: status %d", status);
}

int main(int argc, char **argv) {
    if (argc >= 5 && strcmp(argv[1], "--compare") == 0)
        return compare(argv[2], argv[3], argv[4], argc > 5 ? atoll(argv[5]) : 200,
                       argc <= 6                         ? WEIGHT_F32
                       : strcmp(argv[6], "bf16") == 0 ? WEIGHT_BF16
                                                         : WEIGHT_I8);
    test_references();
    if (argc > 1) return n_failed > 0;
    test_scalar();
    // bf16 weights: exact for a bf16 file but for avx512bf16, which rounds activations too; loose
    // for f32 files.
    test_reference(folders[2], WEIGHT_BF16, 0.3f, kernels_best()->name);
    test_reference(folders[3], WEIGHT_BF16, 1.0f, kernels_best()->name);
    // int8 weights and activations: random weights with random logits are its worst case, so loose too.
    for (int64_t i = 0; i < COUNT_OF(folders); i++) test_reference(folders[i], WEIGHT_I8, 2.0f, kernels_best()->name);
    for (int64_t i = 0; i < COUNT_OF(folders); i++) {
        enum weight_type types[] = {WEIGHT_F32, WEIGHT_I8, WEIGHT_BF16};
        for (int64_t k = 0; k < (i >= 2 ? 3 : 2); k++) {
            struct model *m = open_model(folders[i], types[k]);
            test_invariance(m, folders[i]);
            test_logits_of(m, folders[i]);
            if (k == 0) test_copy_and_truncate(m);
            if (i == 0) test_refusals(m);
            model_close(m);
        }
    }
    if (n_failed == 0) printf("all passed\n");
    return n_failed > 0;
}
