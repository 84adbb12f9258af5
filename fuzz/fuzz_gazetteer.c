// module: triage
// A station file and a text, split at the first 0xFF 0x00 pair of bytes (none: the file is the
// text).
#include "core/utf8.h"
#include "triage/place.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *tsv = (const char *)data, *text = tsv;
    const char *cut = size > 0 ? memmem(data, size, "\xff\x00", 2) : NULL;
    size_t tsv_bytes = cut != NULL ? (size_t)(cut - tsv) : size, text_bytes = size;
    if (cut != NULL) {
        text = cut + 2;
        text_bytes = size - tsv_bytes - 2;
    }
    struct gazetteer *g = NULL;
    struct error err = {0};
    bool ok = gazetteer_parse(&g, tsv, tsv_bytes, "fuzz", &err);
    assert(ok == (g != NULL) && ok == (err.code == ERR_NONE));
    if (!ok) return 0;
    char station[96], line[48], small[8];
    place_find(g, text, text_bytes, station, sizeof station, line, sizeof line);
    assert(utf8_valid(station, strlen(station), NULL) && utf8_valid(line, strlen(line), NULL));
    place_find(g, text, text_bytes, small, sizeof small, line, sizeof line);
    assert(strlen(small) < sizeof small && utf8_valid(small, strlen(small), NULL));
    gazetteer_close(g);
    return 0;
}
