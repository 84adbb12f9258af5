// engine/tokenizer_normalize.c - normalisers. Each rewrites a text and keeps, for every byte, the
// range of the original it came from.
#include "core/utf8.h"
#include "engine/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

void text_builder_release(struct text_builder *b) {
    free(b->s);
    free(b->begin);
    free(b->end);
    *b = (struct text_builder){0};
}

static bool text_builder_reserve(struct text_builder *b, int64_t n_more) {
    if (b->failed) return false;
    if (n_more > TOKENIZER_TEXT_LIMIT - b->n) {
        b->failed = true;
        return false;
    }
    if (b->n + n_more <= b->capacity) return true;
    int64_t capacity = max_i64(max_i64(b->n + n_more, b->capacity * 2), 256);
    char *s = realloc(b->s, (size_t)capacity);
    if (s != NULL) b->s = s;
    int32_t *begin = realloc(b->begin, (size_t)capacity * sizeof *begin);
    if (begin != NULL) b->begin = begin;
    int32_t *end = realloc(b->end, (size_t)capacity * sizeof *end);
    if (end != NULL) b->end = end;
    if (s == NULL || begin == NULL || end == NULL) {
        b->failed = true;
        return false;
    }
    b->capacity = capacity;
    return true;
}

void text_builder_add(struct text_builder *b, const char *s, int64_t n, int32_t begin,
                      int32_t end) {
    if (n == 0 || !text_builder_reserve(b, n)) return;
    memcpy(b->s + b->n, s, (size_t)n);
    for (int64_t i = 0; i < n; i++) {
        b->begin[b->n + i] = begin;
        b->end[b->n + i] = end;
    }
    b->n += n;
}

void text_builder_copy(struct text_builder *b, const struct text *t, int32_t from, int32_t to) {
    if (from == to || !text_builder_reserve(b, to - from)) return;
    memcpy(b->s + b->n, t->s + from, (size_t)(to - from));
    for (int32_t i = from; i < to; i++) {
        b->begin[b->n] = text_begin(t, i);
        b->end[b->n] = text_end(t, i);
        b->n++;
    }
}

bool text_builder_take(struct text_builder *b, struct text *out, struct arena *arena,
                       struct error *err) {
    if (b->failed) {
        text_builder_release(b);
        return error_set(err, ERR_LIMIT, "tokenizer: the normalised text does not fit in %d bytes",
                         TOKENIZER_TEXT_LIMIT);
    }
    size_t n = (size_t)b->n, map_bytes = n * sizeof(int32_t);
    char *s = arena_alloc(arena, n);
    int32_t *begin = arena_alloc(arena, map_bytes);
    int32_t *end = arena_alloc(arena, map_bytes);
    if (!arena_ok(arena)) return error_set(err, ERR_NOMEM, "tokenizer: out of memory");
    if (n > 0) {
        memcpy(s, b->s, n);
        memcpy(begin, b->begin, map_bytes);
        memcpy(end, b->end, map_bytes);
    }
    *out = (struct text){.s = s, .n = (int32_t)n, .begin = begin, .end = end};
    b->n = 0;
    return true;
}

// The range of the original under bytes [from, to) of a text.
static void text_range(const struct text *t, int32_t from, int32_t to, int32_t *begin,
                       int32_t *end) {
    *begin = from < t->n ? text_begin(t, from) : t->n > 0 ? text_end(t, t->n - 1) : t->base;
    *end = to > from ? text_end(t, to - 1) : *begin;
}

// One stretch that no composition crosses: bytes [from, to) of `t`.
static bool unicode_stretch(struct text_builder *b, const struct text *t, int32_t from, int32_t to,
                            utf8proc_option_t options, struct error *err) {
    utf8proc_uint8_t *out = NULL;
    utf8proc_ssize_t n =
        utf8proc_map((const utf8proc_uint8_t *)t->s + from, to - from, &out, options);
    if (n < 0) {
        free(out);
        return error_set(err, ERR_NOMEM, "tokenizer: normalisation: %s", utf8proc_errmsg(n));
    }
    const char *s = (const char *)out;
    // What did not change at either end keeps its own places; the middle maps to the middle.
    int32_t n_in = to - from, n_out = (int32_t)n, head = 0, tail = 0;
    while (head < n_in && head < n_out && s[head] == t->s[from + head]) head++;
    while (head > 0 && ((head < n_in && (t->s[from + head] & 0xC0) == 0x80) ||
                        (head < n_out && (s[head] & 0xC0) == 0x80)))
        head--; // whole characters
    while (tail < n_in - head && tail < n_out - head && s[n_out - 1 - tail] == t->s[to - 1 - tail])
        tail++;
    while (tail > 0 && (s[n_out - tail] & 0xC0) == 0x80) tail--;
    int32_t begin, end;
    text_range(t, from + head, to - tail, &begin, &end);
    text_builder_copy(b, t, from, from + head);
    text_builder_add(b, s + head, n_out - head - tail, begin, end);
    text_builder_copy(b, t, to - tail, to);
    free(out);
    return true;
}

// NFC and the others. A stretch is an ASCII character and what follows it up to the next one: ASCII
// characters start a composition at most, so stretches are normalised one by one.
static bool normalize_unicode(enum normalizer_kind kind, struct text_builder *b,
                              const struct text *t, struct error *err) {
    utf8proc_option_t options =
        UTF8PROC_STABLE |
        (kind == NORMALIZER_NFC || kind == NORMALIZER_NFKC ? UTF8PROC_COMPOSE
                                                           : UTF8PROC_DECOMPOSE) |
        (kind == NORMALIZER_NFKC || kind == NORMALIZER_NFKD ? UTF8PROC_COMPAT : 0);
    int32_t i = 0;
    while (i < t->n) {
        int32_t from = i++;
        while (i < t->n && (t->s[i] & 0x80)) i++;
        if (i == from + 1 && !(t->s[from] & 0x80)) {
            text_builder_copy(b, t, from, i);
        } else if (!unicode_stretch(b, t, from, i, options, err)) {
            return false;
        }
    }
    return true;
}

static bool text_is_ascii(const struct text *t) {
    for (int32_t i = 0; i < t->n; i++) {
        if (t->s[i] & 0x80) return false;
    }
    return true;
}

// Rust's char::to_lowercase: one character at a time, so no final sigma.
static void lowercase_char(struct text_builder *b, const struct text *t, int32_t i, int32_t n,
                           uint32_t c) {
    char s[8];
    size_t n_out;
    if (c == 0x130) { // LATIN CAPITAL LETTER I WITH DOT ABOVE: the only one that gives two
        memcpy(s, "i\xCC\x87", 3);
        n_out = 3;
    } else {
        n_out = utf8_encode((uint32_t)utf8proc_tolower((utf8proc_int32_t)c), s);
    }
    text_builder_add(b, s, (int64_t)n_out, text_begin(t, i), text_end(t, i + n - 1));
}

// SentencePiece's nmt rules: 0 drops the character.
static uint32_t nmt_char(uint32_t c) {
    if ((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F ||
        c == 0x9F)
        return 0;
    if (c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
        c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD)
        return ' ';
    return c;
}

static void normalize_chars(enum normalizer_kind kind, struct text_builder *b,
                            const struct text *t) {
    for (int32_t i = 0; i < t->n;) {
        uint32_t c = 0;
        int32_t n = (int32_t)utf8_decode(t->s + i, (size_t)(t->n - i), &c);
        char s[4];
        switch (kind) {
        case NORMALIZER_LOWERCASE:
            lowercase_char(b, t, i, n, c);
            break;
        case NORMALIZER_STRIP_ACCENTS:
            if (!char_is_mark(c)) text_builder_copy(b, t, i, i + n);
            break;
        case NORMALIZER_NMT:
            if (c == 0 || nmt_char(c) == c) {
                text_builder_copy(b, t, i, i + n);
            } else if (nmt_char(c) != 0) {
                text_builder_add(b, " ", 1, text_begin(t, i), text_end(t, i + n - 1));
            }
            break;
        default: // NORMALIZER_BYTE_LEVEL
            for (int32_t k = i; k < i + n; k++) {
                size_t n_out = utf8_encode(byte_to_char((uint8_t)t->s[k]), s);
                text_builder_add(b, s, (int64_t)n_out, text_begin(t, k), text_end(t, k));
            }
        }
        i += n;
    }
}

static void text_strip(struct text *t, bool left, bool right) {
    int32_t from = 0, to = t->n;
    while (left && from < to) {
        uint32_t c = 0;
        size_t n = utf8_decode(t->s + from, (size_t)(to - from), &c);
        if (!char_is_space(c)) break;
        from += (int32_t)n;
    }
    while (right && to > from) {
        int32_t i = to - 1;
        while (i > from && (t->s[i] & 0xC0) == 0x80) i--;
        uint32_t c = 0;
        utf8_decode(t->s + i, (size_t)(to - i), &c);
        if (!char_is_space(c)) break;
        to = i;
    }
    *t = text_slice(t, from, to);
}

static bool normalize_replace(const struct normalizer *z, struct encode_scratch *scratch,
                              struct text *t, struct error *err) {
    if (!regex_split(z->regex, scratch->regex, t->s, t->n, &scratch->spans, err)) return false;
    bool any = false;
    for (int64_t i = 0; i < scratch->spans.n; i++) any |= scratch->spans.v[i].match;
    if (!any) return true;
    for (int64_t i = 0; i < scratch->spans.n; i++) {
        struct span span = scratch->spans.v[i];
        if (!span.match) {
            text_builder_copy(&scratch->builder, t, span.begin, span.end);
            continue;
        }
        int32_t begin, end;
        text_range(t, span.begin, span.end, &begin, &end);
        text_builder_add(&scratch->builder, z->content.s, (int64_t)z->content.n, begin, end);
    }
    return text_builder_take(&scratch->builder, t, &scratch->arena, err);
}

bool normalizer_run(const struct normalizer *z, struct encode_scratch *scratch, struct text *t,
                    struct error *err) {
    if (t->n == 0 && z->kind != NORMALIZER_REPLACE) return true;
    struct text_builder *b = &scratch->builder;
    switch (z->kind) {
    case NORMALIZER_NFC:
    case NORMALIZER_NFD:
    case NORMALIZER_NFKC:
    case NORMALIZER_NFKD:
        if (text_is_ascii(t)) return true;
        if (!normalize_unicode(z->kind, b, t, err)) return false;
        break;
    case NORMALIZER_STRIP:
        text_strip(t, z->left, z->right);
        return true;
    case NORMALIZER_REPLACE:
        return normalize_replace(z, scratch, t, err);
    case NORMALIZER_PREPEND:
        text_builder_add(b, z->content.s, (int64_t)z->content.n, text_begin(t, 0),
                         text_begin(t, 0));
        text_builder_copy(b, t, 0, t->n);
        break;
    case NORMALIZER_STRIP_ACCENTS:
        if (text_is_ascii(t)) return true;
        normalize_chars(z->kind, b, t);
        break;
    case NORMALIZER_LOWERCASE:
    case NORMALIZER_NMT:
    case NORMALIZER_BYTE_LEVEL:
        normalize_chars(z->kind, b, t);
        break;
    }
    return text_builder_take(b, t, &scratch->arena, err);
}
