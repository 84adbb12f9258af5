// engine/chat_render.c - runs a chat template's statements; steps, memory and output are bounded.
#include "engine/chat_value.h"

#include <stdlib.h>
#include <string.h>

// --- names

struct value *chat_find_variable(struct render *r, struct chat_text name) {
    for (int64_t i = r->n_variables - 1; i >= 0; i--) {
        if (chat_text_equal(r->variables[i].name, name)) return &r->variables[i].value;
    }
    return NULL;
}

// In the current frame: a loop's variables vanish with its turn.
static bool set_variable(struct render *r, struct chat_text name, struct value v) {
    for (int64_t i = r->n_variables - 1; i >= 0 && r->variables[i].frame == r->frame; i--) {
        if (!chat_text_equal(r->variables[i].name, name)) continue;
        r->variables[i].value = v;
        return true;
    }
    if (r->n_variables == r->capacity) {
        int64_t capacity = r->capacity ? r->capacity * 2 : 32;
        struct variable *grown = realloc(r->variables, (size_t)capacity * sizeof *grown);
        if (grown == NULL) return chat_nomem(r);
        r->variables = grown;
        r->capacity = capacity;
    }
    r->variables[r->n_variables++] = (struct variable){.name = name, .value = v, .frame = r->frame};
    return true;
}

static void drop_frame(struct render *r) {
    while (r->n_variables > 0 && r->variables[r->n_variables - 1].frame >= r->frame)
        r->n_variables--;
}

// --- statements

static bool run(struct render *r, const struct node *node);

static bool output(struct render *r, struct chat_text t) {
    if (t.n > r->out_limit || r->out->n_bytes > r->out_limit - t.n)
        return error_set(r->err, ERR_LIMIT, "chat template: prompt over %d MiB",
                         CHAT_OUTPUT_LIMIT >> 20);
    buf_append(r->out, t.s, t.n);
    return buf_ok(r->out) ||
           error_set(r->err, ERR_LIMIT, "chat template: prompt over the buffer's limit");
}

static bool bind_target(struct render *r, const struct node *node, struct value item) {
    if (node->name2.s == NULL) return set_variable(r, node->name, item);
    if (item.kind != VALUE_LIST || item.list->n != 2)
        return chat_fail(r, node->line, "two names for %s", chat_kind_name(&item));
    return set_variable(r, node->name, item.list->v[0]) &&
           set_variable(r, node->name2, item.list->v[1]);
}

// `loop` of turn i: one dictionary a loop, its values changed at each turn.
static bool loop_variable(struct render *r, const struct list *items, int64_t i,
                          struct list *loop) {
    static const char *const names[] = {"first",    "last",      "index",    "index0",  "length",
                                        "revindex", "revindex0", "previtem", "nextitem"};
    struct value absent = {0};
    const struct value values[] = {of_bool(i == 0),
                                   of_bool(i + 1 == items->n),
                                   of_int(i + 1),
                                   of_int(i),
                                   of_int(items->n),
                                   of_int(items->n - i),
                                   of_int(items->n - i - 1),
                                   i > 0 ? items->v[i - 1] : absent,
                                   i + 1 < items->n ? items->v[i + 1] : absent};
    for (int k = 0; k < 9; k++) {
        struct chat_text name = {names[k], strlen(names[k])};
        if (loop->n == 18) {
            loop->v[2 * k + 1] = values[k];
        } else if (!chat_list_add(r, loop, of_text(name.s, name.n)) ||
                   !chat_list_add(r, loop, values[k])) {
            return false;
        }
    }
    return set_variable(r, (struct chat_text){"loop", 4},
                        (struct value){.kind = VALUE_DICT, .list = loop});
}

// The items the loop's own condition lets through.
static bool loop_items(struct render *r, const struct node *node, struct list **items) {
    struct value over;
    if (!chat_eval(r, node->expr, &over) || !chat_items_of(r, &over, items, node->line))
        return false;
    if (node->cond == NULL) return true;
    struct list *kept = chat_list_new(r);
    bool ok = kept != NULL || chat_nomem(r);
    for (int64_t i = 0; i < (*items)->n && ok; i++) {
        struct value cond = {0};
        r->frame++;
        ok = bind_target(r, node, (*items)->v[i]) && chat_eval(r, node->cond, &cond) &&
             (!chat_truth(&cond) || chat_list_add(r, kept, (*items)->v[i]));
        drop_frame(r);
        r->frame--;
    }
    *items = kept;
    return ok;
}

static bool run_for(struct render *r, const struct node *node) {
    struct list *items;
    if (!loop_items(r, node, &items)) return false;
    int64_t n = items->n;
    struct list *loop = chat_list_new(r);
    if (loop == NULL) return chat_nomem(r);
    for (int64_t i = 0; i < n; i++) {
        r->frame++;
        bool ok = chat_step(r, 10) && bind_target(r, node, items->v[i]) &&
                  loop_variable(r, items, i, loop) && run(r, node->body);
        drop_frame(r);
        r->frame--;
        bool stop = r->breaking;
        r->breaking = r->continuing = false;
        if (!ok) return false;
        if (stop) return true;
    }
    return n > 0 || run(r, node->other);
}

static bool run_set(struct render *r, const struct node *node) {
    struct value v;
    if (node->expr != NULL) {
        if (!chat_eval(r, node->expr, &v)) return false;
    } else {
        struct buf body = {.limit_bytes = CHAT_OUTPUT_LIMIT}, *out = r->out;
        size_t limit = r->out_limit;
        r->out = &body;
        r->out_limit = CHAT_OUTPUT_LIMIT;
        r->frame++;
        bool ok = run(r, node->body);
        drop_frame(r);
        r->frame--;
        r->out = out;
        r->out_limit = limit;
        if (!ok) {
            buf_release(&body);
            return false;
        }
        if (!chat_take_string(r, &body, &v)) return false;
    }
    if (node->name2.s == NULL) return set_variable(r, node->name, v);
    struct value *ns = chat_find_variable(r, node->name);
    if (ns == NULL || ns->kind != VALUE_NAMESPACE)
        return chat_fail(r, node->line, "\"%.*s\" is not a namespace", (int)node->name.n,
                         node->name.s);
    return chat_dict_set(r, ns->list, node->name2, v);
}

static bool run_if(struct render *r, const struct node *node) {
    for (; node != NULL; node = node->other) {
        struct value cond = of_bool(true);
        if (node->expr != NULL && !chat_eval(r, node->expr, &cond)) return false;
        if (chat_truth(&cond)) return run(r, node->body);
    }
    return true;
}

static bool run_output(struct render *r, const struct node *node) {
    struct value v, s;
    return chat_eval(r, node->expr, &v) && chat_as_string(r, &v, node->line, &s) &&
           output(r, s.text);
}

static bool run(struct render *r, const struct node *node) {
    for (; node != NULL && !r->breaking && !r->continuing; node = node->next) {
        bool ok = chat_step(r, 1);
        switch (node->kind) {
        case NODE_TEXT:
            ok = ok && output(r, node->text);
            break;
        case NODE_OUTPUT:
            ok = ok && run_output(r, node);
            break;
        case NODE_IF:
            ok = ok && run_if(r, node);
            break;
        case NODE_FOR:
            ok = ok && run_for(r, node);
            break;
        case NODE_SET:
            ok = ok && run_set(r, node);
            break;
        case NODE_GROUP:
            ok = ok && run(r, node->body);
            break;
        case NODE_BREAK:
            r->breaking = true;
            break;
        case NODE_CONTINUE:
            r->continuing = true;
            break;
        }
        if (!ok) return false;
    }
    return true;
}

static bool set_globals(struct render *r, const json_t *messages, bool add_generation_prompt) {
    static const char *const functions[] = {"raise_exception", "namespace", "range"};
    static const char *const none[] = {"tools",
                                       "documents"}; // what transformers passes when absent
    struct value v;
    for (int i = 0; i < 3; i++) {
        v = (struct value){.kind = VALUE_FUNCTION, .text = {functions[i], strlen(functions[i])}};
        if (!set_variable(r, v.text, v)) return false;
    }
    for (int i = 0; i < 2; i++) {
        if (!set_variable(r, (struct chat_text){none[i], strlen(none[i])},
                          (struct value){.kind = VALUE_NONE}))
            return false;
    }
    return set_variable(r, (struct chat_text){"add_generation_prompt", 21},
                        of_bool(add_generation_prompt)) &&
           chat_of_json(r, messages, &v, 0) &&
           set_variable(r, (struct chat_text){"messages", 8}, v);
}

static bool set_from_json(struct render *r, const json_t *variables) {
    const char *key;
    json_t *j;
    json_object_foreach((json_t *)variables, key, j) {
        struct value v;
        if (!chat_of_json(r, j, &v, 0) || !set_variable(r, (struct chat_text){key, strlen(key)}, v))
            return false;
    }
    return true;
}

bool chat_template_render(const struct chat_template *tpl, struct buf *out, const json_t *messages,
                          bool add_generation_prompt, const json_t *variables, struct error *err) {
    if (!json_is_array(messages))
        return error_set(err, ERR_USAGE, "chat template: messages must be an array");
    if (variables != NULL && !json_is_object(variables))
        return error_set(err, ERR_USAGE, "chat template: variables must be an object");
    struct render r = {.out = out, .out_limit = out->n_bytes + CHAT_OUTPUT_LIMIT, .err = err};
    arena_init(&r.arena, CHAT_MEMORY_LIMIT);
    bool ok = set_globals(&r, messages, add_generation_prompt) &&
              set_from_json(&r, tpl->variables) && set_from_json(&r, variables) &&
              run(&r, tpl->nodes);
    free(r.variables);
    arena_release(&r.arena);
    return ok;
}
