// Tokenises a file of texts with a model's tokenizer: our half of tools/check_tokenizer.py, which
// compares the ids with Hugging Face's. Not a test by itself.
//
// usage: tokenize_file MODEL TEXTS IDS
//   TEXTS  for each text a 4-byte length and its bytes, whatever they are (little-endian)
//   IDS    written: for each text a 4-byte count and 4-byte ids
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fs.h"
#include "base/mem.h"
#include "policy/tokenizer.h"

enum { MOST = 1 << 30 };

static mla_tokenizer *open_tokenizer(const char *model, mla_err *err) {
    mla_weights *weights = mla_weights_open(model, err);
    if (!weights) return NULL;
    mla_tokenizer *tok = mla_tokenizer_create(mla_weights_vocab(weights), err);
    mla_weights_close(weights);
    return tok;
}

static double processor_seconds(void) {
    return (double)clock() / CLOCKS_PER_SEC;
}

// Tokenises every text; seconds spent on it, or -1 when the records do not add up.
static double tokenize(const mla_tokenizer *tok, const mla_buf *texts, mla_ids *out) {
    double took = 0;
    for (size_t at = 0; at < texts->len;) {
        uint32_t len;
        if (texts->len - at < sizeof len) return -1;
        memcpy(&len, texts->data + at, sizeof len);
        at += sizeof len;
        if (texts->len - at < len) return -1;
        size_t count_at = out->len;
        mla_ids_push(out, 0);
        double began = processor_seconds();
        mla_tokenizer_encode(tok, texts->data + at, len, out);
        took += processor_seconds() - began;
        out->data[count_at] = (int32_t)(out->len - count_at - 1);
        at += len;
    }
    return took;
}

static int run(char **argv, mla_err *err) {
    mla_buf texts;
    mla_ids ids = {0};
    mla_tokenizer *tok = open_tokenizer(argv[1], err);
    int rc = tok ? mla_fs_read(argv[2], MOST, &texts, err) : -1;
    if (rc == 0) {
        double took = tokenize(tok, &texts, &ids);
        rc = took < 0 ? mla_err_set(err, "%s: the last record is cut off", argv[2])
                      : mla_fs_write(argv[3], ids.data, ids.len * sizeof *ids.data, err);
        if (rc == 0) printf("%.2f MB/s\n", (double)texts.len / took * 1e-6);
        mla_buf_clear(&texts);
    }
    mla_ids_clear(&ids);
    mla_tokenizer_free(tok);
    return rc;
}

int main(int argc, char **argv) {
    mla_err err = {{0}};
    if (argc != 4) {
        fprintf(stderr, "usage: tokenize_file MODEL TEXTS IDS\n");
        return 2;
    }
    if (run(argv, &err) == 0) return 0;
    fprintf(stderr, "tokenize_file: %s\n", err.text);
    return 1;
}
