// Weight files and GGUF: good ones against other readers' values (vectors/model_weights, made by
// tools/vectors_weights.py), and every kind of bad one. Folders: test_model_huggingface.c.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/rng.h"
#include "gguf_fixture.h"
#include "model/weights_internal.h"
#include "weights_fixture.h"

#define VECTORS "tests/vectors/model_weights/"

// ---- numbers ---------------------------------------------------------------------------------

static void dequantising_equals_gguf(void **state) {
    (void)state;
    mla_buf file;
    mla_err err = {0};
    if (mla_fs_read(VECTORS "quant.bin", 1 << 24, &file, &err) < 0) fail_msg("%s", err.text);
    size_t at = 0, types = 0;
    for (; at < file.len; types++) {
        uint32_t number, blocks;
        memcpy(&number, file.data + at, 4);
        memcpy(&blocks, file.data + at + 4, 4);
        const mla__dtype *type = mla__dtype_by_ggml(number);
        assert_non_null(type);
        size_t n = blocks * type->block;
        float *got = MLA_NEW_ARRAY(float, n), *wanted = MLA_NEW_ARRAY(float, n);
        type->read((const uint8_t *)file.data + at + 8, got, blocks);
        at += 8 + blocks * type->bytes;
        memcpy(wanted, file.data + at, n * 4);
        at += n * 4;
        for (size_t i = 0; i < n; i++)
            if (memcmp(&got[i], &wanted[i], 4) != 0)
                fail_msg("%s: value %zu is %.9g, not %.9g", type->name, i, (double)got[i],
                         (double)wanted[i]);
        free(got);
        free(wanted);
    }
    assert_int_equal(at, file.len);
    assert_int_equal(types, 11);
    mla_buf_clear(&file);
}

static uint16_t round_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return mla__bf16_round(value);
}

static void bf16_rounds_to_nearest_even(void **state) {
    (void)state;
    assert_int_equal(round_bits(0x3f800000), 0x3f80);
    assert_int_equal(round_bits(0x3f808000), 0x3f80);       // a tie, to even
    assert_int_equal(round_bits(0x3f818000), 0x3f82);       // a tie, to even
    assert_int_equal(round_bits(0x3f808001), 0x3f81);
    assert_int_equal(round_bits(0x7f7fffff), 0x7f80);       // rounds up to infinity
    assert_int_equal(round_bits(0xff800000), 0xff80);
    assert_int_equal(round_bits(0x7f800001) & 0x7fff, 0x7fc0);   // stays a NaN
}

static void real_smollm2_equals_gguf(void **state) {
    (void)state;
    char *home = mla_home(), *path = mla_fs_join(home, "models/smollm2-135m-instruct.gguf");
    free(home);
    mla_err err = {0};
    if (!mla_fs_exists(path)) {
        print_message("skipped: no %s (`mlagent model fetch smollm2-135m-instruct`)\n", path);
        free(path);
        skip();
    }
    mla_weights *weights = mla_weights_open(path, &err);
    free(path);
    if (!weights) fail_msg("%s", err.text);
    const mla_model_config *c = mla_weights_config(weights);
    assert_true(c->arch == MLA_ARCH_LLAMA && c->tied && c->vocab == 49152 && c->dim == 576);
    assert_true(c->layers == 30 && c->heads == 9 && c->kv_heads == 3 && c->head_dim == 64);
    assert_true(c->hidden == 1536 && c->max_context == 8192 && c->rope_theta == 1e5f);
    json_t *tensors = mla_json_read_file(VECTORS "smollm2.json", 1 << 20, &err), *info;
    if (!tensors) fail_msg("%s", err.text);
    const char *name;
    assert_int_equal(json_object_size(tensors), 272);
    json_object_foreach(tensors, name, info) {
        size_t rows = (size_t)json_integer_value(json_array_get(info, 0));
        size_t cols = (size_t)json_integer_value(json_array_get(info, 1));
        float *values = MLA_NEW_ARRAY(float, rows * cols);
        if (mla_weights_read(weights, name, values, rows, cols, &err) < 0) fail_msg("%s", err.text);
        char hex[65];
        mla_sha256(values, rows * cols * 4, hex);
        if (strcmp(hex, json_string_value(json_array_get(info, 2))) != 0)
            fail_msg("%s differs", name);
        free(values);
    }
    json_decref(tensors);
    mla_weights_close(weights);
}

// ---- GGUF ------------------------------------------------------------------------------------

static void write_gguf(gguf_file *f, const char *name) {
    mla_buf bytes;
    gguf_finish(f, &bytes);
    write_in(name, bytes.data, bytes.len);
    mla_buf_clear(&bytes);
}

static void gguf_begin_tiny(gguf_file *f, const char *arch, const char *but) {
    gguf_begin(f);
    gguf_tiny_keys(f, arch);
    gguf_tiny_tensors(f, !strcmp(arch, "qwen2"), but);
}

static void check_values(const mla_weights *weights, const char *name, size_t rows, size_t cols,
                         const float *first_of_row) {
    mla_err err = {0};
    float *values = MLA_NEW_ARRAY(float, rows * cols);
    if (mla_weights_read(weights, name, values, rows, cols, &err) < 0) fail_msg("%s", err.text);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++)
            assert_true(values[r * cols + c] == first_of_row[r] + (float)c);
    free(values);
}

static void llama_opens(void **state) {
    (void)state;
    gguf_file f;
    gguf_begin_tiny(&f, "llama", NULL);
    write_gguf(&f, "llama.gguf");
    mla_weights *weights = must_open("llama.gguf");
    const mla_model_config *c = mla_weights_config(weights);
    assert_true(c->arch == MLA_ARCH_LLAMA && c->vocab == 8 && c->dim == 8 && c->layers == 1);
    assert_true(c->heads == 2 && c->kv_heads == 1 && c->head_dim == 4 && c->hidden == 6);
    assert_true(c->max_context == 64 && c->rope_theta == 5000 && c->norm_eps == 1e-5f && c->tied);
    // Rows of Q come pairwise from the two halves of a head: 0 2 1 3 back to 0 1 2 3.
    check_values(weights, "model.layers.0.self_attn.q_proj.weight", 8, 8,
                 (float[]){400, 416, 408, 424, 432, 448, 440, 456});
    check_values(weights, "model.layers.0.self_attn.k_proj.weight", 4, 8,
                 (float[]){500, 516, 508, 524});
    check_values(weights, "model.layers.0.self_attn.v_proj.weight", 4, 8,
                 (float[]){600, 608, 616, 624});
    check_values(weights, "model.layers.0.mlp.down_proj.weight", 8, 6,
                 (float[]){1000, 1006, 1012, 1018, 1024, 1030, 1036, 1042});
    check_values(weights, "model.norm.weight", 1, 8, (float[]){100});
    assert_true(mla_weights_has(weights, "model.embed_tokens.weight"));
    assert_false(mla_weights_has(weights, "lm_head.weight"));
    float one[64];
    mla_err err = {0};
    assert_int_equal(mla_weights_read(weights, "lm_head.weight", one, 8, 8, &err), -1);
    assert_int_equal(mla_weights_read(weights, "model.norm.weight", one, 8, 1, &err), -1);
    assert_non_null(strstr(err.text, "1 x 8, not 8 x 1"));
    mla_weights_close(weights);
}

static void gguf_vocabulary_is_read(void **state) {
    (void)state;
    gguf_file f;
    gguf_begin_tiny(&f, "llama", NULL);
    write_gguf(&f, "llama.gguf");
    mla_weights *weights = must_open("llama.gguf");
    const mla_vocab *v = mla_weights_vocab(weights);
    assert_int_equal(v->n, 8);
    assert_string_equal(v->tokens[0], "<s>");
    assert_string_equal(v->tokens[3], "ab");
    assert_memory_equal(v->special, ((uint8_t[]){1, 0, 0, 0, 1, 0, 0, 2}), 8);
    assert_int_equal(v->n_merges, 1);
    assert_string_equal(v->merges[0], "a b");
    assert_string_equal(v->pre, "smollm");
    assert_int_equal(v->eos, 4);
    mla_weights_close(weights);
}

static void qwen2_opens_with_a_head_of_its_own(void **state) {
    (void)state;
    gguf_file f;
    gguf_begin_tiny(&f, "qwen2", NULL);
    gguf_counting(&f, "output.weight", 8, 8, 7000);
    write_gguf(&f, "qwen2.gguf");
    mla_weights *weights = must_open("qwen2.gguf");
    assert_true(mla_weights_config(weights)->arch == MLA_ARCH_QWEN2);
    assert_false(mla_weights_config(weights)->tied);
    check_values(weights, "model.layers.0.self_attn.k_proj.weight", 4, 8,
                 (float[]){500, 508, 516, 524});
    check_values(weights, "model.layers.0.self_attn.k_proj.bias", 1, 4, (float[]){1200});
    assert_true(mla_weights_has(weights, "lm_head.weight"));
    mla_weights_close(weights);
}

static void foreign_gguf_files_are_refused(void **state) {
    (void)state;
    gguf_file f;
    mla_err err;
    assert_null(open_in("nowhere.gguf", &err));
    assert_non_null(strstr(err.text, "nowhere.gguf: No such file"));
    write_in("empty.gguf", "", 0);
    must_fail("empty.gguf", "only 0 bytes");
    write_in("text.gguf", "This is a text and no model at all.", 35);
    must_fail("text.gguf", "not a GGUF file");
    assert_null(mla_weights_open("/dev/zero", &err));
    assert_non_null(strstr(err.text, "not a regular file"));
    gguf_begin_tiny(&f, "gptneox", NULL);
    write_gguf(&f, "arch.gguf");
    must_fail("arch.gguf", "'gptneox' is not known; llama and qwen2 are");
    gguf_begin_tiny(&f, "llama", NULL);
    f.version = 1;
    write_gguf(&f, "version.gguf");
    must_fail("version.gguf", "GGUF version 1");
    gguf_begin_tiny(&f, "llama", NULL);
    gguf_text(&f, "llama.rope.scaling.type", "yarn");
    write_gguf(&f, "scaling.gguf");
    must_fail("scaling.gguf", "RoPE scaling");
    gguf_begin_tiny(&f, "llama", NULL);
    gguf_u32(&f, "llama.expert_count", 8);
    write_gguf(&f, "experts.gguf");
    must_fail("experts.gguf", "mixtures of experts");
    gguf_begin_tiny(&f, "llama", NULL);
    gguf_u32(&f, "llama.rope.dimension_count", 2);
    write_gguf(&f, "partial.gguf");
    must_fail("partial.gguf", "2 rotated");
}

static void wrong_tensors_are_refused(void **state) {
    (void)state;
    const struct { gguf_tensor tensor; const char *what; } cases[] = {
        {{"blk.0.ffn_up.weight", {8, 6}, 19, UINT64_MAX}, "element type (19) that is not known"},
        {{"blk.0.ffn_up.weight", {8, 5}, 0, 0}, "is 5 x 8 where the configuration needs 6 x 8"},
        {{"blk.0.ffn_up.weight", {48, 0}, 0, 0}, "is 1 x 48 where"},
        {{"blk.0.ffn_up.weight", {8, 6}, 8, 0}, "8 columns, no multiple of Q8_0's block of 32"},
        {{"blk.0.ffn_up.weight", {8, 1ull << 40}, 0, 0}, "neither a vector nor a matrix"},
        {{"blk.0.ffn_up.weight", {0, 6}, 0, 0}, "neither a vector nor a matrix"},
        {{"blk.0.ffn_up.weight", {2147483647, 2147483647}, 0, 0}, "beyond the end of the file"},
        {{"blk.0.ffn_up.weight", {8, 6}, 0, 1 << 20}, "beyond the end of the file"},
        {{"blk.0.ffn_up.weight", {8, 6}, 0, UINT64_MAX - 64}, "beyond the end of the file"},
        {{"blk.0.ffn_down.weight", {6, 8}, 0, 0}, "is there twice"},
        {{"two\nlines", {6, 8}, 99, 0}, "tensor 'two?lines' has"},
        {{"blk.0.attn_q.bias", {8, 0}, 0, 0}, "'model.layers.0.mlp.up_proj.weight' is missing"},
    };
    for (size_t i = 0; i < MLA_COUNT(cases); i++) {
        gguf_file f;
        gguf_begin_tiny(&f, "llama", "blk.0.ffn_up.weight");
        gguf_info(&f, &cases[i].tensor);
        write_gguf(&f, "tensor.gguf");
        must_fail("tensor.gguf", cases[i].what);
    }
    gguf_file f;
    gguf_begin_tiny(&f, "llama", NULL);
    gguf_counting(&f, "blk.0.attn_q.bias", 1, 8, 0);
    write_gguf(&f, "biased.gguf");
    must_fail("biased.gguf", "10 layer tensors where 1 layers have 9");
}

static void wrong_metadata_is_refused(void **state) {
    (void)state;
    const struct { const char *key; uint32_t value; const char *what; } cases[] = {
        {"llama.block_count", 0, "layer count is 0"},
        {"llama.block_count", 1u << 31, "layer count is 0"},
        {"llama.attention.head_count", 0, "head count is 0"},
        {"llama.attention.head_count", 1u << 30, "head count is 1073741824"},
        {"llama.attention.head_count_kv", 3, "not within 1 to 2"},
        {"llama.context_length", 1 << 21, "context length is 2097152, not within 1 to 1048576"},
        {"llama.embedding_length", 16, "where the configuration needs"},
        {"llama.attention.key_length", 3, "rotated"},
        {"general.alignment", 24, "no power of two"},
    };
    for (size_t i = 0; i < MLA_COUNT(cases); i++) {
        gguf_file f;
        gguf_begin(&f);
        gguf_u32(&f, cases[i].key, cases[i].value);       // the first of two equal keys holds
        if (!strcmp(cases[i].key, "llama.attention.key_length"))
            gguf_u32(&f, "llama.rope.dimension_count", 4);
        gguf_tiny_keys(&f, "llama");
        gguf_tiny_tensors(&f, false, NULL);
        write_gguf(&f, "metadata.gguf");
        must_fail("metadata.gguf", cases[i].what);
    }
}

static void huge_counts_are_refused(void **state) {
    (void)state;
    const struct { size_t at; uint64_t value; const char *what; } cases[] = {
        {8, UINT64_MAX, "tensors, more than"}, {16, UINT64_MAX, "metadata keys, more than"},
        {24, UINT64_MAX, "beyond the end of the file"}, {24, 600, "a metadata key of 600 bytes"},
        {24, 1ull << 63, "beyond the end of the file"},
    };
    for (size_t i = 0; i < MLA_COUNT(cases); i++) {
        gguf_file f;
        mla_buf bytes;
        gguf_begin_tiny(&f, "llama", NULL);
        gguf_finish(&f, &bytes);
        memcpy(bytes.data + cases[i].at, &cases[i].value, 8);
        write_in("count.gguf", bytes.data, bytes.len);
        must_fail("count.gguf", cases[i].what);
        mla_buf_clear(&bytes);
    }
}

// The descriptions that a count announces would not fit into the file: no room is made for them.
static void counts_beyond_the_file_are_refused(void **state) {
    (void)state;
    const struct { size_t at; uint64_t value; } cases[] = {{8, 65000}, {16, 4000}};
    for (size_t i = 0; i < MLA_COUNT(cases); i++) {
        char bytes[600] = "GGUF\3";
        memcpy(bytes + cases[i].at, &cases[i].value, 8);
        const char *arch = "general.architecture";
        uint64_t one = 1, length = strlen(arch);
        if (cases[i].at == 8) {
            memcpy(bytes + 16, &one, 8);
            memcpy(bytes + 24, &length, 8);
            memcpy(bytes + 32, arch, length);
            bytes[52] = 8;
            bytes[56] = 5;
            memcpy(bytes + 64, "llama", 5);
        }
        write_in("count.gguf", bytes, sizeof bytes);
        must_fail("count.gguf", "beyond the end of the file");
    }
}

static void a_vocabulary_without_merges_is_refused(void **state) {
    (void)state;
    static const char *const tokens[] = {"a", "b"};
    gguf_file f;
    gguf_begin(&f);
    gguf_texts(&f, "tokenizer.ggml.merges", tokens, 0);
    gguf_tiny_keys(&f, "llama");
    gguf_tiny_tensors(&f, false, NULL);
    write_gguf(&f, "merges.gguf");
    must_fail("merges.gguf", "the vocabulary has no merges");
}

// A model that is no number anywhere opens, for its shape is right, but gives no values.
static void values_that_are_not_finite_are_refused(void **state) {
    (void)state;
    const uint32_t bits[] = {0x7fc00000, 0x7f800000, 0xff800000, 0xff800001};
    for (size_t i = 0; i < MLA_COUNT(bits); i++) {
        gguf_file f;
        float value, values[48];
        mla_err err = {0};
        gguf_begin_tiny(&f, "llama", NULL);
        memcpy(&value, &bits[i], 4);
        memcpy(f.data.data + f.data.len - 4 * 9, &value, 4);    // 8 x 6 values fill whole blocks
        write_gguf(&f, "nan.gguf");
        mla_weights *weights = must_open("nan.gguf");
        assert_int_equal(mla_weights_read(weights, "model.layers.0.mlp.down_proj.weight", values, 8,
                                          6, &err), -1);
        assert_non_null(strstr(err.text, "'model.layers.0.mlp.down_proj.weight' holds a value in "
                                         "row 6 that is no finite number"));
        assert_int_equal(mla_weights_read(weights, "model.norm.weight", values, 1, 8, &err), 0);
        mla_weights_close(weights);
    }
}

// A cut file is never opened: the last tensor ends with the file.
static void truncated_gguf_files_are_refused(void **state) {
    (void)state;
    gguf_file f;
    mla_buf bytes;
    gguf_begin_tiny(&f, "llama", "blk.0.ffn_up.weight");
    gguf_counting(&f, "blk.0.ffn_up.weight", 6, 8, 0);
    gguf_finish(&f, &bytes);
    for (size_t len = 0; len < bytes.len; len += len < 1200 ? 1 : 37) {
        write_in("cut.gguf", bytes.data, len);
        must_fail("cut.gguf", ";");
    }
    write_in("cut.gguf", bytes.data, bytes.len);
    mla_weights_close(must_open("cut.gguf"));
    mla_buf_clear(&bytes);
}

static void read_all(const mla_weights *weights) {
    mla_err err;
    for (size_t i = 0; i < weights->n_tensors; i++) {
        const mla__tensor *t = &weights->tensors[i];
        float *values = MLA_NEW_ARRAY(float, t->rows * t->cols);
        int rc = mla_weights_read(weights, t->name, values, t->rows, t->cols, &err);
        if (rc < 0) assert_non_null(strstr(err.text, "no finite number"));
        free(values);
    }
}

// Damaged files open or not, but never do more harm (the sanitizers watch), and say why not.
static void damaged_gguf_files_do_no_harm(void **state) {
    (void)state;
    gguf_file f;
    mla_buf bytes;
    mla_rng rng;
    mla_err err;
    size_t opened = 0;
    gguf_begin_tiny(&f, "qwen2", NULL);
    gguf_finish(&f, &bytes);
    mla_rng_init(&rng, 5);
    char *copy = mla_alloc(bytes.len, 1);
    for (int round = 0; round < 3000; round++) {
        memcpy(copy, bytes.data, bytes.len);
        for (uint64_t n = 1 + mla_rng_below(&rng, 4); n; n--)
            copy[mla_rng_below(&rng, 1800)] = (char)mla_rng_u64(&rng);
        write_in("damaged.gguf", copy, bytes.len);
        mla_weights *weights = open_in("damaged.gguf", &err);
        if (weights) read_all(weights);
        else assert_true(*err.text != 0);
        opened += weights != NULL;
        mla_weights_close(weights);
    }
    assert_in_range(opened, 1, 2999);
    free(copy);
    mla_buf_clear(&bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dequantising_equals_gguf),
        cmocka_unit_test(bf16_rounds_to_nearest_even),
        cmocka_unit_test(real_smollm2_equals_gguf),
        cmocka_unit_test(llama_opens),
        cmocka_unit_test(gguf_vocabulary_is_read),
        cmocka_unit_test(qwen2_opens_with_a_head_of_its_own),
        cmocka_unit_test(foreign_gguf_files_are_refused),
        cmocka_unit_test(wrong_tensors_are_refused),
        cmocka_unit_test(wrong_metadata_is_refused),
        cmocka_unit_test(huge_counts_are_refused),
        cmocka_unit_test(counts_beyond_the_file_are_refused),
        cmocka_unit_test(a_vocabulary_without_merges_is_refused),
        cmocka_unit_test(values_that_are_not_finite_are_refused),
        cmocka_unit_test(truncated_gguf_files_are_refused),
        cmocka_unit_test(damaged_gguf_files_do_no_harm),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
