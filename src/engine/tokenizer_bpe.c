// engine/tokenizer_bpe.c - byte pair encoding of one piece (Sennrich et al. 2016,
// arXiv:1508.07909): the pair with the lowest rank, leftmost first, is merged until none is left. A
// linked list of symbols and a heap of candidates, O(n log n), in the same order as merge_all() of
// Hugging Face's word.rs.
#include "core/rng.h"
#include "core/utf8.h"
#include "engine/tokenizer_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bpe_symbol {
    int32_t id, prev, next; // -1: none
    int32_t n;              // bytes; 0: merged into its left neighbour
};

struct bpe_candidate {
    uint64_t key; // rank << 32 | position of the left symbol: lower goes first
    int32_t id;   // of the merged token
};

static bool out_of_memory(struct error *err) {
    return error_set(err, ERR_NOMEM, "tokenizer: out of memory");
}

static bool symbol_add(struct encode_scratch *s, int32_t id, int32_t n) {
    if (s->n_symbols == s->symbols_capacity) {
        int64_t capacity = s->symbols_capacity ? s->symbols_capacity * 2 : 256;
        struct bpe_symbol *v = realloc(s->symbols, (size_t)capacity * sizeof *v);
        if (v == NULL) return false;
        s->symbols = v;
        s->symbols_capacity = capacity;
    }
    int32_t i = (int32_t)s->n_symbols++;
    s->symbols[i] = (struct bpe_symbol){.id = id, .prev = i - 1, .next = -1, .n = n};
    if (i > 0) s->symbols[i - 1].next = i;
    return true;
}

static bool heap_push(struct encode_scratch *s, struct bpe_candidate c) {
    if (s->n_heap == s->heap_capacity) {
        int64_t capacity = s->heap_capacity ? s->heap_capacity * 2 : 256;
        struct bpe_candidate *v = realloc(s->heap, (size_t)capacity * sizeof *v);
        if (v == NULL) return false;
        s->heap = v;
        s->heap_capacity = capacity;
    }
    int64_t i = s->n_heap++;
    while (i > 0 && s->heap[(i - 1) / 2].key > c.key) {
        s->heap[i] = s->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    s->heap[i] = c;
    return true;
}

static struct bpe_candidate heap_pop(struct encode_scratch *s) {
    struct bpe_candidate top = s->heap[0], last = s->heap[--s->n_heap];
    int64_t i = 0, n = s->n_heap;
    for (;;) {
        int64_t child = 2 * i + 1;
        if (child >= n) break;
        if (child + 1 < n && s->heap[child + 1].key < s->heap[child].key) child++;
        if (s->heap[child].key >= last.key) break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = last;
    return top;
}

static bool skipped_push(struct encode_scratch *s, struct bpe_candidate c) {
    if (s->n_skipped == s->skipped_capacity) {
        int64_t capacity = s->skipped_capacity ? s->skipped_capacity * 2 : 64;
        struct bpe_candidate *v = realloc(s->skipped, (size_t)capacity * sizeof *v);
        if (v == NULL) return false;
        s->skipped = v;
        s->skipped_capacity = capacity;
    }
    s->skipped[s->n_skipped++] = c;
    return true;
}

// Offers the pair that starts at symbol `left`.
static bool candidate_add(const struct tokenizer *tokenizer, struct encode_scratch *s,
                          int32_t left) {
    const struct bpe_symbol *a = &s->symbols[left];
    const struct merge_slot *merge =
        merge_map_find(&tokenizer->merges, a->id, s->symbols[a->next].id);
    if (merge == NULL) return true;
    return heap_push(s, (struct bpe_candidate){.key = (uint64_t)merge->rank << 32 | (uint32_t)left,
                                               .id = merge->id});
}

static bool merge_all(const struct tokenizer *tokenizer, struct encode_scratch *s, float dropout,
                      struct rng *rng) {
    s->n_heap = s->n_skipped = 0;
    for (int64_t i = 0; i + 1 < s->n_symbols; i++) {
        if (!candidate_add(tokenizer, s, (int32_t)i)) return false;
    }
    while (s->n_heap > 0) {
        struct bpe_candidate top = heap_pop(s);
        if (rng != NULL && rng_f32(rng) < dropout) {
            if (!skipped_push(s, top)) return false;
            continue;
        }
        while (s->n_skipped > 0) { // what was skipped gets another chance after a merge
            if (!heap_push(s, s->skipped[--s->n_skipped])) return false;
        }
        int32_t left = (int32_t)(uint32_t)top.key;
        struct bpe_symbol *a = &s->symbols[left];
        if (a->n == 0 || a->next < 0) continue;
        struct bpe_symbol *b = &s->symbols[a->next];
        const struct merge_slot *merge = merge_map_find(&tokenizer->merges, a->id, b->id);
        if (merge == NULL || merge->id != top.id) continue; // its symbols have changed since
        a->id = top.id;
        a->n += b->n;
        a->next = b->next;
        b->n = 0;
        if (a->next >= 0) s->symbols[a->next].prev = left;
        if (a->prev >= 0 && !candidate_add(tokenizer, s, a->prev)) return false;
        if (a->next >= 0 && !candidate_add(tokenizer, s, left)) return false;
    }
    return true;
}

// The first symbols of a piece of characters, as merge_word() of HF's model.rs, its order included:
// an unknown run is written when a known character follows, even after the bytes of a fallback.
static bool symbols_of_chars(const struct tokenizer *tokenizer, const struct text *t,
                             struct encode_scratch *s) {
    int32_t unk_bytes = 0;
    for (int32_t i = 0; i < t->n;) {
        int32_t n = (int32_t)utf8_char_bytes(t->s + i, (size_t)(t->n - i));
        const char *c = t->s + i;
        size_t n_c = (size_t)n;
        bool prefix = i > 0 && tokenizer->prefix.s != NULL;
        bool suffix = i + n == t->n && tokenizer->suffix.s != NULL;
        if (prefix || suffix) {
            buf_reset(&s->word);
            if (prefix) buf_append(&s->word, tokenizer->prefix.s, tokenizer->prefix.n);
            buf_append(&s->word, c, n_c);
            if (suffix) buf_append(&s->word, tokenizer->suffix.s, tokenizer->suffix.n);
            if (!buf_ok(&s->word)) return false;
            c = s->word.data;
            n_c = s->word.n_bytes;
        }
        i += n;
        int32_t id = string_map_find(&tokenizer->vocab, c, n_c);
        if (id >= 0) {
            if (unk_bytes > 0 && !symbol_add(s, tokenizer->unk, unk_bytes)) return false;
            unk_bytes = 0;
            if (!symbol_add(s, id, n)) return false;
            continue;
        }
        bool fallback = tokenizer->byte_fallback;
        for (size_t k = 0; k < n_c && fallback; k++)
            fallback = tokenizer->byte_ids[(uint8_t)c[k]] >= 0;
        if (fallback) {
            for (size_t k = 0; k < n_c; k++) {
                if (!symbol_add(s, tokenizer->byte_ids[(uint8_t)c[k]], 1)) return false;
            }
        } else if (tokenizer->unk != UNK_NONE) {
            if (unk_bytes > 0 && !tokenizer->fuse_unk) {
                if (!symbol_add(s, tokenizer->unk, unk_bytes)) return false;
                unk_bytes = 0;
            }
            unk_bytes += n;
        } // without an unknown token the character is dropped, as there
    }
    return unk_bytes == 0 || symbol_add(s, tokenizer->unk, unk_bytes);
}

bool bpe_encode(const struct tokenizer *tokenizer, const struct piece *piece,
                struct encode_scratch *s, struct token_list *out, float dropout, struct rng *rng,
                struct error *err) {
    const struct text *t = &piece->text;
    if (t->n == 0) return true;
    if (tokenizer->ignore_merges && rng == NULL) {
        const char *word = t->s;
        size_t n = (size_t)t->n;
        if (piece->bytes) {
            buf_reset(&s->word);
            byte_level_append(&s->word, t->s, n);
            if (!buf_ok(&s->word)) return out_of_memory(err);
            word = s->word.data;
            n = s->word.n_bytes;
        }
        int32_t id = string_map_find(&tokenizer->vocab, word, n);
        if (id >= 0) {
            token_list_append(out, id, text_begin(t, 0), text_end(t, t->n - 1));
            return true;
        }
    }
    s->n_symbols = 0;
    if (piece->bytes) {
        for (int32_t i = 0; i < t->n; i++) {
            if (!symbol_add(s, tokenizer->stand_in_ids[(uint8_t)t->s[i]], 1))
                return out_of_memory(err);
        }
    } else if (!symbols_of_chars(tokenizer, t, s)) {
        return out_of_memory(err);
    }
    for (int64_t i = 0; tokenizer->unk == UNK_UNKNOWN && i < s->n_symbols; i++) {
        if (s->symbols[i].id == UNK_UNKNOWN)
            return error_set(
                err, ERR_INPUT,
                "tokenizer: a character is not in the vocabulary, and neither is unk_token");
    }
    if (!merge_all(tokenizer, s, dropout, rng)) return out_of_memory(err);
    int32_t at = 0;
    for (int32_t i = s->n_symbols > 0 ? 0 : -1; i >= 0; i = s->symbols[i].next) {
        // A suffix or a dropped character can make lengths and bytes disagree: stay inside the
        // piece.
        int32_t from = at < t->n ? at : t->n - 1;
        at = s->symbols[i].n < t->n - from ? from + s->symbols[i].n : t->n;
        token_list_append(out, s->symbols[i].id, text_begin(t, from), text_end(t, at - 1));
    }
    return true;
}
