// module: core
// fuzz/fuzz_json.c - any bytes as JSON, and as text inside a JSON string we write: it must come
// back as valid JSON.
#include "core/buf.h"
#include "core/json.h"
#include "core/utf8.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct error err = {0};
    json_t *root;
    if (json_parse(&root, (const char *)data, size, "fuzz", &err)) {
        int64_t i = 0;
        double f = 0;
        bool b = false;
        const char *s = "", *name = "fuzz";
        struct error e[4] = {0};
        if (!json_get_i64(&i, root, "i", true, name, &e[0]) && e[0].code != ERR_INPUT) abort();
        if (!json_get_f64(&f, root, "f", true, name, &e[1]) && e[1].code != ERR_INPUT) abort();
        if (!json_get_bool(&b, root, "b", true, name, &e[2]) && e[2].code != ERR_INPUT) abort();
        if (!json_get_string(&s, root, "s", true, name, &e[3]) && e[3].code != ERR_INPUT) abort();
        json_decref(root);
    } else if (root != NULL || err.code != ERR_INPUT || err.text[0] == '\0') {
        abort();
    }
    struct buf out = {0};
    buf_append_json_string(&out, (const char *)data, size);
    if (!buf_ok(&out) || !utf8_valid(out.data, out.n_bytes, NULL)) abort();
    if (memchr(data, 0, size) == NULL) { // jansson refuses \u0000 on the way back
        error_reset(&err);
        if (!json_parse(&root, out.data, out.n_bytes, "ours", &err)) abort();
        const char *back = json_string_value(root);
        if (utf8_valid((const char *)data, size, NULL) &&
            (json_string_length(root) != size || memcmp(back, data, size) != 0))
            abort();
        json_decref(root);
    }
    buf_release(&out);
    return 0;
}
