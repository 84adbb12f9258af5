// core/arena.h - memory with one lifetime: allocate many, release once.
// An arena has a stated limit and remembers failure: after a run of allocations check arena_ok() once
// (arena_alloc returns NULL from the failing call on). Under ASan released memory is poisoned by free().
#ifndef CORE_ARENA_H
#define CORE_ARENA_H

#include "core/base.h"

struct arena_block;
struct arena {
    struct arena_block *blocks; // newest first
    size_t used_bytes, limit_bytes;
    bool failed;
};

void arena_init(struct arena *a, size_t limit_bytes); // 0: no limit
void arena_release(struct arena *a);                  // zeroed storage is fine
// Zeroed memory aligned to 64 bytes, valid until arena_release(); NULL on failure.
void *arena_alloc(struct arena *a, size_t n_bytes);
// n * size with overflow check.
void *arena_alloc_array(struct arena *a, size_t n, size_t size);
char *arena_strndup(struct arena *a, const char *s, size_t n_bytes);
static inline bool arena_ok(const struct arena *a) {
    return !a->failed;
}

#endif
