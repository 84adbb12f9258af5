// engine/tokenizer_pretokenize.c - pre-tokenizers: each cuts the pieces of text into smaller ones.
#include "core/utf8.h"
#include "engine/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>

void piece_add(struct piece_list *list, struct text text, int32_t id, bool bytes) {
    if (list->failed) return;
    if (list->n == list->capacity) {
        int64_t capacity = list->capacity ? list->capacity * 2 : 32;
        struct piece *v = realloc(list->v, (size_t)capacity * sizeof *v);
        if (v == NULL) {
            list->failed = true;
            return;
        }
        list->v = v;
        list->capacity = capacity;
    }
    list->v[list->n++] = (struct piece){.text = text, .id = id, .bytes = bytes};
}

typedef bool char_test(uint32_t c, uint32_t wanted);

static bool test_equal(uint32_t c, uint32_t wanted) {
    return c == wanted;
}
static bool test_numeric(uint32_t c, uint32_t wanted) {
    (void)wanted;
    return char_is_numeric(c);
}
static bool test_punctuation(uint32_t c, uint32_t wanted) {
    (void)wanted;
    return char_is_punctuation(c);
}
static bool test_space(uint32_t c, uint32_t wanted) {
    (void)wanted;
    return char_is_space(c);
}

// Spans of single characters that pass the test, and of what lies between.
static void split_chars(const struct text *t, struct span_list *out, char_test *test,
                        uint32_t wanted) {
    int32_t previous = 0;
    out->n = 0;
    for (int32_t i = 0; i < t->n;) {
        uint32_t c = 0;
        int32_t n = (int32_t)utf8_decode(t->s + i, (size_t)(t->n - i), &c);
        if (test(c, wanted)) {
            if (previous < i) span_add(out, previous, i, false);
            span_add(out, i, i + n, true);
            previous = i + n;
        }
        i += n;
    }
    if (previous < t->n) span_add(out, previous, t->n, false);
}

// \w+|[^\w\s]+ of the regex crate; matches are the words.
static void split_words(const struct text *t, struct span_list *out) {
    int32_t begin = 0;
    int kind = 0; // of the run that starts at `begin`: 1 word, 2 space, 3 other
    out->n = 0;
    for (int32_t i = 0; i <= t->n;) {
        uint32_t c = 0;
        int32_t n = 1;
        int next = 0;
        if (i < t->n) {
            n = (int32_t)utf8_decode(t->s + i, (size_t)(t->n - i), &c);
            next = char_is_word(c) ? 1 : char_is_space(c) ? 2 : 3;
        }
        if (next != kind) {
            if (begin < i) span_add(out, begin, i, kind != 2);
            begin = i;
            kind = next;
        }
        i += n;
    }
}

// Turns spans into pieces by the behaviour, as NormalizedString::split. Empty pieces vanish.
static void split_pieces(const struct text *t, const struct span_list *spans,
                         enum split_behavior behavior, bool invert, struct piece_list *out) {
    int64_t n = spans->n;
    for (int64_t i = 0; i < n;) {
        bool match = spans->v[i].match != invert;
        int64_t last = i;
        switch (behavior) {
        case SPLIT_REMOVED:
        case SPLIT_ISOLATED:
            break;
        case SPLIT_CONTIGUOUS:
            while (last + 1 < n && spans->v[last + 1].match == spans->v[i].match) last++;
            break;
        case SPLIT_MERGED_WITH_PREVIOUS: // a match joins what stands before it, unless that matched
            if (!match && last + 1 < n && (spans->v[last + 1].match != invert)) last++;
            break;
        case SPLIT_MERGED_WITH_NEXT:
            // Read from the right: a match joins what follows it, unless that matched too.
            if (match && last + 1 < n && (spans->v[last + 1].match == invert)) last++;
            break;
        }
        int32_t from = spans->v[i].begin, to = spans->v[last].end;
        if (to > from && !(behavior == SPLIT_REMOVED && match))
            piece_add(out, text_slice(t, from, to), -1, false);
        i = last + 1;
    }
}

static bool starts_with(const struct text *t, struct bytes s) {
    return (size_t)t->n >= s.n && memcmp(t->s, s.s, s.n) == 0;
}

static bool text_prepend(struct text *t, struct bytes s, struct encode_scratch *scratch,
                         struct error *err) {
    int32_t at = t->n > 0 ? text_begin(t, 0) : t->base;
    text_builder_add(&scratch->builder, s.s, (int64_t)s.n, at, at);
    text_builder_copy(&scratch->builder, t, 0, t->n);
    return text_builder_take(&scratch->builder, t, &scratch->arena, err);
}

static bool metaspace(const struct pretokenizer *stage, struct text *t,
                      struct encode_scratch *scratch, struct error *err) {
    for (int32_t i = 0; i < t->n; i++) {
        if (t->s[i] == ' ') {
            text_builder_add(&scratch->builder, stage->content.s, (int64_t)stage->content.n,
                             text_begin(t, i), text_end(t, i));
        } else {
            text_builder_copy(&scratch->builder, t, i, i + 1);
        }
    }
    if (!text_builder_take(&scratch->builder, t, &scratch->arena, err)) return false;
    bool prepend = stage->prepend == PREPEND_ALWAYS ||
                   (stage->prepend == PREPEND_FIRST && text_begin(t, 0) == 0);
    if (prepend && !starts_with(t, stage->content))
        if (!text_prepend(t, stage->content, scratch, err)) return false;
    return true;
}

static uint32_t only_char(struct bytes s) {
    uint32_t c = 0;
    return utf8_decode(s.s, s.n, &c) > 0 ? c : 0;
}

// Cuts one text into scratch->next.
static bool pretokenize(const struct pretokenizer *stage, struct text t,
                        struct encode_scratch *scratch, struct error *err) {
    struct span_list *spans = &scratch->spans;
    switch (stage->kind) {
    case PRETOKENIZER_BYTE_LEVEL:
        if (stage->prefix_space && t.s[0] != ' ')
            if (!text_prepend(&t, (struct bytes){" ", 1}, scratch, err)) return false;
        if (stage->regex == NULL) {
            piece_add(&scratch->next, t, -1, false);
            return true;
        }
        if (!regex_split(stage->regex, scratch->regex, t.s, t.n, spans, err)) return false;
        break;
    case PRETOKENIZER_REGEX:
        if (!regex_split(stage->regex, scratch->regex, t.s, t.n, spans, err)) return false;
        break;
    case PRETOKENIZER_METASPACE:
        if (!metaspace(stage, &t, scratch, err)) return false;
        if (!stage->split) {
            piece_add(&scratch->next, t, -1, false);
            return true;
        }
        split_chars(&t, spans, test_equal, only_char(stage->content));
        break;
    case PRETOKENIZER_DIGITS:
        split_chars(&t, spans, test_numeric, 0);
        break;
    case PRETOKENIZER_PUNCTUATION:
        split_chars(&t, spans, test_punctuation, 0);
        break;
    case PRETOKENIZER_WHITESPACE:
        split_words(&t, spans);
        break;
    case PRETOKENIZER_BERT:
    case PRETOKENIZER_WHITESPACE_SPLIT:
        split_chars(&t, spans, test_space, 0);
        break;
    case PRETOKENIZER_DELIMITER:
        split_chars(&t, spans, test_equal, only_char(stage->content));
        break;
    }
    if (spans->failed) return error_set(err, ERR_NOMEM, "tokenizer: out of memory");
    if (stage->kind != PRETOKENIZER_BERT) {
        split_pieces(&t, spans, stage->behavior, stage->invert, &scratch->next);
        return true;
    }
    struct piece_list words = {0}; // BERT cuts at spaces, then at punctuation
    split_pieces(&t, spans, SPLIT_REMOVED, false, &words);
    for (int64_t i = 0; i < words.n; i++) {
        split_chars(&words.v[i].text, spans, test_punctuation, 0);
        split_pieces(&words.v[i].text, spans, SPLIT_ISOLATED, false, &scratch->next);
    }
    bool ok = !words.failed && !spans->failed;
    free(words.v);
    return ok || error_set(err, ERR_NOMEM, "tokenizer: out of memory");
}

bool pretokenizer_run(const struct tokenizer *tokenizer, const struct pretokenizer *stage,
                      struct encode_scratch *scratch, bool last, struct error *err) {
    static const struct normalizer byte_level = {.kind = NORMALIZER_BYTE_LEVEL};
    scratch->next.n = 0;
    for (int64_t i = 0; i < scratch->pieces.n; i++) {
        const struct piece *piece = &scratch->pieces.v[i];
        if (piece->id >= 0) {
            piece_add(&scratch->next, piece->text, piece->id, false);
            continue;
        }
        if (!pretokenize(stage, piece->text, scratch, err)) return false;
    }
    if (scratch->next.failed) return error_set(err, ERR_NOMEM, "tokenizer: out of memory");
    if (stage->kind == PRETOKENIZER_BYTE_LEVEL) {
        for (int64_t i = 0; i < scratch->next.n; i++) {
            struct piece *piece = &scratch->next.v[i];
            if (piece->id >= 0) continue;
            // At the end of the line the model reads bytes itself: no rewriting, exact offsets.
            piece->bytes = last && tokenizer->bytes_direct;
            if (!piece->bytes && !normalizer_run(&byte_level, scratch, &piece->text, err))
                return false;
        }
    }
    struct piece_list t = scratch->pieces;
    scratch->pieces = scratch->next;
    scratch->next = t;
    return true;
}
