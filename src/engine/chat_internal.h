// engine/chat_internal.h - the syntax tree of a chat template: chat_parse.c makes it, chat_render.c
// walks it.
#ifndef ENGINE_CHAT_INTERNAL_H
#define ENGINE_CHAT_INTERNAL_H

#include "core/arena.h"
#include "engine/chat.h"

enum {
    CHAT_SOURCE_LIMIT = 1 << 20, // bytes of a template
    CHAT_DEPTH_LIMIT = 100,      // expressions and blocks inside each other
    CHAT_STEP_LIMIT = 1000000,
    CHAT_OUTPUT_LIMIT = 16 << 20,
    CHAT_MEMORY_LIMIT = 256 << 20,
};

struct chat_text {
    const char *s;
    size_t n;
};

enum expr_kind {
    EXPR_STRING,
    EXPR_INT,
    EXPR_FLOAT,
    EXPR_TRUE,
    EXPR_FALSE,
    EXPR_NONE,
    EXPR_NAME,
    EXPR_LIST,   // args
    EXPR_DICT,   // args: key, value, key, value...
    EXPR_ATTR,   // a.text
    EXPR_INDEX,  // a[b]
    EXPR_SLICE,  // a[b:c:d], any of b, c, d NULL
    EXPR_CALL,   // a(args)
    EXPR_FILTER, // a | text(args)
    EXPR_TEST,   // a is text(args)
    EXPR_NOT,
    EXPR_NEGATE,
    EXPR_BINARY, // a op b
    EXPR_AND,
    EXPR_OR,
    EXPR_IF, // a if b else c (c may be NULL)
};
enum expr_op {
    OP_ADD,
    OP_SUB,
    OP_MUL,
    OP_DIV,
    OP_FLOOR,
    OP_MOD,
    OP_CONCAT,
    OP_EQ,
    OP_NE,
    OP_LT,
    OP_LE,
    OP_GT,
    OP_GE,
    OP_IN,
    OP_NOT_IN,
};
struct expr {
    enum expr_kind kind;
    enum expr_op op;
    int line, depth;
    struct chat_text text;
    int64_t i;
    double f;
    struct expr *a, *b, *c, *d;
    struct expr *args; // a list, linked by next
    struct expr *next;
    struct chat_text arg_name; // of a keyword argument; s NULL: positional
};

enum node_kind {
    NODE_TEXT,
    NODE_OUTPUT,
    NODE_IF,  // expr NULL: else. `other` is the next branch
    NODE_FOR, // for name[, name2] in expr [if cond]; `other` when there was nothing
    NODE_SET, // name = expr, name.name2 = expr, or name = body when expr is NULL
    NODE_BREAK,
    NODE_CONTINUE,
    NODE_GROUP, // a body as it is ({% generation %})
};
struct node {
    enum node_kind kind;
    int line;
    struct chat_text text, name, name2;
    struct expr *expr, *cond;
    struct node *body, *other, *next;
};

struct chat_template {
    struct arena arena;
    struct node *nodes;
    json_t *variables; // bos_token and the like from the folder; may be NULL
};

NODISCARD bool chat_parse(struct chat_template *tpl, const char *source, size_t n,
                          struct error *err);

#endif
