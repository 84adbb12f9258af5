// core/pool.h - a fixed set of threads that share one loop at a time.
// pool_run() cuts [0, n) in contiguous ranges, one a thread, by a rule that depends only on n and the
// number of threads; kernels own whole output rows, so results do not depend on the thread count.
// Thread: one caller at a time (the owner); the caller works too.
#ifndef CORE_POOL_H
#define CORE_POOL_H

#include "core/error.h"

struct pool; // opaque
typedef void pool_fn(void *context, int64_t begin, int64_t end, int thread_i);

// n_threads <= 0: the number of online processors.
NODISCARD bool pool_open(struct pool **out, int n_threads, struct error *err);
void pool_close(struct pool *pool); // NULL is fine
int pool_threads(const struct pool *pool); // NULL counts as 1
// Runs fn over [0, n) and returns when all of it is done. Ranges are multiples of `grain` but for the last.
// pool may be NULL: the caller's thread does everything.
void pool_run(struct pool *pool, pool_fn *fn, void *context, int64_t n, int64_t grain);

#endif
