// apps/sillon/cmd_bench.c - `sillon bench`: what this machine can do (a ceiling measured in the
// same run) and what the engine does with it. Medians over repetitions; run it with nothing else
// running.
#include "command.h"

#include "core/clock.h"
#include "core/rng.h"
#include "engine/session.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: sillon bench [OPTION...]\n"
    "Matrix product, prefill and decode speed of a model on this machine.\n\n"
    "  --model FOLDER    model folder (default: the shipped models/default)\n"
    "  --weights TYPE    f32, bf16 or int8 [f32]\n"
    "  --threads N       threads, 0 = all [0]\n"
    "  --repeat N        repetitions, the median is printed [5]\n"
    "  --json            print as JSON\n";

enum { MAX_REPEAT = 101 };

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *x, int n) {
    qsort(x, (size_t)n, sizeof *x, by_value);
    return x[n / 2];
}

static double seconds_since(int64_t start_ns) {
    return (double)(clock_monotonic_ns() - start_ns) * 1e-9;
}

// Operations a second of all threads, each spinning in its registers: the ceiling of a product.
struct spin_job {
    double (*spin)(int64_t n);
    double *operations; // [threads]
};
static void spin_part(void *context, int64_t begin, int64_t end, int thread_i) {
    const struct spin_job *j = context;
    for (int64_t i = begin; i < end; i++) j->operations[thread_i] += j->spin(1 << 20);
}
static double ceiling_gops(struct pool *pool, double (*spin)(int64_t n), int repeat) {
    if (spin == NULL) return 0;
    double rates[MAX_REPEAT], operations[1024];
    for (int r = -1; r < repeat; r++) {
        struct spin_job job = {spin, operations};
        memset(operations, 0, sizeof operations);
        int64_t start = clock_monotonic_ns();
        pool_run(pool, spin_part, &job, 4 * pool_threads(pool), 1);
        double total = 0;
        for (int i = 0; i < pool_threads(pool); i++) total += operations[i];
        if (r >= 0) rates[r] = total / seconds_since(start) * 1e-9;
    }
    return median(rates, repeat);
}

// G operations a second of a [M, 1024] x [1024, 1024] product.
static double product_gops(struct pool *pool, enum weight_type type, int64_t M, int repeat) {
    enum { N = 1024, K = 1024, MOST = 512 };
    const struct kernels *k = kernels_best();
    float *a = calloc(MOST * K, sizeof *a), *out = calloc(MOST * N, sizeof *out),
          *w = calloc(N * K, sizeof *w);
    uint16_t *bits = calloc(N * K, sizeof *bits);
    struct weight_scratch scratch = {calloc(MOST * K, 1), calloc(MOST, sizeof(float))};
    struct weight weight = {0};
    struct error err = {0};
    double rates[MAX_REPEAT], result = -1;
    struct rng rng;
    rng_init(&rng, 1);
    if (a != NULL && out != NULL && w != NULL && bits != NULL && scratch.q != NULL &&
        scratch.scale != NULL) {
        for (int64_t i = 0; i < MOST * K; i++) a[i] = rng_f32(&rng);
        for (int64_t i = 0; i < N * K; i++) {
            w[i] = rng_f32(&rng) - 0.5f;
            bits[i] = bf16_from_f32(w[i]);
        }
        bool ok = type == WEIGHT_F32    ? weight_init_f32(&weight, w, N, K, &err)
                  : type == WEIGHT_BF16 ? weight_init_bf16(&weight, bits, N, K, &err)
                                        : weight_init_i8(&weight, w, N, K, &err);
        if (ok) {
            int64_t rounds = 512 / M;
            for (int r = -1; r < repeat; r++) {
                int64_t start = clock_monotonic_ns();
                for (int64_t i = 0; i < rounds; i++)
                    weight_apply(k, pool, out, N, a, K, &weight, M, &scratch);
                if (r >= 0)
                    rates[r] = 2.0 * (double)(M * N * K * rounds) / seconds_since(start) * 1e-9;
            }
            result = median(rates, repeat);
        }
    }
    weight_release(&weight);
    free(a);
    free(out);
    free(w);
    free(bits);
    free(scratch.q);
    free(scratch.scale);
    return result;
}

// Tokens/s of passes that append `n` tokens to each of `batch` sequences, after `before` tokens
// each.
static bool pass_rate(double *rate, const struct model *model, struct pool *pool, int64_t batch,
                      int64_t n, int64_t before, int repeat, struct error *err) {
    struct session *s = NULL;
    struct session_options o = {
        .n_slots = batch, .slot_tokens = before + n, .batch_tokens = batch * max_i64(n, before)};
    if (o.slot_tokens > model->config.T_max)
        return error_set(err, ERR_LIMIT, "bench: needs a window of %lld tokens, the model has %lld",
                         (long long)o.slot_tokens, (long long)model->config.T_max);
    struct session_part *parts = calloc((size_t)batch, sizeof *parts);
    int32_t *tokens = calloc((size_t)max_i64(n, before), sizeof *tokens);
    double rates[MAX_REPEAT];
    bool ok = (parts != NULL && tokens != NULL) || error_set(err, ERR_NOMEM, "out of memory");
    for (int64_t i = 0; ok && i < max_i64(n, before); i++)
        tokens[i] = (int32_t)(i * 7919 % model->config.V);
    ok = ok && session_open(&s, model, pool, &o, err);
    for (int r = -1; ok && r < repeat; r++) {
        for (int64_t i = 0; i < batch; i++) {
            session_truncate(s, i, 0);
            parts[i] = (struct session_part){.slot = i, .tokens = tokens, .n = before};
        }
        if (before > 0) ok = session_forward(s, parts, batch, err);
        for (int64_t i = 0; i < batch; i++)
            parts[i] =
                (struct session_part){.slot = i, .tokens = tokens, .n = n, .want_hidden = true};
        int64_t start = clock_monotonic_ns();
        ok = ok && session_forward(s, parts, batch, err);
        if (r >= 0) rates[r] = (double)(batch * n) / seconds_since(start);
    }
    if (ok) *rate = median(rates, repeat);
    session_close(s);
    free(parts);
    free(tokens);
    return ok;
}

int cmd_bench(int argc, char **argv) {
    static const struct option options[] = {{"model", required_argument, NULL, 'm'},
                                            {"weights", required_argument, NULL, 'w'},
                                            {"threads", required_argument, NULL, 'j'},
                                            {"repeat", required_argument, NULL, 'r'},
                                            {"json", no_argument, NULL, 'J'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *given = NULL;
    enum weight_type weights = WEIGHT_F32;
    int64_t n_threads = 0, repeat = 5;
    bool json = false, ok = true;
    struct error err = {0};
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (c) {
        case 'm':
            given = optarg;
            break;
        case 'w':
            ok = command_weights(&weights, optarg, &err);
            break;
        case 'j':
            ok = command_number(&n_threads, "--threads", optarg, 0, 1024, &err);
            break;
        case 'r':
            ok = command_number(&repeat, "--repeat", optarg, 1, MAX_REPEAT, &err);
            break;
        case 'J':
            json = true;
            break;
        case 'h':
            fputs(help, stdout);
            return EXIT_DONE;
        default:
            return EXIT_USAGE;
        }
        if (!ok) return command_fail("bench", &err);
    }
    char folder[4096];
    struct model *model = NULL;
    struct pool *pool = NULL;
    ok =
        command_model(folder, sizeof folder, given, &err) && pool_open(&pool, (int)n_threads, &err);
    int64_t start = clock_monotonic_ns();
    ok = ok && model_open(&model, folder, &(struct model_options){weights}, &err);
    double open_ms = seconds_since(start) * 1e3, ceiling = 0, products[2] = {0}, rates[8] = {0};
    static const int64_t product_rows[2] = {512, 32};
    static const struct {
        int64_t batch, n, before;
        const char *name;
    } cases[] = {
        {1, 256, 0, "prefill, 256 tokens"}, {16, 60, 0, "prefill, 16 messages of 60 tokens"},
        {1, 1, 64, "decode, batch 1"},      {8, 1, 64, "decode, batch 8"},
        {32, 1, 64, "decode, batch 32"},    {64, 1, 64, "decode, batch 64"}};
    const struct kernels *k = kernels_best();
    if (ok)
        ceiling = ceiling_gops(pool,
                               weights == WEIGHT_I8     ? k->spin_i8
                               : weights == WEIGHT_BF16 ? k->spin_bf16
                                                        : k->spin_f32,
                               (int)repeat);
    for (int i = 0; ok && i < 2; i++)
        products[i] = product_gops(pool, weights, product_rows[i], (int)repeat);
    for (int i = 0; ok && i < COUNT_OF(cases); i++)
        ok = pass_rate(&rates[i], model, pool, cases[i].batch, cases[i].n, cases[i].before,
                       (int)repeat, &err);
    if (ok) {
        // 2 operations a weight a token; the embedding is a look-up, the head is not read in these
        // passes.
        double flop =
            2.0 * (double)(model_config_parameters(&model->config) -
                           model->config.V * model->config.C * (model->config.tied_head ? 1 : 2));
        double roof = ceiling > 0 ? ceiling : products[0];
        if (json) {
            printf("{\"kernels\":\"%s\",\"weights\":\"%s\",\"threads\":%d,\"ceiling_gops\":%.1f,"
                   "\"product_512_gops\":%.1f,"
                   "\"product_32_gops\":%.1f,\"weight_bytes\":%lld,\"open_ms\":%.1f,\"cases\":[",
                   k->name, weight_type_names[weights], pool_threads(pool), ceiling, products[0],
                   products[1], (long long)model->weight_bytes, open_ms);
            for (int i = 0; i < COUNT_OF(cases); i++)
                printf("%s{\"name\":\"%s\",\"tokens_per_s\":%.1f}", i ? "," : "", cases[i].name,
                       rates[i]);
            printf("]}\n");
        } else {
            printf("weights %s (%.1f MB), kernels %s, %d threads, opened in %.0f ms\n",
                   weight_type_names[weights], (double)model->weight_bytes * 1e-6, k->name,
                   pool_threads(pool), open_ms);
            if (ceiling > 0) printf("registers only: %.0f G operations/s; ", ceiling);
            printf("product [512, 1024] x [1024, 1024]: %.0f (%.0f %%), [32, 1024]: %.0f (%.0f "
                   "%%)\n\n",
                   products[0], 100 * products[0] / roof, products[1], 100 * products[1] / roof);
            printf("| %-36s | tokens/s | of the ceiling |\n|%s|----------|----------------|\n",
                   "pass", "--------------------------------------");
            for (int i = 0; i < COUNT_OF(cases); i++)
                printf("| %-36s | %8.0f | %12.0f %% |\n", cases[i].name, rates[i],
                       100 * rates[i] * flop * 1e-9 / roof);
        }
    }
    model_close(model);
    pool_close(pool);
    return ok ? EXIT_DONE : command_fail("bench", &err);
}
