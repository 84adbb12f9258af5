// engine/tokenizer_vocab.c - the tokenizer's tables (strings, merges, added tokens) and its view of
// bytes and characters.
#include "core/utf8.h"
#include "engine/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static size_t table_slots(size_t n) {
    size_t n_slots = 16;
    while (n_slots < n * 2) n_slots *= 2;
    return n_slots;
}

static uint64_t hash_bytes(const char *s, size_t n) {
    uint64_t h = 0xcbf29ce484222325u ^ n; // FNV-1a, then a final mix
    for (size_t i = 0; i < n; i++) h = (h ^ (uint8_t)s[i]) * 0x100000001b3u;
    return h ^ (h >> 29);
}

bool string_map_init(struct string_map *map, size_t n) {
    *map = (struct string_map){.n_slots = table_slots(n)};
    map->slots = malloc(map->n_slots * sizeof *map->slots);
    if (map->slots == NULL) return false;
    for (size_t i = 0; i < map->n_slots; i++) map->slots[i] = (struct string_slot){.value = -1};
    return true;
}

void string_map_release(struct string_map *map) {
    free(map->slots);
    *map = (struct string_map){0};
}

static struct string_slot *string_map_slot(const struct string_map *map, const char *s, size_t n) {
    for (size_t i = hash_bytes(s, n);; i++) {
        struct string_slot *slot = &map->slots[i & (map->n_slots - 1)];
        if (slot->value < 0) return slot;
        if (slot->key.n == n && memcmp(slot->key.s, s, n) == 0) return slot;
    }
}

int32_t string_map_add(struct string_map *map, struct bytes key, int32_t value) {
    struct string_slot *slot = string_map_slot(map, key.s, key.n);
    if (slot->value >= 0) return slot->value;
    *slot = (struct string_slot){.key = key, .value = value};
    map->n++;
    return -1;
}

int32_t string_map_find(const struct string_map *map, const char *s, size_t n) {
    return map->n_slots == 0 ? -1 : string_map_slot(map, s, n)->value;
}

bool merge_map_init(struct merge_map *map, size_t n) {
    map->n_slots = table_slots(n);
    map->slots = malloc(map->n_slots * sizeof *map->slots);
    if (map->slots == NULL) return false;
    for (size_t i = 0; i < map->n_slots; i++) map->slots[i].pair = UINT64_MAX;
    return true;
}

void merge_map_release(struct merge_map *map) {
    free(map->slots);
    *map = (struct merge_map){0};
}

static struct merge_slot *merge_map_slot(const struct merge_map *map, uint64_t pair) {
    uint64_t h = pair * 0x9e3779b97f4a7c15u;
    for (size_t i = h >> 20;; i++) {
        struct merge_slot *slot = &map->slots[i & (map->n_slots - 1)];
        if (slot->pair == pair || slot->pair == UINT64_MAX) return slot;
    }
}

void merge_map_set(struct merge_map *map, int32_t left, int32_t right, uint32_t rank, int32_t id) {
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    *merge_map_slot(map, pair) = (struct merge_slot){.pair = pair, .rank = rank, .id = id};
}

const struct merge_slot *merge_map_find(const struct merge_map *map, int32_t left, int32_t right) {
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    const struct merge_slot *slot = merge_map_slot(map, pair);
    return slot->pair == pair ? slot : NULL;
}

void trie_release(struct trie *trie) {
    free(trie->nodes);
    *trie = (struct trie){0};
}

// The child of `node` for `byte`, made when absent; -1 when out of memory.
static int32_t trie_child(struct trie *trie, int32_t node, uint8_t byte) {
    if (node == 0 && trie->root[byte] != 0) return trie->root[byte];
    for (int32_t c = node == 0 ? 0 : trie->nodes[node].child; c != 0; c = trie->nodes[c].sibling) {
        if (trie->nodes[c].byte == byte) return c;
    }
    if (trie->n + 2 > trie->capacity) {
        size_t capacity = trie->capacity ? trie->capacity * 2 : 64;
        struct trie_node *nodes = realloc(trie->nodes, capacity * sizeof *nodes);
        if (nodes == NULL || capacity > INT32_MAX) {
            if (nodes != NULL) trie->nodes = nodes;
            return -1;
        }
        trie->nodes = nodes;
        trie->capacity = capacity;
    }
    if (trie->n == 0) trie->nodes[trie->n++] = (struct trie_node){.value = -1}; // the root
    int32_t c = (int32_t)trie->n++;
    trie->nodes[c] = (struct trie_node){.value = -1, .byte = byte};
    if (node == 0) {
        trie->root[byte] = c;
    } else {
        trie->nodes[c].sibling = trie->nodes[node].child;
        trie->nodes[node].child = c;
    }
    return c;
}

bool trie_add(struct trie *trie, struct bytes key, int32_t value, bool *duplicate) {
    *duplicate = false;
    int32_t node = 0;
    for (size_t i = 0; i < key.n; i++) {
        node = trie_child(trie, node, (uint8_t)key.s[i]);
        if (node < 0) return false;
    }
    if (node == 0) return true; // an empty string matches nothing
    *duplicate = trie->nodes[node].value >= 0;
    if (!*duplicate) trie->nodes[node].value = value;
    return true;
}

int32_t trie_match(const struct trie *trie, const char *s, size_t n, size_t *n_matched) {
    int32_t best = -1;
    int32_t node = n > 0 ? trie->root[(uint8_t)s[0]] : 0;
    for (size_t i = 1; node != 0; i++) {
        if (trie->nodes[node].value >= 0) {
            best = trie->nodes[node].value;
            *n_matched = i;
        }
        if (i == n) break;
        int32_t c = trie->nodes[node].child;
        while (c != 0 && trie->nodes[c].byte != (uint8_t)s[i]) c = trie->nodes[c].sibling;
        node = c;
    }
    return best;
}

// Radford et al. 2019 (GPT-2): printable Latin-1 stands for itself, the 68 other bytes for U+0100
// and on.
uint32_t byte_to_char(uint8_t byte) {
    if (byte <= 32) return 256u + byte;
    if (byte >= 127 && byte <= 160) return 256u + 33 + (byte - 127u);
    if (byte == 173) return 256u + 67;
    return byte;
}

int byte_from_char(uint32_t c) {
    if (c >= 256 && c <= 256 + 32) return (int)c - 256;
    if (c >= 256 + 33 && c <= 256 + 66) return (int)c - 289 + 127;
    if (c == 256 + 67) return 173;
    return c < 256 && byte_to_char((uint8_t)c) == c ? (int)c : -1;
}

void byte_level_append(struct buf *out, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char utf8[4];
        buf_append(out, utf8, utf8_encode(byte_to_char((uint8_t)s[i]), utf8));
    }
}

size_t utf8_bad_bytes(const char *s, size_t n) {
    const uint8_t *b = (const uint8_t *)s;
    int n_more = b[0] >= 0xC2 && b[0] <= 0xDF   ? 1
                 : b[0] >= 0xE0 && b[0] <= 0xEF ? 2
                 : b[0] >= 0xF0 && b[0] <= 0xF4 ? 3
                                                : 0;
    if (n_more == 0 || n < 2) return 1;
    uint8_t low = b[0] == 0xE0 ? 0xA0 : b[0] == 0xF0 ? 0x90 : 0x80;
    uint8_t high = b[0] == 0xED ? 0x9F : b[0] == 0xF4 ? 0x8F : 0xBF;
    if (b[1] < low || b[1] > high) return 1;
    size_t i = 2;
    while (i < n && i <= (size_t)n_more && (b[i] & 0xC0) == 0x80) i++;
    return i;
}

void utf8_lossy_append(struct buf *out, const char *s, size_t n) {
    while (n > 0) {
        size_t bad = 0;
        if (utf8_valid(s, n, &bad)) bad = n;
        buf_append(out, s, bad);
        s += bad;
        n -= bad;
        if (n == 0) return;
        buf_append(out, "\xEF\xBF\xBD", 3);
        size_t skip = utf8_bad_bytes(s, n);
        s += skip;
        n -= skip;
    }
}

bool char_is_space(uint32_t c) {
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

static utf8proc_category_t category(uint32_t c) {
    return utf8proc_category((utf8proc_int32_t)c);
}

bool char_is_numeric(uint32_t c) {
    utf8proc_category_t g = category(c);
    return g == UTF8PROC_CATEGORY_ND || g == UTF8PROC_CATEGORY_NL || g == UTF8PROC_CATEGORY_NO;
}

bool char_is_mark(uint32_t c) {
    utf8proc_category_t g = category(c);
    return g == UTF8PROC_CATEGORY_MN || g == UTF8PROC_CATEGORY_MC || g == UTF8PROC_CATEGORY_ME;
}

bool char_is_word(uint32_t c) {
    switch (category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    case UTF8PROC_CATEGORY_SO: // Other_Alphabetic: circled and squared letters
        return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
               (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
    default:
        return c == 0x200C || c == 0x200D; // Join_Control
    }
}

bool char_is_punctuation(uint32_t c) {
    if (c < 128)
        return c > 32 && c < 127 && !((c | 32) >= 'a' && (c | 32) <= 'z') &&
               !(c >= '0' && c <= '9');
    utf8proc_category_t g = category(c);
    return g >= UTF8PROC_CATEGORY_PC && g <= UTF8PROC_CATEGORY_PO;
}
