// core/utf8.c - one decoder, everything else on top of it.
#include "core/utf8.h"

size_t utf8_decode(const char *s, size_t n_bytes, uint32_t *codepoint) {
    if (n_bytes == 0) return 0;
    const unsigned char *u = (const unsigned char *)s;
    uint32_t c = u[0];
    if (c < 0x80) {
        *codepoint = c;
        return 1;
    }
    size_t n;
    uint32_t least;
    if ((c & 0xE0) == 0xC0) {
        n = 2, least = 0x80, c &= 0x1F;
    } else if ((c & 0xF0) == 0xE0) {
        n = 3, least = 0x800, c &= 0x0F;
    } else if ((c & 0xF8) == 0xF0) {
        n = 4, least = 0x10000, c &= 0x07;
    } else {
        return 0;
    }
    if (n > n_bytes) return 0;
    for (size_t i = 1; i < n; i++) {
        if ((u[i] & 0xC0) != 0x80) return 0;
        c = (c << 6) | (u[i] & 0x3F);
    }
    if (c < least || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) return 0;
    *codepoint = c;
    return n;
}

size_t utf8_char_bytes(const char *s, size_t n_bytes) {
    uint32_t c;
    return utf8_decode(s, n_bytes, &c);
}

size_t utf8_encode(uint32_t c, char out[4]) {
    if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) c = 0xFFFD;
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | (c >> 6));
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | (c >> 12));
        out[1] = (char)(0x80 | ((c >> 6) & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | (c >> 18));
    out[1] = (char)(0x80 | ((c >> 12) & 0x3F));
    out[2] = (char)(0x80 | ((c >> 6) & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

bool utf8_valid(const char *s, size_t n_bytes, size_t *bad_offset) {
    for (size_t i = 0; i < n_bytes;) {
        size_t n = utf8_char_bytes(s + i, n_bytes - i);
        if (n == 0) {
            if (bad_offset != NULL) *bad_offset = i;
            return false;
        }
        i += n;
    }
    return true;
}

size_t utf8_length(const char *s, size_t n_bytes) {
    size_t count = 0;
    for (size_t i = 0; i < n_bytes; count++) {
        size_t n = utf8_char_bytes(s + i, n_bytes - i);
        i += n ? n : 1;
    }
    return count;
}
