// Fuzzes the weight files: any bytes as a GGUF file, and as a safetensors file beside a good
// config.json, open or leave one line that says why not; what opens can be read. libFuzzer, by
// `make fuzz`. Seeds: small GGUF files are made by the program itself when it starts with an empty
// corpus.
#include <stdio.h>
#include <unistd.h>

#include "base/fs.h"
#include "gguf_fixture.h"
#include "model/weights_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

static void read_all(const mla_weights *weights) {
    for (size_t i = 0; i < weights->n_tensors; i++) {
        const mla__tensor *t = &weights->tensors[i];
        mla_err err = {0};
        float *values = MLA_NEW_ARRAY(float, t->rows * t->cols);
        if (mla_weights_read(weights, t->name, values, t->rows, t->cols, &err) < 0)
            MLA_ASSERT(strstr(err.text, "no finite number"));
        free(values);
    }
    const mla_vocab *vocab = mla_weights_vocab(weights);
    for (size_t i = 0; i < vocab->n; i++) MLA_ASSERT(strlen(vocab->tokens[i]) < SIZE_MAX);
    MLA_ASSERT(vocab->eos < (vocab->n ? (int32_t)vocab->n : weights->config.vocab));
}

static void try_open(const char *path) {
    mla_err err = {0};
    mla_weights *weights = mla_weights_open(path, &err);
    if (weights) read_all(weights);
    else MLA_ASSERT(*err.text && !strchr(err.text, '\n'));
    mla_weights_close(weights);
}

static void write_file(const char *path, const void *bytes, size_t len) {
    FILE *file = fopen(path, "wb");
    MLA_ASSERT(file && fwrite(bytes, 1, len, file) == len && fclose(file) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char config[] = "{\"model_type\":\"llama\",\"vocab_size\":8,\"hidden_size\":8,"
        "\"num_hidden_layers\":1,\"num_attention_heads\":2,\"num_key_value_heads\":1,"
        "\"intermediate_size\":6,\"max_position_embeddings\":64,\"tie_word_embeddings\":true}";
    char dir[64], path[128];
    mla_err err;
    snprintf(dir, sizeof dir, "/dev/shm/mla-fuzz-%d", (int)getpid());
    MLA_ASSERT(mla_fs_mkdirs(dir, &err) == 0);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    write_file(path, data, size);
    if (size >= 4 && !memcmp(data, "GGUF", 4)) {
        try_open(path);
    } else {
        snprintf(path, sizeof path, "%s/config.json", dir);
        write_file(path, config, sizeof config - 1);
        try_open(dir);
        snprintf(path, sizeof path, "%s/tokenizer.json", dir);
        write_file(path, data, size);
        try_open(dir);
    }
    return mla_fs_remove_tree(dir, &err);
}

// Every input grows from a whole tiny model, since chance would not find one.
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
    if (size > 24) return LLVMFuzzerMutate(data, size, max_size);
    gguf_file f;
    mla_buf bytes;
    const char *arch = seed & 1 ? "llama" : "qwen2";
    gguf_begin(&f);
    gguf_tiny_keys(&f, arch);
    gguf_tiny_tensors(&f, !(seed & 1), NULL);
    gguf_finish(&f, &bytes);
    size_t len = bytes.len < max_size ? bytes.len : max_size;
    memcpy(data, bytes.data, len);
    mla_buf_clear(&bytes);
    return seed & 2 ? len : LLVMFuzzerMutate(data, len, max_size);
}
