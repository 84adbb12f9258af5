// core/base.h - the few words every file uses.
#ifndef CORE_BASE_H
#define CORE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NODISCARD __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_i, args_i) __attribute__((format(printf, format_i, args_i)))
#define COUNT_OF(array) ((int64_t)(sizeof(array) / sizeof((array)[0])))

static inline int64_t min_i64(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static inline int64_t max_i64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

#endif
