// core/hash.h - SHA-256 (libsodium), as lower-case hex.
#ifndef CORE_HASH_H
#define CORE_HASH_H

#include "core/error.h"

enum { HASH_HEX_BYTES = 65 };
void hash_sha256_hex(char out[HASH_HEX_BYTES], const void *data, size_t n_bytes);
NODISCARD bool hash_file_sha256_hex(char out[HASH_HEX_BYTES], const char *path, struct error *err);

#endif
