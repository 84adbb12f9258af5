// core/pool.c - workers spin a little, then sleep on a condition: an engine issues hundreds of small
// loops per token and must not pay a futex call for each.
#include "core/pool.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { POOL_SPINS = 4000 };

struct pool_worker {
    struct pool *pool;
    int thread_i;
    pthread_t thread;
};

struct pool {
    int n_threads;   // with the caller
    int n_started;   // workers to join
    atomic_uint turn; // grows by one a job
    atomic_int n_left;
    atomic_bool closing;
    atomic_int n_asleep;
    pool_fn *fn; // the job: written before `turn` grows
    void *context;
    int64_t n, grain;
    pthread_mutex_t mu;
    pthread_cond_t wake;
    struct pool_worker workers[];
};

static inline void cpu_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

static void pool_part(struct pool *pool, int thread_i) {
    int64_t n_grains = (pool->n + pool->grain - 1) / pool->grain;
    int64_t begin = n_grains * thread_i / pool->n_threads * pool->grain;
    int64_t end = n_grains * (thread_i + 1) / pool->n_threads * pool->grain;
    if (end > pool->n) end = pool->n;
    if (begin < end) pool->fn(pool->context, begin, end, thread_i);
}

static void *pool_worker_main(void *argument) {
    struct pool_worker *worker = argument;
    struct pool *pool = worker->pool;
    unsigned seen = 0;
    for (;;) {
        for (int i = 0; i < POOL_SPINS && atomic_load_explicit(&pool->turn, memory_order_acquire) == seen; i++)
            cpu_relax();
        if (atomic_load(&pool->turn) == seen) {
            pthread_mutex_lock(&pool->mu);
            atomic_fetch_add(&pool->n_asleep, 1);
            while (atomic_load(&pool->turn) == seen) pthread_cond_wait(&pool->wake, &pool->mu);
            atomic_fetch_sub(&pool->n_asleep, 1);
            pthread_mutex_unlock(&pool->mu);
        }
        seen++;
        if (atomic_load(&pool->closing)) return NULL;
        pool_part(pool, worker->thread_i);
        atomic_fetch_sub_explicit(&pool->n_left, 1, memory_order_release);
    }
}

// Publishes a turn. A worker counts itself asleep before it re-checks `turn` under the mutex, and both
// are sequentially consistent, so either it sees the new turn or we see it asleep and wake it.
static void pool_publish(struct pool *pool) {
    atomic_fetch_add(&pool->turn, 1);
    if (atomic_load(&pool->n_asleep) > 0) {
        pthread_mutex_lock(&pool->mu);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->mu);
    }
}

bool pool_open(struct pool **out, int n_threads, struct error *err) {
    *out = NULL;
    if (n_threads <= 0) n_threads = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (n_threads < 1) n_threads = 1;
    if (n_threads > 1024) return error_set(err, ERR_LIMIT, "threads: %d, the limit is 1024", n_threads);
    struct pool *pool = calloc(1, sizeof *pool + (size_t)n_threads * sizeof pool->workers[0]);
    if (pool == NULL) return error_set(err, ERR_NOMEM, "thread pool: out of memory");
    pool->n_threads = n_threads;
    pthread_mutex_init(&pool->mu, NULL);
    pthread_cond_init(&pool->wake, NULL);
    for (int i = 1; i < n_threads; i++) {
        pool->workers[i] = (struct pool_worker){.pool = pool, .thread_i = i};
        if (pthread_create(&pool->workers[i].thread, NULL, pool_worker_main, &pool->workers[i]) != 0) {
            pool_close(pool);
            return error_set(err, ERR_NOMEM, "thread pool: cannot start thread %d of %d", i, n_threads);
        }
        pool->n_started = i;
    }
    *out = pool;
    return true;
}

void pool_close(struct pool *pool) {
    if (pool == NULL) return;
    atomic_store(&pool->closing, true);
    pool_publish(pool);
    for (int i = 1; i <= pool->n_started; i++) pthread_join(pool->workers[i].thread, NULL);
    pthread_mutex_destroy(&pool->mu);
    pthread_cond_destroy(&pool->wake);
    free(pool);
}

int pool_threads(const struct pool *pool) {
    return pool != NULL ? pool->n_threads : 1;
}

void pool_run(struct pool *pool, pool_fn *fn, void *context, int64_t n, int64_t grain) {
    assert(grain > 0);
    if (n <= 0) return;
    if (pool == NULL || pool->n_threads == 1 || n <= grain) {
        fn(context, 0, n, 0);
        return;
    }
    pool->fn = fn;
    pool->context = context;
    pool->n = n;
    pool->grain = grain;
    atomic_store(&pool->n_left, pool->n_threads - 1);
    pool_publish(pool);
    pool_part(pool, 0);
    // The others may be off the processor on a shared machine: spin briefly, then let them run.
    for (int i = 0; atomic_load_explicit(&pool->n_left, memory_order_acquire) > 0; i++) {
        if (i < POOL_SPINS) cpu_relax();
        else sched_yield();
    }
}
