// core/arena.c - a list of blocks; large requests get a block of their own.
#include "core/arena.h"

#include <stdlib.h>
#include <string.h>

enum { ARENA_ALIGN = 64, ARENA_BLOCK_BYTES = 64 * 1024 };

struct arena_block {
    struct arena_block *next;
    size_t used, capacity;
    char *data;
};

void arena_init(struct arena *a, size_t limit_bytes) {
    *a = (struct arena){.limit_bytes = limit_bytes};
}

void arena_release(struct arena *a) {
    while (a->blocks != NULL) {
        struct arena_block *next = a->blocks->next;
        free(a->blocks->data);
        free(a->blocks);
        a->blocks = next;
    }
    *a = (struct arena){.limit_bytes = a->limit_bytes};
}

void *arena_alloc(struct arena *a, size_t n_bytes) {
    if (a->failed) return NULL;
    if (n_bytes > SIZE_MAX - ARENA_ALIGN) goto fail;
    size_t need = (n_bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    if (need == 0) need = ARENA_ALIGN;
    if (a->limit_bytes && (need > a->limit_bytes || a->used_bytes > a->limit_bytes - need))
        goto fail;
    struct arena_block *block = a->blocks;
    if (block == NULL || block->capacity - block->used < need) {
        size_t capacity = need > ARENA_BLOCK_BYTES ? need : ARENA_BLOCK_BYTES;
        block = calloc(1, sizeof *block);
        if (block == NULL) goto fail;
        block->data = aligned_alloc(ARENA_ALIGN, capacity);
        if (block->data == NULL) {
            free(block);
            goto fail;
        }
        block->capacity = capacity;
        block->next = a->blocks;
        a->blocks = block;
    }
    void *p = block->data + block->used;
    memset(p, 0, need);
    block->used += need;
    a->used_bytes += need;
    return p;
fail:
    a->failed = true;
    return NULL;
}

void *arena_alloc_array(struct arena *a, size_t n, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) {
        a->failed = true;
        return NULL;
    }
    return arena_alloc(a, bytes);
}

char *arena_strndup(struct arena *a, const char *s, size_t n_bytes) {
    char *copy = n_bytes < SIZE_MAX ? arena_alloc(a, n_bytes + 1) : NULL;
    if (copy != NULL && n_bytes > 0) memcpy(copy, s, n_bytes);
    return copy;
}
