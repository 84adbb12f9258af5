// tests/core/test_arena.c - alignment, zeroing, the limit, failure remembered.
#include "check.h"
#include "core/arena.h"

#include <string.h>

int main(void) {
    struct arena a = {0};
    arena_release(&a); // zeroed storage
    static const size_t sizes[] = {0, 1, 63, 64, 65, 1000, 65536, 65537, 300000, 7};
    unsigned char *last = NULL;
    for (int round = 0; round < 30; round++)
        for (int64_t i = 0; i < COUNT_OF(sizes); i++) {
            unsigned char *p = arena_alloc(&a, sizes[i]);
            CHECK(p != NULL && (uintptr_t)p % 64 == 0 && p != last, "alloc of %zu: %p", sizes[i],
                  (void *)p);
            for (size_t k = 0; k < sizes[i]; k++)
                if (p[k] != 0) {
                    CHECK(false, "byte %zu of %zu is %d", k, sizes[i], p[k]);
                    break;
                }
            memset(p, 0xAB, sizes[i]);
            last = p;
        }
    CHECK(arena_ok(&a), "failed");
    char *s = arena_strndup(&a, "quai", 3);
    CHECK(s != NULL && strcmp(s, "qua") == 0, "strndup");
    arena_release(&a);
    CHECK(a.blocks == NULL && a.used_bytes == 0, "released");

    arena_init(&a, 1024);
    CHECK(arena_alloc(&a, 1000) != NULL && arena_ok(&a), "1000 of 1024");
    CHECK(arena_alloc(&a, 1) == NULL && !arena_ok(&a), "past the limit");
    CHECK(arena_alloc(&a, 0) == NULL, "failure is remembered");
    arena_release(&a);
    CHECK(arena_ok(&a) && a.limit_bytes == 1024 && arena_alloc(&a, 1024) != NULL,
          "usable after release");
    arena_release(&a);

    arena_init(&a, 0);
    CHECK(arena_alloc_array(&a, SIZE_MAX / 2, 3) == NULL && !arena_ok(&a), "n * size overflows");
    arena_release(&a);
    CHECK(arena_alloc(&a, SIZE_MAX) == NULL && !arena_ok(&a), "rounding up overflows");
    arena_release(&a);
    return n_failed > 0;
}
