// SHA-256 by OpenSSL's libcrypto.
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"

static void finish(EVP_MD_CTX *ctx, char hex[65]) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int n = 0;
    MLA_ASSERT(EVP_DigestFinal_ex(ctx, digest, &n) == 1 && n == 32);
    for (unsigned int i = 0; i < n; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

static EVP_MD_CTX *begin(void) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    MLA_ASSERT(ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1);
    return ctx;
}

void mla_sha256(const void *bytes, size_t len, char hex[65]) {
    EVP_MD_CTX *ctx = begin();
    MLA_ASSERT(EVP_DigestUpdate(ctx, bytes, len) == 1);
    finish(ctx, hex);
    EVP_MD_CTX_free(ctx);
}

int mla_sha256_file(const char *path, char hex[65], mla_err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return mla_err_set(err, "%s: cannot open: %s", path, strerror(errno));
    EVP_MD_CTX *ctx = begin();
    char chunk[65536];
    ssize_t n;
    while ((n = read(fd, chunk, sizeof chunk)) > 0 || (n < 0 && errno == EINTR)) {
        if (n > 0) MLA_ASSERT(EVP_DigestUpdate(ctx, chunk, (size_t)n) == 1);
    }
    int rc = n < 0 ? mla_err_set(err, "%s: cannot read: %s", path, strerror(errno)) : 0;
    if (rc == 0) finish(ctx, hex);
    EVP_MD_CTX_free(ctx);
    close(fd);
    return rc;
}
