// Fuzzes adapter folders: any bytes as their configuration beside good tensors, and as tensors
// beside a good configuration. They open or leave one line that says why not; what opens and fits a
// small model can be read. libFuzzer, by `make fuzz`.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "model/adapter_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

static const mla_model_config shape = {MLA_ARCH_LLAMA, 8, 8, 1, 2, 1, 4, 6, 64, 1e4f, 1e-6f, true};
static const char CONFIG[] = "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":4,\"use_rslora\":true,"
    "\"lora_dropout\":0.1,\"base_model_name_or_path\":\"b\",\"bias\":\"none\",\"rank_pattern\":{},"
    "\"init_lora_weights\":true,\"modules_to_save\":null,\"target_modules\":[\"k_proj\"]}";

static void write_file(const char *dir, const char *name, const void *bytes, size_t len) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "wb");
    MLA_ASSERT(file && fwrite(bytes, 1, len, file) == len && fclose(file) == 0);
}

// The tensors of an adapter of `shape` that fits CONFIG; made once.
static const mla_buf *good_tensors(void) {
    static mla_buf bytes;
    static const float values[16] = {1, 2, 3};
    const mla_adapter_options options = {.rank = 2, .targets = 1u << MLA_TARGET_K};
    char *names[] = {mla__adapter_tensor(0, MLA_TARGET_K, 'A'),
                     mla__adapter_tensor(0, MLA_TARGET_K, 'B')};
    const mla_tensor_out tensors[] = {{.name = names[0], .data = values, .rows = 2, .cols = 8},
                                      {.name = names[1], .data = values, .rows = 4, .cols = 2}};
    char dir[64], path[128];
    mla_err err;
    if (!bytes.len) {
        snprintf(dir, sizeof dir, "/dev/shm/mla-adapter-seed-%d", (int)getpid());
        snprintf(path, sizeof path, "%s/adapter_model.safetensors", dir);
        MLA_ASSERT(mla_fs_mkdirs(dir, &err) == 0);
        MLA_ASSERT(mla__adapter_file_write(dir, &options, tensors, 2, true, &err) == 0);
        MLA_ASSERT(mla_fs_read(path, 1 << 20, &bytes, &err) == 0);
        MLA_ASSERT(mla_fs_remove_tree(dir, &err) == 0);
    }
    free(names[0]);
    free(names[1]);
    return &bytes;
}

static void assert_told(const mla_err *err) {
    MLA_ASSERT(*err->text && !strchr(err->text, '\n'));
}

static void read_all(const mla__adapter_file *file) {
    for (int t = 0; t < MLA_TARGET_COUNT; t++) {
        if (!(file->options.targets >> t & 1)) continue;
        float *values = MLA_NEW_ARRAY(float, 8 * (size_t)file->options.rank);
        for (const char *which = "AB"; *which; which++) {
            mla_err err = {{0}};
            if (mla__adapter_file_read(file, &shape, 0, (mla_target)t, *which, values, &err))
                assert_told(&err);
        }
        free(values);
    }
}

static void try_open(const char *dir) {
    mla__adapter_file file;
    mla_adapter_info info;
    mla_err err = {{0}}, told = {{0}};
    const int described = mla_adapter_describe(dir, &info, &told);
    if (mla__adapter_file_open(&file, dir, &err)) {
        MLA_ASSERT(described < 0);
        assert_told(&err);
        return;
    }
    MLA_ASSERT(described == 0);
    if (mla__adapter_file_check(&file, &shape, &err)) assert_told(&err);
    else read_all(&file);
    mla__adapter_file_close(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char dir[64];
    mla_err err;
    const mla_buf *good = good_tensors();
    const bool text = size && *data == '{';
    snprintf(dir, sizeof dir, "/dev/shm/mla-adapter-%d", (int)getpid());
    MLA_ASSERT(mla_fs_mkdirs(dir, &err) == 0);
    write_file(dir, "adapter_config.json", text ? (const void *)data : CONFIG,
               text ? size : strlen(CONFIG));
    write_file(dir, "adapter_model.safetensors", text ? (const void *)good->data : data,
               text ? good->len : size);
    try_open(dir);
    return mla_fs_remove_tree(dir, &err);
}

// Every input grows from a whole file of either kind, since chance would not find one.
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
    if (size > 24 && seed % 64) return LLVMFuzzerMutate(data, size, max_size);
    const mla_buf *good = good_tensors();
    const bool text = seed / 64 % 2;
    const size_t whole = text ? strlen(CONFIG) : good->len;
    const size_t len = whole < max_size ? whole : max_size;
    memcpy(data, text ? CONFIG : good->data, len);
    return seed & 1 ? len : LLVMFuzzerMutate(data, len, max_size);
}
