// store/schema.c - the tables, version by version. A step, once released, is never edited: add the
// next one.
#include "store/store_internal.h"

#include <stdio.h>
#include <string.h>

const char *const store_steps[] = {
    // 0 -> 1. seq is the order of arrival (messages) or of judgement (verdicts); AUTOINCREMENT
    // never reuses one, so
    // "everything after N" stays true when a verdict is replaced.
    "CREATE TABLE messages("
    " seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, received_ms INTEGER NOT "
    "NULL, sent_at TEXT,"
    " channel TEXT, author TEXT, text TEXT NOT NULL, exercise INTEGER NOT NULL, state INTEGER NOT "
    "NULL);"
    "CREATE INDEX messages_state ON messages(state, seq);"
    "CREATE TABLE verdicts("
    " seq INTEGER PRIMARY KEY AUTOINCREMENT, message_seq INTEGER NOT NULL UNIQUE REFERENCES "
    "messages(seq),"
    " received_ms INTEGER NOT NULL, judged_ms INTEGER NOT NULL, level INTEGER NOT NULL, class "
    "TEXT, line TEXT,"
    " station TEXT, p_urgent REAL NOT NULL, distress REAL NOT NULL, json TEXT NOT NULL);"
    "CREATE INDEX verdicts_minute ON verdicts(received_ms, line, level, p_urgent, distress);",
};
const int store_n_steps = (int)(sizeof store_steps / sizeof store_steps[0]);

bool store_error(struct error *err, sqlite3 *db, const char *name, const char *what) {
    int code = sqlite3_errcode(db) & 0xff;
    if (code == SQLITE_FULL)
        return error_set(err, ERR_IO, "%s: %s: the disk (or the quota) is full", name, what);
    if (code == SQLITE_NOTADB)
        return error_set(err, ERR_INPUT, "%s: is not a SQLite database", name);
    if (code == SQLITE_IOERR && sqlite3_system_errno(db) != 0)
        return error_set(err, ERR_IO, "%s: %s: %s", name, what, strerror(sqlite3_system_errno(db)));
    if (code == SQLITE_NOMEM) return error_set(err, ERR_NOMEM, "%s: %s: out of memory", name, what);
    return error_set(err, ERR_IO, "%s: %s: %s", name, what, sqlite3_errmsg(db));
}

static bool pragma_read(int *out, sqlite3 *db, const char *sql, const char *name,
                        struct error *err) {
    sqlite3_stmt *stmt = NULL;
    bool ok = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK &&
              sqlite3_step(stmt) == SQLITE_ROW;
    if (ok) *out = sqlite3_column_int(stmt, 0);
    else store_error(err, db, name, sql);
    sqlite3_finalize(stmt);
    return ok;
}

bool store_migrate(sqlite3 *db, const char *const *steps, int n_steps, const char *name,
                   struct error *err) {
    int application, version, n_tables;
    if (!pragma_read(&application, db, "PRAGMA application_id", name, err) ||
        !pragma_read(&version, db, "PRAGMA user_version", name, err) ||
        !pragma_read(&n_tables, db, "SELECT count(*) FROM sqlite_schema", name, err))
        return false;
    if (application != STORE_APPLICATION_ID && (application != 0 || version != 0 || n_tables != 0))
        return error_set(err, ERR_INPUT, "%s: is a database of another program (application_id %d)",
                         name, application);
    if (version > n_steps)
        return error_set(err, ERR_STATE,
                         "%s: schema version %d was written by a newer sillon; this one knows %d",
                         name, version, n_steps);
    for (; version < n_steps; version++) {
        char tail[128];
        snprintf(tail, sizeof tail, "PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT",
                 STORE_APPLICATION_ID, version + 1);
        if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK ||
            sqlite3_exec(db, steps[version], NULL, NULL, NULL) != SQLITE_OK ||
            sqlite3_exec(db, tail, NULL, NULL, NULL) != SQLITE_OK) {
            store_error(err, db, name, "migration failed");
            sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
            return false;
        }
    }
    return true;
}
