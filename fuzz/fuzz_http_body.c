// module: control
// fuzz/fuzz_http_body.c - the body of a POST: messages, masks, and the chat request. First byte:
// which.
#include "control/body.h"
#include "control/chat.h"
#include "control/door.h"
#include "core/utf8.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_chat(const char *bytes, size_t n_bytes) {
    struct chat_job *job;
    struct error err = {0};
    const char *param;
    if (!chat_job_open(&job, bytes, n_bytes, "m", &param, &err)) {
        assert(err.code != ERR_NONE);
        return;
    }
    for (size_t i = 0; i < n_bytes && chat_job_add(job, bytes + i, 1); i++) {
    }
    chat_job_finish(job, GENERATOR_STOP, NULL);
    for (int i = 0; i < job->n_stops; i++)
        assert(job->text.n_bytes == 0 || memmem(job->text.data, job->text.n_bytes, job->stops[i],
                                                strlen(job->stops[i])) == NULL);
    chat_job_unref(job);
}

static void fuzz_messages(const char *bytes, size_t n_bytes, bool ndjson) {
    struct body body = {0};
    struct arena arena = {0};
    struct error err = {0};
    arena_init(&arena, (size_t)64 << 20);
    bool ok = body_parse(&body, &arena, bytes, n_bytes, ndjson, &err);
    assert(ok || err.code != ERR_NONE);
    for (int64_t i = 0; i < body.n; i++) {
        struct body_item *item = &body.items[i];
        assert(item->message.id != NULL);
        if (!item->ok) {
            assert(item->err.code != ERR_NONE);
            continue;
        }
        char *text = malloc(item->message.text_bytes);
        if (text == NULL) abort();
        memcpy(text, item->message.text, item->message.text_bytes);
        door_mask(text, item->message.text_bytes);
        size_t bad;
        assert(utf8_valid(text, item->message.text_bytes, &bad));
        free(text);
    }
    body_release(&body);
    arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    const char *bytes = (const char *)data + 1;
    if (data[0] % 3 == 0) fuzz_chat(bytes, size - 1);
    else fuzz_messages(bytes, size - 1, data[0] % 3 == 1);
    return 0;
}
