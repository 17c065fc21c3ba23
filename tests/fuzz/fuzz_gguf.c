// Fuzzes the weight files: any bytes as a GGUF file, and in a Hugging Face folder as each of its
// files beside good others: they open or leave one line that says why not; what opens can be read.
// libFuzzer, by `make fuzz`. Seeds are made by the program itself when it starts with an empty
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

static const char CONFIG[] = "{\"model_type\":\"llama\",\"vocab_size\":8,\"hidden_size\":8,"
    "\"num_hidden_layers\":1,\"num_attention_heads\":2,\"num_key_value_heads\":1,"
    "\"intermediate_size\":6,\"max_position_embeddings\":64,\"tie_word_embeddings\":true}";
static const char TOKENIZER[] = "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":["
    "{\"type\":\"Digits\",\"individual_digits\":true},{\"type\":\"ByteLevel\","
    "\"add_prefix_space\":false,\"use_regex\":true}]},\"model\":{\"type\":\"BPE\",\"vocab\":"
    "{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\",[\"a\",\"ab\"]]},\"added_tokens\":["
    "{\"id\":5,\"content\":\"<e>\",\"special\":true}]}";
static const char SETTINGS[] = "{\"eos_token\":{\"content\":\"<e>\"},\"eos_token_id\":[5],"
    "\"chat_template\":\"x\"}";
static const char INDEX[] = "{\"weight_map\":{\"a\":\"a.safetensors\"}}";

// A safetensors file of a model that fits CONFIG; made once.
static const mla_buf *good_safetensors(void) {
    static mla_buf bytes;
    if (bytes.len) return &bytes;
    const mla_model_config config = {MLA_ARCH_LLAMA, 8, 8, 1, 2, 1, 4, 6, 64, 1e4f, 1e-6f, true};
    static const float values[64] = {1, 2, 3};
    mla__shape shapes[16];
    mla_tensor_out tensors[16];
    size_t n = mla__shape_count(&config);
    char dir[64], path[128];
    mla_err err;
    for (size_t i = 0; i < n; i++) {
        shapes[i] = mla__shape_at(&config, i);
        tensors[i] = (mla_tensor_out){shapes[i].name, values, shapes[i].rows, shapes[i].cols,
                                      shapes[i].rows == 1};
    }
    snprintf(dir, sizeof dir, "/dev/shm/mla-seed-%d", (int)getpid());
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    MLA_ASSERT(mla_weights_save(dir, &config, tensors, n, true, 1, &err) == 0);
    MLA_ASSERT(mla_fs_read(path, 1 << 20, &bytes, &err) == 0);
    MLA_ASSERT(mla_fs_remove_tree(dir, &err) == 0);
    return &bytes;
}

// A good folder but for one file, which holds the data; `bare` leaves the weights out.
static void try_folder(const char *dir, const char *name, bool bare, const uint8_t *data,
                       size_t size) {
    static const struct { const char *name, *text; } files[] = {
        {"config.json", CONFIG}, {"tokenizer.json", TOKENIZER}, {"tokenizer_config.json", SETTINGS},
        {"generation_config.json", SETTINGS},
    };
    const mla_buf *weights = good_safetensors();
    char path[128];
    mla_err err;
    for (size_t i = 0; i < MLA_COUNT(files); i++) {
        snprintf(path, sizeof path, "%s/%s", dir, files[i].name);
        write_file(path, files[i].text, strlen(files[i].text));
    }
    snprintf(path, sizeof path, "%s/%s.safetensors", dir, bare ? "a" : "model");
    write_file(path, weights->data, weights->len);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    write_file(path, data, size);
    try_open(dir);
    MLA_ASSERT(mla_fs_remove_tree(dir, &err) == 0 && mla_fs_mkdirs(dir, &err) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char dir[64], path[128];
    mla_err err;
    snprintf(dir, sizeof dir, "/dev/shm/mla-fuzz-%d", (int)getpid());
    MLA_ASSERT(mla_fs_mkdirs(dir, &err) == 0);
    if (size >= 4 && !memcmp(data, "GGUF", 4)) {
        snprintf(path, sizeof path, "%s/a.gguf", dir);
        write_file(path, data, size);
        try_open(path);
        return mla_fs_remove_tree(dir, &err);
    }
    if (size && *data == '{') {
        try_folder(dir, "config.json", false, data, size);
        try_folder(dir, "tokenizer.json", false, data, size);
        try_folder(dir, "tokenizer_config.json", false, data, size);
        try_folder(dir, "model.safetensors.index.json", true, data, size);
    } else {
        try_folder(dir, "model.safetensors", false, data, size);
    }
    return mla_fs_remove_tree(dir, &err);
}

static void make_gguf(const char *arch, mla_buf *out) {
    gguf_file f;
    gguf_begin(&f);
    gguf_tiny_keys(&f, arch);
    gguf_tiny_tensors(&f, !strcmp(arch, "qwen2"), NULL);
    gguf_finish(&f, out);
}

static void make_copy(const char *bytes, size_t len, mla_buf *out) {
    mla_buf_init(out, 1 << 20);
    mla_buf_append(out, bytes, len);
}

// Every input grows from a whole file of some kind, since chance would not find one.
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
    if (size > 24 && seed % 64) return LLVMFuzzerMutate(data, size, max_size);
    static const char *const texts[] = {CONFIG, TOKENIZER, SETTINGS, INDEX};
    mla_buf bytes;
    unsigned int kind = seed / 64 % 8;
    if (kind < 2) make_gguf(kind ? "llama" : "qwen2", &bytes);
    else if (kind < 4) make_copy(good_safetensors()->data, good_safetensors()->len, &bytes);
    else make_copy(texts[kind - 4], strlen(texts[kind - 4]), &bytes);
    size_t len = bytes.len < max_size ? bytes.len : max_size;
    memcpy(data, bytes.data, len);
    mla_buf_clear(&bytes);
    return seed & 1 ? len : LLVMFuzzerMutate(data, len, max_size);
}
