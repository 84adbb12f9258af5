// module: engine
// fuzz/fuzz_chat.c - a chat template, optionally a NUL and the messages as JSON. Rendering ends,
// within its limits, in a prompt or in an error that says something.
#include "engine/chat.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char talk[] =
        "[{\"role\":\"system\",\"content\":\"é a\"},{\"role\":\"user\",\"content\":\" x<think>y "
        "\"},"
        "{\"role\":\"assistant\",\"content\":\"\",\"n\":[1,2.5,null,{\"k\":true}]}]";
    const uint8_t *nul = size == 0 ? NULL : memchr(data, 0, size);
    size_t n_source = nul == NULL ? size : (size_t)(nul - data);
    struct error err = {0};
    struct chat_template *tpl = NULL;
    json_t *messages = nul == NULL
                           ? json_loads(talk, 0, NULL)
                           : json_loadb((const char *)nul + 1, size - n_source - 1, 0, NULL);
    if (messages == NULL) return 0;
    struct buf out = {0};
    bool ok = chat_template_parse(&tpl, (const char *)data, n_source, &err) &&
              chat_template_render(tpl, &out, messages, true, NULL, &err);
    if (!ok && (err.code == ERR_NONE || err.text[0] == '\0')) abort();
    if (out.n_bytes > 16u << 20) abort();
    buf_release(&out);
    chat_template_close(tpl);
    json_decref(messages);
    return 0;
}
