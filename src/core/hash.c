// core/hash.c - thin over libsodium.
#include "core/hash.h"

#include "core/file.h"

#include <sodium.h>

void hash_sha256_hex(char out[HASH_HEX_BYTES], const void *data, size_t n_bytes) {
    unsigned char digest[crypto_hash_sha256_BYTES];
    static const unsigned char nothing[1];
    crypto_hash_sha256(digest, data != NULL ? data : nothing, n_bytes);
    sodium_bin2hex(out, HASH_HEX_BYTES, digest, sizeof digest);
}

bool hash_file_sha256_hex(char out[HASH_HEX_BYTES], const char *path, struct error *err) {
    struct file_map map;
    if (!file_map(&map, path, err)) return false;
    hash_sha256_hex(out, map.data, map.n_bytes);
    file_unmap(&map);
    return true;
}
