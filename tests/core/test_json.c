// tests/core/test_json.c - what is refused, and the sentences a person reads.
#include "check.h"
#include "core/json.h"

#include <stdlib.h>
#include <string.h>

static void test_refused(void) {
    static const struct {
        const char *text;
        size_t n;
        const char *says;
    } cases[] = {
        {"", 0, "f.json: not JSON at line 1"},
        {"{\"a\":1,\"a\":2}", 13, "duplicate"},
        {"{\"a\":1} x", 9, "end of file expected"},
        {"{\"a\":\n 1,}", 10, "line 2"},
        {"\"a\\u0000b\"", 10, "\\u0000"},
        {"\"\xFF\"", 3, "byte 0xff"},
        {"[1e999]", 7, "real number overflow"},
        {"[99999999999999999999]", 22, "too big integer"},
        {"nan", 3, "not JSON"},
        {"{\"a\":1", 6, "f.json"},
    };
    for (int64_t i = 0; i < COUNT_OF(cases); i++) {
        struct error err = {0};
        json_t *root = (json_t *)&err;
        bool ok = json_parse(&root, cases[i].text, cases[i].n, "f.json", &err);
        CHECK(!ok && root == NULL && err.code == ERR_INPUT, "%s: accepted", cases[i].text);
        CHECK(strstr(err.text, cases[i].says) != NULL, "%s: \"%s\" does not say \"%s\"",
              cases[i].text, err.text, cases[i].says);
    }
    // Nesting that would exhaust the stack is refused.
    enum { DEEP = 100000 };
    char *deep = malloc(DEEP);
    memset(deep, '[', DEEP);
    struct error err = {0};
    json_t *root;
    CHECK(!json_parse(&root, deep, DEEP, "deep", &err) && err.text[0] != '\0',
          "deep nesting accepted");
    free(deep);
}

static void test_readers(void) {
    static const char text[] =
        "{\"i\":42,\"f\":1.5,\"b\":true,\"s\":\"quai\",\"z\":null,\"o\":{},\"l\":[1]}";
    struct error err = {0};
    json_t *root;
    CHECK(json_parse(&root, text, strlen(text), "t", &err), "%s", err.text);
    int64_t i = -1;
    double f = -1;
    bool b = false;
    const char *s = "kept";
    CHECK(json_get_i64(&i, root, "i", true, "t", &err) && i == 42, "i64");
    CHECK(json_get_f64(&f, root, "f", true, "t", &err) && f == 1.5, "f64");
    CHECK(json_get_f64(&f, root, "i", true, "t", &err) && f == 42, "an integer is a number");
    CHECK(json_get_bool(&b, root, "b", true, "t", &err) && b, "bool");
    CHECK(json_get_string(&s, root, "z", false, "t", &err) && strcmp(s, "kept") == 0, "null keeps");
    CHECK(json_get_string(&s, root, "absent", false, "t", &err) && strcmp(s, "kept") == 0,
          "absent keeps");
    CHECK(json_get_string(&s, root, "s", true, "t", &err) && strcmp(s, "quai") == 0, "string");
    CHECK(err.code == ERR_NONE, "%s", err.text);
    const char *want[] = {"t: \"s\" must be an integer, not string",
                          "t: \"o\" must be a number, not object",
                          "t: \"l\" must be true or false, not array",
                          "t: \"f\" must be a string, not real",
                          "t: \"absent\" is missing",
                          "t: \"z\" is missing"};
    for (int k = 0; k < 6; k++) {
        struct error e = {0};
        bool ok = k == 0   ? json_get_i64(&i, root, "s", false, "t", &e)
                  : k == 1 ? json_get_f64(&f, root, "o", false, "t", &e)
                  : k == 2 ? json_get_bool(&b, root, "l", false, "t", &e)
                  : k == 3 ? json_get_string(&s, root, "f", false, "t", &e)
                  : k == 4 ? json_get_i64(&i, root, "absent", true, "t", &e)
                           : json_get_f64(&f, root, "z", true, "t", &e);
        CHECK(!ok && e.code == ERR_INPUT && strcmp(e.text, want[k]) == 0, "got \"%s\", want \"%s\"",
              e.text, want[k]);
    }
    json_decref(root);
}

int main(void) {
    test_refused();
    test_readers();
    return n_failed > 0;
}
