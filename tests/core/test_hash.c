// tests/core/test_hash.c - SHA-256 against FIPS 180-4's examples.
#include "check.h"
#include "core/file.h"
#include "core/hash.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(void) {
    static const struct {
        const char *text, *hex;
    } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    char path[] = "/tmp/sillon-hash-XXXXXX", hex[HASH_HEX_BYTES];
    int fd = mkstemp(path);
    if (fd < 0) return printf("no temporary file: skipped\n"), 77;
    close(fd);
    for (int64_t i = 0; i < COUNT_OF(cases); i++) {
        struct error err = {0};
        hash_sha256_hex(hex, cases[i].text, strlen(cases[i].text));
        CHECK(strcmp(hex, cases[i].hex) == 0, "\"%s\": %s", cases[i].text, hex);
        CHECK(file_write_atomic(path, cases[i].text, strlen(cases[i].text), &err) &&
                  hash_file_sha256_hex(hex, path, &err) && strcmp(hex, cases[i].hex) == 0,
              "file \"%s\": %s %s", cases[i].text, hex, err.text);
    }
    hash_sha256_hex(hex, NULL, 0);
    CHECK(strcmp(hex, cases[0].hex) == 0, "NULL: %s", hex);
    unlink(path);
    struct error err = {0};
    CHECK(!hash_file_sha256_hex(hex, path, &err) && err.code == ERR_NOTFOUND, "%s", err.text);
    return n_failed > 0;
}
