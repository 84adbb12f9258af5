// engine/chat_parse.c - reads a chat template as jinja2 does with trim_blocks and lstrip_blocks,
// the settings of transformers' apply_chat_template.
#include "core/utf8.h"
#include "engine/chat_internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum token_kind { TOKEN_END, TOKEN_NAME, TOKEN_STRING, TOKEN_INT, TOKEN_FLOAT, TOKEN_OP };
struct token {
    enum token_kind kind;
    struct chat_text text; // a string's is decoded; TOKEN_END's is the closing mark
};

struct parser {
    struct arena *arena;
    const char *s;
    size_t n, i;
    struct token token;  // the next one, inside a tag
    const char *closing; // "%}" or "}}" of the tag we are in
    bool line_starting;  // the text before the next tag begins a line
    size_t line_i;       // lines are counted up to here
    int line;
    int depth, n_loops, n_open; // n_open: brackets of the tag not closed yet
    struct error *err;
};

static int line_of(struct parser *p, size_t at) {
    if (at < p->line_i) p->line_i = 0;
    if (p->line_i == 0) p->line = 1;
    for (; p->line_i < at && p->line_i < p->n; p->line_i++) p->line += p->s[p->line_i] == '\n';
    return p->line;
}

static bool fail(struct parser *p, const char *what, struct chat_text seen) {
    int n = (int)(seen.n < 60 ? seen.n : 60);
    return error_set(p->err, ERR_INPUT, "chat template line %d: %s \"%.*s\"", line_of(p, p->i),
                     what, n, seen.s == NULL ? "" : seen.s);
}

static bool nomem(struct parser *p) {
    return error_set(p->err, ERR_NOMEM, "chat template: out of memory");
}

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f);
}

static bool at_mark(const struct parser *p, size_t i, const char *mark) {
    return i + 1 < p->n && p->s[i] == mark[0] && p->s[i + 1] == mark[1];
}

// --- tokens inside a tag

static size_t append_escape(const char *s, size_t n, char *out, size_t *n_out) {
    static const char from[] = "ntr\\'\"abfv0\n", to[] = "\n\t\r\\'\"\a\b\f\v\0";
    char c = s[1];
    const char *known = c == '\0' ? NULL : memchr(from, c, sizeof from - 1);
    int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits > 0 && n >= 2 + (size_t)digits) {
        uint32_t value = 0;
        for (int i = 0; i < digits; i++) {
            if (!isxdigit((unsigned char)s[2 + i])) return 0;
            int d = tolower((unsigned char)s[2 + i]);
            value = value * 16 + (uint32_t)(d <= '9' ? d - '0' : d - 'a' + 10);
        }
        *n_out += utf8_encode(value, out + *n_out);
        return 2 + (size_t)digits;
    }
    if (digits > 0) return 0;
    if (known != NULL) {
        if (c != '\n') out[(*n_out)++] = to[known - from];
    } else { // Python keeps what it does not know
        out[(*n_out)++] = '\\';
        out[(*n_out)++] = c;
    }
    return 2;
}

static bool string_token(struct parser *p) {
    char quote = p->s[p->i];
    size_t end = p->i + 1;
    while (end < p->n && p->s[end] != quote) end += p->s[end] == '\\' ? 2 : 1;
    if (end >= p->n)
        return fail(p, "unclosed string", (struct chat_text){p->s + p->i, p->n - p->i});
    char *out = arena_alloc(p->arena, end - p->i + 1);
    if (out == NULL) return nomem(p);
    size_t n_out = 0;
    for (size_t i = p->i + 1; i < end;) {
        if (p->s[i] != '\\') {
            out[n_out++] = p->s[i++];
            continue;
        }
        size_t used = append_escape(p->s + i, end - i, out, &n_out);
        if (used == 0)
            return fail(p, "bad escape in string", (struct chat_text){p->s + i, end - i});
        i += used;
    }
    p->token = (struct token){TOKEN_STRING, {out, n_out}};
    p->i = end + 1;
    return true;
}

static bool advance(struct parser *p) {
    static const char *const ops[] = {"==", "!=", "<=", ">=", "//", "**", "+", "-", "*",
                                      "/",  "%",  "~",  "<",  ">",  "=",  "(", ")", "[",
                                      "]",  "{",  "}",  ",",  ".",  ":",  "|"};
    while (p->i < p->n && is_space(p->s[p->i])) p->i++;
    if (p->i >= p->n)
        return fail(p, "the template ends inside a tag; expected",
                    (struct chat_text){p->closing, 2});
    const char *s = p->s + p->i;
    size_t n = p->n - p->i;
    bool signed_end = (s[0] == '-' || s[0] == '+') && at_mark(p, p->i + 1, p->closing);
    if (p->n_open == 0 && (signed_end || at_mark(p, p->i, p->closing))) {
        p->token = (struct token){TOKEN_END, {s, signed_end ? 3 : 2}};
        return true; // tag_close() steps over it
    }
    size_t k = 0;
    if (s[0] == '"' || s[0] == '\'') return string_token(p);
    if (isalpha((unsigned char)s[0]) || s[0] == '_') {
        while (k < n && (isalnum((unsigned char)s[k]) || s[k] == '_')) k++;
        p->token = (struct token){TOKEN_NAME, {s, k}};
    } else if (isdigit((unsigned char)s[0])) {
        while (k < n && isdigit((unsigned char)s[k])) k++;
        bool fraction = k + 1 < n && s[k] == '.' && isdigit((unsigned char)s[k + 1]);
        if (fraction) {
            k++;
            while (k < n && isdigit((unsigned char)s[k])) k++;
        }
        size_t e = k + 1;
        if (k < n && (s[k] == 'e' || s[k] == 'E')) {
            if (e < n && (s[e] == '+' || s[e] == '-')) e++;
            if (e < n && isdigit((unsigned char)s[e])) {
                fraction = true;
                for (k = e; k < n && isdigit((unsigned char)s[k]);) k++;
            }
        }
        p->token = (struct token){fraction ? TOKEN_FLOAT : TOKEN_INT, {s, k}};
    } else {
        for (int64_t i = 0; i < COUNT_OF(ops) && k == 0; i++) {
            size_t length = strlen(ops[i]);
            if (length <= n && memcmp(s, ops[i], length) == 0) k = length;
        }
        if (k == 0) return fail(p, "unexpected character", (struct chat_text){s, 1});
        p->token = (struct token){TOKEN_OP, {s, k}};
        if (strchr("([{", s[0]) != NULL) p->n_open++;
        if (strchr(")]}", s[0]) != NULL && p->n_open > 0) p->n_open--;
    }
    p->i += k;
    return true;
}

static bool is_text(struct chat_text t, const char *s) {
    return t.n == strlen(s) && memcmp(t.s, s, t.n) == 0;
}
static bool is_op(const struct parser *p, const char *op) {
    return p->token.kind == TOKEN_OP && is_text(p->token.text, op);
}
static bool is_name(const struct parser *p, const char *name) {
    return p->token.kind == TOKEN_NAME && is_text(p->token.text, name);
}
static bool expect_op(struct parser *p, const char *op) {
    if (!is_op(p, op)) {
        return error_set(p->err, ERR_INPUT, "chat template line %d: expected \"%s\", not \"%.*s\"",
                         line_of(p, p->i), op, (int)(p->token.text.n < 40 ? p->token.text.n : 40),
                         p->token.text.s);
    }
    return advance(p);
}

// --- expressions, in jinja2's order of precedence

static int depth_of(const struct expr *e) {
    return e == NULL ? 0 : e->depth;
}

static struct expr *make(struct parser *p, enum expr_kind kind, struct expr *a, struct expr *b,
                         struct expr *c) {
    struct expr *e = arena_alloc(p->arena, sizeof *e);
    if (e == NULL) {
        nomem(p);
        return NULL;
    }
    e->kind = kind;
    e->line = line_of(p, p->i);
    e->a = a;
    e->b = b;
    e->c = c;
    e->depth = 1 + (int)max_i64(depth_of(a), max_i64(depth_of(b), depth_of(c)));
    if (e->depth > CHAT_DEPTH_LIMIT) {
        error_set(p->err, ERR_LIMIT, "chat template line %d: expression over %d levels deep",
                  e->line, CHAT_DEPTH_LIMIT);
        return NULL;
    }
    return e;
}

static struct expr *parse_expr(struct parser *p);
static struct expr *parse_unary(struct parser *p, bool with_filter);

// Arguments up to the closing op, which is stepped over.
static bool parse_args(struct parser *p, struct expr **out, const char *close, int *depth) {
    struct expr **last = out;
    while (!is_op(p, close)) {
        if (is_op(p, "*") || is_op(p, "**"))
            return fail(p, "unpacking is not supported:", p->token.text);
        struct chat_text name = {0};
        struct expr *e = parse_expr(p);
        if (e == NULL) return false;
        if (is_op(p, "=") && e->kind == EXPR_NAME) {
            name = e->text;
            if (!advance(p) || (e = parse_expr(p)) == NULL) return false;
        }
        e->arg_name = name;
        *last = e;
        last = &e->next;
        *depth = (int)max_i64(*depth, e->depth);
        if (is_op(p, ",")) {
            if (!advance(p)) return false;
        } else if (!is_op(p, close)) {
            return fail(p, "unexpected in a list of arguments:", p->token.text);
        }
    }
    return advance(p);
}

static bool with_args(struct parser *p, struct expr *e, const char *close) {
    int depth = 0;
    if (!parse_args(p, &e->args, close, &depth)) return false;
    e->depth = (int)max_i64(e->depth, depth + 1);
    return e->depth <= CHAT_DEPTH_LIMIT ||
           error_set(p->err, ERR_LIMIT, "chat template: expression over %d levels deep",
                     CHAT_DEPTH_LIMIT);
}

static struct expr *parse_dict(struct parser *p) {
    struct expr *e = make(p, EXPR_DICT, NULL, NULL, NULL);
    if (e == NULL || !advance(p)) return NULL;
    struct expr **last = &e->args;
    while (!is_op(p, "}")) {
        struct expr *key = parse_expr(p);
        if (key == NULL || !expect_op(p, ":")) return NULL;
        struct expr *value = parse_expr(p);
        if (value == NULL) return NULL;
        key->next = value;
        *last = key;
        last = &value->next;
        e->depth = (int)max_i64(e->depth, 1 + max_i64(key->depth, value->depth));
        if (is_op(p, ",")) {
            if (!advance(p)) return NULL;
        } else if (!is_op(p, "}")) {
            fail(p, "unexpected in a dictionary:", p->token.text);
            return NULL;
        }
    }
    return advance(p) ? e : NULL;
}

// ( ... ): a grouped expression, or a tuple, which is a list here.
static struct expr *parse_paren(struct parser *p) {
    if (!advance(p)) return NULL;
    if (!is_op(p, ")")) {
        struct expr *e = parse_expr(p);
        if (e == NULL) return NULL;
        if (is_op(p, ")")) return advance(p) ? e : NULL;
        struct expr *list = make(p, EXPR_LIST, e, NULL, NULL);
        if (list == NULL || !expect_op(p, ",") || !with_args(p, list, ")")) return NULL;
        e->next = list->args;
        list->args = e;
        list->a = NULL;
        return list;
    }
    struct expr *list = make(p, EXPR_LIST, NULL, NULL, NULL);
    return list != NULL && advance(p) ? list : NULL;
}

static struct expr *parse_number(struct parser *p) {
    bool is_int = p->token.kind == TOKEN_INT;
    struct expr *e = make(p, is_int ? EXPR_INT : EXPR_FLOAT, NULL, NULL, NULL);
    char digits[64];
    if (e == NULL) return NULL;
    errno = 0;
    if (p->token.text.n < sizeof digits) {
        memcpy(digits, p->token.text.s, p->token.text.n);
        digits[p->token.text.n] = '\0';
        if (is_int) {
            e->i = strtoll(digits, NULL, 10);
        } else {
            e->f = strtod(digits, NULL);
        }
    }
    if (errno != 0 || p->token.text.n >= sizeof digits) {
        fail(p, "number out of range:", p->token.text);
        return NULL;
    }
    return advance(p) ? e : NULL;
}

static struct expr *parse_strings(struct parser *p) {
    struct expr *e = make(p, EXPR_STRING, NULL, NULL, NULL);
    if (e == NULL) return NULL;
    e->text = p->token.text;
    if (!advance(p)) return NULL;
    while (p->token.kind == TOKEN_STRING) { // "a" "b" is one string
        char *joined = arena_alloc(p->arena, e->text.n + p->token.text.n + 1);
        if (joined == NULL) {
            nomem(p);
            return NULL;
        }
        memcpy(joined, e->text.s, e->text.n);
        memcpy(joined + e->text.n, p->token.text.s, p->token.text.n);
        e->text = (struct chat_text){joined, e->text.n + p->token.text.n};
        if (!advance(p)) return NULL;
    }
    return e;
}

static struct expr *parse_name(struct parser *p) {
    static const struct {
        const char *name;
        enum expr_kind kind;
    } constants[] = {{"true", EXPR_TRUE},   {"True", EXPR_TRUE}, {"false", EXPR_FALSE},
                     {"False", EXPR_FALSE}, {"none", EXPR_NONE}, {"None", EXPR_NONE}};
    struct expr *e = make(p, EXPR_NAME, NULL, NULL, NULL);
    if (e == NULL) return NULL;
    e->text = p->token.text;
    for (int64_t i = 0; i < COUNT_OF(constants); i++) {
        if (is_text(e->text, constants[i].name)) e->kind = constants[i].kind;
    }
    return advance(p) ? e : NULL;
}

static struct expr *parse_primary(struct parser *p) {
    switch (p->token.kind) {
    case TOKEN_INT:
    case TOKEN_FLOAT:
        return parse_number(p);
    case TOKEN_STRING:
        return parse_strings(p);
    case TOKEN_NAME:
        return parse_name(p);
    default:
        break;
    }
    if (is_op(p, "(")) return parse_paren(p);
    if (is_op(p, "{")) return parse_dict(p);
    if (is_op(p, "[")) {
        struct expr *e = make(p, EXPR_LIST, NULL, NULL, NULL);
        return e != NULL && advance(p) && with_args(p, e, "]") ? e : NULL;
    }
    fail(p, "expected an expression, not", p->token.text);
    return NULL;
}

static struct expr *parse_subscript(struct parser *p, struct expr *of) {
    struct expr *part[3] = {NULL, NULL, NULL};
    int n_colons = 0;
    if (!advance(p)) return NULL;
    while (!is_op(p, "]")) {
        if (is_op(p, ":")) {
            if (++n_colons > 2 || !advance(p)) {
                fail(p, "too many colons in", p->token.text);
                return NULL;
            }
        } else if (part[n_colons] != NULL || (part[n_colons] = parse_expr(p)) == NULL) {
            fail(p, "expected ], not", p->token.text);
            return NULL;
        }
    }
    if (n_colons == 0 && part[0] == NULL) {
        fail(p, "nothing between [ and", p->token.text);
        return NULL;
    }
    struct expr *e = make(p, n_colons > 0 ? EXPR_SLICE : EXPR_INDEX, of, part[0], part[1]);
    if (e == NULL) return NULL;
    e->d = part[2];
    e->depth = (int)max_i64(e->depth, 1 + depth_of(e->d));
    return advance(p) ? e : NULL;
}

static struct expr *parse_postfix(struct parser *p, struct expr *e) {
    while (e != NULL) {
        if (is_op(p, ".")) {
            e = make(p, EXPR_ATTR, e, NULL, NULL);
            if (e == NULL || !advance(p)) return NULL;
            if (p->token.kind != TOKEN_NAME) {
                fail(p, "expected a name after the dot, not", p->token.text);
                return NULL;
            }
            e->text = p->token.text;
            if (!advance(p)) return NULL;
        } else if (is_op(p, "[")) {
            e = parse_subscript(p, e);
        } else if (is_op(p, "(")) {
            e = make(p, EXPR_CALL, e, NULL, NULL);
            if (e == NULL || !advance(p) || !with_args(p, e, ")")) return NULL;
        } else {
            break;
        }
    }
    return e;
}

static struct expr *parse_test(struct parser *p, struct expr *of) {
    if (!advance(p)) return NULL;
    bool negate = is_name(p, "not");
    if (negate && !advance(p)) return NULL;
    struct expr *e = make(p, EXPR_TEST, of, NULL, NULL);
    if (e == NULL) return NULL;
    if (p->token.kind != TOKEN_NAME && !is_op(p, "==")) {
        fail(p, "expected a test after \"is\", not", p->token.text);
        return NULL;
    }
    e->text = p->token.text;
    if (!advance(p)) return NULL;
    bool argument = p->token.kind == TOKEN_STRING || p->token.kind == TOKEN_INT ||
                    (p->token.kind == TOKEN_NAME && !is_name(p, "and") && !is_name(p, "or") &&
                     !is_name(p, "else") && !is_name(p, "if") && !is_name(p, "is") &&
                     !is_name(p, "in") && !is_name(p, "not"));
    if (is_op(p, "(")) {
        if (!advance(p) || !with_args(p, e, ")")) return NULL;
    } else if (argument) {
        struct expr *x = parse_primary(p);
        e->args = x == NULL ? NULL : parse_postfix(p, x);
        if (e->args == NULL) return NULL;
        e->depth = (int)max_i64(e->depth, 1 + e->args->depth);
    }
    return negate ? make(p, EXPR_NOT, e, NULL, NULL) : e;
}

static struct expr *parse_filters(struct parser *p, struct expr *e) {
    while (e != NULL) {
        if (is_op(p, "|")) {
            e = make(p, EXPR_FILTER, e, NULL, NULL);
            if (e == NULL || !advance(p)) return NULL;
            if (p->token.kind != TOKEN_NAME) {
                fail(p, "expected a filter, not", p->token.text);
                return NULL;
            }
            e->text = p->token.text;
            if (!advance(p)) return NULL;
            if (is_op(p, "(") && !(advance(p) && with_args(p, e, ")"))) return NULL;
        } else if (is_name(p, "is")) {
            e = parse_test(p, e);
        } else if (is_op(p, "(")) {
            e = parse_postfix(p, e);
        } else {
            break;
        }
    }
    return e;
}

static bool enter(struct parser *p) {
    if (++p->depth <= CHAT_DEPTH_LIMIT) return true;
    return error_set(p->err, ERR_LIMIT, "chat template line %d: over %d levels deep",
                     line_of(p, p->i), CHAT_DEPTH_LIMIT);
}

static struct expr *parse_unary(struct parser *p, bool with_filter) {
    struct expr *e = NULL;
    if (!enter(p)) return NULL;
    if (is_op(p, "-")) {
        e = advance(p) ? parse_unary(p, false) : NULL;
        if (e != NULL) e = make(p, EXPR_NEGATE, e, NULL, NULL);
    } else {
        e = parse_primary(p);
    }
    if (e != NULL) e = parse_postfix(p, e);
    if (e != NULL && with_filter) e = parse_filters(p, e);
    p->depth--;
    return e;
}

// Left-associative operators, the loosest at level 0.
static struct expr *parse_binary(struct parser *p, int level) {
    static const struct {
        const char *text;
        enum expr_op op;
        int level;
    } ops[] = {{"+", OP_ADD, 0}, {"-", OP_SUB, 0},    {"~", OP_CONCAT, 1}, {"*", OP_MUL, 2},
               {"/", OP_DIV, 2}, {"//", OP_FLOOR, 2}, {"%", OP_MOD, 2}};
    if (level == 3) {
        struct expr *e = parse_unary(p, true);
        if (e != NULL && is_op(p, "**")) {
            fail(p, "not supported:", p->token.text);
            return NULL;
        }
        return e;
    }
    struct expr *e = parse_binary(p, level + 1);
    while (e != NULL && p->token.kind == TOKEN_OP) {
        int64_t found = -1;
        for (int64_t i = 0; i < COUNT_OF(ops); i++) {
            if (ops[i].level == level && is_op(p, ops[i].text)) found = i;
        }
        if (found < 0) break;
        struct expr *right = advance(p) ? parse_binary(p, level + 1) : NULL;
        e = right == NULL ? NULL : make(p, EXPR_BINARY, e, right, NULL);
        if (e != NULL) e->op = ops[found].op;
    }
    return e;
}

static struct expr *parse_compare(struct parser *p) {
    static const char *const names[] = {"==", "!=", "<", "<=", ">", ">="};
    static const enum expr_op ops[] = {OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE};
    struct expr *e = parse_binary(p, 0);
    for (int n = 0; e != NULL; n++) {
        enum expr_op op = OP_ADD;
        for (int i = 0; i < 6; i++) {
            if (is_op(p, names[i])) op = ops[i];
        }
        if (is_name(p, "in")) op = OP_IN;
        if (is_name(p, "not")) op = OP_NOT_IN; // only "not in" can follow here
        if (op == OP_ADD) break;
        if (n > 0) {
            fail(p, "chained comparisons are not supported:", p->token.text);
            return NULL;
        }
        if (!advance(p)) return NULL;
        if (op == OP_NOT_IN) {
            if (!is_name(p, "in")) {
                fail(p, "expected \"in\" after \"not\", not", p->token.text);
                return NULL;
            }
            if (!advance(p)) return NULL;
        }
        struct expr *right = parse_binary(p, 0);
        e = right == NULL ? NULL : make(p, EXPR_BINARY, e, right, NULL);
        if (e != NULL) e->op = op;
    }
    return e;
}

static struct expr *parse_not(struct parser *p) {
    if (!is_name(p, "not")) return parse_compare(p);
    if (!enter(p) || !advance(p)) return NULL;
    struct expr *e = parse_not(p);
    p->depth--;
    return e == NULL ? NULL : make(p, EXPR_NOT, e, NULL, NULL);
}

static struct expr *parse_logic(struct parser *p, bool is_or) {
    struct expr *e = is_or ? parse_logic(p, false) : parse_not(p);
    while (e != NULL && is_name(p, is_or ? "or" : "and")) {
        struct expr *right = !advance(p) ? NULL : is_or ? parse_logic(p, false) : parse_not(p);
        e = right == NULL ? NULL : make(p, is_or ? EXPR_OR : EXPR_AND, e, right, NULL);
    }
    return e;
}

static struct expr *parse_expr(struct parser *p) {
    if (!enter(p)) return NULL;
    struct expr *e = parse_logic(p, true);
    while (e != NULL && is_name(p, "if")) {
        struct expr *cond = advance(p) ? parse_logic(p, true) : NULL;
        if (cond == NULL) return NULL;
        struct expr *other = NULL;
        if (is_name(p, "else")) {
            other = advance(p) ? parse_expr(p) : NULL;
            if (other == NULL) return NULL;
        }
        e = make(p, EXPR_IF, e, cond, other);
    }
    p->depth--;
    return e;
}

// --- the text and its tags

// After a tag: the closing mark, and the white space that goes with it.
static void skip_after(struct parser *p, bool minus, bool newline) {
    size_t from = p->i;
    if (minus) {
        while (p->i < p->n && is_space(p->s[p->i])) p->i++;
    } else if (newline && p->i < p->n && p->s[p->i] == '\n') {
        p->i++;
    }
    p->line_starting = p->i > from && p->s[p->i - 1] == '\n';
}

static bool tag_close(struct parser *p) {
    if (p->token.kind != TOKEN_END) return fail(p, "unexpected in a tag:", p->token.text);
    bool minus = p->token.text.s[0] == '-', plus = p->token.text.s[0] == '+';
    p->i += p->token.text.n;
    skip_after(p, minus, !plus && p->closing[0] == '%');
    return true;
}

// The text up to the next tag, trimmed as its tag asks; p->i is left on the tag.
static struct chat_text parse_text(struct parser *p) {
    size_t from = p->i, i = from;
    while (i < p->n && !(at_mark(p, i, "{{") || at_mark(p, i, "{%") || at_mark(p, i, "{#"))) i++;
    struct chat_text text = {p->s + from, i - from};
    p->i = i;
    if (i >= p->n) return text;
    char sign = i + 2 < p->n ? p->s[i + 2] : '\0';
    if (sign == '-') {
        while (text.n > 0 && is_space(text.s[text.n - 1])) text.n--;
    } else if (sign != '+' && p->s[i + 1] != '{') { // lstrip_blocks
        size_t start = text.n;
        while (start > 0 && text.s[start - 1] != '\n' && is_space(text.s[start - 1])) start--;
        bool at_line = start > 0 ? text.s[start - 1] == '\n' : p->line_starting;
        if (at_line) text.n = start;
    }
    return text;
}

static struct node *add_node(struct parser *p, struct node ***last, enum node_kind kind) {
    struct node *node = arena_alloc(p->arena, sizeof *node);
    if (node == NULL) {
        nomem(p);
        return NULL;
    }
    node->kind = kind;
    node->line = line_of(p, p->i);
    **last = node;
    *last = &node->next;
    return node;
}

// {% raw %}...{% endraw %}: p->token is the end of the opening tag.
static bool parse_raw(struct parser *p, struct node ***last) {
    if (!tag_close(p)) return false;
    size_t from = p->i;
    for (size_t i = from; i < p->n; i++) {
        if (!at_mark(p, i, "{%")) continue;
        size_t k = i + 2;
        bool minus = k < p->n && p->s[k] == '-';
        if (k < p->n && (p->s[k] == '-' || p->s[k] == '+')) k++;
        while (k < p->n && is_space(p->s[k])) k++;
        if (p->n - k < 6 || memcmp(p->s + k, "endraw", 6) != 0) continue;
        p->i = k + 6;
        p->closing = "%}";
        struct node *node = add_node(p, last, NODE_TEXT);
        if (node == NULL) return false;
        node->text = (struct chat_text){p->s + from, i - from};
        while (minus && node->text.n > 0 && is_space(node->text.s[node->text.n - 1]))
            node->text.n--;
        return advance(p) && tag_close(p);
    }
    return fail(p, "unclosed", (struct chat_text){"{% raw %}", 9});
}

static bool parse_nodes(struct parser *p, struct node **out, struct chat_text *stop);

// A body up to one of the tags that may end it, whose name goes to *stop.
static bool parse_body(struct parser *p, struct node **out, const char *a, const char *b,
                       const char *c, struct chat_text *stop) {
    if (!enter(p) || !parse_nodes(p, out, stop)) return false;
    p->depth--;
    if (stop->s != NULL &&
        (is_text(*stop, a) || (b != NULL && is_text(*stop, b)) || (c != NULL && is_text(*stop, c))))
        return true;
    return stop->s == NULL ? error_set(p->err, ERR_INPUT, "chat template: {%% %s %%} is missing", a)
                           : fail(p, "misplaced tag", *stop);
}

static bool parse_if(struct parser *p, struct node *node) {
    struct chat_text stop;
    for (;;) {
        if (node->expr == NULL && (node->expr = parse_expr(p)) == NULL) return false;
        if (!tag_close(p) || !parse_body(p, &node->body, "endif", "elif", "else", &stop))
            return false;
        if (is_text(stop, "endif")) return tag_close(p);
        struct node **slot = &node->other;
        node = add_node(p, &slot, NODE_IF);
        if (node == NULL) return false;
        if (is_text(stop, "elif")) continue;
        return tag_close(p) && parse_body(p, &node->body, "endif", NULL, NULL, &stop) &&
               tag_close(p);
    }
}

static bool parse_target(struct parser *p, struct chat_text *out) {
    if (p->token.kind != TOKEN_NAME) return fail(p, "expected a name, not", p->token.text);
    *out = p->token.text;
    return advance(p);
}

static bool parse_for(struct parser *p, struct node *node) {
    struct chat_text stop;
    bool paren = is_op(p, "(");
    if (paren && !advance(p)) return false;
    if (!parse_target(p, &node->name)) return false;
    if (is_op(p, ",") && !(advance(p) && parse_target(p, &node->name2))) return false;
    if (paren && !expect_op(p, ")")) return false;
    if (!is_name(p, "in")) return fail(p, "expected \"in\", not", p->token.text);
    // The loop's own "if" is no part of the expression it runs over.
    if (!advance(p) || (node->expr = parse_logic(p, true)) == NULL) return false;
    if (is_name(p, "if") && !(advance(p) && (node->cond = parse_expr(p)) != NULL)) return false;
    if (is_name(p, "recursive")) return fail(p, "not supported:", p->token.text);
    p->n_loops++;
    if (!tag_close(p) || !parse_body(p, &node->body, "endfor", "else", NULL, &stop)) return false;
    p->n_loops--;
    if (is_text(stop, "else"))
        if (!tag_close(p) || !parse_body(p, &node->other, "endfor", NULL, NULL, &stop))
            return false;
    return tag_close(p);
}

static bool parse_set(struct parser *p, struct node *node) {
    struct chat_text stop;
    if (!parse_target(p, &node->name)) return false;
    if (is_op(p, ".") && !(advance(p) && parse_target(p, &node->name2))) return false;
    if (p->token.kind == TOKEN_END)
        return tag_close(p) && parse_body(p, &node->body, "endset", NULL, NULL, &stop) &&
               tag_close(p);
    if (is_op(p, "|")) return fail(p, "a filter on {% set %} is not supported:", p->token.text);
    return expect_op(p, "=") && (node->expr = parse_expr(p)) != NULL && tag_close(p);
}

// A {% tag %}. A tag that ends or continues a block is left to the caller through *stop.
static bool parse_statement(struct parser *p, struct node ***last, struct chat_text *stop) {
    static const char *const stops[] = {"endif",  "elif",   "else",
                                        "endfor", "endset", "endgeneration"};
    if (p->token.kind != TOKEN_NAME) return fail(p, "expected a statement, not", p->token.text);
    struct chat_text name = p->token.text;
    if (!advance(p)) return false;
    for (int64_t i = 0; i < COUNT_OF(stops); i++) {
        if (!is_text(name, stops[i])) continue;
        *stop = name;
        return true;
    }
    if (is_text(name, "raw")) return parse_raw(p, last);
    enum node_kind kind = is_text(name, "if")           ? NODE_IF
                          : is_text(name, "for")        ? NODE_FOR
                          : is_text(name, "set")        ? NODE_SET
                          : is_text(name, "break")      ? NODE_BREAK
                          : is_text(name, "continue")   ? NODE_CONTINUE
                          : is_text(name, "generation") ? NODE_GROUP
                                                        : NODE_TEXT;
    if (kind == NODE_TEXT) return fail(p, "statement not supported:", name);
    if ((kind == NODE_BREAK || kind == NODE_CONTINUE) && p->n_loops == 0)
        return fail(p, "outside a loop:", name);
    struct node *node = add_node(p, last, kind);
    if (node == NULL) return false;
    struct chat_text end;
    switch (kind) {
    case NODE_IF:
        return parse_if(p, node);
    case NODE_FOR:
        return parse_for(p, node);
    case NODE_SET:
        return parse_set(p, node);
    case NODE_GROUP:
        return tag_close(p) && parse_body(p, &node->body, "endgeneration", NULL, NULL, &end) &&
               tag_close(p);
    default:
        return tag_close(p);
    }
}

static bool parse_tag(struct parser *p, struct node ***last, struct chat_text *stop) {
    bool output = p->s[p->i + 1] == '{';
    p->closing = output ? "}}" : "%}";
    p->i += 2;
    p->n_open = 0;
    if (p->i < p->n && (p->s[p->i] == '-' || (!output && p->s[p->i] == '+'))) p->i++;
    if (!advance(p)) return false;
    if (!output) return parse_statement(p, last, stop);
    struct node *node = add_node(p, last, NODE_OUTPUT);
    return node != NULL && (node->expr = parse_expr(p)) != NULL && tag_close(p);
}

static bool parse_comment(struct parser *p) {
    size_t from = p->i, i = p->i + 2;
    while (i < p->n && !at_mark(p, i, "#}")) i++;
    if (i >= p->n) return fail(p, "unclosed comment", (struct chat_text){p->s + from, p->n - from});
    bool minus = i > from + 2 && p->s[i - 1] == '-', plus = i > from + 2 && p->s[i - 1] == '+';
    p->i = i + 2;
    skip_after(p, minus, !plus);
    return true;
}

// Everything up to the end (stop->s NULL) or a tag that ends a block.
static bool parse_nodes(struct parser *p, struct node **out, struct chat_text *stop) {
    struct node **last = out;
    *stop = (struct chat_text){0};
    while (p->i < p->n && stop->s == NULL) {
        struct chat_text text = parse_text(p);
        if (text.n > 0) {
            struct node *node = add_node(p, &last, NODE_TEXT);
            if (node == NULL) return false;
            node->text = text;
        }
        if (p->i >= p->n) break;
        bool ok = p->s[p->i + 1] == '#' ? parse_comment(p) : parse_tag(p, &last, stop);
        if (!ok) return false;
    }
    return true;
}

bool chat_parse(struct chat_template *tpl, const char *source, size_t n, struct error *err) {
    if (n > CHAT_SOURCE_LIMIT)
        return error_set(err, ERR_LIMIT, "chat template: %zu bytes, over %d", n, CHAT_SOURCE_LIMIT);
    size_t bad;
    if (!utf8_valid(source, n, &bad))
        return error_set(err, ERR_INPUT, "chat template: not UTF-8 at byte %zu", bad);
    char *s = arena_alloc(&tpl->arena, n + 1);
    if (s == NULL) return error_set(err, ERR_NOMEM, "chat template: out of memory");
    size_t n_out = 0;
    for (size_t i = 0; i < n; i++) { // \r\n and \r are line ends; the last line end goes
        if (source[i] == '\r' && i + 1 < n && source[i + 1] == '\n') continue;
        s[n_out++] = source[i] == '\r' ? '\n' : source[i];
    }
    if (n_out > 0 && s[n_out - 1] == '\n') n_out--;
    struct parser p = {.arena = &tpl->arena, .s = s, .n = n_out, .line_starting = true, .err = err};
    struct chat_text stop;
    if (!parse_nodes(&p, &tpl->nodes, &stop)) return false;
    return stop.s == NULL || fail(&p, "misplaced tag", stop);
}
