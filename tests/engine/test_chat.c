// tests/engine/test_chat.c - chat templates against the prompts transformers makes
// (tests/engine/ref/chat/cases.ndjson, one case a line). Also a tool: test_chat --render CASES
// prints, for each line, the prompt or {"error": ...} as JSON.
#include "core/file.h"
#include "core/json.h"
#include "engine/chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int n_failed;

static void report(int line, const char *got, const char *want) {
    printf("tests/engine/ref/chat/cases.ndjson:%d:\n  got  %s\n  want %s\n", line, got, want);
    n_failed++;
}

// Renders one case: {"source" or "template", "messages", "add_generation_prompt", "variables"}.
static bool render(const json_t *c, struct buf *out, struct error *err) {
    const char *name = json_string_value(json_object_get(c, "template"));
    const char *source = json_string_value(json_object_get(c, "source"));
    char path[512], *text = NULL;
    size_t n = source == NULL ? 0 : strlen(source);
    if (source == NULL) {
        snprintf(path, sizeof path, "tests/engine/ref/chat/templates/%s.jinja", name);
        if (!file_read(&text, &n, path, 0, err)) return false;
        source = text;
    }
    struct chat_template *tpl = NULL;
    bool ok = chat_template_parse(&tpl, source, n, err) &&
              chat_template_render(tpl, out, json_object_get(c, "messages"),
                                   json_is_true(json_object_get(c, "add_generation_prompt")),
                                   json_object_get(c, "variables"), err);
    chat_template_close(tpl);
    free(text);
    return ok;
}

static int run_cases(const char *path, bool print) {
    struct error err = {0};
    char *text;
    size_t n_bytes;
    if (!file_read(&text, &n_bytes, path, 0, &err)) {
        printf("%s\n", err.text);
        return 1;
    }
    int line = 0;
    for (char *s = text; *s != '\0';) {
        size_t n = strcspn(s, "\n");
        json_t *c = NULL;
        struct buf out = {0};
        struct error e = {0};
        line++;
        if (!json_parse(&c, s, n, path, &err)) {
            report(line, err.text, "a case");
            break;
        }
        bool ok = render(c, &out, &e);
        const char *got = ok ? (out.data == NULL ? "" : out.data) : e.text;
        const char *want = json_string_value(json_object_get(c, "output"));
        const char *want_error = json_string_value(json_object_get(c, "error"));
        if (print) {
            json_t *answer = json_pack("{ss}", ok ? "output" : "error", got);
            char *dump = json_dumps(answer, JSON_COMPACT);
            printf("%s\n", dump == NULL ? "null" : dump);
            free(dump);
            json_decref(answer);
        } else if (want != NULL && (!ok || strcmp(got, want) != 0)) {
            report(line, got, want);
        } else if (want_error != NULL && (ok || strstr(got, want_error) == NULL)) {
            report(line, got, want_error);
        } else if (want == NULL && want_error == NULL) {
            report(line, "neither output nor error", "one of them");
        }
        buf_release(&out);
        json_decref(c);
        s += n + (s[n] == '\n');
    }
    free(text);
    if (!print) printf("%d cases, %d failed\n", line, n_failed);
    return n_failed == 0 ? 0 : 1;
}

static void write_file(const char *folder, const char *name, const char *text) {
    char path[512];
    struct error err = {0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!file_write_atomic(path, text, strlen(text), &err)) report(__LINE__, err.text, "written");
}

// Where the template comes from: nothing, tokenizer_config.json, chat_template.jinja; the last
// wins.
static void test_folder(void) {
    char folder[] = "/tmp/test_chat_XXXXXX";
    if (mkdtemp(folder) == NULL) {
        report(__LINE__, "mkdtemp", "a folder");
        return;
    }
    static const char *const files[][3] = {
        {NULL, NULL, "<|im_start|>user\nHé<|im_end|>\n<|im_start|>assistant\n"},
        {"tokenizer_config.json", "{\"bos_token\": {\"content\": \"<s>\"}}",
         "<|im_start|>user\nHé<|im_end|>\n<|im_start|>assistant\n"},
        {"tokenizer_config.json",
         "{\"bos_token\": {\"content\": \"<s>\"}, \"chat_template\": \"{{ bos_token }}C\"}",
         "<s>C"},
        {"tokenizer_config.json",
         "{\"bos_token\": \"<t>\", \"chat_template\": [{\"name\": \"tool\", \"template\": \"T\"}, "
         "{\"name\": \"default\", \"template\": \"{{ bos_token }}D\"}]}",
         "<t>D"},
        {"chat_template.jinja", "{{ bos_token }}J\n", "<t>J"},
        {"chat_template.jinja", "{% include 'x' %}", NULL},
        {"tokenizer_config.json", "[]", NULL}};
    json_t *messages = json_pack("[{ssss}]", "role", "user", "content", "Hé");
    for (int i = 0; i < 7; i++) {
        if (files[i][0] != NULL) write_file(folder, files[i][0], files[i][1]);
        struct chat_template *tpl = NULL;
        struct buf out = {0};
        struct error err = {0};
        bool ok = chat_template_open(&tpl, folder, &err) &&
                  chat_template_render(tpl, &out, messages, true, NULL, &err);
        const char *want = files[i][2];
        if (ok != (want != NULL) || (ok && strcmp(out.data, want) != 0))
            report(__LINE__, ok ? out.data : err.text, want == NULL ? "an error" : want);
        if (!ok && strstr(err.text, folder) == NULL)
            report(__LINE__, err.text, "an error that names the folder");
        buf_release(&out);
        chat_template_close(tpl);
    }
    struct chat_template *tpl = NULL;
    struct error err = {0};
    if (chat_template_open(&tpl, "/nonexistent", &err)) report(__LINE__, "opened", "an error");
    json_decref(messages);
    char path[512];
    snprintf(path, sizeof path, "%s/tokenizer_config.json", folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/chat_template.jinja", folder);
    unlink(path);
    rmdir(folder);
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "--render") == 0) return run_cases(argv[2], true);
    test_folder();
    return run_cases("tests/engine/ref/chat/cases.ndjson", false);
}
