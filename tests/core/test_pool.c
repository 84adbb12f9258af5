// tests/core/test_pool.c - every index once, ranges by the rule, sums that see each other's writes.
// Also built with -fsanitize=thread, where it shows the hand-over of jobs to be free of races.
#include "check.h"
#include "core/pool.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct job {
    int64_t n, grain, n_calls;
    int *seen;       // [n]
    int64_t *begins; // [threads], -1: no call
};

static void mark(void *context, int64_t begin, int64_t end, int thread_i) {
    struct job *j = context;
    CHECK(begin < end && end <= j->n, "range [%lld, %lld) of %lld", (long long)begin,
          (long long)end, (long long)j->n);
    CHECK(begin % j->grain == 0 && (end % j->grain == 0 || end == j->n),
          "range [%lld, %lld), grain %lld", (long long)begin, (long long)end, (long long)j->grain);
    j->begins[thread_i] = begin;
    for (int64_t i = begin; i < end; i++) j->seen[i]++;
}

static void test_ranges(struct pool *pool, int n_threads) {
    static const int64_t sizes[] = {0, 1, 2, 7, 64, 1000}, grains[] = {1, 3, 64, 5000};
    for (int64_t a = 0; a < COUNT_OF(sizes); a++)
        for (int64_t b = 0; b < COUNT_OF(grains); b++) {
            int seen[1000] = {0};
            int64_t first[64], begins[64];
            for (int round = 0; round < 2; round++) {
                struct job job = {sizes[a], grains[b], 0, seen, begins};
                for (int i = 0; i < 64; i++) begins[i] = -1;
                pool_run(pool, mark, &job, sizes[a], grains[b]);
                if (round == 0) memcpy(first, begins, sizeof first);
            }
            CHECK(memcmp(first, begins, sizeof first) == 0, "%d threads: the ranges changed",
                  n_threads);
            for (int64_t i = 0; i < sizes[a]; i++)
                CHECK(seen[i] == 2, "index %lld done %d times", (long long)i, seen[i]);
        }
}

struct chain {
    int64_t *in, *out, n;
};

static void chain_step(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    struct chain *c = context;
    // Reads what another thread wrote in the job before.
    for (int64_t i = begin; i < end; i++) c->out[i] = c->in[c->n - 1 - i] + 1;
}

static void test_chain(struct pool *pool, int64_t n_jobs, bool pause) {
    enum { N = 97 };
    int64_t a[N] = {0}, b[N] = {0};
    for (int64_t i = 0; i < n_jobs; i++) {
        struct chain c = {i % 2 ? b : a, i % 2 ? a : b, N};
        pool_run(pool, chain_step, &c, N, 4);
        if (pause && i % 10 == 0) usleep(2000); // long enough for the workers to sleep
    }
    int64_t *last = n_jobs % 2 ? b : a;
    for (int64_t i = 0; i < N; i++)
        CHECK(last[i] == n_jobs, "after %lld jobs [%lld] is %lld", (long long)n_jobs, (long long)i,
              (long long)last[i]);
}

int main(void) {
    struct error err = {0};
    struct pool *pool;
    test_ranges(NULL, 1);
    test_chain(NULL, 10, false);
    for (int n_threads = 1; n_threads <= 5; n_threads++) {
        if (!pool_open(&pool, n_threads, &err)) {
            CHECK(false, "%s", err.text);
            break;
        }
        CHECK(pool_threads(pool) == n_threads, "%d threads", pool_threads(pool));
        test_ranges(pool, n_threads);
        test_chain(pool, 300, false);
        test_chain(pool, 50, true);
        pool_close(pool);
    }
    for (int i = 0; i < 20; i++) { // closed at once, while workers start or fall asleep
        if (!pool_open(&pool, 4, &err)) break;
        if (i % 2) usleep(500);
        pool_close(pool);
    }
    CHECK(err.code == ERR_NONE, "%s", err.text);
    CHECK(!pool_open(&pool, 100000, &err) && pool == NULL && err.code == ERR_LIMIT,
          "100000 threads");
    CHECK(pool_threads(NULL) == 1, "NULL counts as 1");
    pool_close(NULL);
    return n_failed > 0;
}
