// core/buf.h - a growable byte buffer that remembers failure.
// A run of appends is checked once at the end with buf_ok(). Past `limit_bytes` or out of memory the
// buffer stops growing and stays failed. Zeroed storage is a valid empty buffer with a 1 GiB limit.
#ifndef CORE_BUF_H
#define CORE_BUF_H

#include "core/base.h"

struct buf {
    char *data; // NUL-terminated after any append; NULL while empty
    size_t n_bytes, capacity, limit_bytes;
    bool failed;
};

void buf_init(struct buf *b, size_t limit_bytes); // 0: 1 GiB
void buf_release(struct buf *b);
void buf_reset(struct buf *b); // empties, keeps the memory, forgets failure
void buf_append(struct buf *b, const void *bytes, size_t n_bytes);
void buf_append_str(struct buf *b, const char *s);
void buf_append_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3);
// Appends `text` as a JSON string with its quotes. Invalid UTF-8 bytes become U+FFFD.
void buf_append_json_string(struct buf *b, const char *text, size_t n_bytes);
static inline bool buf_ok(const struct buf *b) {
    return !b->failed;
}
// The caller owns the returned NUL-terminated bytes (free()); NULL when the buffer had failed.
char *buf_take(struct buf *b);

#endif
