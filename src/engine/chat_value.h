// engine/chat_value.h - the values a chat template works on, and one render's state. Inside the
// chat_*.c files.
#ifndef ENGINE_CHAT_VALUE_H
#define ENGINE_CHAT_VALUE_H

#include "engine/chat_internal.h"

enum value_kind {
    VALUE_UNDEFINED,
    VALUE_NONE,
    VALUE_BOOL,
    VALUE_INT,
    VALUE_FLOAT,
    VALUE_STRING,
    VALUE_LIST,
    VALUE_DICT,
    VALUE_NAMESPACE, // a dictionary that {% set ns.x = ... %} changes
    VALUE_FUNCTION,  // raise_exception and the like, by name
};
struct value {
    enum value_kind kind;
    bool b;
    int64_t i;
    double f;
    struct chat_text text; // STRING, FUNCTION
    struct list *list;     // LIST: items; DICT and NAMESPACE: key, value, key, value...
};
struct list {
    struct value *v;
    int64_t n, capacity;
};

struct variable {
    struct chat_text name;
    struct value value;
    int frame;
};

struct render {
    struct arena arena;
    struct buf *out;
    size_t out_limit; // bytes `out` may reach
    struct variable *variables;
    int64_t n_variables, capacity;
    int frame;
    int64_t n_steps;
    bool breaking, continuing;
    struct error *err;
};

// --- chat_value.c. What returns bool sets r->err and returns false on failure.
bool chat_fail(struct render *r, int line, const char *format, ...) PRINTF_LIKE(3, 4);
bool chat_nomem(struct render *r);
bool chat_step(struct render *r, int64_t n); // counts work; false over CHAT_STEP_LIMIT
bool chat_step_text(struct render *r, const struct value *v);
const char *chat_kind_name(const struct value *v);

static inline struct value of_bool(bool b) {
    return (struct value){.kind = VALUE_BOOL, .b = b};
}
static inline struct value of_int(int64_t i) {
    return (struct value){.kind = VALUE_INT, .i = i};
}
static inline struct value of_text(const char *s, size_t n) {
    return (struct value){.kind = VALUE_STRING, .text = {s, n}};
}

static inline bool is_number(const struct value *v) {
    return v->kind == VALUE_INT || v->kind == VALUE_FLOAT || v->kind == VALUE_BOOL;
}
static inline bool is_dict(const struct value *v) {
    return v->kind == VALUE_DICT || v->kind == VALUE_NAMESPACE;
}
static inline double number(const struct value *v) {
    return v->kind == VALUE_FLOAT ? v->f : v->kind == VALUE_BOOL ? v->b : (double)v->i;
}
static inline int64_t integer(const struct value *v) {
    return v->kind == VALUE_BOOL ? v->b : v->i;
}

bool chat_text_is(struct chat_text t, const char *s);
bool chat_text_equal(struct chat_text a, struct chat_text b);
bool chat_take_string(struct render *r, struct buf *b, struct value *out);
struct list *
chat_list_new(struct render *r); // NULL is reported by the chat_list_add() that follows
bool chat_list_add(struct render *r, struct list *list, struct value v);
struct value *chat_dict_find(const struct list *dict, struct chat_text key); // NULL: absent
bool chat_dict_set(struct render *r, struct list *dict, struct chat_text key, struct value v);
bool chat_of_json(struct render *r, const json_t *j, struct value *out, int depth);
bool chat_truth(const struct value *v);
bool chat_equal(struct render *r, const struct value *a, const struct value *b, bool *out,
                int depth);
bool chat_append_value(struct render *r, struct buf *b, const struct value *v, int line);
bool chat_append_json(struct render *r, struct buf *b, const struct value *v, int64_t indent,
                      int depth, int line);
bool chat_as_string(struct render *r, const struct value *v, int line, struct value *out);
struct chat_text chat_strip(struct chat_text t, const struct chat_text *set, bool left, bool right);
bool chat_change_case(struct render *r, struct chat_text t, char how, struct value *out); // u, l, c
bool chat_replace_text(struct render *r, struct chat_text t, struct chat_text from,
                       struct chat_text to, int line, struct value *out);
bool chat_split_text(struct render *r, struct chat_text t, const struct chat_text *by, int line,
                     struct value *out);
int64_t chat_length_of(const struct value *v); // -1: it has none
bool chat_items_of(struct render *r, const struct value *v, struct list **out, int line);
bool chat_join_items(struct render *r, const struct value *v, struct chat_text by, int line,
                     struct value *out);

// --- chat_eval.c
bool chat_eval(struct render *r, const struct expr *e, struct value *out);

// --- chat_render.c
struct value *chat_find_variable(struct render *r, struct chat_text name); // NULL: undefined

#endif
