// tests/core/check.h - one macro: says what failed and where, and goes on.
#ifndef TESTS_CORE_CHECK_H
#define TESTS_CORE_CHECK_H

#include <stdio.h>

static int n_failed;

#define CHECK(ok, ...)                                                                             \
    do {                                                                                           \
        if (!(ok)) {                                                                               \
            printf("%s:%d: ", __FILE__, __LINE__);                                                 \
            printf(__VA_ARGS__);                                                                   \
            printf("\n");                                                                          \
            n_failed++;                                                                            \
        }                                                                                          \
    } while (0)

#endif
