// The teacher: probabilities for every record, the same twice, and each malformed file refused.
#include "core/buf.h"
#include "core/file.h"
#include "forge/teacher.h"

#include "check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/sillon-teacher-XXXXXX";

static const char *path_in(char out[96], const char *name) {
    snprintf(out, 96, "%s/%s", folder, name);
    return out;
}

static void write_text(const char *name, const char *text, size_t n_bytes) {
    char path[96];
    struct error err = {0};
    CHECK(file_write_atomic(path_in(path, name), text, n_bytes, &err));
}

static void test_round(void) {
    static const char *const words[2] = {"retard du train", "malaise sur le quai"};
    char in[96], out[96], again[96];
    struct buf b = {0};
    for (int i = 0; i < 40; i++)
        buf_printf(&b,
                   "{\"id\":\"a01-%04d\",\"text\":\"message %d, %s\",\"urgency\":\"U%d\",\"class\":"
                   "\"%s\",\"source\":\"witness\"}\n",
                   i, i * 37, words[i % 2], i % 2 ? 3 : 1, i % 2 ? "medical" : "traffic");
    CHECK(buf_ok(&b));
    write_text("in", b.data, b.n_bytes);
    buf_release(&b);
    struct error err = {0};
    int64_t n = 0;
    bool ok = teacher_write(path_in(in, "in"), path_in(out, "out"), &n, &err);
    ok = ok && teacher_write(in, path_in(again, "again"), &n, &err);
    if (!ok) {
        fprintf(stderr, "%s\n", err.text);
        n_failed++;
        return;
    }
    CHECK(n == 40);
    char *x, *y;
    size_t nx, ny;
    if (file_read(&x, &nx, out, 0, &err)) {
        if (file_read(&y, &ny, again, 0, &err)) {
            CHECK(nx == ny && memcmp(x, y, nx) == 0);
            free(y);
        }
        free(x);
    }
    struct teacher *t = NULL;
    if (!teacher_open(&t, out, &err)) {
        fprintf(stderr, "%s\n", err.text);
        n_failed++;
        return;
    }
    for (int i = 0; i < 40; i++) {
        char id[32];
        snprintf(id, sizeof id, "a01-%04d", i);
        const float *p = teacher_find(t, id);
        CHECK(p != NULL);
        if (p == NULL) continue;
        float sum = 0;
        for (int l = 0; l < N_LEVELS; l++) {
            CHECK(p[l] >= 0 && p[l] <= 1);
            sum += p[l];
        }
        CHECK(fabsf(sum - 1) < 1e-3f);
        CHECK(p[i % 2 ? 3 : 1] > 0.5f); // learned from the other folds
        strcat(id, "~12");
        CHECK(teacher_find(t, id) == p); // a variant has its seed's
    }
    CHECK(teacher_find(t, "a01-9999") == NULL && teacher_find(t, "") == NULL);
    teacher_close(t);
}

static void test_refused(void) {
    static const struct {
        const char *text, *says; // NULL: accepted
    } cases[] = {
        {"", NULL},
        {"{\"id\":\"a\",\"p\":[1,0,0,0,0]}\n\n{\"id\":\"b\",\"p\":[0,0,0,0,1]}", NULL},
        {"{\"id\":\"a\"}\n", ":1"},
        {"{\"p\":[1,0,0,0,0]}\n", "\"id\""},
        {"{\"id\":3,\"p\":[1,0,0,0,0]}\n", "\"id\""},
        {"{\"id\":\"a\",\"p\":[1,0,0,0]}\n", "5 numbers"},
        {"{\"id\":\"a\",\"p\":{}}\n", "5 numbers"},
        {"{\"id\":\"a\",\"p\":[1,0,0,0,\"x\"]}\n", "p[4]"},
        {"{\"id\":\"a\",\"p\":[1,0,0,0,-0.1]}\n", "p[4]"},
        {"{\"id\":\"a\",\"p\":[2,0,0,0,0]}\n", "p[0]"},
        {"{\"id\":\"a\",\"p\":[1,0,0,0,0]}\nnonsense\n", ":2"},
        {"[]\n", ":1"},
    };
    char path[96], out[96];
    for (int64_t i = 0; i < COUNT_OF(cases); i++) {
        struct teacher *t = NULL;
        struct error err = {0};
        write_text("t", cases[i].text, strlen(cases[i].text));
        bool ok = teacher_open(&t, path_in(path, "t"), &err);
        if (ok != (cases[i].says == NULL) || ok != (t != NULL) ||
            (!ok && strstr(err.text, cases[i].says) == NULL)) {
            fprintf(stderr, "%s:%d: case %d: got %d \"%s\"\n", __FILE__, __LINE__, (int)i, ok,
                    err.text);
            n_failed++;
        }
        teacher_close(t);
    }
    struct error err = {0};
    struct teacher *t;
    CHECK(!teacher_open(&t, path_in(path, "none"), &err) && t == NULL);
    error_reset(&err);
    write_text("in", "", 0);
    CHECK(!teacher_write(path_in(path, "in"), path_in(out, "out"), NULL, &err));
    CHECK(strstr(err.text, "0 records") != NULL);
    error_reset(&err);
    write_text("in", "{\"id\":\"a\"}\n", 11);
    CHECK(!teacher_write(path, out, NULL, &err) && strstr(err.text, ":1") != NULL);
    teacher_close(NULL);
}

int main(void) {
    if (mkdtemp(folder) == NULL) return 1;
    test_round();
    test_refused();
    static const char *const names[] = {"in", "out", "again", "t"};
    char path[96];
    for (int i = 0; i < 4; i++) unlink(path_in(path, names[i]));
    rmdir(folder);
    return n_failed > 0;
}
