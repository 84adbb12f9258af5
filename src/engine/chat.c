// engine/chat.c - finds the chat template of a folder, as transformers does, or of a GGUF file, and
// owns it.
#include "engine/chat.h"

#include "core/file.h"
#include "core/json.h"
#include "engine/chat_internal.h"
#include "engine/gguf_model.h"

#include <stdlib.h>
#include <string.h>

static const char chatml[] = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + "
                             "'\\n' + message['content'] + "
                             "'<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ "
                             "'<|im_start|>assistant\\n' }}"
                             "{% endif %}";

bool chat_template_parse(struct chat_template **out, const char *source, size_t n_bytes,
                         struct error *err) {
    struct chat_template *tpl = calloc(1, sizeof *tpl);
    if (tpl == NULL) return error_set(err, ERR_NOMEM, "chat template: out of memory");
    arena_init(&tpl->arena, CHAT_MEMORY_LIMIT);
    if (!chat_parse(tpl, source, n_bytes, err)) {
        chat_template_close(tpl);
        return false;
    }
    *out = tpl;
    return true;
}

void chat_template_close(struct chat_template *tpl) {
    if (tpl == NULL) return;
    json_decref(tpl->variables);
    arena_release(&tpl->arena);
    free(tpl);
}

// bos_token and the other special tokens of tokenizer_config.json: strings, or objects with
// "content".
static json_t *config_tokens(const json_t *config) {
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "pad_token",
                                        "sep_token", "cls_token", "mask_token"};
    json_t *tokens = json_object();
    for (int64_t i = 0; i < COUNT_OF(names); i++) {
        json_t *v = json_object_get(config, names[i]);
        if (json_is_object(v)) v = json_object_get(v, "content");
        if (json_is_string(v)) json_object_set(tokens, names[i], v);
    }
    return tokens;
}

// "chat_template" is a string, or a list of {"name", "template"} of which "default" is ours.
static const char *config_template(const json_t *config) {
    const json_t *v = json_object_get(config, "chat_template");
    size_t i;
    const json_t *named;
    json_array_foreach(v, i, named) {
        const char *name = json_string_value(json_object_get(named, "name"));
        if (name != NULL && strcmp(name, "default") == 0)
            return json_string_value(json_object_get(named, "template"));
    }
    return json_string_value(v);
}

static bool read_gguf(struct buf *out, json_t **variables, const char *path, struct error *err) {
    struct gguf *g;
    if (!gguf_open(&g, path, err)) return false;
    bool ok = gguf_chat_template(out, variables, g, err);
    gguf_close(g);
    return ok;
}

bool chat_template_read(struct buf *out, json_t **variables, const char *folder,
                        struct error *err) {
    char path[4096], *text;
    size_t n_bytes;
    json_t *config = NULL;
    *variables = NULL;
    if (gguf_is_path(folder)) return read_gguf(out, variables, folder, err);
    if (!file_is_folder(folder)) return error_set(err, ERR_NOTFOUND, "%s: not a folder", folder);
    if (!file_join(path, sizeof path, folder, "tokenizer_config.json", err)) return false;
    if (file_exists(path)) {
        if (!json_parse_file(&config, path, err)) return false;
        if (!json_is_object(config)) {
            error_set(err, ERR_INPUT, "%s: must be an object, not %s", path,
                      json_type_name(config));
            json_decref(config);
            return false;
        }
    }
    bool ok = file_join(path, sizeof path, folder, "chat_template.jinja", err);
    if (ok && file_exists(path)) {
        ok = file_read(&text, &n_bytes, path, CHAT_SOURCE_LIMIT, err);
        if (ok) buf_append(out, text, n_bytes);
        if (ok) free(text);
    } else if (ok && config_template(config) != NULL) {
        buf_append_str(out, config_template(config));
    }
    ok = ok && (buf_ok(out) || error_set(err, ERR_NOMEM, "%s: out of memory", folder));
    if (ok && config != NULL) *variables = config_tokens(config);
    json_decref(config);
    return ok;
}

bool chat_template_open(struct chat_template **out, const char *folder, struct error *err) {
    struct buf source = {0};
    json_t *variables = NULL;
    bool ok = chat_template_read(&source, &variables, folder, err);
    if (ok && source.n_bytes == 0) buf_append_str(&source, chatml);
    ok = ok && (buf_ok(&source) || error_set(err, ERR_NOMEM, "%s: out of memory", folder));
    if (ok && !chat_template_parse(out, source.data, source.n_bytes, err))
        ok = error_wrap(err, "%s", folder);
    if (ok) (*out)->variables = json_incref(variables);
    json_decref(variables);
    buf_release(&source);
    return ok;
}
