// engine/tokenizer_internal.h - what the tokenizer_*.c files share: the loaded tokenizer, a text
// that remembers where each byte came from, and the pipeline's stages. Not for other modules.
#ifndef ENGINE_TOKENIZER_INTERNAL_H
#define ENGINE_TOKENIZER_INTERNAL_H

#include "core/arena.h"
#include "engine/tokenizer.h"

#include <jansson.h>

enum {
    TOKENIZER_ID_LIMIT = 1 << 24,     // ids are below this
    TOKENIZER_TEXT_LIMIT = 256 << 20, // bytes of one text, before and after normalisation
    TOKENIZER_DEPTH_LIMIT = 16,       // nested Sequence components
    TOKENIZER_STAGE_LIMIT = 64,       // normalisers, pre-tokenizers or decoders in all
};

// --- tokenizer_vocab.c: tables built once and read by every thread

struct bytes {
    const char *s; // borrowed; NULL marks a hole in a table
    size_t n;
};

// Open addressing from bytes to a non-negative value.
struct string_map {
    struct string_slot {
        struct bytes key;
        int32_t value; // -1: free
    } * slots;
    size_t n_slots, n; // n_slots is a power of two
};
// Room for n keys; false when out of memory.
NODISCARD bool string_map_init(struct string_map *map, size_t n);
void string_map_release(struct string_map *map);
// The value already held for `key`, or -1 after storing `value`. The key's bytes are borrowed.
int32_t string_map_add(struct string_map *map, struct bytes key, int32_t value);
int32_t string_map_find(const struct string_map *map, const char *s, size_t n);

// (left id, right id) -> (rank, id of the merged token)
struct merge_map {
    struct merge_slot {
        uint64_t pair; // UINT64_MAX: free
        uint32_t rank;
        int32_t id;
    } * slots;
    size_t n_slots;
};
NODISCARD bool merge_map_init(struct merge_map *map, size_t n);
void merge_map_release(struct merge_map *map);
void merge_map_set(struct merge_map *map, int32_t left, int32_t right, uint32_t rank, int32_t id);
const struct merge_slot *merge_map_find(const struct merge_map *map, int32_t left, int32_t right);

// A byte trie for the leftmost-longest match of many strings.
struct trie {
    struct trie_node {
        int32_t child, sibling; // 0: none (node 0 is the root)
        int32_t value;          // -1: no string ends here
        uint8_t byte;
    } * nodes;
    size_t n, capacity;
    int32_t root[256];
};
void trie_release(struct trie *trie);
// false when out of memory; *duplicate tells that the string was there already (and changes
// nothing).
NODISCARD bool trie_add(struct trie *trie, struct bytes key, int32_t value, bool *duplicate);
// The longest string that starts at s: its value and length, or -1.
int32_t trie_match(const struct trie *trie, const char *s, size_t n, size_t *n_matched);

// GPT-2's printable stand-ins for bytes.
uint32_t byte_to_char(uint8_t byte);
int byte_from_char(uint32_t codepoint); // -1: stands for no byte
// Appends `s` with its bytes written as their stand-ins.
void byte_level_append(struct buf *out, const char *s, size_t n);
// Appends s, invalid sequences as U+FFFD, one for each maximal subpart (Unicode 14, section 3.9).
void utf8_lossy_append(struct buf *out, const char *s, size_t n);
// Bytes of the maximal subpart at an invalid position, at least 1.
size_t utf8_bad_bytes(const char *s, size_t n);

// --- characters as Rust's standard library sees them
bool char_is_space(uint32_t c);   // White_Space
bool char_is_numeric(uint32_t c); // Nd, Nl, No
bool char_is_word(uint32_t c);    // \w of the regex crate
bool char_is_punctuation(uint32_t c);
bool char_is_mark(uint32_t c);

// --- text with the place each byte came from

struct text {
    const char *s; // valid UTF-8
    int32_t n;
    int32_t base;               // begin == NULL: byte i is byte base + i of the original
    const int32_t *begin, *end; // [n] or NULL
};
static inline int32_t text_begin(const struct text *t, int32_t i) {
    return t->begin == NULL ? t->base + i : t->begin[i];
}
static inline int32_t text_end(const struct text *t, int32_t i) { // of byte i
    return t->begin == NULL ? t->base + i + 1 : t->end[i];
}
static inline struct text text_slice(const struct text *t, int32_t from, int32_t to) {
    return (struct text){.s = t->s + from,
                         .n = to - from,
                         .base = t->base + from,
                         .begin = t->begin == NULL ? NULL : t->begin + from,
                         .end = t->begin == NULL ? NULL : t->end + from};
}

struct text_builder {
    char *s;
    int32_t *begin, *end;
    int64_t n, capacity;
    bool failed; // out of memory or over TOKENIZER_TEXT_LIMIT
};
void text_builder_release(struct text_builder *b);
void text_builder_add(struct text_builder *b, const char *s, int64_t n, int32_t begin, int32_t end);
void text_builder_copy(struct text_builder *b, const struct text *t, int32_t from, int32_t to);
// Copies what was built into the arena and empties the builder.
NODISCARD bool text_builder_take(struct text_builder *b, struct text *out, struct arena *arena,
                                 struct error *err);

// --- tokenizer_regex.c: Oniguruma patterns (Ruby syntax) run by PCRE2

struct span {
    int32_t begin, end;
    bool match;
};
struct span_list {
    struct span *v;
    int64_t n, capacity;
    bool failed;
};
void span_add(struct span_list *list, int64_t begin, int64_t end, bool match);

struct regex;
struct regex_scratch; // PCRE2's match block: one for each encode call
NODISCARD bool regex_open(struct regex **out, const char *pattern, size_t n, bool literal,
                          struct error *err);
void regex_close(struct regex *regex);
NODISCARD bool regex_scratch_open(struct regex_scratch **out, struct error *err);
void regex_scratch_close(struct regex_scratch *scratch);
// Covers [0, n) with matches and what lies between them, as `find_matches` of HF's pattern.rs.
NODISCARD bool regex_split(const struct regex *regex, struct regex_scratch *scratch, const char *s,
                           int32_t n, struct span_list *out, struct error *err);

// --- stages

enum normalizer_kind {
    NORMALIZER_NFC,
    NORMALIZER_NFD,
    NORMALIZER_NFKC,
    NORMALIZER_NFKD,
    NORMALIZER_LOWERCASE,
    NORMALIZER_PREPEND,
    NORMALIZER_REPLACE,
    NORMALIZER_STRIP,
    NORMALIZER_STRIP_ACCENTS,
    NORMALIZER_NMT,
    NORMALIZER_BYTE_LEVEL,
};
struct normalizer {
    enum normalizer_kind kind;
    struct regex *regex;  // REPLACE
    struct bytes content; // PREPEND, REPLACE
    bool left, right;     // STRIP
};

enum split_behavior {
    SPLIT_REMOVED,
    SPLIT_ISOLATED,
    SPLIT_MERGED_WITH_PREVIOUS,
    SPLIT_MERGED_WITH_NEXT,
    SPLIT_CONTIGUOUS,
};
enum metaspace_prepend { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER };
enum pretokenizer_kind {
    PRETOKENIZER_BYTE_LEVEL,
    PRETOKENIZER_REGEX, // Split, Whitespace and ByteLevel's own pattern
    PRETOKENIZER_METASPACE,
    PRETOKENIZER_DIGITS,
    PRETOKENIZER_PUNCTUATION,
    PRETOKENIZER_WHITESPACE,
    PRETOKENIZER_WHITESPACE_SPLIT,
    PRETOKENIZER_DELIMITER,
    PRETOKENIZER_BERT,
};
struct pretokenizer {
    enum pretokenizer_kind kind;
    enum split_behavior behavior;
    struct regex *regex; // REGEX; BYTE_LEVEL with use_regex
    bool invert, prefix_space, split;
    enum metaspace_prepend prepend;
    struct bytes content; // METASPACE's replacement, DELIMITER's character
};

enum decoder_kind {
    DECODER_BYTE_LEVEL,
    DECODER_BYTE_FALLBACK,
    DECODER_FUSE,
    DECODER_REPLACE,
    DECODER_STRIP,
    DECODER_METASPACE,
    DECODER_BPE,
};
struct decoder {
    enum decoder_kind kind;
    struct regex *regex; // REPLACE
    struct bytes
        content;         // REPLACE's text, STRIP's character, METASPACE's replacement, BPE's suffix
    int64_t start, stop; // STRIP
    bool drop_first;     // METASPACE: the replacement is dropped from the first token
};

struct added_token {
    int32_t id;
    bool single_word, lstrip, rstrip, special;
};

struct token {
    struct bytes text;            // as in the vocabulary; text.s == NULL: no such id
    struct bytes decoded;         // what the decoder sees (an added token's normalised form)
    struct bytes raw;             // the bytes it stands for
    bool added, special, skipped; // skipped: left out by decode(skip_special)
};

enum { UNK_NONE = -1, UNK_UNKNOWN = -2 /* unk_token is not in the vocabulary */ };

struct tokenizer {
    struct arena arena; // every string below
    struct token *tokens;
    int64_t n_tokens;              // 1 + the largest id
    struct string_map vocab;       // the model's tokens
    struct string_map added_vocab; // the added ones
    struct merge_map merges;
    struct bytes prefix, suffix; // continuing_subword_prefix, end_of_word_suffix; s NULL: none
    int32_t unk;                 // an id, or one of:
    bool fuse_unk, byte_fallback, ignore_merges;
    int32_t byte_ids[256];     // of "<0x00>".."<0xFF>"; -1: absent
    int32_t stand_in_ids[256]; // of the byte-level stand-ins; -1: absent
    bool bytes_direct;         // all stand-ins are tokens: byte-level pieces need no rewriting

    struct added_token *added;
    int64_t n_added;
    struct trie added_raw, added_normalized; // values index `added`

    struct normalizer normalizers[TOKENIZER_STAGE_LIMIT];
    int n_normalizers;
    struct pretokenizer pretokenizers[TOKENIZER_STAGE_LIMIT];
    int n_pretokenizers;
    struct decoder decoders[TOKENIZER_STAGE_LIMIT];
    int n_decoders;
    bool has_decoder;
    int32_t *before, *after; // the post-processor's template around the text
    int64_t n_before, n_after;
};

// A run of text on its way to the model, or an added token already found.
struct piece {
    struct text text;
    int32_t id; // >= 0: an added token
    bool bytes; // the model takes the raw bytes as byte-level stand-ins
};
struct piece_list {
    struct piece *v;
    int64_t n, capacity;
    bool failed;
};
void piece_add(struct piece_list *list, struct text text, int32_t id, bool bytes);

// What one encode call works with; released at its end.
struct encode_scratch {
    struct arena arena;
    struct text_builder builder;
    struct span_list spans;
    struct piece_list pieces, next;
    struct regex_scratch *regex;
    struct buf word;
    struct bpe_symbol *symbols;
    int64_t n_symbols, symbols_capacity;
    struct bpe_candidate *heap, *skipped;
    int64_t n_heap, heap_capacity, n_skipped, skipped_capacity;
};
NODISCARD bool encode_scratch_init(struct encode_scratch *scratch, struct error *err);
void encode_scratch_release(struct encode_scratch *scratch);
// The text given to encode, its invalid bytes replaced.
NODISCARD bool text_open(struct encode_scratch *scratch, struct text *out, const char *s, size_t n,
                         struct error *err);

NODISCARD bool normalizer_run(const struct normalizer *normalizer, struct encode_scratch *scratch,
                              struct text *text, struct error *err);
// Replaces scratch->pieces; `last` tells that the model comes next.
NODISCARD bool pretokenizer_run(const struct tokenizer *tokenizer, const struct pretokenizer *stage,
                                struct encode_scratch *scratch, bool last, struct error *err);
// tokenizer_bpe.c: appends the piece's tokens. rng NULL: every merge is made.
NODISCARD bool bpe_encode(const struct tokenizer *tokenizer, const struct piece *piece,
                          struct encode_scratch *scratch, struct token_list *out, float dropout,
                          struct rng *rng, struct error *err);

// tokenizer_json.c
NODISCARD bool tokenizer_load(struct tokenizer *tokenizer, const json_t *root, const char *name,
                              struct error *err);
extern const char tokenizer_gpt2_pattern[]; // tokenizer_regex.c
extern const char tokenizer_qwen_pattern[];

#endif
