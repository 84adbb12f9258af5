// tests/core/test_yaml.c - a schema to a struct; errors name the key and the line.
#include "check.h"
#include "core/yaml.h"

#include <string.h>

struct settings {
    char *name;
    unsigned threads;
    struct {
        float rate;
    } inner;
};
static const struct cyaml_schema_field inner_fields[] = {
    CYAML_FIELD_FLOAT("rate", CYAML_FLAG_DEFAULT, struct settings, inner.rate), CYAML_FIELD_END};
static const struct cyaml_schema_field fields[] = {
    CYAML_FIELD_STRING_PTR("name", CYAML_FLAG_POINTER, struct settings, name, 0, CYAML_UNLIMITED),
    CYAML_FIELD_UINT("threads", CYAML_FLAG_OPTIONAL, struct settings, threads),
    {.key = "inner",
     .value = {.type = CYAML_MAPPING,
               .flags = CYAML_FLAG_OPTIONAL,
               .data_size = sizeof(struct settings),
               .mapping = {.fields = inner_fields}},
     .data_offset = 0},
    CYAML_FIELD_END};
static const struct cyaml_schema_value schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct settings, fields)};

int main(void) {
    struct error err = {0};
    struct settings *s;
    static const char good[] = "# a comment\nname: quai\nthreads: 3\ninner:\n  rate: 0.5\n";
    CHECK(yaml_load((void **)&s, good, strlen(good), "s.yaml", &schema, &err), "%s", err.text);
    if (err.code == ERR_NONE) {
        CHECK(strcmp(s->name, "quai") == 0 && s->threads == 3 && s->inner.rate == 0.5f, "%s %u %g",
              s->name, s->threads, (double)s->inner.rate);
        yaml_release(s, &schema);
    }
    static const struct {
        const char *text, *says[3];
    } bad[] = {
        {"", {"s.yaml", NULL}},
        {"name: quai\nthreds: 3\n", {"s.yaml", "threds", NULL}},
        {"threads: 3\n", {"s.yaml", "name", NULL}},
        {"name: quai\nthreads: many\n", {"threads", "many", "line: 2"}},
        {"name: quai\nthreads: -1\n", {"threads", "line: 2", NULL}},
        {"name: quai\n\ninner:\n  rate: fast\n", {"rate", "fast", "line: 4"}},
        {"name: quai\ninner:\n  speed: 1\n", {"speed", "line: 3", NULL}},
        {"name: [a, b]\n", {"name", NULL}},
        {"- a\n- b\n", {"s.yaml", NULL}},
        {"name: \"quai\n", {"s.yaml", NULL}},
        {"name: quai\n  threads: 3\n", {"s.yaml", "name", "line: 1"}},
        {"\xFF\xFE\xFD", {"s.yaml", NULL}},
    };
    for (int64_t i = 0; i < COUNT_OF(bad); i++) {
        struct error e = {0};
        s = NULL;
        bool ok = yaml_load((void **)&s, bad[i].text, strlen(bad[i].text), "s.yaml", &schema, &e);
        CHECK(!ok && s == NULL && e.code == ERR_INPUT, "case %lld accepted", (long long)i);
        printf("  %s\n", e.text);
        for (int k = 0; k < 3 && bad[i].says[k] != NULL; k++)
            CHECK(strstr(e.text, bad[i].says[k]) != NULL, "case %lld: \"%s\" does not say \"%s\"",
                  (long long)i, e.text, bad[i].says[k]);
        if (ok) yaml_release(s, &schema);
    }
    struct error e = {0};
    CHECK(!yaml_load_file((void **)&s, "/nonexistent/x.yaml", &schema, &e) &&
              e.code == ERR_NOTFOUND,
          "%s", e.text);
    yaml_release(NULL, &schema);
    return n_failed > 0;
}
