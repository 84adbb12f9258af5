// engine/tokenizer.c - the public face: open, encode, look up. A text goes through the stages of
// Hugging Face's `tokenizers`, in its order: added tokens on the raw text, normalisers, added
// tokens on the normalised text, pre-tokenizers, BPE, template.
#include "core/file.h"
#include "core/json.h"
#include "core/utf8.h"
#include "engine/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>

void token_list_release(struct token_list *list) {
    free(list->ids);
    free(list->begin);
    free(list->end);
    *list = (struct token_list){0};
}

void token_list_reset(struct token_list *list) {
    list->n = 0;
    list->failed = false;
}

void token_list_append(struct token_list *list, int32_t id, int32_t begin, int32_t end) {
    if (list->failed) return;
    if (list->n == list->capacity) {
        int64_t capacity = list->capacity ? list->capacity * 2 : 256;
        size_t n_bytes = (size_t)capacity * sizeof(int32_t);
        int32_t *ids = realloc(list->ids, n_bytes);
        if (ids != NULL) list->ids = ids;
        int32_t *begins = realloc(list->begin, n_bytes);
        if (begins != NULL) list->begin = begins;
        int32_t *ends = realloc(list->end, n_bytes);
        if (ends != NULL) list->end = ends;
        if (ids == NULL || begins == NULL || ends == NULL) {
            list->failed = true;
            return;
        }
        list->capacity = capacity;
    }
    list->ids[list->n] = id;
    list->begin[list->n] = begin;
    list->end[list->n] = end;
    list->n++;
}

bool tokenizer_parse(struct tokenizer **out, const char *json, size_t n_bytes, const char *name,
                     struct error *err) {
    json_t *root = NULL;
    struct tokenizer *t = calloc(1, sizeof *t);
    if (t == NULL) return error_set(err, ERR_NOMEM, "%s: out of memory", name);
    arena_init(&t->arena, 0);
    bool ok = json_parse(&root, json, n_bytes, name, err) && tokenizer_load(t, root, name, err);
    json_decref(root);
    if (!ok) {
        tokenizer_close(t);
        return false;
    }
    *out = t;
    return true;
}

bool tokenizer_open(struct tokenizer **out, const char *path, struct error *err) {
    char inside[4096];
    if (file_is_folder(path)) {
        if (!file_join(inside, sizeof inside, path, "tokenizer.json", err)) return false;
        path = inside;
    }
    char *text;
    size_t n_bytes;
    if (!file_read(&text, &n_bytes, path, 0, err)) return false;
    bool ok = tokenizer_parse(out, text, n_bytes, path, err);
    free(text);
    return ok;
}

void tokenizer_close(struct tokenizer *t) {
    if (t == NULL) return;
    for (int i = 0; i < t->n_normalizers; i++) regex_close(t->normalizers[i].regex);
    for (int i = 0; i < t->n_pretokenizers; i++) regex_close(t->pretokenizers[i].regex);
    for (int i = 0; i < t->n_decoders; i++) regex_close(t->decoders[i].regex);
    free(t->tokens);
    string_map_release(&t->vocab);
    string_map_release(&t->added_vocab);
    merge_map_release(&t->merges);
    trie_release(&t->added_raw);
    trie_release(&t->added_normalized);
    arena_release(&t->arena);
    free(t);
}

bool encode_scratch_init(struct encode_scratch *scratch, struct error *err) {
    *scratch = (struct encode_scratch){0};
    return regex_scratch_open(&scratch->regex, err);
}

void encode_scratch_release(struct encode_scratch *scratch) {
    arena_release(&scratch->arena);
    text_builder_release(&scratch->builder);
    free(scratch->spans.v);
    free(scratch->pieces.v);
    free(scratch->next.v);
    regex_scratch_close(scratch->regex);
    buf_release(&scratch->word);
    free(scratch->symbols);
    free(scratch->heap);
    free(scratch->skipped);
}

// U+FFFD for what is not UTF-8, as str(bytes, errors="replace") gives it.
bool text_open(struct encode_scratch *scratch, struct text *out, const char *s, size_t n,
               struct error *err) {
    size_t bad;
    *out = (struct text){.s = n > 0 ? s : "", .n = (int32_t)n};
    if (utf8_valid(s, n, &bad)) return true;
    struct text given = *out;
    size_t i = 0;
    while (i < n) {
        if (utf8_valid(s + i, n - i, &bad)) bad = n - i;
        text_builder_copy(&scratch->builder, &given, (int32_t)i, (int32_t)(i + bad));
        i += bad;
        if (i == n) break;
        size_t skip = utf8_bad_bytes(s + i, n - i);
        text_builder_add(&scratch->builder, "\xEF\xBF\xBD", 3, (int32_t)i, (int32_t)(i + skip));
        i += skip;
    }
    return text_builder_take(&scratch->builder, out, &scratch->arena, err);
}

static bool ends_with_word(const struct text *t, int32_t to) {
    int32_t i = to - 1;
    while (i > 0 && (t->s[i] & 0xC0) == 0x80) i--;
    uint32_t c = 0;
    return utf8_decode(t->s + i, (size_t)(to - i), &c) > 0 && char_is_word(c);
}

static bool starts_with_word(const struct text *t, int32_t from) {
    uint32_t c = 0;
    return utf8_decode(t->s + from, (size_t)(t->n - from), &c) > 0 && char_is_word(c);
}

static int32_t skip_space_left(const struct text *t, int32_t to, int32_t least) {
    while (to > least) {
        int32_t i = to - 1;
        while (i > 0 && (t->s[i] & 0xC0) == 0x80) i--;
        uint32_t c = 0;
        utf8_decode(t->s + i, (size_t)(to - i), &c);
        if (!char_is_space(c)) break;
        to = i;
    }
    return to;
}

static int32_t skip_space_right(const struct text *t, int32_t from) {
    while (from < t->n) {
        uint32_t c = 0;
        size_t n = utf8_decode(t->s + from, (size_t)(t->n - from), &c);
        if (!char_is_space(c)) break;
        from += (int32_t)n;
    }
    return from;
}

// Cuts `t` at the added tokens of `trie`: find_matches() of added_vocabulary.rs. A special token
// that is not to be read still hides what overlaps it, as there.
static void split_added(const struct tokenizer *tokenizer, const struct trie *trie,
                        const struct text *t, unsigned flags, struct piece_list *out) {
    int32_t done = 0;
    struct span space = {0}; // the last run of white space skipped: overlapping matches share it
    for (int32_t i = 0; i < t->n;) {
        size_t n = 0;
        int32_t found = trie->n == 0 ? -1 : trie_match(trie, t->s + i, (size_t)(t->n - i), &n);
        if (found < 0) {
            i++;
            continue;
        }
        const struct added_token *a = &tokenizer->added[found];
        int32_t from = i, to = i + (int32_t)n;
        i = to;
        if (a->special && !(flags & TOKENIZER_PARSE_SPECIAL)) continue;
        if (a->single_word &&
            ((from > 0 && ends_with_word(t, from)) || (to < t->n && starts_with_word(t, to))))
            continue;
        if (a->lstrip) from = (int32_t)max_i64(skip_space_left(t, from, done), done);
        if (a->rstrip) {
            bool known = to >= space.begin && to < space.end;
            space = (struct span){.begin = to, .end = known ? space.end : skip_space_right(t, to)};
            to = space.end;
        }
        if (done < from) piece_add(out, text_slice(t, done, from), -1, false);
        if (from < to) piece_add(out, text_slice(t, from, to), a->id, false);
        done = to;
    }
    if (done < t->n) piece_add(out, text_slice(t, done, t->n), -1, false);
}

static bool find_pieces(const struct tokenizer *tokenizer, struct encode_scratch *scratch,
                        const struct text *text, unsigned flags, struct error *err) {
    scratch->next.n = scratch->pieces.n = 0;
    split_added(tokenizer, &tokenizer->added_raw, text, flags, &scratch->next);
    for (int64_t i = 0; i < scratch->next.n; i++) {
        struct piece piece = scratch->next.v[i];
        if (piece.id >= 0) {
            piece_add(&scratch->pieces, piece.text, piece.id, false);
            continue;
        }
        for (int k = 0; k < tokenizer->n_normalizers; k++) {
            if (!normalizer_run(&tokenizer->normalizers[k], scratch, &piece.text, err))
                return false;
        }
        split_added(tokenizer, &tokenizer->added_normalized, &piece.text, flags, &scratch->pieces);
    }
    if (scratch->next.failed || scratch->pieces.failed)
        return error_set(err, ERR_NOMEM, "tokenizer: out of memory");
    for (int i = 0; i < tokenizer->n_pretokenizers; i++) {
        bool last = i + 1 == tokenizer->n_pretokenizers;
        if (!pretokenizer_run(tokenizer, &tokenizer->pretokenizers[i], scratch, last, err))
            return false;
    }
    return true;
}

bool tokenizer_encode_dropout(const struct tokenizer *tokenizer, struct token_list *list,
                              const char *text, size_t n_bytes, unsigned flags, float dropout,
                              struct rng *rng, struct error *err) {
    if (n_bytes > TOKENIZER_TEXT_LIMIT)
        return error_set(err, ERR_LIMIT, "tokenizer: text of %zu bytes, over %d", n_bytes,
                         TOKENIZER_TEXT_LIMIT);
    if (!(dropout >= 0.0f && dropout <= 1.0f))
        return error_set(err, ERR_USAGE, "tokenizer: dropout %g is outside [0, 1]",
                         (double)dropout);
    if (dropout == 0.0f) rng = NULL;
    struct encode_scratch scratch;
    struct text t;
    bool ok = encode_scratch_init(&scratch, err) && text_open(&scratch, &t, text, n_bytes, err) &&
              find_pieces(tokenizer, &scratch, &t, flags, err);
    if (ok && (flags & TOKENIZER_ADD_SPECIAL)) {
        for (int64_t i = 0; i < tokenizer->n_before; i++)
            token_list_append(list, tokenizer->before[i], 0, 0);
    }
    for (int64_t i = 0; ok && i < scratch.pieces.n; i++) {
        const struct piece *piece = &scratch.pieces.v[i];
        if (piece->id >= 0) {
            token_list_append(list, piece->id, text_begin(&piece->text, 0),
                              text_end(&piece->text, piece->text.n - 1));
        } else {
            ok = bpe_encode(tokenizer, piece, &scratch, list, dropout, rng, err);
        }
    }
    if (ok && (flags & TOKENIZER_ADD_SPECIAL)) {
        for (int64_t i = 0; i < tokenizer->n_after; i++)
            token_list_append(list, tokenizer->after[i], (int32_t)n_bytes, (int32_t)n_bytes);
    }
    encode_scratch_release(&scratch);
    if (ok && list->failed) return error_set(err, ERR_NOMEM, "tokenizer: out of memory");
    return ok;
}

bool tokenizer_encode(const struct tokenizer *tokenizer, struct token_list *list, const char *text,
                      size_t n_bytes, unsigned flags, struct error *err) {
    return tokenizer_encode_dropout(tokenizer, list, text, n_bytes, flags, 0.0f, NULL, err);
}

const char *tokenizer_token_bytes(const struct tokenizer *tokenizer, int32_t id, size_t *n_bytes) {
    if (id < 0 || id >= tokenizer->n_tokens || tokenizer->tokens[id].text.s == NULL) return NULL;
    *n_bytes = tokenizer->tokens[id].raw.n;
    return tokenizer->tokens[id].raw.s;
}

int64_t tokenizer_vocab(const struct tokenizer *tokenizer) {
    return tokenizer->n_tokens;
}

int32_t tokenizer_find(const struct tokenizer *tokenizer, const char *token) {
    int32_t id = string_map_find(&tokenizer->added_vocab, token, strlen(token));
    return id >= 0 ? id : string_map_find(&tokenizer->vocab, token, strlen(token));
}

bool tokenizer_is_special(const struct tokenizer *tokenizer, int32_t id) {
    return id >= 0 && id < tokenizer->n_tokens && tokenizer->tokens[id].special;
}
