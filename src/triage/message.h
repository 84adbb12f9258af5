// triage/message.h - contract 3: one message in, one verdict out, as NDJSON (docs/schema/message.json, verdict.json).
// The same in files, on HTTP and on the bus.
#ifndef TRIAGE_MESSAGE_H
#define TRIAGE_MESSAGE_H

#include "core/arena.h"
#include "core/buf.h"
#include "triage/labels.h"

enum {
    MESSAGE_TEXT_LIMIT_BYTES = 64 * 1024, // longer is refused: no passenger writes a 64 KiB message
    MESSAGE_LINE_LIMIT_BYTES = 1024 * 1024,
    MESSAGE_ID_LIMIT_BYTES = 256,
};

// Strings live in the arena given to message_parse.
struct message {
    const char *id; // given, or made by the caller ("line-12"); never NULL once parsed
    const char *text;
    size_t text_bytes;
    const char *received_at, *author; // NULL when absent
    int channel;                      // -1 when absent or unknown
    bool id_given;
};
// Parses one JSON line. Unknown fields are allowed and ignored (a feed adds its own), known fields of a wrong type
// are not. `fallback_id` is used when "id" is absent. On failure *out still carries the id when one could be read.
NODISCARD bool message_parse(struct message *out, struct arena *arena, const char *line, size_t n_bytes,
                             const char *fallback_id, struct error *err);

struct span {
    int64_t begin, end; // byte offsets in the message's UTF-8 text, end excluded
};

struct verdict {
    float p_level[N_LEVELS]; // calibrated, sums to 1
    int level;
    int class_i;
    float p_class;
    int source;
    float p_source;
    int distress[N_DISTRESS]; // 0..3
    bool flags[N_FLAGS];
    struct span evidence[MAX_EVIDENCE];
    int n_evidence;
    char station[96], line[48]; // "" when the text says none
    char *why_for, *why_against; // NULL when no trace was generated; owned: verdict_release
    bool truncated;              // the text was longer than the model's window
    bool written_by_model;       // why_for, why_against: the model's words, else composed by rule
    float queue_ms, level_ms, trace_ms;
};
void verdict_release(struct verdict *verdict); // zeroed storage is fine

// {"id":..., "urgency":..., ...} without a newline; evidence spans carry start, end (byte offsets; "unit":"byte")
// and the text between them.
void verdict_append_json(struct buf *out, const struct message *message, const struct verdict *verdict,
                         const char *model_name, const char *model_sha256);
// {"id":..., "error":{"code":..., "message":...}}
void verdict_append_error_json(struct buf *out, const char *id, const struct error *err);

#endif
