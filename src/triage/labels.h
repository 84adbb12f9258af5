// triage/labels.h - the codes of the label guide (docs/labels.md), as enums and strings. No tensor, no token here.
#ifndef TRIAGE_LABELS_H
#define TRIAGE_LABELS_H

#include "core/error.h"

#include <jansson.h>

enum { N_LEVELS = 5, N_CLASSES = 17, N_SOURCES = 7, N_DISTRESS = 8, N_FLAGS = 12, N_CHANNELS = 5, MAX_EVIDENCE = 4 };
extern const char *const label_levels[N_LEVELS];     // "U0".."U4"
extern const char *const label_classes[N_CLASSES];   // "person_on_tracks", ... in the guide's order
extern const char *const label_sources[N_SOURCES];   // "witness", ...
extern const char *const label_distress[N_DISTRESS]; // "fear", ... "anger" last
extern const char *const label_flags[N_FLAGS];       // "hyperbole", ...
extern const char *const label_channels[N_CHANNELS]; // "post", "chat", "mail", "sms", "app"

int label_find(const char *const *table, int n, const char *name); // index, or -1

// One labelled message: a line of the corpus. Strings are borrowed from `json`, which the record owns.
struct label_record {
    json_t *json;
    const char *id, *text, *lang, *twin, *incident, *persona; // twin, incident, persona, lang may be NULL
    size_t text_bytes;
    int channel;                 // -1 when absent
    int level, class_i, source;  // indices
    int distress[N_DISTRESS];    // 0..3
    bool flags[N_FLAGS];
    const char *station, *line, *direction, *vehicle; // NULL when absent
    const char *evidence[MAX_EVIDENCE];               // exact substrings of text
    int n_evidence;
    const char *why_for, *why_against; // may be NULL
};

// Takes `json` in any case (released by label_record_release or on failure). `name` opens the error.
NODISCARD bool label_record_take(struct label_record *out, json_t *json, const char *name, struct error *err);
void label_record_release(struct label_record *record);

#endif
