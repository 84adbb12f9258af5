// core/utf8.h - UTF-8 checks (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF).
#ifndef CORE_UTF8_H
#define CORE_UTF8_H

#include "core/base.h"

// Bytes of the character at `s` (1..4), or 0 when it is not a valid UTF-8 sequence within n_bytes.
size_t utf8_char_bytes(const char *s, size_t n_bytes);
// Decodes one character; *codepoint is set only when the result is not 0.
size_t utf8_decode(const char *s, size_t n_bytes, uint32_t *codepoint);
// Writes 1..4 bytes to out (no NUL) and returns how many; invalid code points give U+FFFD.
size_t utf8_encode(uint32_t codepoint, char out[4]);
// true when all of `s` is valid; otherwise *bad_offset (may be NULL) is the first bad byte.
bool utf8_valid(const char *s, size_t n_bytes, size_t *bad_offset);
// Number of characters; invalid bytes count one each.
size_t utf8_length(const char *s, size_t n_bytes);

#endif
