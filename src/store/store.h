// store/store.h - messages and verdicts in one SQLite file. What store_submit() reports as done is
// on the disk. Owns: the database, a lock on its folder, one writer thread that puts concurrent
// requests in one transaction (group commit: write-ahead log, synchronous=FULL), one read
// connection. Thread: every function may be called from any thread.
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "core/error.h"

struct store; // opaque

struct store_options {
    const char *folder; // made when absent; holds sillon.db and, while open, a lock that a killed
                        // process releases
    int64_t max_pages;  // quota of the database in pages of 4 KiB; 0: none
};

// A folder that cannot be written, a database of something else or of a newer version, or one that
// another process holds open is an error that says so.
NODISCARD bool store_open(struct store **out, const struct store_options *options,
                          struct error *err);
void store_close(struct store *store); // finishes every submitted write first; NULL is fine

// RECEIVED --verdict--> JUDGED, or TRACE_DUE --second verdict--> JUDGED, or FAILED
// --store_open()--> RECEIVED
enum store_state { STORE_RECEIVED, STORE_JUDGED, STORE_TRACE_DUE, STORE_FAILED };
enum store_outcome {
    STORE_STORED,   // a new row
    STORE_SAME,     // this id with this text was there already: nothing written
    STORE_CONFLICT, // this id is there with another text: refused
};

struct store_message {
    const char *id, *text;                  // text as it may be kept: masked by the caller
    const char *channel, *author, *sent_at; // NULL when absent; author: a pseudonym, never a name
    int64_t received_ms;                    // Unix time
    bool exercise;
    // set by the store:
    enum store_outcome outcome;
    enum store_state state;
    int64_t seq; // order of arrival, from 1
};

struct store_verdict {
    int64_t message_seq;
    enum store_state state; // of the message from now on: JUDGED, TRACE_DUE or FAILED
    int level;              // 0..4, -1 when judging failed
    const char *class_name, *line, *station; // NULL or "" when unknown
    double p_urgent;                         // P(U3) + P(U4)
    double distress;                         // strongest distress intensity, 0..3, anger aside
    const char *json;                        // one JSON object
    int64_t judged_ms;
    // set by the store:
    int64_t seq; // order of judgement, from 1; a verdict that replaces another takes a new one
};

// One request to write, in the caller's storage until done() is called.
struct store_write {
    struct store_message *messages;
    int64_t n_messages;
    struct store_verdict *verdicts;
    int64_t n_verdicts;
    // Called once from the writer thread, after the commit (ok) or when nothing at all was written
    // (!ok, err says why). Every done() of a transaction comes before the next transaction begins.
    // Must not block.
    void (*done)(void *context, struct store_write *write);
    void *context;
    bool ok;
    struct error err;
    struct store_write *next; // the store's
};
void store_submit(struct store *store, struct store_write *write);
// store_submit() and wait; write->done and context are used by it.
NODISCARD bool store_write_sync(struct store *store, struct store_write *write, struct error *err);

// What a query hands out; strings live during the call only.
struct store_row {
    const char *id, *text, *channel, *author, *sent_at; // the last three may be NULL
    size_t text_bytes;
    int64_t message_seq, received_ms;
    enum store_state state;
    bool exercise;
    const char *verdict_json; // NULL when there is none yet, and then:
    int64_t verdict_seq;      // 0
    int level;                // -1
};
typedef bool store_row_fn(void *context, const struct store_row *row); // false stops the query

// Verdicts with seq > since and level >= least_level, in the order of seq, at most limit. The
// reader holds a lock while rows are handed out: fn must be quick and must not call the store.
NODISCARD bool store_verdicts(struct store *store, int64_t since, int least_level, int64_t limit,
                              store_row_fn *fn, void *context, struct error *err);
// The newest `limit` of them, still in ascending order.
NODISCARD bool store_verdicts_last(struct store *store, int least_level, int64_t limit,
                                   store_row_fn *fn, void *context, struct error *err);
// Messages in `state`: the oldest first, or for TRACE_DUE the most urgent first, the newest of a
// level first.
NODISCARD bool store_due(struct store *store, enum store_state state, int64_t limit,
                         store_row_fn *fn, void *context, struct error *err);
// ERR_NOTFOUND when there is no such id.
NODISCARD bool store_find(struct store *store, const char *id, store_row_fn *fn, void *context,
                          struct error *err);

struct store_counts {
    int64_t messages, received, trace_due, failed; // all; by state
    int64_t levels[5];                             // verdicts by level
    int64_t last_seq;                              // of the newest verdict
};
void store_counts(struct store *store, struct store_counts *out); // kept in memory: cheap
// Receipt of the oldest message without a verdict; 0 when there is none.
NODISCARD bool store_oldest_ms(struct store *store, int64_t *received_ms, struct error *err);

// One group of verdicts: those of one minute of receipt, one line ("" unknown) and one level.
struct store_minute {
    int64_t minute; // Unix time / 60 s
    const char *line;
    int level;
    int64_t n;
    double p_urgent_sum, distress_sum;
};
typedef void store_minute_fn(void *context, const struct store_minute *group);
NODISCARD bool store_minutes(struct store *store, int64_t since_ms, store_minute_fn *fn,
                             void *context, struct error *err);

#endif
