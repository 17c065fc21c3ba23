// Writing weights: quantising against gguf's own (vectors/model_weights, made by
// tools/vectors_quantize.py), conversion from and to every format, and what cannot be written.
// Against llama.cpp and transformers themselves: tools/check_convert.py.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <unistd.h>

#include "gguf_fixture.h"
#include "model/weights_internal.h"
#include "weights_fixture.h"

#define QUANTIZE "tests/vectors/model_weights/quantize.bin"

static void quantising_equals_gguf(void **state) {
    (void)state;
    mla_buf file;
    mla_err err = {0};
    if (mla_fs_read(QUANTIZE, 1 << 24, &file, &err) < 0) fail_msg("%s", err.text);
    size_t at = 0, types = 0;
    for (; at < file.len; types++) {
        uint32_t number, n;
        memcpy(&number, file.data + at, 4);
        memcpy(&n, file.data + at + 4, 4);
        const mla__dtype *type = mla__dtype_by_ggml(number);
        assert_non_null(type);
        assert_non_null(type->write);
        float *values = MLA_NEW_ARRAY(float, n);
        memcpy(values, file.data + at + 8, 4 * (size_t)n);
        at += 8 + 4 * (size_t)n;
        size_t blocks = n / type->block, bytes = blocks * type->bytes;
        uint8_t *got = mla_alloc(bytes, 1);
        type->write(values, got, blocks);
        for (size_t i = 0; i < bytes; i++)
            if (got[i] != (uint8_t)file.data[at + i])
                fail_msg("%s: block %zu, byte %zu is %d, not %d", type->name, i / type->bytes,
                         i % type->bytes, got[i], (uint8_t)file.data[at + i]);
        at += bytes;
        free(got);
        free(values);
    }
    assert_int_equal(at, file.len);
    assert_int_equal(types, 5);
    mla_buf_clear(&file);
}

// Each half-precision number that is finite reads back and is written as the same bits.
static void halves_survive(void **state) {
    (void)state;
    const mla__dtype *type = mla__dtype_by_name("F16");
    for (uint32_t half = 0; half < 0x10000; half++) {
        uint8_t bytes[2] = {(uint8_t)half, (uint8_t)(half >> 8)};
        float value;
        type->read(bytes, &value, 1);
        if ((half & 0x7c00) != 0x7c00) assert_int_equal(mla__f16_round(value), half);
    }
    assert_int_equal(mla__f16_round(65519.996f), 0x7bff);
    assert_int_equal(mla__f16_round(65520), 0x7c00);
    assert_int_equal(mla__f16_round(-INFINITY), 0xfc00);
    assert_int_equal(mla__f16_round(NAN) & 0x7e00, 0x7e00);
}

// ---- a small model of two layers -------------------------------------------------------------

enum { VOCAB = 40, DIM = 64, HIDDEN = 48, HEADS = 4, KV_HEADS = 2, HEAD_DIM = 16 };

#define BYTE_LEVEL(regex)                                                                         \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":" regex "}"

// Tokens 0 to 3, 5 and 6; 4 and those from 7 on only fill the table.
static const char TOKENIZER[] =
    "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\","
    "\"individual_digits\":true}," BYTE_LEVEL("true") "]},\"model\":{\"type\":\"BPE\","
    "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"aab\":3},\"merges\":[\"a b\",\"a ab\"]},"
    "\"added_tokens\":[{\"id\":5,\"content\":\"<|im_end|>\",\"special\":true},"
    "{\"id\":6,\"content\":\"<tool>\",\"special\":false}]}";
static const char TOKENIZER_CONFIG[] =
    "{\"eos_token\":\"<|im_end|>\",\"bos_token\":\"<tool>\",\"chat_template\":\"{{ x }}\"}";

static mla_model_config config_of(mla_arch arch, bool tied) {
    return (mla_model_config){arch, VOCAB, DIM, 2, HEADS, KV_HEADS, HEAD_DIM, HIDDEN, 32, 5e5f,
                              1e-5f, tied};
}

// Saves a model of values in [-1, 1) that differ everywhere, as fp32.
static void save_model(const char *name, const mla_model_config *config, bool with_vocab) {
    size_t n = mla__shape_count(config);
    mla__shape *shapes = MLA_NEW_ARRAY(mla__shape, n);
    mla_tensor_out *tensors = MLA_NEW_ARRAY(mla_tensor_out, n);
    for (size_t i = 0; i < n; i++) {
        shapes[i] = mla__shape_at(config, i);
        size_t count = shapes[i].rows * shapes[i].cols;
        float *values = MLA_NEW_ARRAY(float, count);
        for (size_t k = 0; k < count; k++)
            values[k] = (float)((i * 7919 + k) * 2654435761u % 65536) / 32768 - 1;
        tensors[i] = (mla_tensor_out){shapes[i].name, values, shapes[i].rows, shapes[i].cols,
                                      shapes[i].rows == 1};
    }
    mla_err err = {0};
    char *path = mla_fs_join(folder, name);
    if (mla_weights_save(path, config, tensors, n, true, -1, &err) < 0) fail_msg("%s", err.text);
    char *tokenizer = mla_format("%s/tokenizer.json", name);
    char *more = mla_format("%s/tokenizer_config.json", name);
    if (with_vocab) write_in(tokenizer, TOKENIZER, strlen(TOKENIZER));
    if (with_vocab) write_in(more, TOKENIZER_CONFIG, strlen(TOKENIZER_CONFIG));
    for (size_t i = 0; i < n; i++) free((void *)(uintptr_t)tensors[i].data);
    free(tokenizer);
    free(more);
    free(path);
    free(tensors);
    free(shapes);
}

static int convert(const char *from, const char *to, mla_weights_to format, mla_err *err) {
    mla_weights *weights = must_open(from);
    char *path = mla_fs_join(folder, to);
    *err = (mla_err){0};
    int rc = mla_weights_convert(weights, path, format, "a-model", err);
    free(path);
    mla_weights_close(weights);
    return rc;
}

static void must_convert(const char *from, const char *to, mla_weights_to format) {
    mla_err err;
    if (convert(from, to, format, &err) < 0) fail_msg("%s", err.text);
}

static void check_config(const mla_weights *a, const mla_weights *b) {
    const mla_model_config *x = mla_weights_config(a), *y = mla_weights_config(b);
    assert_true(x->arch == y->arch && x->vocab == y->vocab && x->dim == y->dim);
    assert_true(x->layers == y->layers && x->heads == y->heads && x->kv_heads == y->kv_heads);
    assert_true(x->head_dim == y->head_dim && x->hidden == y->hidden);
    assert_true(x->max_context == y->max_context && x->rope_theta == y->rope_theta);
    assert_true(x->norm_eps == y->norm_eps && x->tied == y->tied);
}

// How far a value may be from `was` after storage in a type; `most` is its row's largest.
static float error_of(const char *type, float was, float most) {
    if (!strcmp(type, "F32")) return 0;
    if (!strcmp(type, "F16")) return fabsf(was) * 0x1p-11f + 0x1p-25f;
    if (!strcmp(type, "BF16")) return fabsf(was) * 0x1p-8f;
    if (!strcmp(type, "Q8_0")) return most / 127 * 0.51f + most * 0x1p-10f;
    assert_string_equal(type, "Q4_0");
    return most / 8 * 1.01f + most * 0x1p-10f;         // 7 is the largest of one sign
}

static const char *type_wanted(const mla__shape *shape, mla_weights_to to) {
    static const char *const plain[] = {"BF16", "BF16", "F16", "Q8_0", "Q4_0"};
    if (to == MLA_TO_HF) return "BF16";
    if (shape->rows == 1) return "F32";
    if (to >= MLA_TO_Q8_0 && shape->cols % 32) return "F16";
    if (to == MLA_TO_Q4_0 && !strstr(shape->name, ".layers.")) return "Q8_0";
    return plain[to];
}

static void check_tensor(const mla_weights *was, const mla_weights *is, const mla__shape *shape,
                         const char *type) {
    size_t n = shape->rows * shape->cols;
    float *a = MLA_NEW_ARRAY(float, n), *b = MLA_NEW_ARRAY(float, n), most = 0;
    mla_err err = {0};
    assert_string_equal(mla_weights_type(is, shape->name), type);
    if (mla_weights_read(was, shape->name, a, shape->rows, shape->cols, &err) < 0 ||
        mla_weights_read(is, shape->name, b, shape->rows, shape->cols, &err) < 0)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < n; i++) most = fabsf(a[i]) > most ? fabsf(a[i]) : most;
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(a[i] - b[i]) <= error_of(type, a[i], most)))
            fail_msg("%s, %s: value %zu was %g and is %g", shape->name, type, i, (double)a[i],
                     (double)b[i]);
    free(a);
    free(b);
}

static void check_all(const char *from, const char *to, mla_weights_to format) {
    mla_weights *was = must_open(from), *is = must_open(to);
    check_config(was, is);
    const mla_model_config *c = mla_weights_config(was);
    for (size_t i = 0; i < mla__shape_count(c); i++) {
        mla__shape shape = mla__shape_at(c, i);
        check_tensor(was, is, &shape, type_wanted(&shape, format));
    }
    mla_weights_close(was);
    mla_weights_close(is);
}

static void every_format_holds_the_weights(void **state) {
    (void)state;
    for (int untied = 0; untied < 2; untied++) {
        const mla_model_config config = config_of(untied ? MLA_ARCH_QWEN2 : MLA_ARCH_LLAMA,
                                                  !untied);
        save_model("model", &config, true);
        for (int to = 0; to < MLA_TO_COUNT; to++) {
            const char *out = to == MLA_TO_HF ? "out" : "out.gguf";
            must_convert("model", out, (mla_weights_to)to);
            check_all("model", out, (mla_weights_to)to);
        }
        // There and back: what is stored in the wanted type already is kept bit for bit.
        must_convert("model", "a.gguf", MLA_TO_Q4_0);
        must_convert("a.gguf", "b.gguf", MLA_TO_Q4_0);
        must_convert("b.gguf", "c.gguf", MLA_TO_Q4_0);
        mla_buf b, c;
        mla_err err = {0};
        char *b_path = mla_fs_join(folder, "b.gguf"), *c_path = mla_fs_join(folder, "c.gguf");
        assert_int_equal(mla_fs_read(b_path, 1 << 24, &b, &err), 0);
        assert_int_equal(mla_fs_read(c_path, 1 << 24, &c, &err), 0);
        assert_int_equal(b.len, c.len);
        assert_memory_equal(b.data, c.data, b.len);
        mla_buf_clear(&b);
        mla_buf_clear(&c);
        free(b_path);
        free(c_path);
    }
}

// ---- vocabulary ------------------------------------------------------------------------------

static void the_vocabulary_goes_along(void **state) {
    (void)state;
    const mla_model_config config = config_of(MLA_ARCH_LLAMA, true);
    save_model("model", &config, true);
    must_convert("model", "vocab.gguf", MLA_TO_F16);
    mla_weights *weights = must_open("vocab.gguf");
    const mla_vocab *v = mla_weights_vocab(weights);
    assert_int_equal(v->n, VOCAB);
    assert_string_equal(v->tokens[3], "aab");
    assert_string_equal(v->tokens[4], "[PAD4]");
    assert_string_equal(v->tokens[5], "<|im_end|>");
    assert_string_equal(v->tokens[VOCAB - 1], "[PAD39]");
    assert_memory_equal(v->types, ((uint8_t[]){1, 1, 1, 1, 5, 3, 4, 5}), 8);
    assert_memory_equal(v->special, ((uint8_t[]){0, 0, 0, 0, 2, 1, 1, 2}), 8);
    assert_int_equal(v->n_merges, 2);
    assert_string_equal(v->merges[1], "a ab");
    assert_string_equal(v->pre, "smollm");
    assert_int_equal(v->eos, 5);
    assert_int_equal(v->bos, 6);
    assert_int_equal(v->pad, -1);
    assert_false(v->add_bos);
    assert_string_equal(v->chat_template, "{{ x }}");
    mla_weights_close(weights);
}

static void the_end_of_turn_can_be_set(void **state) {
    (void)state;
    const mla_model_config config = config_of(MLA_ARCH_QWEN2, true);
    mla_err err;
    save_model("model", &config, true);
    mla_weights *weights = must_open("model");
    assert_int_equal(mla_weights_set_eos(weights, "<tool>", &err), 0);
    assert_int_equal(mla_weights_vocab(weights)->eos, 6);
    assert_int_equal(mla_weights_set_eos(weights, "ab", &err), -1);
    assert_non_null(strstr(err.text, "'ab' is no special token"));
    char *path = mla_fs_join(folder, "eos.gguf");
    assert_int_equal(mla_weights_convert(weights, path, MLA_TO_BF16, "m", &err), 0);
    free(path);
    mla_weights_close(weights);
    weights = must_open("eos.gguf");
    assert_int_equal(mla_weights_vocab(weights)->eos, 6);
    mla_weights_close(weights);
}

static void without_a_vocabulary_there_is_no_gguf(void **state) {
    (void)state;
    const mla_model_config config = config_of(MLA_ARCH_LLAMA, true);
    mla_err err;
    save_model("bare", &config, false);
    assert_int_equal(convert("bare", "bare.gguf", MLA_TO_BF16, &err), -1);
    assert_non_null(strstr(err.text, "no byte-level BPE"));
    must_convert("bare", "bare-hf", MLA_TO_HF);
    check_all("bare", "bare-hf", MLA_TO_HF);
}

// ---- heads -----------------------------------------------------------------------------------

// A Qwen2 file whose head counts up from `first`; the embedding counts from 0.
static void head_from(float first) {
    gguf_file f;
    mla_buf bytes;
    gguf_begin(&f);
    gguf_tiny_keys(&f, "qwen2");
    gguf_tiny_tensors(&f, true, NULL);
    gguf_counting(&f, "output.weight", 8, 8, first);
    gguf_finish(&f, &bytes);
    write_in("head.gguf", bytes.data, bytes.len);
    mla_buf_clear(&bytes);
}

static void a_head_stays_unless_it_repeats_the_embedding(void **state) {
    (void)state;
    for (int repeats = 0; repeats < 2; repeats++) {
        head_from(repeats ? 0 : 1);
        mla_weights *weights = must_open("head.gguf");
        assert_int_equal(mla_weights_head_repeats_embedding(weights), repeats);
        assert_false(mla_weights_config(weights)->tied);
        mla_weights_close(weights);
        const char *const outs[] = {"head", "head-out.gguf"};
        must_convert("head.gguf", outs[0], MLA_TO_HF);
        must_convert("head.gguf", outs[1], MLA_TO_BF16);
        for (int i = 0; i < 2; i++) {
            weights = must_open(outs[i]);
            assert_int_equal(mla_weights_config(weights)->tied, repeats);
            assert_int_equal(mla_weights_has(weights, "lm_head.weight"), !repeats);
            mla_weights_close(weights);
        }
    }
}

static void shares_add_up(void **state) {
    (void)state;
    const mla_model_config config = config_of(MLA_ARCH_LLAMA, true);
    save_model("model", &config, true);
    must_convert("model", "shares.gguf", MLA_TO_Q4_0);
    mla_weights *weights = must_open("shares.gguf");
    mla_weights_share shares[MLA_WEIGHTS_TYPES];
    assert_int_equal(mla_weights_shares(weights, shares), 4);
    size_t tensors = 0;
    for (int i = 0; i < 4; i++) {
        tensors += shares[i].tensors;
        if (i) assert_true(shares[i - 1].bytes >= shares[i].bytes);
        if (!strcmp(shares[i].type, "Q8_0"))
            assert_int_equal(shares[i].bytes, VOCAB * DIM / 32 * 34);
        if (!strcmp(shares[i].type, "F16")) assert_int_equal(shares[i].values, 2 * DIM * HIDDEN);
    }
    assert_int_equal(tensors, mla__shape_count(&config));
    assert_string_equal(mla_weights_format(weights), "GGUF v3");
    mla_weights_close(weights);
}

// ---- what cannot be written ------------------------------------------------------------------

static void one_value(const char *name, float value) {
    const mla_model_config config = config_of(MLA_ARCH_LLAMA, true);
    save_model(name, &config, true);
    char *path = mla_format("%s/%s/model.safetensors", folder, name);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, -4, SEEK_END), 0);    // the last norm's last value
    assert_int_equal(fwrite(&value, 4, 1, file), 1);
    assert_int_equal(fseek(file, 8 * 4 * 1000, SEEK_SET), 0);
    assert_int_equal(fwrite(&value, 4, 1, file), 1);   // some matrix
    assert_int_equal(fclose(file), 0);
    free(path);
}

static void values_that_do_not_fit_are_refused(void **state) {
    (void)state;
    const struct { float value; mla_weights_to to; const char *what; } cases[] = {
        {NAN, MLA_TO_BF16, "is no finite number"},
        {INFINITY, MLA_TO_HF, "is no finite number"},
        {1e5f, MLA_TO_F16, "that F16 cannot hold; convert to bf16"},
        {1e9f, MLA_TO_Q8_0, "that Q8_0 cannot hold; convert to bf16"},
    };
    for (size_t i = 0; i < MLA_COUNT(cases); i++) {
        mla_err err;
        one_value("value", cases[i].value);
        assert_int_equal(convert("value", "value-out", cases[i].to, &err), -1);
        if (!strstr(err.text, cases[i].what)) fail_msg("%s", err.text);
        char *out = mla_fs_join(folder, "value-out"), *tmp = mla_format("%s.tmp", out);
        char *inside = mla_fs_join(out, "model.safetensors");
        assert_false(mla_fs_exists(tmp) || mla_fs_exists(inside));
        if (cases[i].to != MLA_TO_HF) assert_false(mla_fs_exists(out));
        free(inside);
        free(tmp);
        free(out);
        assert_int_equal(mla_fs_remove_tree(folder, &err), 0);
        assert_int_equal(mla_fs_mkdirs(folder, &err), 0);
    }
}

static void a_full_disk_leaves_no_file(void **state) {
    (void)state;
    const mla_model_config config = config_of(MLA_ARCH_LLAMA, true);
    mla_err err;
    save_model("model", &config, true);
    char *out = mla_fs_join(folder, "full.gguf"), *tmp = mla_format("%s.tmp", out);
    assert_int_equal(symlink("/dev/full", tmp), 0);
    assert_int_equal(convert("model", "full.gguf", MLA_TO_BF16, &err), -1);
    assert_non_null(strstr(err.text, "No space left"));
    assert_false(mla_fs_exists(out) || mla_fs_exists(tmp));
    free(tmp);
    free(out);
}

static void formats_have_names(void **state) {
    (void)state;
    assert_int_equal(mla_weights_to_parse("hf"), MLA_TO_HF);
    assert_int_equal(mla_weights_to_parse("q4_0"), MLA_TO_Q4_0);
    assert_int_equal(mla_weights_to_parse("q4_k"), MLA_TO_COUNT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantising_equals_gguf),
        cmocka_unit_test(halves_survive),
        cmocka_unit_test(every_format_holds_the_weights),
        cmocka_unit_test(the_vocabulary_goes_along),
        cmocka_unit_test(the_end_of_turn_can_be_set),
        cmocka_unit_test(without_a_vocabulary_there_is_no_gguf),
        cmocka_unit_test(a_head_stays_unless_it_repeats_the_embedding),
        cmocka_unit_test(shares_add_up),
        cmocka_unit_test(values_that_do_not_fit_are_refused),
        cmocka_unit_test(a_full_disk_leaves_no_file),
        cmocka_unit_test(formats_have_names),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
