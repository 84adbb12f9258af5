// tests/store/test_store.c - what is acknowledged is kept: duplicates, restart, kill -9, full disk,
// migration.
#include "core/file.h"
#include "store/store.h"
#include "store/store_internal.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];

static int folder_make(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/sillon-store-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int folder_remove(void **state) {
    (void)state;
    static const char *const names[] = {"sillon.db", "sillon.db-wal", "sillon.db-shm", "lock"};
    for (size_t i = 0; i < 4; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

static struct store *open_ok(int64_t max_pages) {
    struct store *store;
    struct error err = {0};
    if (!store_open(&store, &(struct store_options){folder, max_pages}, &err))
        fail_msg("%s", err.text);
    return store;
}

static struct store_message message(const char *id, const char *text) {
    return (struct store_message){
        .id = id, .text = text, .channel = "sms", .received_ms = 60000 * 7};
}

static bool put(struct store *store, struct store_message *m, struct error *err) {
    struct store_write w = {.messages = m, .n_messages = 1};
    return store_write_sync(store, &w, err);
}

static struct store_verdict verdict(int64_t message_seq, int level, enum store_state state) {
    return (struct store_verdict){.message_seq = message_seq,
                                  .state = state,
                                  .level = level,
                                  .class_name = "medical",
                                  .line = "M13",
                                  .p_urgent = 0.5,
                                  .distress = 2,
                                  .json = "{\"id\":\"x\"}",
                                  .judged_ms = 60000 * 7 + 100};
}

static int64_t judge(struct store *store, int64_t message_seq, int level, enum store_state state) {
    struct error err = {0};
    struct store_verdict v = verdict(message_seq, level, state);
    struct store_write w = {.verdicts = &v, .n_verdicts = 1};
    if (!store_write_sync(store, &w, &err)) fail_msg("%s", err.text);
    return v.seq;
}

struct rows {
    int64_t n, seqs[64], verdict_seqs[64];
    char ids[64][32];
};

static bool rows_add(void *context, const struct store_row *row) {
    struct rows *rows = context;
    rows->seqs[rows->n] = row->message_seq;
    rows->verdict_seqs[rows->n] = row->verdict_seq;
    snprintf(rows->ids[rows->n++], 32, "%s", row->id);
    return rows->n < 64;
}

static void test_duplicates(void **state) {
    (void)state;
    struct error err = {0};
    struct store *store = open_ok(0);
    struct store_message batch[] = {message("a", "un"), message("b", "deux"), message("a", "un"),
                                    message("b", "x")};
    struct store_write w = {.messages = batch, .n_messages = 4};
    assert_true(store_write_sync(store, &w, &err));
    assert_int_equal(batch[0].outcome, STORE_STORED);
    assert_int_equal(batch[1].outcome, STORE_STORED);
    assert_int_equal(batch[2].outcome, STORE_SAME);
    assert_int_equal(batch[2].seq, batch[0].seq);
    assert_int_equal(batch[3].outcome, STORE_CONFLICT);
    struct store_counts counts;
    store_counts(store, &counts);
    assert_int_equal(counts.messages, 2);
    assert_int_equal(counts.received, 2);
    store_close(store);
}

static void test_states(void **state) {
    (void)state;
    struct error err = {0};
    struct store *store = open_ok(0);
    struct store_message batch[] = {message("a", "1"), message("b", "2"), message("c", "3"),
                                    message("d", "4")};
    struct store_write w = {.messages = batch, .n_messages = 4};
    assert_true(store_write_sync(store, &w, &err));
    struct rows rows = {0};
    assert_true(store_due(store, STORE_RECEIVED, 3, rows_add, &rows, &err));
    assert_int_equal(rows.n, 3);
    assert_string_equal(rows.ids[0], "a");
    assert_int_equal(judge(store, 1, 2, STORE_TRACE_DUE), 1);
    assert_int_equal(judge(store, 2, 4, STORE_TRACE_DUE), 2);
    assert_int_equal(judge(store, 3, 0, STORE_JUDGED), 3);
    int64_t oldest;
    assert_true(store_oldest_ms(store, &oldest, &err));
    assert_int_equal(oldest, 60000 * 7);
    rows.n = 0; // most urgent first
    assert_true(store_due(store, STORE_TRACE_DUE, 9, rows_add, &rows, &err));
    assert_int_equal(rows.n, 2);
    assert_string_equal(rows.ids[0], "b");
    assert_int_equal(judge(store, 2, 4, STORE_JUDGED), 4); // replaces verdict 2
    rows.n = 0;
    assert_true(store_verdicts(store, 1, 0, 9, rows_add, &rows, &err));
    assert_int_equal(rows.n, 2); // c then b again
    assert_int_equal(rows.verdict_seqs[0], 3);
    assert_int_equal(rows.verdict_seqs[1], 4);
    rows.n = 0;
    assert_true(store_verdicts_last(store, 2, 1, rows_add, &rows, &err));
    assert_int_equal(rows.n, 1);
    assert_string_equal(rows.ids[0], "b");
    assert_int_equal(judge(store, 4, -1, STORE_FAILED), 5);
    struct store_counts counts;
    store_counts(store, &counts);
    assert_int_equal(counts.received, 0);
    assert_int_equal(counts.trace_due, 1);
    assert_int_equal(counts.failed, 1);
    assert_int_equal(counts.levels[4], 1);
    assert_int_equal(counts.last_seq, 5);
    rows.n = 0;
    assert_true(store_find(store, "d", rows_add, &rows, &err));
    assert_false(store_find(store, "zz", rows_add, &rows, &err));
    assert_int_equal(err.code, ERR_NOTFOUND);
    store_close(store);
    store = open_ok(0); // the failed one is due again, the counts are found again
    store_counts(store, &counts);
    assert_int_equal(counts.received, 1);
    assert_int_equal(counts.failed, 0);
    assert_int_equal(counts.levels[4], 1);
    assert_int_equal(counts.last_seq, 5);
    store_close(store);
}

static void minute_add(void *context, const struct store_minute *group) {
    double *sum = context;
    assert_int_equal(group->minute, 7);
    assert_string_equal(group->line, "M13");
    assert_int_equal(group->n, 2);
    *sum += group->p_urgent_sum;
}

static void test_minutes(void **state) {
    (void)state;
    struct error err = {0};
    struct store *store = open_ok(0);
    struct store_message batch[] = {message("a", "1"), message("b", "2")};
    struct store_write w = {.messages = batch, .n_messages = 2};
    assert_true(store_write_sync(store, &w, &err));
    judge(store, 1, 3, STORE_JUDGED);
    judge(store, 2, 3, STORE_JUDGED);
    double sum = 0;
    assert_true(store_minutes(store, 0, minute_add, &sum, &err));
    assert_true(sum == 1.0);
    store_close(store);
}

// A child acknowledges on a pipe each message that was committed, and is killed at any moment:
// every id that came through the pipe is in the database.
static void test_kill(void **state) {
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct store *store;
        struct error err = {0};
        if (!store_open(&store, &(struct store_options){folder, 0}, &err)) _exit(1);
        for (int i = 0;; i++) {
            char id[16];
            snprintf(id, sizeof id, "k%06d", i);
            struct store_message m = message(id, "au secours");
            if (!put(store, &m, &err) || write(fds[1], id, 7) != 7) _exit(1);
        }
    }
    close(fds[1]);
    char id[8] = "", last[8] = "";
    int n = 0;
    while (read(fds[0], id, 7) == 7) {
        memcpy(last, id, 8);
        if (++n == 50) kill(child, SIGKILL);
    }
    close(fds[0]);
    waitpid(child, NULL, 0);
    assert_true(n >= 50);
    struct store *store = open_ok(0); // the lock went with the process
    struct store_counts counts;
    store_counts(store, &counts);
    printf("kill -9: %d acknowledged, %lld found\n", n, (long long)counts.messages);
    assert_true(counts.messages >= n);
    struct rows rows = {0};
    struct error err = {0};
    assert_true(store_find(store, last, rows_add, &rows, &err));
    store_close(store);
}

static void test_quota(void **state) {
    (void)state;
    struct store *store = open_ok(40);
    char *text = calloc(1, 8001);
    assert_non_null(text);
    memset(text, 'a', 8000);
    int n_ok = 0;
    struct error err = {0};
    for (; n_ok < 100; n_ok++) {
        char id[16];
        snprintf(id, sizeof id, "q%d", n_ok);
        struct store_message m = message(id, text);
        if (!put(store, &m, &err)) break;
    }
    printf("quota of 40 pages: %d stored, then: %s\n", n_ok, err.text);
    assert_in_range(n_ok, 1, 99);
    assert_int_equal(err.code, ERR_IO);
    assert_non_null(strstr(err.text, "full"));
    struct store_counts counts;
    store_counts(store, &counts);
    assert_int_equal(counts.messages, n_ok); // nothing of the refused one
    free(text);
    store_close(store);
    store = open_ok(0); // more room: it goes on
    struct error none = {0};
    struct store_message m = message("after", "la suite");
    assert_true(put(store, &m, &none));
    store_close(store);
}

// The system itself refuses to grow the file (RLIMIT_FSIZE), in a child as the limit cannot be
// raised again.
static void test_file_limit(void **state) {
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGXFSZ, SIG_IGN);
        struct store *store;
        struct error err = {0};
        if (!store_open(&store, &(struct store_options){folder, 0}, &err)) _exit(10);
        struct rlimit limit = {256 * 1024, 256 * 1024};
        setrlimit(RLIMIT_FSIZE, &limit);
        int n_ok = 0;
        for (;; n_ok++) {
            char id[16];
            snprintf(id, sizeof id, "f%d", n_ok);
            struct store_message m = message(id, "du texte");
            if (n_ok > 5000) _exit(11);
            if (!put(store, &m, &err)) break;
        }
        fprintf(stderr, "file limit of 256 KiB: %d stored, then: %s\n", n_ok, err.text);
        struct store_counts counts;
        store_counts(store, &counts);
        _exit(counts.messages == n_ok && n_ok > 0 && err.code == ERR_IO ? 0 : 12);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_locked(void **state) {
    (void)state;
    struct store *store = open_ok(0), *second;
    struct error err = {0};
    assert_false(store_open(&second, &(struct store_options){folder, 0}, &err));
    assert_int_equal(err.code, ERR_STATE);
    store_close(store);
    struct error where = {0};
    assert_false(store_open(&second, &(struct store_options){"/proc/nowhere", 0}, &where));
    assert_int_equal(where.code, ERR_IO);
}

static void sql_run(const char *path, const char *sql) {
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void test_foreign(void **state) {
    (void)state;
    char path[128];
    struct store *store;
    struct error other = {0}, newer = {0}, garbage = {0};
    snprintf(path, sizeof path, "%s/sillon.db", folder);
    sql_run(path, "CREATE TABLE of_another(x)");
    assert_false(store_open(&store, &(struct store_options){folder, 0}, &other));
    assert_non_null(strstr(other.text, "another program"));
    unlink(path);
    store_close(open_ok(0));
    sql_run(path, "PRAGMA user_version=99");
    assert_false(store_open(&store, &(struct store_options){folder, 0}, &newer));
    assert_non_null(strstr(newer.text, "newer"));
    unlink(path);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < 2000; i++) fputs("not a database at all ", f);
    fclose(f);
    assert_false(store_open(&store, &(struct store_options){folder, 0}, &garbage));
    assert_non_null(strstr(garbage.text, "not a SQLite database"));
}

static void test_migration(void **state) {
    (void)state;
    static const char *const v2[] = {"CREATE TABLE t(a); INSERT INTO t VALUES(1)",
                                     "ALTER TABLE t ADD b DEFAULT 7"};
    static const char *const bad[] = {"", "", "CREATE TABLE u(a); SELECT nonsense"};
    char path[128];
    sqlite3 *db;
    struct error err = {0}, broken = {0};
    snprintf(path, sizeof path, "%s/sillon.db", folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_true(store_migrate(db, v2, 1, "t", &err));
    assert_true(store_migrate(db, v2, 2, "t", &err)); // 1 -> 2 keeps the row
    assert_true(store_migrate(db, v2, 2, "t", &err)); // nothing left to do
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT a, b FROM t", -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(stmt, 0) * 10 + sqlite3_column_int(stmt, 1), 17);
    sqlite3_finalize(stmt);
    assert_false(store_migrate(db, bad, 3, "t", &broken)); // leaves version 2 as it was
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT * FROM u", -1, &stmt, NULL), SQLITE_ERROR);
    sqlite3_close(db);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_duplicates, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(test_states, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(test_minutes, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(test_kill, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(test_quota, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(test_file_limit, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(test_locked, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(test_foreign, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(test_migration, folder_make, folder_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
