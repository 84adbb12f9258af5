// store/store.c - the writer thread with its group commit, and the read connection.
// A POST that waits for its commit shares it with every other one that came during the previous
// fsync, so a slow disk costs latency and not throughput.
#include "store/store.h"

#include "core/file.h"
#include "core/log.h"
#include "store/store_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { BATCH_ROWS = 4096 }; // rows of one transaction, to bound its memory and its latency

enum read_query {
    READ_SINCE,
    READ_LAST,
    READ_DUE,
    READ_TRACE,
    READ_FIND,
    READ_OLDEST,
    READ_MINUTES,
    N_READS
};
#define ROW_COLUMNS                                                                                \
    "m.id, m.text, m.channel, m.author, m.sent_at, m.seq, m.received_ms, m.state, m.exercise, "    \
    "v.json, v.seq, "                                                                              \
    "v.level"
static const char *const read_sql[N_READS] = {
    [READ_SINCE] = "SELECT " ROW_COLUMNS " FROM verdicts v JOIN messages m ON m.seq=v.message_seq"
                   " WHERE v.seq>?1 AND v.level>=?2 ORDER BY v.seq LIMIT ?3",
    [READ_LAST] = "SELECT " ROW_COLUMNS
                  " FROM (SELECT * FROM verdicts WHERE level>=?2 ORDER BY seq DESC LIMIT ?3) v"
                  " JOIN messages m ON m.seq=v.message_seq WHERE ?1=0 ORDER BY v.seq",
    [READ_DUE] =
        "SELECT " ROW_COLUMNS " FROM messages m LEFT JOIN verdicts v ON v.message_seq=m.seq"
        " WHERE m.state=?1 ORDER BY m.seq LIMIT ?3",
    [READ_TRACE] = "SELECT " ROW_COLUMNS " FROM messages m JOIN verdicts v ON v.message_seq=m.seq"
                   " WHERE m.state=?1 ORDER BY v.level DESC, m.seq DESC LIMIT ?3",
    [READ_FIND] =
        "SELECT " ROW_COLUMNS " FROM messages m LEFT JOIN verdicts v ON v.message_seq=m.seq"
        " WHERE m.id=?1",
    [READ_OLDEST] = "SELECT received_ms FROM messages WHERE state=?1 ORDER BY seq LIMIT 1",
    [READ_MINUTES] =
        ("SELECT received_ms/60000 AS minute, coalesce(line,''), level, count(*), sum(p_urgent),"
         " sum(distress) FROM verdicts WHERE received_ms>=?1 AND level>=0 GROUP BY minute, line, "
         "level"),
};

enum write_query { WRITE_MESSAGE, WRITE_FOUND, WRITE_STATE, WRITE_OLD, WRITE_VERDICT, N_WRITES };
static const char *const write_sql[N_WRITES] = {
    [WRITE_MESSAGE] =
        "INSERT INTO messages(id, received_ms, sent_at, channel, author, text, exercise, state)"
        " VALUES(?1,?2,?3,?4,?5,?6,?7,0) ON CONFLICT(id) DO NOTHING",
    [WRITE_FOUND] = "SELECT seq, state, text=?2 FROM messages WHERE id=?1",
    [WRITE_STATE] = "UPDATE messages SET state=?2 WHERE seq=?1",
    [WRITE_OLD] = "SELECT state, received_ms FROM messages WHERE seq=?1",
    [WRITE_VERDICT] =
        "INSERT OR REPLACE INTO verdicts(message_seq, received_ms, judged_ms, level, class, line,"
        " station, p_urgent, distress, json) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)",
};

struct store {
    char path[4096];
    int lock_fd;
    sqlite3 *writer;                // writer thread only, once open
    sqlite3_stmt *writes[N_WRITES]; // same
    pthread_mutex_t read_mu;        // guards the reader
    sqlite3 *reader;
    sqlite3_stmt *reads[N_READS];
    pthread_mutex_t mu; // guards what follows
    pthread_cond_t queued;
    struct store_write *head, **tail;
    struct store_counts counts;
    bool closing, running;
    pthread_t thread;
};

static bool statements_prepare(sqlite3_stmt **stmts, sqlite3 *db, const char *const *sql, int n,
                               const char *name, struct error *err) {
    for (int i = 0; i < n; i++)
        if (sqlite3_prepare_v3(db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &stmts[i], NULL) !=
            SQLITE_OK)
            return store_error(err, db, name, "prepare");
    return true;
}

// --- writing: everything below runs in the writer thread ---

static void text_bind(sqlite3_stmt *stmt, int i, const char *text) {
    if (text == NULL) sqlite3_bind_null(stmt, i);
    else sqlite3_bind_text(stmt, i, text, -1, SQLITE_STATIC);
}

// Steps a statement that gives no row, or one row left for the caller to read before
// sqlite3_reset().
static bool statement_step(struct store *store, sqlite3_stmt *stmt, int want, const char *what,
                           struct error *err) {
    if (sqlite3_step(stmt) == want) return true;
    store_error(err, store->writer, store->path, what);
    sqlite3_reset(stmt);
    return false;
}

static bool message_write(struct store *store, struct store_message *m, struct store_counts *delta,
                          struct error *err) {
    sqlite3_stmt *insert = store->writes[WRITE_MESSAGE], *found = store->writes[WRITE_FOUND];
    text_bind(insert, 1, m->id);
    sqlite3_bind_int64(insert, 2, m->received_ms);
    text_bind(insert, 3, m->sent_at);
    text_bind(insert, 4, m->channel);
    text_bind(insert, 5, m->author);
    text_bind(insert, 6, m->text);
    sqlite3_bind_int(insert, 7, m->exercise);
    if (!statement_step(store, insert, SQLITE_DONE, "message not stored", err)) return false;
    sqlite3_reset(insert);
    if (sqlite3_changes(store->writer) == 1) {
        m->outcome = STORE_STORED;
        m->state = STORE_RECEIVED;
        m->seq = sqlite3_last_insert_rowid(store->writer);
        delta->messages++;
        delta->received++;
        return true;
    }
    text_bind(found, 1, m->id);
    text_bind(found, 2, m->text);
    if (!statement_step(store, found, SQLITE_ROW, "duplicate not found", err)) return false;
    m->seq = sqlite3_column_int64(found, 0);
    m->state = (enum store_state)sqlite3_column_int(found, 1);
    m->outcome = sqlite3_column_int(found, 2) ? STORE_SAME : STORE_CONFLICT;
    sqlite3_reset(found);
    return true;
}

static bool verdict_write(struct store *store, struct store_verdict *v, struct store_counts *delta,
                          struct error *err) {
    sqlite3_stmt *old = store->writes[WRITE_OLD], *insert = store->writes[WRITE_VERDICT];
    sqlite3_stmt *state = store->writes[WRITE_STATE];
    assert(v->level >= -1 && v->level < 5 && v->state != STORE_RECEIVED);
    sqlite3_bind_int64(old, 1, v->message_seq);
    if (!statement_step(store, old, SQLITE_ROW, "message of a verdict not found", err))
        return false;
    enum store_state before = (enum store_state)sqlite3_column_int(old, 0);
    int64_t received_ms = sqlite3_column_int64(old, 1);
    sqlite3_reset(old);
    sqlite3_bind_int64(insert, 1, v->message_seq);
    sqlite3_bind_int64(insert, 2, received_ms);
    sqlite3_bind_int64(insert, 3, v->judged_ms);
    sqlite3_bind_int(insert, 4, v->level);
    text_bind(insert, 5, v->class_name);
    text_bind(insert, 6, v->line);
    text_bind(insert, 7, v->station);
    sqlite3_bind_double(insert, 8, v->p_urgent);
    sqlite3_bind_double(insert, 9, v->distress);
    text_bind(insert, 10, v->json);
    if (!statement_step(store, insert, SQLITE_DONE, "verdict not stored", err)) return false;
    sqlite3_reset(insert);
    v->seq = sqlite3_last_insert_rowid(store->writer);
    sqlite3_bind_int64(state, 1, v->message_seq);
    sqlite3_bind_int(state, 2, v->state);
    if (!statement_step(store, state, SQLITE_DONE, "state not stored", err)) return false;
    sqlite3_reset(state);
    delta->received -= before == STORE_RECEIVED;
    delta->trace_due += (v->state == STORE_TRACE_DUE) - (before == STORE_TRACE_DUE);
    delta->failed += (v->state == STORE_FAILED) - (before == STORE_FAILED);
    if (v->level >= 0 && (before == STORE_RECEIVED || before == STORE_FAILED))
        delta->levels[v->level]++;
    delta->last_seq = v->seq;
    return true;
}

static bool writer_exec(struct store *store, const char *sql, struct error *err) {
    return sqlite3_exec(store->writer, sql, NULL, NULL, NULL) == SQLITE_OK ||
           store_error(err, store->writer, store->path, sql);
}

static void counts_add(struct store_counts *counts, const struct store_counts *delta) {
    counts->messages += delta->messages;
    counts->received += delta->received;
    counts->trace_due += delta->trace_due;
    counts->failed += delta->failed;
    for (int i = 0; i < 5; i++) counts->levels[i] += delta->levels[i];
    if (delta->last_seq > 0) counts->last_seq = delta->last_seq;
}

// One transaction for the list `head`; all of it or nothing.
static bool batch_commit(struct store *store, struct store_write *head, struct error *err) {
    struct store_counts delta = {0};
    bool ok = writer_exec(store, "BEGIN IMMEDIATE", err);
    for (struct store_write *w = head; ok && w != NULL; w = w->next) {
        for (int64_t i = 0; ok && i < w->n_messages; i++)
            ok = message_write(store, &w->messages[i], &delta, err);
        for (int64_t i = 0; ok && i < w->n_verdicts; i++)
            ok = verdict_write(store, &w->verdicts[i], &delta, err);
    }
    ok = ok && writer_exec(store, "COMMIT", err);
    if (!ok) {
        if (!sqlite3_get_autocommit(store->writer))
            sqlite3_exec(store->writer, "ROLLBACK", NULL, NULL, NULL);
        return false;
    }
    pthread_mutex_lock(&store->mu);
    counts_add(&store->counts, &delta);
    pthread_mutex_unlock(&store->mu);
    return true;
}

static void batch_write(struct store *store, struct store_write *head) {
    struct error err = {0};
    bool ok = batch_commit(store, head, &err);
    // A request too large for what is left of the disk must not take the small ones down with it.
    bool one_by_one = !ok && head->next != NULL;
    for (struct store_write *w = head, *next; w != NULL; w = next) {
        next = w->next;
        w->next = NULL;
        w->err = (struct error){0};
        w->ok = ok;
        if (one_by_one) w->ok = batch_commit(store, w, &w->err);
        else if (!ok) w->err = err;
        w->done(w->context, w); // w may be gone from here on
    }
}

static void *writer_main(void *context) {
    struct store *store = context;
    pthread_mutex_lock(&store->mu);
    for (;;) {
        while (store->head == NULL && !store->closing)
            pthread_cond_wait(&store->queued, &store->mu);
        if (store->head == NULL) break;
        struct store_write *first = store->head, *last = first;
        int64_t n_rows = first->n_messages + first->n_verdicts;
        while (last->next != NULL && n_rows < BATCH_ROWS) {
            last = last->next;
            n_rows += last->n_messages + last->n_verdicts;
        }
        store->head = last->next;
        if (store->head == NULL) store->tail = &store->head;
        last->next = NULL;
        pthread_mutex_unlock(&store->mu);
        batch_write(store, first);
        pthread_mutex_lock(&store->mu);
    }
    pthread_mutex_unlock(&store->mu);
    return NULL;
}

void store_submit(struct store *store, struct store_write *write) {
    write->next = NULL;
    pthread_mutex_lock(&store->mu);
    *store->tail = write;
    store->tail = &write->next;
    pthread_cond_signal(&store->queued);
    pthread_mutex_unlock(&store->mu);
}

struct sync_wait {
    pthread_mutex_t mu;
    pthread_cond_t cond;
    bool done; // guarded by mu
};

static void sync_done(void *context, struct store_write *write) {
    (void)write;
    struct sync_wait *wait = context;
    pthread_mutex_lock(&wait->mu);
    wait->done = true;
    pthread_cond_signal(&wait->cond);
    pthread_mutex_unlock(&wait->mu);
}

bool store_write_sync(struct store *store, struct store_write *write, struct error *err) {
    struct sync_wait wait = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
    write->done = sync_done;
    write->context = &wait;
    store_submit(store, write);
    pthread_mutex_lock(&wait.mu);
    while (!wait.done) pthread_cond_wait(&wait.cond, &wait.mu);
    pthread_mutex_unlock(&wait.mu);
    pthread_cond_destroy(&wait.cond);
    pthread_mutex_destroy(&wait.mu);
    return write->ok || error_set(err, write->err.code, "%s", write->err.text);
}

// --- reading ---

static bool rows_read(struct store *store, enum read_query query, store_row_fn *fn, void *context,
                      int64_t *n_rows, struct error *err) {
    sqlite3_stmt *s = store->reads[query];
    int status;
    *n_rows = 0;
    while ((status = sqlite3_step(s)) == SQLITE_ROW) {
        struct store_row row = {
            .id = (const char *)sqlite3_column_text(s, 0),
            .text = (const char *)sqlite3_column_text(s, 1),
            .text_bytes = (size_t)sqlite3_column_bytes(s, 1),
            .channel = (const char *)sqlite3_column_text(s, 2),
            .author = (const char *)sqlite3_column_text(s, 3),
            .sent_at = (const char *)sqlite3_column_text(s, 4),
            .message_seq = sqlite3_column_int64(s, 5),
            .received_ms = sqlite3_column_int64(s, 6),
            .state = (enum store_state)sqlite3_column_int(s, 7),
            .exercise = sqlite3_column_int(s, 8) != 0,
            .verdict_json = (const char *)sqlite3_column_text(s, 9),
            .verdict_seq = sqlite3_column_int64(s, 10),
            .level = sqlite3_column_type(s, 11) == SQLITE_NULL ? -1 : sqlite3_column_int(s, 11),
        };
        if (row.id == NULL || row.text == NULL) {
            status = SQLITE_NOMEM;
            break;
        }
        ++*n_rows;
        if (!fn(context, &row)) {
            status = SQLITE_DONE;
            break;
        }
    }
    bool ok = status == SQLITE_DONE || store_error(err, store->reader, store->path, "read");
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return ok;
}

static bool rows_query(struct store *store, enum read_query query, int64_t a, int64_t b,
                       int64_t limit, store_row_fn *fn, void *context, struct error *err) {
    int64_t n_rows;
    pthread_mutex_lock(&store->read_mu);
    sqlite3_stmt *s = store->reads[query];
    sqlite3_bind_int64(s, 1, a);
    sqlite3_bind_int64(s, 2, b);
    sqlite3_bind_int64(s, 3, limit);
    bool ok = rows_read(store, query, fn, context, &n_rows, err);
    pthread_mutex_unlock(&store->read_mu);
    return ok;
}

bool store_verdicts(struct store *store, int64_t since, int least_level, int64_t limit,
                    store_row_fn *fn, void *context, struct error *err) {
    return rows_query(store, READ_SINCE, since, least_level, limit, fn, context, err);
}

bool store_verdicts_last(struct store *store, int least_level, int64_t limit, store_row_fn *fn,
                         void *context, struct error *err) {
    return rows_query(store, READ_LAST, 0, least_level, limit, fn, context, err);
}

bool store_due(struct store *store, enum store_state state, int64_t limit, store_row_fn *fn,
               void *context, struct error *err) {
    return rows_query(store, state == STORE_TRACE_DUE ? READ_TRACE : READ_DUE, state, 0, limit, fn,
                      context, err);
}

bool store_find(struct store *store, const char *id, store_row_fn *fn, void *context,
                struct error *err) {
    int64_t n_rows;
    pthread_mutex_lock(&store->read_mu);
    text_bind(store->reads[READ_FIND], 1, id);
    bool ok = rows_read(store, READ_FIND, fn, context, &n_rows, err);
    pthread_mutex_unlock(&store->read_mu);
    if (ok && n_rows == 0) return error_set(err, ERR_NOTFOUND, "no message with id \"%.200s\"", id);
    return ok;
}

void store_counts(struct store *store, struct store_counts *out) {
    pthread_mutex_lock(&store->mu);
    *out = store->counts;
    pthread_mutex_unlock(&store->mu);
}

bool store_oldest_ms(struct store *store, int64_t *received_ms, struct error *err) {
    *received_ms = 0;
    pthread_mutex_lock(&store->read_mu);
    sqlite3_stmt *s = store->reads[READ_OLDEST];
    sqlite3_bind_int(s, 1, STORE_RECEIVED);
    int status = sqlite3_step(s);
    if (status == SQLITE_ROW) *received_ms = sqlite3_column_int64(s, 0);
    bool ok = status == SQLITE_ROW || status == SQLITE_DONE ||
              store_error(err, store->reader, store->path, "read");
    sqlite3_reset(s);
    pthread_mutex_unlock(&store->read_mu);
    return ok;
}

bool store_minutes(struct store *store, int64_t since_ms, store_minute_fn *fn, void *context,
                   struct error *err) {
    pthread_mutex_lock(&store->read_mu);
    sqlite3_stmt *s = store->reads[READ_MINUTES];
    sqlite3_bind_int64(s, 1, since_ms);
    int status;
    while ((status = sqlite3_step(s)) == SQLITE_ROW) {
        struct store_minute group = {
            .minute = sqlite3_column_int64(s, 0),
            .line = (const char *)sqlite3_column_text(s, 1),
            .level = sqlite3_column_int(s, 2),
            .n = sqlite3_column_int64(s, 3),
            .p_urgent_sum = sqlite3_column_double(s, 4),
            .distress_sum = sqlite3_column_double(s, 5),
        };
        if (group.line != NULL) fn(context, &group);
    }
    bool ok = status == SQLITE_DONE || store_error(err, store->reader, store->path, "read");
    sqlite3_reset(s);
    pthread_mutex_unlock(&store->read_mu);
    return ok;
}

// --- opening ---

static bool folder_lock(struct store *store, const char *folder, struct error *err) {
    char path[4096];
    if (!file_make_folders(folder, err) || !file_join(path, sizeof path, folder, "lock", err))
        return false;
    store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (store->lock_fd < 0)
        return error_set(err, ERR_IO, "%s: cannot write in this folder: %s", folder,
                         strerror(errno));
    if (flock(store->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return error_set(err, ERR_STATE, "%s: in use by another sillon (%s)", folder,
                         strerror(errno));
    return true;
}

static bool database_open(sqlite3 **out, const char *path, int flags, struct error *err) {
    if (sqlite3_open_v2(path, out, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL) ==
        SQLITE_OK) {
        sqlite3_busy_timeout(*out, 5000);
        return true;
    }
    if (*out == NULL) return error_set(err, ERR_NOMEM, "%s: out of memory", path);
    return store_error(err, *out, path, "cannot open");
}

static bool count_read(int64_t *out, sqlite3 *db, const char *sql, const char *name,
                       struct error *err) {
    sqlite3_stmt *stmt = NULL;
    bool ok = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK &&
              sqlite3_step(stmt) == SQLITE_ROW;
    if (ok) *out = sqlite3_column_int64(stmt, 0);
    else store_error(err, db, name, "count");
    sqlite3_finalize(stmt);
    return ok;
}

static bool counts_load(struct store *store, struct error *err) {
    struct store_counts *c = &store->counts;
    static const char level_sql[] = "SELECT count(*) FROM verdicts WHERE level=%d";
    if (!count_read(&c->messages, store->writer, "SELECT count(*) FROM messages", store->path,
                    err) ||
        !count_read(&c->received, store->writer, "SELECT count(*) FROM messages WHERE state=0",
                    store->path, err) ||
        !count_read(&c->trace_due, store->writer, "SELECT count(*) FROM messages WHERE state=2",
                    store->path, err) ||
        !count_read(&c->last_seq, store->writer, "SELECT coalesce(max(seq),0) FROM verdicts",
                    store->path, err))
        return false;
    for (int i = 0; i < 5; i++) {
        char sql[96];
        snprintf(sql, sizeof sql, level_sql, i);
        if (!count_read(&c->levels[i], store->writer, sql, store->path, err)) return false;
    }
    return true;
}

static bool writer_open(struct store *store, int64_t max_pages, struct error *err) {
    char quota[64];
    if (!database_open(&store->writer, store->path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                       err) ||
        !writer_exec(store,
                     "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON",
                     err) ||
        !store_migrate(store->writer, store_steps, store_n_steps, store->path, err))
        return false;
    // What failed last time (out of memory, a bad model) gets another chance.
    if (!writer_exec(store, "UPDATE messages SET state=0 WHERE state=3", err)) return false;
    snprintf(quota, sizeof quota, "PRAGMA max_page_count=%lld", (long long)max_pages);
    if (max_pages > 0 && !writer_exec(store, quota, err)) return false;
    return statements_prepare(store->writes, store->writer, write_sql, N_WRITES, store->path,
                              err) &&
           counts_load(store, err);
}

bool store_open(struct store **out, const struct store_options *options, struct error *err) {
    *out = NULL;
    struct store *store = calloc(1, sizeof *store);
    if (store == NULL) return error_set(err, ERR_NOMEM, "store %s: out of memory", options->folder);
    store->lock_fd = -1;
    store->tail = &store->head;
    pthread_mutex_init(&store->mu, NULL);
    pthread_mutex_init(&store->read_mu, NULL);
    pthread_cond_init(&store->queued, NULL);
    if (!folder_lock(store, options->folder, err) ||
        !file_join(store->path, sizeof store->path, options->folder, "sillon.db", err) ||
        !writer_open(store, options->max_pages, err) ||
        !database_open(&store->reader, store->path, SQLITE_OPEN_READONLY, err) ||
        !statements_prepare(store->reads, store->reader, read_sql, N_READS, store->path, err))
        goto fail;
    int status = pthread_create(&store->thread, NULL, writer_main, store);
    if (status != 0) {
        error_set(err, ERR_IO, "store: cannot start a thread: %s", strerror(status));
        goto fail;
    }
    store->running = true;
    *out = store;
    return true;
fail:
    store_close(store);
    return false;
}

void store_close(struct store *store) {
    if (store == NULL) return;
    if (store->running) {
        pthread_mutex_lock(&store->mu);
        store->closing = true;
        pthread_cond_signal(&store->queued);
        pthread_mutex_unlock(&store->mu);
        pthread_join(store->thread, NULL);
    }
    for (int i = 0; i < N_READS; i++) sqlite3_finalize(store->reads[i]);
    for (int i = 0; i < N_WRITES; i++) sqlite3_finalize(store->writes[i]);
    sqlite3_close(store->reader);
    sqlite3_close(store->writer); // the last one out folds the write-ahead log into the file
    if (store->lock_fd >= 0) close(store->lock_fd);
    pthread_cond_destroy(&store->queued);
    pthread_mutex_destroy(&store->read_mu);
    pthread_mutex_destroy(&store->mu);
    free(store);
}
