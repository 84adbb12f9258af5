// tests/forge/check.h - one counting check for the forge's tests.
#ifndef TESTS_FORGE_CHECK_H
#define TESTS_FORGE_CHECK_H

#include <stdio.h>

static int n_failed;
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);                \
            n_failed++;                                                                            \
        }                                                                                          \
    } while (0)

#endif
