// engine/chat.c - finds a folder's chat template, as transformers does, and owns it.
#include "engine/chat.h"

#include "core/file.h"
#include "core/json.h"
#include "engine/chat_internal.h"

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

bool chat_template_open(struct chat_template **out, const char *folder, struct error *err) {
    char path[4096];
    json_t *config = NULL;
    char *text = NULL;
    size_t n_bytes = 0;
    bool ok = false;
    struct chat_template *tpl = NULL;
    if (!file_is_folder(folder)) return error_set(err, ERR_NOTFOUND, "%s: not a folder", folder);
    if (!file_join(path, sizeof path, folder, "tokenizer_config.json", err)) return false;
    if (file_exists(path)) {
        if (!json_parse_file(&config, path, err)) return false;
        if (!json_is_object(config)) {
            error_set(err, ERR_INPUT, "%s: must be an object, not %s", path,
                      json_type_name(config));
            goto done;
        }
    }
    const char *source = config_template(config);
    if (!file_join(path, sizeof path, folder, "chat_template.jinja", err)) goto done;
    if (file_exists(path)) {
        if (!file_read(&text, &n_bytes, path, CHAT_SOURCE_LIMIT, err)) goto done;
    } else {
        if (source == NULL) source = chatml;
        n_bytes = strlen(source);
    }
    if (!chat_template_parse(&tpl, text != NULL ? text : source, n_bytes, err)) {
        error_wrap(err, "%s", folder);
        goto done;
    }
    if (config != NULL) tpl->variables = config_tokens(config);
    *out = tpl;
    ok = true;
done:
    free(text);
    json_decref(config);
    return ok;
}
