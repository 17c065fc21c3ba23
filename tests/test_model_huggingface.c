// Hugging Face folders: what is saved opens again; sharded ones; every kind of bad one; the
// vocabulary of tokenizer.json. Against transformers itself: tools/check_export.py.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>

#include "base/json.h"
#include "gguf_fixture.h"
#include "model/weights_internal.h"
#include "weights_fixture.h"

// ---- saving ----------------------------------------------------------------------------------

enum { VOCAB = 6, DIM = 8, HIDDEN = 4, N_TENSORS = 16 };

static const mla_model_config TINY = {MLA_ARCH_QWEN2, VOCAB, DIM, 1, 4, 2, 2, HIDDEN, 32,
                                      1e6f, 1e-6f, false};

// The tensors of TINY, with values that bf16 does not hold exactly.
static void make_tensors(mla_tensor_out out[N_TENSORS], float *values) {
    static const struct { const char *name; size_t rows, cols; } shapes[] = {
        {"model.embed_tokens.weight", VOCAB, DIM}, {"lm_head.weight", VOCAB, DIM},
        {"model.norm.weight", 1, DIM}, {"model.layers.0.input_layernorm.weight", 1, DIM},
        {"model.layers.0.post_attention_layernorm.weight", 1, DIM},
        {"model.layers.0.self_attn.q_proj.weight", 8, DIM},
        {"model.layers.0.self_attn.k_proj.weight", 4, DIM},
        {"model.layers.0.self_attn.v_proj.weight", 4, DIM},
        {"model.layers.0.self_attn.o_proj.weight", DIM, 8},
        {"model.layers.0.mlp.gate_proj.weight", HIDDEN, DIM},
        {"model.layers.0.mlp.up_proj.weight", HIDDEN, DIM},
        {"model.layers.0.mlp.down_proj.weight", DIM, HIDDEN},
        {"model.layers.0.self_attn.q_proj.bias", 1, 8},
        {"model.layers.0.self_attn.k_proj.bias", 1, 4},
        {"model.layers.0.self_attn.v_proj.bias", 1, 4},
    };
    for (size_t i = 0; i < MLA_COUNT(shapes); i++) {
        out[i] = (mla_tensor_out){shapes[i].name, values, shapes[i].rows, shapes[i].cols,
                                  shapes[i].rows == 1};
        for (size_t k = 0; k < shapes[i].rows * shapes[i].cols; k++)
            *values++ = (float)i + 0.001f * (float)k;
    }
}

static void save_tiny(const char *name, const mla_model_config *config, bool as_f32) {
    mla_tensor_out tensors[N_TENSORS];
    float values[1024];
    mla_err err = {0};
    make_tensors(tensors, values);
    char *path = mla_fs_join(folder, name);
    if (mla_weights_save(path, config, tensors, N_TENSORS - 1, as_f32, 5, &err) < 0)
        fail_msg("%s", err.text);
    free(path);
}

static void check_saved(const char *name, const mla_model_config *config, bool as_f32) {
    mla_tensor_out tensors[N_TENSORS];
    float values[1024], got[64];
    mla_err err = {0};
    make_tensors(tensors, values);
    save_tiny(name, config, as_f32);
    mla_weights *weights = must_open(name);
    const mla_model_config *c = mla_weights_config(weights);
    assert_true(c->arch == config->arch && c->vocab == VOCAB && c->dim == DIM && c->layers == 1);
    assert_true(c->heads == 4 && c->kv_heads == 2 && c->head_dim == 2 && c->hidden == HIDDEN);
    assert_true(c->max_context == 32 && c->rope_theta == 1e6f && c->norm_eps == 1e-6f);
    assert_true(c->tied == config->tied);
    assert_int_equal(mla_weights_vocab(weights)->eos, 5);
    assert_int_equal(mla_weights_has(weights, "lm_head.weight"), !config->tied);
    for (size_t i = 0; i < N_TENSORS - 1; i++) {
        const mla_tensor_out *t = &tensors[i];
        if (config->tied && i == 1) continue;
        if (mla_weights_read(weights, t->name, got, t->rows, t->cols, &err) < 0)
            fail_msg("%s", err.text);
        for (size_t k = 0; k < t->rows * t->cols; k++) {
            uint32_t rounded = (uint32_t)mla__bf16_round(t->data[k]) << 16;
            assert_memory_equal(&got[k], as_f32 ? (const void *)&t->data[k] : &rounded, 4);
        }
    }
    mla_weights_close(weights);
}

static void saved_folders_open_again(void **state) {
    (void)state;
    mla_model_config tied = TINY;
    tied.tied = true;
    check_saved("f32", &TINY, true);
    check_saved("bf16", &TINY, false);
    check_saved("tied", &tied, false);
    check_saved("tied", &TINY, true);      // over an older one
}

static char *read_in(const char *name, size_t *len) {
    mla_buf bytes;
    mla_err err = {0};
    char *path = mla_fs_join(folder, name);
    if (mla_fs_read(path, 1 << 24, &bytes, &err) < 0) fail_msg("%s", err.text);
    free(path);
    *len = bytes.len;
    return mla_buf_take(&bytes);
}

static void a_full_disk_leaves_the_old_file(void **state) {
    (void)state;
    mla_tensor_out tensors[N_TENSORS];
    float values[1024];
    mla_err err = {0};
    size_t before_len, after_len;
    save_tiny("full", &TINY, true);
    char *before = read_in("full/model.safetensors", &before_len);
    char *path = mla_fs_join(folder, "full"), *tmp = mla_format("%s/model.safetensors.tmp", path);
    assert_int_equal(symlink("/dev/full", tmp), 0);
    make_tensors(tensors, values);
    assert_int_equal(mla_weights_save(path, &TINY, tensors, 15, false, 5, &err), -1);
    assert_non_null(strstr(err.text, "No space left"));
    assert_false(mla_fs_exists(tmp));
    char *after = read_in("full/model.safetensors", &after_len);
    assert_int_equal(after_len, before_len);
    assert_memory_equal(after, before, after_len);
    free(before);
    free(after);
    free(path);
    free(tmp);
}

static void put_safetensors(mla_buf *out, const char *header, uint64_t length, size_t data) {
    mla_buf_init(out, 1 << 20);
    put_u64(out, length == UINT64_MAX ? strlen(header) : length);
    mla_buf_puts(out, header);
    for (size_t i = 0; i < data; i++) mla_buf_append(out, "", 1);
}

static void bad_safetensors_are_refused(void **state) {
    (void)state;
    const struct { const char *header; uint64_t length; const char *what; } cases[] = {
        {"{}", 1ull << 62, "beyond the end of the file"},
        {"{}", 60, "beyond the end of the file"},
        {"{\"a\":", UINT64_MAX, "not JSON"},
        {"[1]", UINT64_MAX, "is missing"},
        {"{\"a\":1}", UINT64_MAX, "the element type 'none'"},
        {"{\"a\":{\"dtype\":\"I8\"}}", UINT64_MAX, "the element type 'I8'"},
        {"{\"a\":{\"dtype\":\"Q4_K\"}}", UINT64_MAX, "the element type 'Q4_K'"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", UINT64_MAX, "no sane"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", UINT64_MAX,
         "no sane"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", UINT64_MAX, "no sane"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", UINT64_MAX, "not fit"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", UINT64_MAX, "neither"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2,2,2],\"data_offsets\":[0,32]}}", UINT64_MAX,
         "neither"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[5],\"data_offsets\":[0,20]}}", UINT64_MAX, "beyond"},
        {"{\"a\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[9223372036854775800,"
         "9223372036854775804]}}", UINT64_MAX, "beyond"},
    };
    save_tiny("bad", &TINY, true);
    for (size_t i = 0; i < MLA_COUNT(cases); i++) {
        mla_buf bytes;
        put_safetensors(&bytes, cases[i].header, cases[i].length, 16);
        write_in("bad/model.safetensors", bytes.data, bytes.len);
        must_fail("bad", cases[i].what);
        mla_buf_clear(&bytes);
    }
    write_in("bad/model.safetensors", "1234", 4);
    must_fail("bad", "only 4 bytes");
}

static void bad_configurations_are_refused(void **state) {
    (void)state;
    const struct { const char *key, *value, *what; } cases[] = {
        {"model_type", "\"mamba\"", "'mamba' is not known; llama and qwen2 are"},
        {"hidden_act", "\"gelu\"", "'gelu'"},
        {"rope_scaling", "{\"type\":\"linear\",\"factor\":2}", "RoPE scaling ('linear')"},
        {"attention_bias", "true", "'attention_bias'"},
        {"use_sliding_window", "true", "'use_sliding_window'"},
        {"hidden_size", "-8", "embedding width is 0"},
        {"num_hidden_layers", "2", "'model.layers.1.input_layernorm.weight' is missing"},
        {"num_attention_heads", "99999999999", "head count is 0"},
        {"rms_norm_eps", "null", "makes no sense"},
        {"vocab_size", "7", "6 x 8 where the configuration needs 7 x 8"},
    };
    save_tiny("config", &TINY, true);
    size_t len;
    mla_err err = {0};
    char *text = read_in("config/config.json", &len);
    for (size_t i = 0; i < MLA_COUNT(cases); i++) {
        json_t *json = mla_json_parse(text, len, "config", &err);
        json_object_del(json, "rope_parameters");
        json_object_set_new(json, cases[i].key, json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
        char *line = mla_json_line(json);
        write_in("config/config.json", line, strlen(line));
        must_fail("config", cases[i].what);
        free(line);
        json_decref(json);
    }
    write_in("config/config.json", "{", 1);
    must_fail("config", "not JSON");
    free(text);
    char *path = mla_fs_join(folder, "config/config.json");
    assert_int_equal(unlink(path), 0);
    free(path);
    must_fail("config", "no config.json");
}

// Splits the folder's only file in two by hand: each shard is the whole data with half a header.
static void write_shards(const char *dir, const char *index) {
    size_t len;
    char *name = mla_format("%s/model.safetensors", dir), *bytes = read_in(name, &len);
    uint64_t header_len;
    memcpy(&header_len, bytes, 8);
    mla_err err = {0};
    json_t *header = mla_json_parse(bytes + 8, header_len, "header", &err), *info;
    for (int shard = 0; shard < 2; shard++) {
        json_t *half = json_object();
        const char *tensor;
        int at = 0;
        json_object_foreach(header, tensor, info) if (at++ % 2 == shard)
            json_object_set(half, tensor, info);
        char *line = mla_json_line(half);
        char *shard_name = mla_format("%s/part%d.safetensors", dir, shard);
        mla_buf out;
        put_safetensors(&out, line, UINT64_MAX, 0);
        mla_buf_append(&out, bytes + 8 + header_len, len - 8 - header_len);
        write_in(shard_name, out.data, out.len);
        mla_buf_clear(&out);
        free(line);
        free(shard_name);
        json_decref(half);
    }
    char *path = mla_fs_join(folder, name);
    char *index_name = mla_format("%s/model.safetensors.index.json", dir);
    write_in(index_name, index, strlen(index));
    unlink(path);
    json_decref(header);
    free(path);
    free(index_name);
    free(name);
    free(bytes);
}

static void sharded_folders_open(void **state) {
    (void)state;
    save_tiny("shards", &TINY, true);
    write_shards("shards", "{\"weight_map\":{\"a\":\"part0.safetensors\","
                           "\"b\":\"part1.safetensors\",\"c\":\"part0.safetensors\"}}");
    mla_weights *weights = must_open("shards");
    mla_err err = {0};
    float got[DIM];
    assert_int_equal(mla_weights_read(weights, "model.norm.weight", got, 1, DIM, &err), 0);
    assert_true(got[0] == 2 && got[DIM - 1] == 2 + 0.001f * (DIM - 1));
    mla_weights_close(weights);
    const struct { const char *index, *what; } cases[] = {
        {"{\"weight_map\":{\"a\":\"part0.safetensors\"}}", "is missing"},
        {"{\"weight_map\":{\"a\":\"../shards/part0.safetensors\"}}", "'a' is in no file"},
        {"{\"weight_map\":{\"a\":7}}", "'a' is in no file"},
        {"{\"weight_map\":{\"a\":\"part9.safetensors\"}}", "No such file"},
        {"{\"weight_map\":{\"a\":\"part0.safetensors\",\"b\":\"copy.safetensors\"}}", "twice"},
        {"{}", "is missing"},
    };
    size_t len;
    char *part = read_in("shards/part0.safetensors", &len);
    write_in("shards/copy.safetensors", part, len);
    free(part);
    for (size_t i = 0; i < MLA_COUNT(cases); i++) {
        write_in("shards/model.safetensors.index.json", cases[i].index, strlen(cases[i].index));
        must_fail("shards", cases[i].what);
    }
}

// ---- tokenizer.json --------------------------------------------------------------------------

#define BYTE_LEVEL(regex)                                                                         \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":" regex "}"
#define SMOLLM_PRE                                                                                \
    "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\","            \
    "\"individual_digits\":true}," BYTE_LEVEL("true") "]}"

static void tokenizer_json_is_read(void **state) {
    (void)state;
    const struct { const char *text, *pre; size_t n, n_merges; } cases[] = {
        {"{" SMOLLM_PRE ",\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"ab\":3},\"merges\":[\"a b\"]},"
         "\"added_tokens\":[{\"id\":4,\"content\":\"<e>\"}]}", "smollm", 5, 1},
        {"{" SMOLLM_PRE ",\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"ab\":3},"
         "\"merges\":[[\"a\",\"b\"]]},\"added_tokens\":[{\"id\":4,\"content\":\"<e>\"}]}",
         "smollm", 5, 1},
        {"{" SMOLLM_PRE ",\"normalizer\":{\"type\":\"NFC\"},\"model\":{\"vocab\":{\"a\":0},"
         "\"merges\":[]}}", "of tokenizer.json", 1, 0},
        {"{\"pre_tokenizer\":" BYTE_LEVEL("true") ",\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}",
         "of tokenizer.json", 1, 0},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}", "of tokenizer.json", 0, 0},
    };
    save_tiny("vocab", &TINY, true);
    for (size_t i = 0; i < MLA_COUNT(cases); i++) {
        write_in("vocab/tokenizer.json", cases[i].text, strlen(cases[i].text));
        mla_weights *weights = must_open("vocab");
        const mla_vocab *v = mla_weights_vocab(weights);
        assert_int_equal(v->n, cases[i].n);
        assert_int_equal(v->n_merges, cases[i].n_merges);
        assert_string_equal(v->pre, cases[i].pre);
        if (v->n == 5) {
            assert_string_equal(v->merges[0], "a b");
            assert_string_equal(v->tokens[2], "");
            assert_memory_equal(v->special, ((uint8_t[]){0, 0, 2, 0, 1}), 5);
        }
        mla_weights_close(weights);
    }
}

static void bad_tokenizer_json_is_refused(void **state) {
    (void)state;
    const struct { const char *text, *what; } cases[] = {
        {"{", "not JSON"},
        {"{\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}", "id is no sane number"},
        {"{\"model\":{\"vocab\":{\"a\":99999999999},\"merges\":[]}}", "id is no sane number"},
        {"{\"model\":{\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}}", "share an id"},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[1]}}", "neither text nor a pair"},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"added_tokens\":[{\"id\":1}]}",
         "not text"},
        {"{\"model\":{\"vocab\":{\"a\":100},\"merges\":[]}}", "101 tokens for an embedding of 6"},
        {"{\"model\":{\"vocab\":{\"a\":16000000},\"merges\":[]}}",
         "16000001 tokens for an embedding of 6"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}}}", "without tokens or merges"},
    };
    save_tiny("vocab", &TINY, true);
    for (size_t i = 0; i < MLA_COUNT(cases); i++) {
        write_in("vocab/tokenizer.json", cases[i].text, strlen(cases[i].text));
        must_fail("vocab", cases[i].what);
    }
}

static int32_t eos_with(const char *name, const char *text) {
    char *path = mla_format("vocab/%s", name);
    write_in(path, text, strlen(text));
    free(path);
    mla_weights *weights = must_open("vocab");
    int32_t eos = mla_weights_vocab(weights)->eos;
    mla_weights_close(weights);
    return eos;
}

static void end_of_turn_is_found(void **state) {
    (void)state;
    const char *text = "{" SMOLLM_PRE ",\"model\":{\"vocab\":{\"a\":0,\"b\":1},\"merges\":[]},"
                       "\"added_tokens\":[{\"id\":4,\"content\":\"<e>\"}]}";
    save_tiny("vocab", &TINY, true);
    write_in("vocab/tokenizer.json", text, strlen(text));
    assert_int_equal(eos_with("generation_config.json", "{\"eos_token_id\":[3,1]}"), 3);
    assert_int_equal(eos_with("generation_config.json", "{\"eos_token_id\":2}"), 2);
    assert_int_equal(eos_with("tokenizer_config.json", "{\"eos_token\":{\"content\":\"<e>\"}}"), 4);
    assert_int_equal(eos_with("tokenizer_config.json", "{\"eos_token\":\"<e>\"}"), 4);
    assert_int_equal(eos_with("tokenizer_config.json", "{\"eos_token\":\"a\"}"), 2);
    assert_int_equal(eos_with("generation_config.json", "{\"eos_token_id\":77}"), -1);
}

static void chat_template_and_ids_are_found(void **state) {
    (void)state;
    const char *text = "{" SMOLLM_PRE ",\"model\":{\"vocab\":{\"a\":0,\"b\":1},\"merges\":[]},"
                       "\"added_tokens\":[{\"id\":4,\"content\":\"<e>\"},"
                       "{\"id\":3,\"content\":\"<f>\",\"special\":false}]}";
    const char *config = "{\"eos_token\":\"<e>\",\"bos_token\":\"<f>\",\"pad_token\":null,"
                         "\"add_bos_token\":true,\"chat_template\":\"one\"}";
    save_tiny("vocab", &TINY, true);
    write_in("vocab/tokenizer.json", text, strlen(text));
    write_in("vocab/generation_config.json", "{\"pad_token_id\":1}", 18);
    write_in("vocab/tokenizer_config.json", config, strlen(config));
    for (int in_file = 0; in_file < 2; in_file++) {
        if (in_file) write_in("vocab/chat_template.jinja", "two\n", 4);
        mla_weights *weights = must_open("vocab");
        const mla_vocab *v = mla_weights_vocab(weights);
        assert_true(v->eos == 4 && v->bos == 3 && v->pad == 1 && v->add_bos);
        assert_memory_equal(v->types, ((uint8_t[]){1, 1, 5, 4, 3}), 5);
        assert_string_equal(v->chat_template, in_file ? "two\n" : "one");
        assert_string_equal(mla_weights_format(weights), "Hugging Face folder");
        mla_weights_close(weights);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(saved_folders_open_again),
        cmocka_unit_test(a_full_disk_leaves_the_old_file),
        cmocka_unit_test(bad_safetensors_are_refused),
        cmocka_unit_test(bad_configurations_are_refused),
        cmocka_unit_test(sharded_folders_open),
        cmocka_unit_test(tokenizer_json_is_read),
        cmocka_unit_test(bad_tokenizer_json_is_refused),
        cmocka_unit_test(end_of_turn_is_found),
        cmocka_unit_test(chat_template_and_ids_are_found),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
