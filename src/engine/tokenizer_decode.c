// engine/tokenizer_decode.c - ids to text: the decoders of Hugging Face's `tokenizers`, one after
// the other over the list of written tokens.
#include "core/utf8.h"
#include "engine/tokenizer_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct decoding {
    struct bytes *v;
    int64_t n;
    struct arena arena; // every string and list
    struct buf word;
    struct span_list spans;
    struct regex_scratch *regex;
};

static bool nomem(struct error *err) {
    return error_set(err, ERR_NOMEM, "tokenizer: out of memory");
}

// Moves the word built into slot i.
static bool word_take(struct decoding *d, int64_t i) {
    char *s = arena_strndup(&d->arena, d->word.data == NULL ? "" : d->word.data, d->word.n_bytes);
    if (s == NULL || !buf_ok(&d->word)) return false;
    d->v[i] = (struct bytes){s, d->word.n_bytes};
    buf_reset(&d->word);
    return true;
}

// All tokens become one. A token with a character that stands for no byte is taken as it is
// written.
static bool decode_byte_level(struct decoding *d) {
    struct buf bytes = {0};
    for (int64_t i = 0; i < d->n; i++) {
        const char *s = d->v[i].s;
        size_t n = d->v[i].n, mark = bytes.n_bytes;
        for (size_t k = 0; k < n;) {
            uint32_t c = 0;
            k += utf8_decode(s + k, n - k, &c);
            int byte = byte_from_char(c);
            if (byte < 0) {
                bytes.n_bytes = mark;
                buf_append(&bytes, s, n);
                break;
            }
            buf_append_char(&bytes, (char)byte);
        }
    }
    utf8_lossy_append(&d->word, bytes.data, bytes.n_bytes);
    bool ok = buf_ok(&bytes);
    buf_release(&bytes);
    d->n = 1;
    return ok && word_take(d, 0);
}

static int hex_byte(const struct bytes *t) {
    if (t->n != 6 || memcmp(t->s, "<0x", 3) != 0 || t->s[5] != '>') return -1;
    int value = 0;
    for (int i = 3; i < 5; i++) {
        char c = t->s[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0 && !(i == 3 && c == '+')) return -1; // Rust's parser takes a sign
        value = value * 16 + (digit < 0 ? 0 : digit);
    }
    return value;
}

static bool decode_byte_fallback(struct decoding *d) {
    struct bytes *out = arena_alloc_array(&d->arena, (size_t)d->n + 1, sizeof *out);
    if (out == NULL) return false;
    int64_t n_out = 0;
    for (int64_t i = 0; i < d->n;) {
        if (hex_byte(&d->v[i]) < 0) {
            out[n_out++] = d->v[i++];
            continue;
        }
        int64_t first = i;
        buf_reset(&d->word);
        for (; i < d->n && hex_byte(&d->v[i]) >= 0; i++)
            buf_append_char(&d->word, (char)hex_byte(&d->v[i]));
        if (!buf_ok(&d->word)) return false;
        if (utf8_valid(d->word.data, d->word.n_bytes, NULL)) {
            if (!word_take(d, first)) return false;
            out[n_out++] = d->v[first];
        } else {
            for (int64_t k = first; k < i; k++) out[n_out++] = (struct bytes){"\xEF\xBF\xBD", 3};
        }
    }
    buf_reset(&d->word);
    d->v = out;
    d->n = n_out;
    return true;
}

static bool decode_fuse(struct decoding *d) {
    for (int64_t i = 0; i < d->n; i++) buf_append(&d->word, d->v[i].s, d->v[i].n);
    d->n = 1;
    return word_take(d, 0);
}

static bool decode_replace(const struct decoder *decoder, struct decoding *d, int64_t i,
                           struct bytes content, struct error *err) {
    const struct bytes *t = &d->v[i];
    if (t->n > TOKENIZER_TEXT_LIMIT)
        return error_set(err, ERR_LIMIT, "tokenizer: decoded text over %d bytes",
                         TOKENIZER_TEXT_LIMIT);
    if (!regex_split(decoder->regex, d->regex, t->s, (int32_t)t->n, &d->spans, err)) return false;
    for (int64_t k = 0; k < d->spans.n; k++) {
        struct span span = d->spans.v[k];
        if (span.match) {
            buf_append(&d->word, content.s, content.n);
        } else {
            buf_append(&d->word, t->s + span.begin, (size_t)(span.end - span.begin));
        }
    }
    return word_take(d, i) || nomem(err);
}

static void decode_strip(const struct decoder *decoder, struct bytes *t) {
    struct bytes c = decoder->content;
    for (int64_t i = 0; i < decoder->start && t->n >= c.n && memcmp(t->s, c.s, c.n) == 0; i++) {
        t->s += c.n;
        t->n -= c.n;
    }
    for (int64_t i = 0;
         i < decoder->stop && t->n >= c.n && memcmp(t->s + t->n - c.n, c.s, c.n) == 0; i++)
        t->n -= c.n;
}

static bool decode_metaspace(const struct decoder *decoder, struct decoding *d, int64_t i) {
    struct bytes c = decoder->content, t = d->v[i];
    for (size_t k = 0; k < t.n;) {
        if (t.n - k >= c.n && memcmp(t.s + k, c.s, c.n) == 0) {
            if (i > 0 || !decoder->drop_first) buf_append_char(&d->word, ' ');
            k += c.n;
        } else {
            buf_append_char(&d->word, t.s[k++]);
        }
    }
    return word_take(d, i);
}

static bool decoder_run(const struct decoder *decoder, struct decoding *d, struct error *err) {
    switch (decoder->kind) {
    case DECODER_BYTE_LEVEL:
        return decode_byte_level(d) || nomem(err);
    case DECODER_BYTE_FALLBACK:
        return decode_byte_fallback(d) || nomem(err);
    case DECODER_FUSE:
        return decode_fuse(d) || nomem(err);
    default:
        break;
    }
    for (int64_t i = 0; i < d->n; i++) {
        switch (decoder->kind) {
        case DECODER_REPLACE:
            if (!decode_replace(decoder, d, i, decoder->content, err)) return false;
            break;
        case DECODER_BPE: {
            struct bytes space = {" ", i + 1 < d->n ? 1 : 0};
            if (!decode_replace(decoder, d, i, space, err)) return false;
            break;
        }
        case DECODER_STRIP:
            decode_strip(decoder, &d->v[i]);
            break;
        default:
            if (!decode_metaspace(decoder, d, i)) return nomem(err);
        }
    }
    return true;
}

bool tokenizer_decode(const struct tokenizer *tokenizer, struct buf *out, const int32_t *ids,
                      int64_t n, bool skip_special, struct error *err) {
    struct decoding d = {0};
    bool ok = false;
    if (!regex_scratch_open(&d.regex, err)) return false;
    d.v = arena_alloc_array(&d.arena, (size_t)n + 1, sizeof *d.v);
    if (d.v == NULL) {
        nomem(err);
        goto done;
    }
    for (int64_t i = 0; i < n; i++) { // ids that do not exist are left out, as there
        if (ids[i] < 0 || ids[i] >= tokenizer->n_tokens) continue;
        const struct token *token = &tokenizer->tokens[ids[i]];
        if (token->text.s == NULL || (skip_special && token->skipped)) continue;
        d.v[d.n++] = token->decoded;
    }
    for (int i = 0; i < tokenizer->n_decoders; i++) {
        if (!decoder_run(&tokenizer->decoders[i], &d, err)) goto done;
    }
    for (int64_t i = 0; i < d.n; i++) {
        if (i > 0 && !tokenizer->has_decoder) buf_append_char(out, ' ');
        buf_append(out, d.v[i].s, d.v[i].n);
    }
    ok = buf_ok(out) || nomem(err);
done:
    arena_release(&d.arena);
    buf_release(&d.word);
    free(d.spans.v);
    regex_scratch_close(d.regex);
    return ok;
}
