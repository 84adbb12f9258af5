// engine/chat_eval.c - expressions of a chat template: operators, methods, filters, tests, slices.
#include "engine/chat_value.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int count_args(const struct expr *args) {
    int n = 0;
    for (; args != NULL; args = args->next) n++;
    return n;
}

// Evaluates at most `n` positional arguments; *n_given tells how many came.
static bool eval_args(struct render *r, const struct expr *e, struct value *out, int n,
                      int *n_given) {
    *n_given = 0;
    for (const struct expr *a = e->args; a != NULL; a = a->next) {
        if (a->arg_name.s != NULL)
            return chat_fail(r, e->line, "keyword argument %.*s is not supported here",
                             (int)a->arg_name.n, a->arg_name.s);
        if (*n_given == n)
            return chat_fail(r, e->line, "%d arguments where at most %d are known",
                             count_args(e->args), n);
        if (!chat_eval(r, a, &out[(*n_given)++])) return false;
    }
    return true;
}

static bool want_strings(struct render *r, const struct expr *e, const struct value *v, int n) {
    for (int i = 0; i < n; i++) {
        if (v[i].kind != VALUE_STRING)
            return chat_fail(r, e->line, "argument %d is %s, not a string", i + 1,
                             chat_kind_name(&v[i]));
    }
    return true;
}

static bool items_list(struct render *r, const struct value *v, struct value *out) {
    *out = (struct value){.kind = VALUE_LIST, .list = chat_list_new(r)};
    for (int64_t i = 0; i < v->list->n; i += 2) {
        struct value pair = {.kind = VALUE_LIST, .list = chat_list_new(r)};
        if (!chat_step(r, 1) || !chat_list_add(r, pair.list, v->list->v[i]) ||
            !chat_list_add(r, pair.list, v->list->v[i + 1]) || !chat_list_add(r, out->list, pair))
            return false;
    }
    return out->list != NULL || chat_nomem(r);
}

static bool dict_method(struct render *r, const struct expr *e, const struct value *of,
                        struct value *out) {
    struct chat_text name = e->a->text;
    struct value args[2] = {{0}};
    int n = 0;
    if (!eval_args(r, e, args, 2, &n)) return false;
    if (chat_text_is(name, "items") && n == 0) return items_list(r, of, out);
    if (chat_text_is(name, "get") && n > 0) {
        struct value *found =
            args[0].kind == VALUE_STRING ? chat_dict_find(of->list, args[0].text) : NULL;
        *out = found != NULL ? *found : n == 2 ? args[1] : (struct value){.kind = VALUE_NONE};
        return true;
    }
    bool keys = chat_text_is(name, "keys");
    if ((keys || chat_text_is(name, "values")) && n == 0) {
        *out = (struct value){.kind = VALUE_LIST, .list = chat_list_new(r)};
        for (int64_t i = keys ? 0 : 1; i < of->list->n; i += 2) {
            if (!chat_step(r, 1) || !chat_list_add(r, out->list, of->list->v[i])) return false;
        }
        return out->list != NULL || chat_nomem(r);
    }
    return chat_fail(r, e->line, "method .%.*s() of a dictionary is not supported", (int)name.n,
                     name.s);
}

static bool starts_ends(struct render *r, const struct expr *e, struct chat_text t,
                        const struct value *with, bool starts, struct value *out) {
    struct list one = {.v = (struct value *)with, .n = 1};
    const struct list *list = with->kind == VALUE_LIST ? with->list : &one;
    bool any = false;
    for (int64_t i = 0; i < list->n; i++) {
        if (!want_strings(r, e, &list->v[i], 1)) return false;
        struct chat_text w = list->v[i].text;
        any |= w.n <= t.n && memcmp(starts ? t.s : t.s + t.n - w.n, w.s, w.n) == 0;
    }
    *out = of_bool(any);
    return true;
}

static bool string_method(struct render *r, const struct expr *e, const struct value *of,
                          struct value *out) {
    struct chat_text name = e->a->text, t = of->text;
    struct value args[2] = {{0}};
    int n = 0;
    if (!chat_step_text(r, of) || !eval_args(r, e, args, 2, &n)) return false;
    bool left = chat_text_is(name, "lstrip"), right = chat_text_is(name, "rstrip");
    if ((chat_text_is(name, "strip") || left || right) && n <= 1) {
        if (n == 1 && args[0].kind != VALUE_NONE && !want_strings(r, e, args, 1)) return false;
        t = chat_strip(t, n == 1 && args[0].kind == VALUE_STRING ? &args[0].text : NULL, !right,
                       !left);
        *out = of_text(t.s, t.n);
        return true;
    }
    if ((chat_text_is(name, "startswith") || chat_text_is(name, "endswith")) && n == 1)
        return starts_ends(r, e, t, &args[0], name.s[0] == 's', out);
    if (chat_text_is(name, "split") && n <= 1) {
        if (n == 1 && args[0].kind != VALUE_NONE && !want_strings(r, e, args, 1)) return false;
        return chat_split_text(r, t, n == 1 && args[0].kind == VALUE_STRING ? &args[0].text : NULL,
                               e->line, out);
    }
    if (chat_text_is(name, "replace") && n == 2)
        return want_strings(r, e, args, 2) &&
               chat_replace_text(r, t, args[0].text, args[1].text, e->line, out);
    if (chat_text_is(name, "upper") && n == 0) return chat_change_case(r, t, 'u', out);
    if (chat_text_is(name, "lower") && n == 0) return chat_change_case(r, t, 'l', out);
    if (chat_text_is(name, "capitalize") && n == 0) return chat_change_case(r, t, 'c', out);
    if (chat_text_is(name, "join") && n == 1) return chat_join_items(r, &args[0], t, e->line, out);
    return chat_fail(r, e->line, "method .%.*s() of a string with %d arguments is not supported",
                     (int)name.n, name.s, n);
}

static bool call_namespace(struct render *r, const struct expr *e, struct value *out) {
    *out = (struct value){.kind = VALUE_NAMESPACE, .list = chat_list_new(r)};
    if (out->list == NULL) return chat_nomem(r);
    for (const struct expr *a = e->args; a != NULL; a = a->next) {
        struct value v;
        if (a->arg_name.s == NULL)
            return chat_fail(r, e->line, "namespace() takes name=value only");
        if (!chat_eval(r, a, &v) || !chat_dict_set(r, out->list, a->arg_name, v)) return false;
    }
    return true;
}

static bool call_range(struct render *r, const struct expr *e, struct value *out) {
    struct value args[3] = {{0}};
    int n;
    if (!eval_args(r, e, args, 3, &n)) return false;
    for (int i = 0; i < n; i++) {
        if (args[i].kind != VALUE_INT)
            return chat_fail(r, e->line, "range() of %s", chat_kind_name(&args[i]));
    }
    int64_t from = n > 1 ? args[0].i : 0, to = n > 1 ? args[1].i : args[0].i,
            by = n > 2 ? args[2].i : 1;
    if (n == 0 || by == 0)
        return chat_fail(r, e->line, "range() needs an end and a step that is not 0");
    *out = (struct value){.kind = VALUE_LIST, .list = chat_list_new(r)};
    for (int64_t i = from; by > 0 ? i < to : i > to;) {
        if (!chat_step(r, 1) || !chat_list_add(r, out->list, of_int(i))) return false;
        if (__builtin_add_overflow(i, by, &i)) break;
    }
    return out->list != NULL || chat_nomem(r);
}

static bool call_raise(struct render *r, const struct expr *e) {
    struct value why = {0};
    struct buf b = {0};
    int n;
    if (!eval_args(r, e, &why, 1, &n)) return false;
    bool ok = chat_append_value(r, &b, &why, e->line);
    if (ok) chat_fail(r, e->line, "the template refuses: %s", b.data == NULL ? "" : b.data);
    buf_release(&b);
    return false;
}

static bool eval_call(struct render *r, const struct expr *e, struct value *out) {
    struct value of;
    if (e->a->kind == EXPR_ATTR) {
        if (!chat_eval(r, e->a->a, &of)) return false;
        if (of.kind == VALUE_STRING) return string_method(r, e, &of, out);
        if (of.kind == VALUE_DICT) return dict_method(r, e, &of, out);
        return chat_fail(r, e->line, "method .%.*s() of %s is not supported", (int)e->a->text.n,
                         e->a->text.s, chat_kind_name(&of));
    }
    if (!chat_eval(r, e->a, &of)) return false;
    if (of.kind == VALUE_UNDEFINED && e->a->kind == EXPR_NAME)
        return chat_fail(r, e->line, "function %.*s() is not supported", (int)e->a->text.n,
                         e->a->text.s);
    if (of.kind != VALUE_FUNCTION)
        return chat_fail(r, e->line, "%s cannot be called", chat_kind_name(&of));
    if (chat_text_is(of.text, "raise_exception")) return call_raise(r, e);
    if (chat_text_is(of.text, "namespace")) return call_namespace(r, e, out);
    return call_range(r, e, out);
}

static bool filter_tojson(struct render *r, const struct expr *e, const struct value *of,
                          struct value *out) {
    struct value indent = of_int(-1);
    for (const struct expr *a = e->args; a != NULL; a = a->next) {
        if (a->arg_name.s != NULL && chat_text_is(a->arg_name, "ensure_ascii")) continue;
        if (a->arg_name.s != NULL && !chat_text_is(a->arg_name, "indent"))
            return chat_fail(r, e->line, "tojson(%.*s=) is not supported", (int)a->arg_name.n,
                             a->arg_name.s);
        if (!chat_eval(r, a, &indent)) return false;
        if (indent.kind == VALUE_NONE) indent = of_int(-1);
        if (indent.kind != VALUE_INT || indent.i > 16)
            return chat_fail(r, e->line, "tojson(indent=) of %s", chat_kind_name(&indent));
    }
    struct buf b = {.limit_bytes = CHAT_OUTPUT_LIMIT};
    if (!chat_append_json(r, &b, of, indent.i, 0, e->line)) {
        buf_release(&b);
        return false;
    }
    return chat_take_string(r, &b, out);
}

static bool filter_int(const struct value *of, struct value *out) {
    *out = of_int(0);
    if (of->kind == VALUE_FLOAT) {
        if (of->f > -9e18 && of->f < 9e18) *out = of_int((int64_t)of->f);
    } else if (of->kind == VALUE_STRING) {
        char digits[32];
        struct chat_text t = chat_strip(of->text, NULL, true, true);
        if (t.n > 0 && t.n < sizeof digits) {
            memcpy(digits, t.s, t.n);
            digits[t.n] = '\0';
            char *end;
            long long i = strtoll(digits, &end, 10);
            if (*end == '\0') *out = of_int(i);
        }
    } else if (is_number(of)) {
        *out = of_int(integer(of));
    }
    return true;
}

static bool eval_filter(struct render *r, const struct expr *e, struct value *out) {
    struct value of, args[2] = {{0}};
    int n = 0;
    struct chat_text name = e->text;
    if (!chat_eval(r, e->a, &of) || !chat_step_text(r, &of)) return false;
    if (chat_text_is(name, "tojson")) return filter_tojson(r, e, &of, out);
    bool is_default = chat_text_is(name, "default") || chat_text_is(name, "d");
    if (is_default && e->args != NULL && e->args->next != NULL &&
        e->args->next->arg_name.s != NULL &&
        chat_text_is(e->args->next->arg_name, "boolean")) { // default(x, boolean=true)
        struct expr second = *e->args->next;
        second.arg_name = (struct chat_text){0};
        if (!chat_eval(r, e->args, &args[0]) || !chat_eval(r, &second, &args[1])) return false;
        n = 2;
    } else if (!eval_args(r, e, args, 2, &n)) {
        return false;
    }
    if (is_default) {
        bool absent =
            of.kind == VALUE_UNDEFINED || (n == 2 && chat_truth(&args[1]) && !chat_truth(&of));
        *out = !absent ? of : n > 0 ? args[0] : of_text("", 0);
        return true;
    }
    if (chat_text_is(name, "length") || chat_text_is(name, "count")) {
        *out = of_int(chat_length_of(&of));
        return out->i >= 0 || chat_fail(r, e->line, "length of %s", chat_kind_name(&of));
    }
    if (chat_text_is(name, "string")) return chat_as_string(r, &of, e->line, out);
    if (chat_text_is(name, "int") && n == 0) return filter_int(&of, out);
    if (chat_text_is(name, "safe")) {
        *out = of;
        return true;
    }
    if (chat_text_is(name, "items") && of.kind == VALUE_DICT) return items_list(r, &of, out);
    if (chat_text_is(name, "list") || chat_text_is(name, "first") || chat_text_is(name, "last")) {
        struct list *items;
        if (!chat_items_of(r, &of, &items, e->line)) return false;
        *out = (struct value){.kind = VALUE_LIST, .list = items};
        if (name.s[1] == 'i' && name.n == 4) return true;
        *out = items->n == 0 ? (struct value){0} : items->v[name.s[0] == 'f' ? 0 : items->n - 1];
        return true;
    }
    if (chat_text_is(name, "join") && n <= 1) {
        if (n == 1 && !want_strings(r, e, args, 1)) return false;
        return chat_join_items(r, &of, n == 1 ? args[0].text : (struct chat_text){"", 0}, e->line,
                               out);
    }
    bool trims = chat_text_is(name, "trim") && n <= 1;
    char how = chat_text_is(name, "upper")        ? 'u'
               : chat_text_is(name, "lower")      ? 'l'
               : chat_text_is(name, "capitalize") ? 'c'
                                                  : '\0';
    bool replaces = chat_text_is(name, "replace") && n == 2;
    if (trims || how != '\0' || replaces) {
        struct value s;
        if (!chat_as_string(r, &of, e->line, &s)) return false;
        if (!want_strings(r, e, args, n)) return false;
        if (how != '\0') return chat_change_case(r, s.text, how, out);
        if (replaces) return chat_replace_text(r, s.text, args[0].text, args[1].text, e->line, out);
        struct chat_text t = chat_strip(s.text, n == 1 ? &args[0].text : NULL, true, true);
        *out = of_text(t.s, t.n);
        return true;
    }
    return chat_fail(r, e->line, "filter %.*s with %d arguments is not supported", (int)name.n,
                     name.s, n);
}

static bool eval_test(struct render *r, const struct expr *e, struct value *out) {
    struct value v, arg = {0};
    int n = 0;
    struct chat_text name = e->text;
    if (!chat_eval(r, e->a, &v) || !eval_args(r, e, &arg, 1, &n)) return false;
    bool is;
    if (chat_text_is(name, "defined")) {
        is = v.kind != VALUE_UNDEFINED;
    } else if (chat_text_is(name, "undefined")) {
        is = v.kind == VALUE_UNDEFINED;
    } else if (chat_text_is(name, "none")) {
        is = v.kind == VALUE_NONE;
    } else if (chat_text_is(name, "string")) {
        is = v.kind == VALUE_STRING;
    } else if (chat_text_is(name, "boolean")) {
        is = v.kind == VALUE_BOOL;
    } else if (chat_text_is(name, "integer")) {
        is = v.kind == VALUE_INT;
    } else if (chat_text_is(name, "float")) {
        is = v.kind == VALUE_FLOAT;
    } else if (chat_text_is(name, "number")) {
        is = is_number(&v);
    } else if (chat_text_is(name, "mapping")) {
        is = v.kind == VALUE_DICT;
    } else if (chat_text_is(name, "iterable") || chat_text_is(name, "sequence")) {
        is = v.kind == VALUE_STRING || v.kind == VALUE_LIST || v.kind == VALUE_DICT ||
             v.kind == VALUE_UNDEFINED;
    } else if (chat_text_is(name, "callable")) {
        is = v.kind == VALUE_FUNCTION;
    } else if (chat_text_is(name, "true")) {
        is = v.kind == VALUE_BOOL && v.b;
    } else if (chat_text_is(name, "false")) {
        is = v.kind == VALUE_BOOL && !v.b;
    } else if ((chat_text_is(name, "odd") || chat_text_is(name, "even")) && v.kind == VALUE_INT) {
        is = (v.i & 1) == (name.s[0] == 'o');
    } else if (chat_text_is(name, "divisibleby") && n == 1 && v.kind == VALUE_INT &&
               arg.kind == VALUE_INT && arg.i != 0 && arg.i != -1) {
        is = v.i % arg.i == 0;
    } else if ((chat_text_is(name, "equalto") || chat_text_is(name, "eq") ||
                chat_text_is(name, "==")) &&
               n == 1) {
        if (!chat_equal(r, &v, &arg, &is, 0)) return false;
    } else {
        return chat_fail(r, e->line, "test \"is %.*s\" of %s is not supported", (int)name.n, name.s,
                         chat_kind_name(&v));
    }
    *out = of_bool(is);
    return true;
}

static bool eval_index(struct render *r, const struct expr *e, struct value *out) {
    struct value of, key;
    if (!chat_eval(r, e->a, &of)) return false;
    if (e->kind == EXPR_ATTR) {
        key = of_text(e->text.s, e->text.n);
    } else if (!chat_eval(r, e->b, &key)) {
        return false;
    }
    *out = (struct value){0};
    if (of.kind == VALUE_UNDEFINED)
        return chat_fail(r, e->line, "\"%.*s\" of an undefined value",
                         key.kind == VALUE_STRING ? (int)key.text.n : 1,
                         key.kind == VALUE_STRING ? key.text.s : "?");
    if (is_dict(&of)) {
        const struct value *found =
            key.kind == VALUE_STRING ? chat_dict_find(of.list, key.text) : NULL;
        if (found != NULL) *out = *found;
    } else if (key.kind == VALUE_INT && (of.kind == VALUE_LIST || of.kind == VALUE_STRING)) {
        struct list *items;
        if (!chat_items_of(r, &of, &items, e->line)) return false;
        int64_t i = key.i < 0 ? key.i + items->n : key.i;
        if (i >= 0 && i < items->n) *out = items->v[i];
    }
    return true;
}

// One bound of a slice, as slice.indices() clamps it.
static bool slice_bound(struct render *r, const struct expr *e, int64_t n, bool down,
                        int64_t absent, int64_t *out) {
    struct value v;
    *out = absent;
    if (e == NULL) return true;
    if (!chat_eval(r, e, &v)) return false;
    if (v.kind == VALUE_NONE) return true;
    if (v.kind != VALUE_INT)
        return chat_fail(r, e->line, "a slice bound is %s", chat_kind_name(&v));
    int64_t i = v.i < 0 ? (v.i < -n ? -1 : v.i + n) : v.i;
    if (v.i < 0 && v.i < -n) i = down ? -1 : 0;
    *out = i >= n ? (down ? n - 1 : n) : i;
    return true;
}

static bool eval_slice(struct render *r, const struct expr *e, struct value *out) {
    struct value of, by = of_int(1);
    struct list *items;
    int64_t from, to;
    if (!chat_eval(r, e->a, &of)) return false;
    if (of.kind != VALUE_LIST && of.kind != VALUE_STRING)
        return chat_fail(r, e->line, "slice of %s", chat_kind_name(&of));
    if (e->d != NULL && !chat_eval(r, e->d, &by)) return false;
    if (by.kind != VALUE_INT || by.i == 0 || by.i > INT32_MAX || by.i < INT32_MIN)
        return chat_fail(r, e->line, "bad slice step");
    if (!chat_items_of(r, &of, &items, e->line)) return false;
    bool down = by.i < 0;
    if (!slice_bound(r, e->b, items->n, down, down ? items->n - 1 : 0, &from) ||
        !slice_bound(r, e->c, items->n, down, down ? -1 : items->n, &to))
        return false;
    *out = (struct value){.kind = VALUE_LIST, .list = chat_list_new(r)};
    if (out->list == NULL) return chat_nomem(r);
    for (int64_t i = from; down ? i > to : i < to; i += by.i) {
        if (!chat_step(r, 1) || !chat_list_add(r, out->list, items->v[i])) return false;
    }
    if (of.kind == VALUE_LIST) return true;
    struct value list = *out;
    return chat_join_items(r, &list, (struct chat_text){"", 0}, e->line, out);
}

static bool eval_in(struct render *r, const struct expr *e, const struct value *a,
                    const struct value *b, bool *out) {
    struct list *items;
    *out = false;
    if (b->kind == VALUE_STRING) {
        if (!want_strings(r, e, a, 1)) return false;
        *out = a->text.n == 0 || memmem(b->text.s, b->text.n, a->text.s, a->text.n) != NULL;
        return true;
    }
    if (!chat_items_of(r, b, &items, e->line)) return false;
    for (int64_t i = 0; i < items->n && !*out; i++) {
        if (!chat_equal(r, a, &items->v[i], out, 0)) return false;
    }
    return true;
}

static bool eval_order(struct render *r, const struct expr *e, const struct value *a,
                       const struct value *b, struct value *out) {
    double d;
    if (is_number(a) && is_number(b)) {
        d = a->kind == VALUE_FLOAT || b->kind == VALUE_FLOAT
                ? number(a) - number(b)
                : (integer(a) > integer(b)) - (integer(a) < integer(b));
    } else if (a->kind == VALUE_STRING && b->kind == VALUE_STRING) {
        size_t n = a->text.n < b->text.n ? a->text.n : b->text.n;
        int c = memcmp(a->text.s, b->text.s, n);
        d = c != 0 ? c : (a->text.n > b->text.n) - (a->text.n < b->text.n);
    } else {
        return chat_fail(r, e->line, "%s and %s cannot be ordered", chat_kind_name(a),
                         chat_kind_name(b));
    }
    *out = of_bool(e->op == OP_LT   ? d < 0
                   : e->op == OP_LE ? d <= 0
                   : e->op == OP_GT ? d > 0
                                    : d >= 0);
    return true;
}

static bool eval_arithmetic(struct render *r, const struct expr *e, const struct value *a,
                            const struct value *b, struct value *out) {
    if (!is_number(a) || !is_number(b))
        return chat_fail(r, e->line, "arithmetic on %s and %s", chat_kind_name(a),
                         chat_kind_name(b));
    if (a->kind == VALUE_FLOAT || b->kind == VALUE_FLOAT || e->op == OP_DIV) {
        double x = number(a), y = number(b), f;
        if ((e->op == OP_DIV || e->op == OP_FLOOR || e->op == OP_MOD) && y == 0)
            return chat_fail(r, e->line, "division by zero");
        switch (e->op) {
        case OP_ADD:
            f = x + y;
            break;
        case OP_SUB:
            f = x - y;
            break;
        case OP_MUL:
            f = x * y;
            break;
        case OP_DIV:
            f = x / y;
            break;
        case OP_FLOOR:
            f = floor(x / y);
            break;
        default:
            f = x - floor(x / y) * y;
        }
        *out = (struct value){.kind = VALUE_FLOAT, .f = f};
        return true;
    }
    int64_t x = integer(a), y = integer(b), i = 0;
    bool overflow = false;
    switch (e->op) {
    case OP_ADD:
        overflow = __builtin_add_overflow(x, y, &i);
        break;
    case OP_SUB:
        overflow = __builtin_sub_overflow(x, y, &i);
        break;
    case OP_MUL:
        overflow = __builtin_mul_overflow(x, y, &i);
        break;
    default:
        if (y == 0) return chat_fail(r, e->line, "division by zero");
        if (y == -1) { // INT64_MIN / -1
            overflow = __builtin_sub_overflow((int64_t)0, x, &i);
            if (e->op == OP_MOD) i = 0;
        } else {
            int64_t q = x / y - (x % y != 0 && (x % y < 0) != (y < 0)); // rounds down
            i = e->op == OP_FLOOR ? q : x - q * y;
        }
    }
    if (overflow) return chat_fail(r, e->line, "integer overflow");
    *out = of_int(i);
    return true;
}

static bool eval_binary(struct render *r, const struct expr *e, struct value *out) {
    struct value a, b;
    bool is;
    if (!chat_eval(r, e->a, &a) || !chat_eval(r, e->b, &b)) return false;
    if (!chat_step_text(r, &a) || !chat_step_text(r, &b)) return false;
    switch (e->op) {
    case OP_EQ:
    case OP_NE:
        if (!chat_equal(r, &a, &b, &is, 0)) return false;
        *out = of_bool(is == (e->op == OP_EQ));
        return true;
    case OP_IN:
    case OP_NOT_IN:
        if (!eval_in(r, e, &a, &b, &is)) return false;
        *out = of_bool(is == (e->op == OP_IN));
        return true;
    case OP_LT:
    case OP_LE:
    case OP_GT:
    case OP_GE:
        return eval_order(r, e, &a, &b, out);
    default:
        break;
    }
    bool strings = a.kind == VALUE_STRING && b.kind == VALUE_STRING;
    if (e->op == OP_CONCAT || (e->op == OP_ADD && strings)) {
        struct buf s = {.limit_bytes = CHAT_OUTPUT_LIMIT};
        if (!chat_append_value(r, &s, &a, e->line) || !chat_append_value(r, &s, &b, e->line)) {
            buf_release(&s);
            return false;
        }
        return chat_take_string(r, &s, out);
    }
    if (e->op == OP_ADD && a.kind == VALUE_LIST && b.kind == VALUE_LIST) {
        *out = (struct value){.kind = VALUE_LIST, .list = chat_list_new(r)};
        for (int64_t i = 0; i < a.list->n; i++) {
            if (!chat_step(r, 1) || !chat_list_add(r, out->list, a.list->v[i])) return false;
        }
        for (int64_t i = 0; i < b.list->n; i++) {
            if (!chat_step(r, 1) || !chat_list_add(r, out->list, b.list->v[i])) return false;
        }
        return out->list != NULL || chat_nomem(r);
    }
    return eval_arithmetic(r, e, &a, &b, out);
}

static bool eval_literal(struct render *r, const struct expr *e, struct value *out) {
    *out = (struct value){.kind = e->kind == EXPR_DICT ? VALUE_DICT : VALUE_LIST,
                          .list = chat_list_new(r)};
    if (out->list == NULL) return chat_nomem(r);
    for (const struct expr *a = e->args; a != NULL; a = a->next) {
        struct value key, v;
        if (!chat_eval(r, a, &v)) return false;
        if (e->kind == EXPR_LIST) {
            if (!chat_list_add(r, out->list, v)) return false;
            continue;
        }
        key = v;
        a = a->next;
        if (!want_strings(r, e, &key, 1) || !chat_eval(r, a, &v) ||
            !chat_dict_set(r, out->list, key.text, v))
            return false;
    }
    return true;
}

bool chat_eval(struct render *r, const struct expr *e, struct value *out) {
    const struct value *found;
    *out = (struct value){0};
    if (!chat_step(r, 1)) return false;
    switch (e->kind) {
    case EXPR_STRING:
        *out = of_text(e->text.s, e->text.n);
        return true;
    case EXPR_INT:
        *out = of_int(e->i);
        return true;
    case EXPR_FLOAT:
        *out = (struct value){.kind = VALUE_FLOAT, .f = e->f};
        return true;
    case EXPR_TRUE:
    case EXPR_FALSE:
        *out = of_bool(e->kind == EXPR_TRUE);
        return true;
    case EXPR_NONE:
        out->kind = VALUE_NONE;
        return true;
    case EXPR_NAME:
        found = chat_find_variable(r, e->text);
        if (found != NULL) *out = *found;
        return true;
    case EXPR_LIST:
    case EXPR_DICT:
        return eval_literal(r, e, out);
    case EXPR_ATTR:
    case EXPR_INDEX:
        return eval_index(r, e, out);
    case EXPR_SLICE:
        return eval_slice(r, e, out);
    case EXPR_CALL:
        return eval_call(r, e, out);
    case EXPR_FILTER:
        return eval_filter(r, e, out);
    case EXPR_TEST:
        return eval_test(r, e, out);
    case EXPR_BINARY:
        return eval_binary(r, e, out);
    case EXPR_NOT:
        if (!chat_eval(r, e->a, out)) return false;
        *out = of_bool(!chat_truth(out));
        return true;
    case EXPR_NEGATE:
        if (!chat_eval(r, e->a, out)) return false;
        if (out->kind == VALUE_FLOAT) {
            out->f = -out->f;
            return true;
        }
        if (!is_number(out) || integer(out) == INT64_MIN)
            return chat_fail(r, e->line, "minus %s", chat_kind_name(out));
        *out = of_int(-integer(out));
        return true;
    case EXPR_AND:
    case EXPR_OR:
        if (!chat_eval(r, e->a, out)) return false;
        return chat_truth(out) == (e->kind == EXPR_OR) || chat_eval(r, e->b, out);
    case EXPR_IF: {
        struct value cond;
        if (!chat_eval(r, e->b, &cond)) return false;
        if (chat_truth(&cond)) return chat_eval(r, e->a, out);
        return e->c == NULL || chat_eval(r, e->c, out);
    }
    }
    return false;
}
