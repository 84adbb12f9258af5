// tests/core/test_file.c - whole files, whole writes, and what a full disk or a wrong path says.
#include "check.h"
#include "core/file.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/sillon-test-XXXXXX";

static const char *in_folder(const char *name) {
    static char path[2][256];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[0], "%s/%s", folder, name);
    return path[turn];
}

static void expect_content(const char *path, const char *want, size_t n_want) {
    struct error err = {0};
    char *text = NULL;
    size_t n = 0;
    struct file_map map;
    CHECK(file_read(&text, &n, path, 0, &err) && n == n_want && memcmp(text, want, n) == 0 &&
              text[n] == '\0',
          "%s: %zu bytes %s", path, n, err.text);
    CHECK(file_map(&map, path, &err) && map.n_bytes == n_want &&
              (n_want == 0 || memcmp(map.data, want, n_want) == 0),
          "%s: mapped %zu bytes", path, map.n_bytes);
    file_unmap(&map);
    free(text);
}

static void test_round_trip(void) {
    struct error err = {0};
    const char *path = in_folder("a");
    CHECK(file_write_atomic(path, "abc\0def", 7, &err), "%s", err.text);
    expect_content(path, "abc\0def", 7);
    CHECK(file_write_atomic(path, "", 0, &err), "%s", err.text);
    expect_content(path, "", 0);
    size_t n = 300000;
    char *big = malloc(n);
    memset(big, 'x', n);
    CHECK(file_write_atomic(path, big, n, &err), "%s", err.text);
    expect_content(path, big, n);
    char *text;
    CHECK(!file_read(&text, NULL, path, n - 1, &err) && text == NULL && err.code == ERR_LIMIT,
          "limit: %s", err.text);
    CHECK(strstr(err.text, path) != NULL, "%s", err.text);
    error_reset(&err);
    CHECK(file_read(&text, NULL, path, n, &err), "exactly the limit: %s", err.text);
    free(text);
    free(big);
    // A file whose size is not known beforehand.
    CHECK(file_read(&text, &n, "/proc/self/status", 0, &err) && n > 10 &&
              strstr(text, "Name:") != NULL,
          "%s", err.text);
    free(text);
}

static void test_wrong_paths(void) {
    static const struct {
        const char *name;
        enum error_code code;
    } cases[] = {
        {"absent", ERR_NOTFOUND}, {".", ERR_INPUT}, {"absent/x", ERR_NOTFOUND}, {"a/x", ERR_IO}};
    for (int64_t i = 0; i < COUNT_OF(cases); i++) {
        struct error err = {0}, err2 = {0};
        char *text;
        struct file_map map;
        const char *path = in_folder(cases[i].name);
        CHECK(!file_read(&text, NULL, path, 0, &err) && text == NULL && err.code == cases[i].code,
              "%s: %s", path, err.text);
        CHECK(!file_map(&map, path, &err2) && map.data == NULL && err2.code == cases[i].code,
              "%s: %s", path, err2.text);
        CHECK(strstr(err.text, path) != NULL && strstr(err2.text, path) != NULL, "%s", err.text);
        printf("  %s\n", err.text);
    }
    struct error err = {0};
    CHECK(!file_write_atomic(in_folder("absent/x"), "a", 1, &err) && err.code == ERR_IO, "%s",
          err.text);
    error_reset(&err);
    CHECK(file_write_atomic(in_folder("b"), "a", 1, &err) && mkdir(in_folder("d"), 0755) == 0, "%s",
          err.text);
    CHECK(!file_write_atomic(in_folder("d"), "a", 1, &err) && err.code == ERR_IO,
          "wrote over a folder");
    CHECK(!file_exists(in_folder("d.tmp")), "the temporary file stays");
}

// RLIMIT_FSIZE stands for a full disk: the write fails half way, the old file stays and the new one
// is removed.
static void test_full_disk(void) {
    struct error err = {0};
    const char *path = in_folder("kept");
    CHECK(file_write_atomic(path, "old", 3, &err), "%s", err.text);
    struct rlimit before, small;
    getrlimit(RLIMIT_FSIZE, &before);
    small = (struct rlimit){65536, before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    size_t n = 1 << 20;
    char *big = calloc(1, n);
    setrlimit(RLIMIT_FSIZE, &small);
    bool ok = file_write_atomic(path, big, n, &err);
    setrlimit(RLIMIT_FSIZE, &before);
    free(big);
    CHECK(!ok && err.code == ERR_IO, "a full disk was not seen");
    CHECK(strstr(err.text, "65536 of 1048576") != NULL, "%s", err.text);
    printf("  %s\n", err.text);
    expect_content(path, "old", 3);
    CHECK(!file_exists(in_folder("kept.tmp")), "the temporary file stays");
    // The real thing, through a link: rename replaces the link only on success.
    error_reset(&err);
    CHECK(symlink("/dev/full", in_folder("full.tmp")) == 0, "symlink");
    CHECK(!file_write_atomic(in_folder("full"), "abc", 3, &err) && err.code == ERR_IO,
          "/dev/full accepted");
    CHECK(strstr(err.text, "No space left") != NULL, "%s", err.text);
    CHECK(!file_exists(in_folder("full")), "a file that was not written is there");
}

static void test_folders(void) {
    struct error err = {0};
    CHECK(file_make_folders(in_folder("x/y/z"), &err) && file_is_folder(in_folder("x/y/z")), "%s",
          err.text);
    CHECK(file_make_folders(in_folder("x/y/z/"), &err), "again, with a slash: %s", err.text);
    CHECK(!file_make_folders(in_folder("b/c"), &err) && err.code == ERR_IO, "through a file");
    error_reset(&err);
    CHECK(!file_make_folders(in_folder("b"), &err) && err.code == ERR_IO, "over a file");
    error_reset(&err);
    char out[8];
    CHECK(file_join(out, sizeof out, "ab", "cdef", &err) && strcmp(out, "ab/cdef") == 0, "%s", out);
    CHECK(!file_join(out, sizeof out, "ab", "cdefg", &err) && err.code == ERR_LIMIT, "%s", out);
    CHECK(!file_is_folder(in_folder("b")) && file_exists(in_folder("b")) &&
              !file_exists(in_folder("q")),
          "kinds");
}

int main(void) {
    if (mkdtemp(folder) == NULL) {
        printf("no temporary folder: skipped\n");
        return 77;
    }
    test_round_trip();
    test_wrong_paths();
    test_full_disk();
    test_folders();
    static const char *const names[] = {"a", "b", "kept", "full.tmp"};
    for (int64_t i = 0; i < COUNT_OF(names); i++) unlink(in_folder(names[i]));
    static const char *const folders[] = {"d", "x/y/z", "x/y", "x", ""};
    for (int64_t i = 0; i < COUNT_OF(folders); i++) rmdir(in_folder(folders[i]));
    CHECK(!file_exists(folder), "%s is not empty", folder);
    return n_failed > 0;
}
