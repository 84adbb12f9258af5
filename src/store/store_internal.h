// store/store_internal.h - the schema, for store.c and its tests.
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include "core/error.h"

#include <sqlite3.h>

enum { STORE_APPLICATION_ID = 0x53494c4c }; // "SILL" in the file's header

// steps[i] brings a database from version i to i + 1; each runs in one transaction with its version
// number, so an interrupted migration is taken up where it was. A database of a later version is
// refused untouched.
NODISCARD bool store_migrate(sqlite3 *db, const char *const *steps, int n_steps, const char *name,
                             struct error *err);
extern const char *const store_steps[];
extern const int store_n_steps;

// error_set() with SQLite's words; a full disk is named as such.
bool store_error(struct error *err, sqlite3 *db, const char *name, const char *what);

#endif
