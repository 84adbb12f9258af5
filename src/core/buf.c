// core/buf.c - growth by doubling, one failure flag.
#include "core/buf.h"

#include "core/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_init(struct buf *b, size_t limit_bytes) {
    *b = (struct buf){.limit_bytes = limit_bytes};
}

void buf_release(struct buf *b) {
    free(b->data);
    *b = (struct buf){.limit_bytes = b->limit_bytes};
}

void buf_reset(struct buf *b) {
    b->n_bytes = 0;
    b->failed = false;
    if (b->data != NULL) b->data[0] = '\0';
}

static bool buf_reserve(struct buf *b, size_t n_more) {
    if (b->failed) return false;
    size_t limit = b->limit_bytes ? b->limit_bytes : (size_t)1 << 30;
    if (n_more > limit || b->n_bytes > limit - n_more) {
        b->failed = true;
        return false;
    }
    size_t need = b->n_bytes + n_more + 1;
    if (need <= b->capacity) return true;
    size_t capacity = b->capacity ? b->capacity : 64;
    while (capacity < need) capacity *= 2;
    char *data = realloc(b->data, capacity);
    if (data == NULL) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->capacity = capacity;
    return true;
}

void buf_append(struct buf *b, const void *bytes, size_t n_bytes) {
    if (!buf_reserve(b, n_bytes)) return;
    if (n_bytes > 0) memcpy(b->data + b->n_bytes, bytes, n_bytes);
    b->n_bytes += n_bytes;
    b->data[b->n_bytes] = '\0';
}

void buf_append_str(struct buf *b, const char *s) {
    buf_append(b, s, strlen(s));
}

void buf_append_char(struct buf *b, char c) {
    buf_append(b, &c, 1);
}

void buf_printf(struct buf *b, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0) {
        b->failed = true;
    } else if (buf_reserve(b, (size_t)n)) {
        vsnprintf(b->data + b->n_bytes, (size_t)n + 1, format, again);
        b->n_bytes += (size_t)n;
    }
    va_end(again);
}

void buf_append_json_string(struct buf *b, const char *text, size_t n_bytes) {
    buf_append_char(b, '"');
    size_t i = 0;
    while (i < n_bytes) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') {
            buf_printf(b, "\\%c", c);
            i++;
        } else if (c == '\n') {
            buf_append_str(b, "\\n");
            i++;
        } else if (c == '\t') {
            buf_append_str(b, "\\t");
            i++;
        } else if (c < 0x20 || c == 0x7f) {
            buf_printf(b, "\\u%04x", c);
            i++;
        } else {
            size_t n = utf8_char_bytes(text + i, n_bytes - i);
            if (n == 0) {
                buf_append_str(b, "\xEF\xBF\xBD");
                i++;
            } else {
                buf_append(b, text + i, n);
                i += n;
            }
        }
    }
    buf_append_char(b, '"');
}

char *buf_take(struct buf *b) {
    if (b->failed) {
        buf_release(b);
        return NULL;
    }
    if (b->data == NULL) buf_append(b, "", 0);
    char *data = b->failed ? NULL : b->data;
    *b = (struct buf){.limit_bytes = b->limit_bytes};
    return data;
}
