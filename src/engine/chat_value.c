// engine/chat_value.c - values of a chat template, with Python's rules for truth, equality, text
// and JSON. They live in the render's arena.
#include "engine/chat_value.h"

#include "core/utf8.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

const char *chat_kind_name(const struct value *v) {
    static const char *const names[] = {"undefined",   "none",      "a boolean", "an integer",
                                        "a number",    "a string",  "a list",    "a dictionary",
                                        "a namespace", "a function"};
    return names[v->kind];
}

bool chat_fail(struct render *r, int line, const char *format, ...) {
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return error_set(r->err, ERR_INPUT, "chat template line %d: %s", line, text);
}

bool chat_nomem(struct render *r) {
    return error_set(r->err, ERR_LIMIT, "chat template: over %d MiB of memory",
                     CHAT_MEMORY_LIMIT >> 20);
}

bool chat_step(struct render *r, int64_t n) {
    r->n_steps += n;
    return r->n_steps <= CHAT_STEP_LIMIT ||
           error_set(r->err, ERR_LIMIT, "chat template: over %d steps", CHAT_STEP_LIMIT);
}

// Work on a long string counts for what it is.
bool chat_step_text(struct render *r, const struct value *v) {
    return chat_step(r, v->kind == VALUE_STRING ? (int64_t)(v->text.n / 64) : 0);
}

bool chat_text_is(struct chat_text t, const char *s) {
    return t.n == strlen(s) && memcmp(t.s, s, t.n) == 0;
}
bool chat_text_equal(struct chat_text a, struct chat_text b) {
    return a.n == b.n && memcmp(a.s, b.s, a.n) == 0;
}
// A string of this render from a buffer, which is released.
bool chat_take_string(struct render *r, struct buf *b, struct value *out) {
    char *s =
        buf_ok(b) ? arena_strndup(&r->arena, b->data == NULL ? "" : b->data, b->n_bytes) : NULL;
    if (s != NULL) *out = of_text(s, b->n_bytes);
    buf_release(b);
    return s != NULL || chat_nomem(r);
}

struct list *chat_list_new(struct render *r) {
    return arena_alloc(&r->arena, sizeof(struct list));
}

bool chat_list_add(struct render *r, struct list *list, struct value v) {
    if (list == NULL) return chat_nomem(r);
    if (list->n == list->capacity) {
        int64_t capacity = list->capacity ? list->capacity * 2 : 8;
        struct value *grown = arena_alloc_array(&r->arena, (size_t)capacity, sizeof *grown);
        if (grown == NULL) return chat_nomem(r);
        if (list->n > 0) memcpy(grown, list->v, (size_t)list->n * sizeof *grown);
        list->v = grown;
        list->capacity = capacity;
    }
    list->v[list->n++] = v;
    return true;
}

struct value *chat_dict_find(const struct list *dict, struct chat_text key) {
    for (int64_t i = 0; i + 1 < dict->n; i += 2) {
        if (dict->v[i].kind == VALUE_STRING && chat_text_equal(dict->v[i].text, key))
            return &dict->v[i + 1];
    }
    return NULL;
}

bool chat_dict_set(struct render *r, struct list *dict, struct chat_text key, struct value v) {
    struct value *slot = chat_dict_find(dict, key);
    if (slot != NULL) {
        *slot = v;
        return true;
    }
    return chat_list_add(r, dict, of_text(key.s, key.n)) && chat_list_add(r, dict, v);
}

// jansson bounds the depth of what it parses; a value built by hand is bounded here.
bool chat_of_json(struct render *r, const json_t *j, struct value *out, int depth) {
    *out = (struct value){.kind = VALUE_NONE};
    if (depth > CHAT_DEPTH_LIMIT)
        return error_set(r->err, ERR_LIMIT, "chat messages: over %d levels deep", CHAT_DEPTH_LIMIT);
    if (!chat_step(r, 1)) return false;
    struct value item;
    if (json_is_boolean(j)) {
        *out = of_bool(json_is_true(j));
    } else if (json_is_integer(j)) {
        *out = of_int(json_integer_value(j));
    } else if (json_is_real(j)) {
        *out = (struct value){.kind = VALUE_FLOAT, .f = json_real_value(j)};
    } else if (json_is_string(j)) {
        *out = of_text(json_string_value(j), json_string_length(j)); // borrowed for the render
    } else if (json_is_array(j)) {
        size_t i;
        const json_t *v;
        *out = (struct value){.kind = VALUE_LIST, .list = chat_list_new(r)};
        if (out->list == NULL) return chat_nomem(r);
        json_array_foreach(j, i, v) {
            if (!chat_of_json(r, v, &item, depth + 1) || !chat_list_add(r, out->list, item))
                return false;
        }
    } else if (json_is_object(j)) {
        const char *key;
        json_t *v;
        *out = (struct value){.kind = VALUE_DICT, .list = chat_list_new(r)};
        if (out->list == NULL) return chat_nomem(r);
        json_object_foreach((json_t *)j, key, v) {
            if (!chat_of_json(r, v, &item, depth + 1)) return false;
            if (!chat_list_add(r, out->list, of_text(key, strlen(key))) ||
                !chat_list_add(r, out->list, item))
                return false;
        }
    }
    return true;
}

bool chat_truth(const struct value *v) {
    switch (v->kind) {
    case VALUE_UNDEFINED:
    case VALUE_NONE:
        return false;
    case VALUE_BOOL:
        return v->b;
    case VALUE_INT:
        return v->i != 0;
    case VALUE_FLOAT:
        return v->f != 0;
    case VALUE_STRING:
        return v->text.n > 0;
    case VALUE_LIST:
    case VALUE_DICT:
        return v->list->n > 0;
    default:
        return true;
    }
}

bool chat_equal(struct render *r, const struct value *a, const struct value *b, bool *out,
                int depth) {
    *out = false;
    if (!chat_step(r, 1)) return false;
    if (depth > CHAT_DEPTH_LIMIT)
        return error_set(r->err, ERR_LIMIT, "chat template: values over %d levels deep",
                         CHAT_DEPTH_LIMIT);
    if (is_number(a) && is_number(b)) {
        *out = a->kind == VALUE_FLOAT || b->kind == VALUE_FLOAT ? number(a) == number(b)
                                                                : integer(a) == integer(b);
        return true;
    }
    if (a->kind != b->kind) return true;
    switch (a->kind) {
    case VALUE_UNDEFINED:
    case VALUE_NONE:
        *out = true;
        return true;
    case VALUE_STRING:
    case VALUE_FUNCTION:
        *out = chat_text_equal(a->text, b->text);
        return true;
    case VALUE_NAMESPACE:
        *out = a->list == b->list;
        return true;
    default:
        break;
    }
    if (a->list->n != b->list->n) return true;
    bool same = true;
    for (int64_t i = 0; i < a->list->n && same; i += a->kind == VALUE_DICT ? 2 : 1) {
        const struct value *other = &b->list->v[i];
        if (a->kind == VALUE_DICT) {
            other = a->list->v[i].kind == VALUE_STRING ? chat_dict_find(b->list, a->list->v[i].text)
                                                       : NULL;
            same = other != NULL;
            if (same && !chat_equal(r, &a->list->v[i + 1], other, &same, depth + 1)) return false;
        } else if (!chat_equal(r, &a->list->v[i], other, &same, depth + 1)) {
            return false;
        }
    }
    *out = same;
    return true;
}

// --- writing values

// Python's repr of a float: the shortest that reads back the same, without an exponent from 1e-4 to
// 1e16.
static void append_float(struct buf *b, double f) {
    char s[40];
    for (int precision = 1; precision <= 17; precision++) {
        snprintf(s, sizeof s, "%.*g", precision, f);
        if (strtod(s, NULL) == f || isnan(f)) break;
    }
    if (strchr(s, 'e') != NULL && fabs(f) >= 1 && fabs(f) < 1e16) snprintf(s, sizeof s, "%.0f", f);
    buf_append_str(b, s);
    if (strpbrk(s, ".einE") == NULL) buf_append_str(b, ".0");
}

bool chat_append_value(struct render *r, struct buf *b, const struct value *v, int line) {
    switch (v->kind) {
    case VALUE_UNDEFINED:
        return true;
    case VALUE_NONE:
        buf_append_str(b, "None");
        return true;
    case VALUE_BOOL:
        buf_append_str(b, v->b ? "True" : "False");
        return true;
    case VALUE_INT:
        buf_printf(b, "%lld", (long long)v->i);
        return true;
    case VALUE_FLOAT:
        append_float(b, v->f);
        return true;
    case VALUE_STRING:
        buf_append(b, v->text.s, v->text.n);
        return true;
    default:
        return chat_fail(r, line, "writing %s is not supported; use tojson", chat_kind_name(v));
    }
}

static void append_json_text(struct buf *b, struct chat_text t) {
    buf_append_char(b, '"');
    for (size_t i = 0; i < t.n; i++) {
        unsigned char c = (unsigned char)t.s[i];
        static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
        const char *known = c == 0 ? NULL : strchr(from, c);
        if (known != NULL) {
            buf_append_char(b, '\\');
            buf_append_char(b, to[known - from]);
        } else if (c < 0x20) {
            buf_printf(b, "\\u%04x", c);
        } else {
            buf_append_char(b, (char)c);
        }
    }
    buf_append_char(b, '"');
}

static void append_newline(struct buf *b, int64_t indent, int depth) {
    if (indent < 0) return;
    buf_append_char(b, '\n');
    for (int64_t i = 0; i < indent * depth; i++) buf_append_char(b, ' ');
}

// json.dumps(v, ensure_ascii=False, indent=...); indent < 0: one line.
bool chat_append_json(struct render *r, struct buf *b, const struct value *v, int64_t indent,
                      int depth, int line) {
    if (!chat_step(r, 1)) return false;
    if (depth > CHAT_DEPTH_LIMIT)
        return chat_fail(r, line, "tojson: over %d levels deep", CHAT_DEPTH_LIMIT);
    const char *comma = indent < 0 ? ", " : ",";
    switch (v->kind) {
    case VALUE_NONE:
        buf_append_str(b, "null");
        return true;
    case VALUE_BOOL:
        buf_append_str(b, v->b ? "true" : "false");
        return true;
    case VALUE_STRING:
        append_json_text(b, v->text);
        return true;
    case VALUE_INT:
    case VALUE_FLOAT:
        return chat_append_value(r, b, v, line);
    case VALUE_LIST:
    case VALUE_DICT:
        break;
    default:
        return chat_fail(r, line, "tojson of %s", chat_kind_name(v));
    }
    bool dict = v->kind == VALUE_DICT;
    buf_append_char(b, dict ? '{' : '[');
    for (int64_t i = 0; i < v->list->n; i += dict ? 2 : 1) {
        if (i > 0) buf_append_str(b, comma);
        append_newline(b, indent, depth + 1);
        if (!chat_append_json(r, b, &v->list->v[i], indent, depth + 1, line)) return false;
        if (!dict) continue;
        buf_append_str(b, ": ");
        if (!chat_append_json(r, b, &v->list->v[i + 1], indent, depth + 1, line)) return false;
    }
    if (v->list->n > 0) append_newline(b, indent, depth);
    buf_append_char(b, dict ? '}' : ']');
    return true;
}

// --- strings

static bool py_space(uint32_t c) {
    return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xA0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

static bool strip_matches(const char *s, size_t n, const struct chat_text *set) {
    uint32_t c = 0;
    utf8_decode(s, n, &c);
    if (set == NULL) return py_space(c);
    return n > 0 && memmem(set->s, set->n, s, n) != NULL; // s is one whole character
}

struct chat_text chat_strip(struct chat_text t, const struct chat_text *set, bool left,
                            bool right) {
    while (left && t.n > 0) {
        size_t n = utf8_char_bytes(t.s, t.n);
        if (n == 0 || !strip_matches(t.s, n, set)) break;
        t.s += n;
        t.n -= n;
    }
    while (right && t.n > 0) {
        size_t n = 1;
        while (n < t.n && n < 4 && ((unsigned char)t.s[t.n - n] & 0xC0) == 0x80) n++;
        if (!strip_matches(t.s + t.n - n, n, set)) break;
        t.n -= n;
    }
    return t;
}

bool chat_change_case(struct render *r, struct chat_text t, char how, struct value *out) {
    struct buf b = {0};
    for (size_t i = 0; i < t.n;) {
        uint32_t c = 0;
        size_t n = utf8_decode(t.s + i, t.n - i, &c);
        bool upper = how == 'u' || (how == 'c' && i == 0);
        utf8proc_int32_t changed =
            upper ? utf8proc_toupper((utf8proc_int32_t)c) : utf8proc_tolower((utf8proc_int32_t)c);
        char s[4];
        if (upper && c == 0xDF) {
            buf_append_str(&b, how == 'c' ? "Ss" : "SS");
        } else {
            buf_append(&b, s, utf8_encode((uint32_t)changed, s));
        }
        i += n > 0 ? n : 1;
    }
    return chat_take_string(r, &b, out);
}

bool chat_replace_text(struct render *r, struct chat_text t, struct chat_text from,
                       struct chat_text to, int line, struct value *out) {
    struct buf b = {.limit_bytes = CHAT_OUTPUT_LIMIT};
    if (from.n == 0) return chat_fail(r, line, "replace of an empty string is not supported");
    while (t.n > 0) {
        const char *found = memmem(t.s, t.n, from.s, from.n);
        size_t n = found == NULL ? t.n : (size_t)(found - t.s);
        buf_append(&b, t.s, n);
        if (found != NULL) {
            buf_append(&b, to.s, to.n);
            n += from.n;
        }
        t.s += n;
        t.n -= n;
    }
    return chat_take_string(r, &b, out);
}

bool chat_split_text(struct render *r, struct chat_text t, const struct chat_text *by, int line,
                     struct value *out) {
    *out = (struct value){.kind = VALUE_LIST, .list = chat_list_new(r)};
    if (by != NULL && by->n == 0) return chat_fail(r, line, "split by an empty string");
    if (by == NULL) { // runs of white space
        for (t = chat_strip(t, NULL, true, true); t.n > 0; t = chat_strip(t, NULL, true, false)) {
            size_t n = 0;
            while (n < t.n &&
                   chat_strip(chat_text_is(t, "") ? t : (struct chat_text){t.s + n, t.n - n}, NULL,
                              true, false)
                           .n == t.n - n)
                n += utf8_char_bytes(t.s + n, t.n - n);
            if (!chat_step(r, 1) || !chat_list_add(r, out->list, of_text(t.s, n))) return false;
            t.s += n;
            t.n -= n;
        }
        return out->list != NULL || chat_nomem(r);
    }
    for (;;) {
        const char *found = t.n == 0 ? NULL : memmem(t.s, t.n, by->s, by->n);
        size_t n = found == NULL ? t.n : (size_t)(found - t.s);
        if (!chat_step(r, 1) || !chat_list_add(r, out->list, of_text(t.s, n))) return false;
        if (found == NULL) return true;
        t.s += n + by->n;
        t.n -= n + by->n;
    }
}

int64_t chat_length_of(const struct value *v) {
    switch (v->kind) {
    case VALUE_UNDEFINED:
        return 0;
    case VALUE_STRING:
        return (int64_t)utf8_length(v->text.s, v->text.n);
    case VALUE_LIST:
        return v->list->n;
    case VALUE_DICT:
        return v->list->n / 2;
    default:
        return -1;
    }
}

// What a loop runs over: a list's items, a dictionary's keys, a string's characters.
bool chat_items_of(struct render *r, const struct value *v, struct list **out, int line) {
    if (v->kind == VALUE_LIST) {
        *out = v->list;
        return true;
    }
    *out = chat_list_new(r);
    if (*out == NULL) return chat_nomem(r);
    switch (v->kind) {
    case VALUE_UNDEFINED:
        return true;
    case VALUE_DICT:
        for (int64_t i = 0; i < v->list->n; i += 2) {
            if (!chat_step(r, 1) || !chat_list_add(r, *out, v->list->v[i])) return false;
        }
        return true;
    case VALUE_STRING:
        for (size_t i = 0; i < v->text.n;) {
            size_t n = utf8_char_bytes(v->text.s + i, v->text.n - i);
            if (n == 0) n = 1;
            if (!chat_step(r, 1) || !chat_list_add(r, *out, of_text(v->text.s + i, n)))
                return false;
            i += n;
        }
        return true;
    default:
        return chat_fail(r, line, "%s cannot be iterated", chat_kind_name(v));
    }
}

bool chat_join_items(struct render *r, const struct value *v, struct chat_text by, int line,
                     struct value *out) {
    struct list *items;
    struct buf b = {.limit_bytes = CHAT_OUTPUT_LIMIT};
    if (!chat_items_of(r, v, &items, line)) return false;
    for (int64_t i = 0; i < items->n; i++) {
        if (i > 0) buf_append(&b, by.s, by.n);
        if (!chat_append_value(r, &b, &items->v[i], line)) {
            buf_release(&b);
            return false;
        }
    }
    return chat_take_string(r, &b, out);
}

bool chat_as_string(struct render *r, const struct value *v, int line, struct value *out) {
    if (v->kind == VALUE_STRING) {
        *out = *v;
        return true;
    }
    struct buf b = {0};
    if (!chat_append_value(r, &b, v, line)) {
        buf_release(&b);
        return false;
    }
    return chat_take_string(r, &b, out);
}
