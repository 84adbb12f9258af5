// module: triage
// Message lines: any bytes are read or refused with a sentence that is JSON; places of any text.
#include "core/json.h"
#include "core/utf8.h"
#include "triage/message.h"
#include "triage/place.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct error err = {0};
    struct arena arena = {0};
    struct message m;
    bool ok = message_parse(&m, &arena, (const char *)data, size, "line-1", &err);
    assert(m.id != NULL && m.id[0] != '\0' && strlen(m.id) <= MESSAGE_ID_LIMIT_BYTES);
    if (ok) {
        char station[96], line[48];
        assert(m.text_bytes > 0 && m.text_bytes <= MESSAGE_TEXT_LIMIT_BYTES);
        assert(m.text_bytes == strlen(m.text) && utf8_valid(m.text, m.text_bytes, NULL));
        assert(m.channel >= -1 && m.channel < N_CHANNELS);
        place_find(NULL, m.text, m.text_bytes, station, sizeof station, line, sizeof line);
        assert(station[0] == '\0' && strlen(line) < sizeof line);
        assert(utf8_valid(line, strlen(line), NULL));
    } else {
        struct buf b = {0};
        struct error none = {0};
        json_t *json;
        assert(err.code != ERR_NONE && err.text[0] != '\0');
        verdict_append_error_json(&b, m.id, &err);
        bool valid = json_parse(&json, b.data, b.n_bytes, "answer", &none);
        assert(valid);
        json_decref(json);
        buf_release(&b);
    }
    arena_release(&arena);
    return 0;
}
