// module: triage
// Labelled record lines: any bytes are read or refused with a sentence; what is read keeps its
// invariants.
#include "core/json.h"
#include "triage/labels.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct error err = {0};
    struct label_record r;
    json_t *json;
    if (!json_parse(&json, (const char *)data, size, "fuzz", &err)) {
        assert(err.code != ERR_NONE);
        return 0;
    }
    if (!label_record_take(&r, json, "fuzz", &err)) {
        assert(err.code != ERR_NONE && err.text[0] != '\0' && r.json == NULL);
        return 0;
    }
    assert(r.level >= 0 && r.level < N_LEVELS && r.class_i >= 0 && r.class_i < N_CLASSES);
    assert(r.source >= 0 && r.source < N_SOURCES && r.channel >= -1 && r.channel < N_CHANNELS);
    assert(r.n_evidence <= MAX_EVIDENCE && r.text_bytes == strlen(r.text));
    for (int i = 0; i < r.n_evidence; i++) assert(strstr(r.text, r.evidence[i]) != NULL);
    label_record_release(&r);
    return 0;
}
