// Adapter folders: PEFT's and ours are read and written, what is no plain LoRA for this base is
// refused in one clear line, weights can be read as merged.
#include "lora_fixture.h"

#include "base/json.h"
#include "model/adapter_file.h"

static const mla_adapter_options small = {.rank = 3, .alpha = 5, .dropout = 0.05f, .rslora = true,
                                          .base = "a/base",
                                          .targets = 1u << MLA_TARGET_K | 1u << MLA_TARGET_DOWN};

static char *write_adapter(const mla_model_config *config, const mla_adapter_options *options,
                           bool as_f32, const char *name) {
    char *dir = scratch_dir(name);
    mla_err err;
    mla_model *m = adaptable_model(config, MLA_COMPUTE_F32);
    add_adapter(m, options, 3);
    if (mla_adapter_save(m, 0, dir, as_f32, &err)) fail_msg("%s", err.text);
    mla_model_free(m);
    return dir;
}

static json_t *read_config(const char *dir) {
    mla_err err;
    char *path = mla_fs_join(dir, "adapter_config.json");
    json_t *json = mla_json_read_file(path, 1 << 20, &err);
    assert_non_null(json);
    free(path);
    return json;
}

static void write_config(const char *dir, const json_t *json) {
    mla_err err;
    char *path = mla_fs_join(dir, "adapter_config.json");
    assert_int_equal(mla_json_write_file(path, json, &err), 0);
    free(path);
}

static void the_config_is_what_peft_reads(void **state) {
    (void)state;
    char *dir = write_adapter(&llama_tied, &small, true, "config");
    json_t *json = read_config(dir);
    char *line = mla_json_line(json);
    assert_string_equal(
        line,
        "{\"peft_type\":\"LORA\",\"task_type\":\"CAUSAL_LM\",\"base_model_name_or_path\":"
        "\"a/base\","
        "\"r\":3,\"lora_alpha\":5,\"lora_dropout\":0.050000000000000003,\"use_rslora\":true,"
        "\"target_modules\":[\"k_proj\",\"down_proj\"],\"bias\":\"none\",\"fan_in_fan_out\":false,"
        "\"inference_mode\":true,\"init_lora_weights\":true,\"modules_to_save\":null,"
        "\"rank_pattern\":{},\"alpha_pattern\":{},\"use_dora\":false}");
    free(line);
    json_decref(json);
    remove_scratch(dir);
}

static void what_was_written_is_read(void **state) {
    (void)state;
    for (int as_f32 = 0; as_f32 < 2; as_f32++) {
        mla_model *from = adaptable_model(&qwen2_untied, MLA_COMPUTE_F32);
        mla_model *to = adaptable_model(&qwen2_untied, MLA_COMPUTE_F32);
        char *dir = scratch_dir("round");
        mla_err err = {{0}};
        mla_adapter_info info;
        add_adapter(from, &small, 3);
        assert_int_equal(mla_adapter_save(from, 0, dir, as_f32, &err), 0);
        assert_int_equal(mla_adapter_save(from, 0, dir, as_f32, &err), 0);   // over the old one
        if (mla_adapter_load(to, dir, true, &err) != 0) fail_msg("%s", err.text);
        for (size_t i = 0; i < mla_model_params(from); i++) {
            const mla_param *p = mla_model_param(from, i), *q = mla_model_param(to, i);
            const size_t n = p->rows * p->cols;
            assert_string_equal(p->name, q->name);
            if (as_f32) assert_memory_equal(p->data, q->data, n * sizeof *p->data);
            else assert_true(relative_gap(q->data, p->data, n) < 1.0 / 256);
        }
        assert_true(mla_adapter_is_folder(dir));
        assert_int_equal(mla_adapter_describe(dir, &info, &err), 0);
        assert_string_equal(info.type, as_f32 ? "F32" : "BF16");
        assert_string_equal(info.base, "a/base");
        assert_int_equal(info.layers, 2);
        assert_int_equal(info.parameters, count_values(from));
        assert_int_equal(info.bytes, count_values(from) * (as_f32 ? 4 : 2));
        assert_int_equal(info.options.targets, small.targets);
        remove_scratch(dir);
        mla_model_free(from);
        mla_model_free(to);
    }
}

// ---- what is refused -------------------------------------------------------------------------

static void assert_refused(const mla_model_config *config, const char *dir, const char *why) {
    mla_model *m = adaptable_model(config, MLA_COMPUTE_F32);
    mla_err err = {{0}};
    assert_int_equal(mla_adapter_load(m, dir, false, &err), -1);
    if (!strstr(err.text, why)) fail_msg("\"%s\" does not say \"%s\"", err.text, why);
    assert_null(strchr(err.text, '\n'));
    assert_int_equal(mla_adapter_count(m), 0);
    mla_model_free(m);
}

static void other_kinds_of_adapters_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *change, *why;
    } all[] = {
        {"{\"peft_type\": \"IA3\"}", "of the type 'IA3'"},
        {"{\"use_dora\": true}", "'use_dora' is set"},
        {"{\"modules_to_save\": [\"lm_head\"]}", "'modules_to_save' is set"},
        {"{\"rank_pattern\": {\"q_proj\": 8}}", "'rank_pattern' is set"},
        {"{\"alpha_pattern\": {\"q_proj\": 8}}", "'alpha_pattern' is set"},
        {"{\"bias\": \"lora_only\"}", "'bias' is set"},
        {"{\"fan_in_fan_out\": true}", "'fan_in_fan_out' is set"},
        {"{\"layers_to_transform\": [0]}", "'layers_to_transform' is set"},
        {"{\"a_kind_of_tomorrow\": {\"x\": 1}}", "'a_kind_of_tomorrow' is set"},
        {"{\"init_lora_weights\": \"pissa_niter_4\"}", "'init_lora_weights' is 'pissa_niter_4'"},
        {"{\"r\": 0}", "'r' is no whole number"},
        {"{\"r\": 100000000}", "'r' is no whole number"},
        {"{\"r\": \"8\"}", "'r' is no whole number"},
        {"{\"r\": 4}", "is 3 x 32 where this model needs 4 x 32"},
        {"{\"lora_alpha\": 1e300}", "'lora_alpha' is no finite number"},
        {"{\"lora_dropout\": 1}", "'lora_dropout' is not from 0"},
        {"{\"lora_dropout\": -0.5}", "'lora_dropout' is not from 0"},
    };
    char *dir = write_adapter(&llama_tied, &small, true, "kinds");
    for (size_t i = 0; i < MLA_COUNT(all); i++) {
        json_t *good = read_config(dir), *bad = json_deep_copy(good);
        json_t *change = json_loads(all[i].change, 0, NULL);
        json_object_update(bad, change);
        write_config(dir, bad);
        assert_refused(&llama_tied, dir, all[i].why);
        write_config(dir, good);
        json_decref(change);
        json_decref(bad);
        json_decref(good);
    }
    mla_model *m = adaptable_model(&llama_tied, MLA_COMPUTE_F32);
    mla_err err;
    assert_int_equal(mla_adapter_load(m, dir, false, &err), 0);   // it was the changes
    mla_model_free(m);
    remove_scratch(dir);
}

static void other_bases_are_refused(void **state) {
    (void)state;
    mla_model_config wider = llama_tied, deeper = llama_tied;
    wider.hidden = 64;
    deeper.layers = 3;
    char *dir = write_adapter(&llama_tied, &small, true, "bases");
    assert_refused(&wider, dir, "is 3 x 48 where this model needs 3 x 64: the adapter was made");
    assert_refused(&deeper, dir, "adapts 2 layers of a model that has 3");
    remove_scratch(dir);
}

// Renames the first tensor whose name holds `from`, by overwriting the header with a name as long.
static void rename_tensor(const char *dir, const char *from, const char *to) {
    char *path = mla_fs_join(dir, "adapter_model.safetensors");
    mla_buf bytes;
    mla_err err;
    assert_int_equal(strlen(from), strlen(to));
    assert_int_equal(mla_fs_read(path, 1 << 20, &bytes, &err), 0);
    char *at = memmem(bytes.data, bytes.len, from, strlen(from));
    assert_non_null(at);
    memcpy(at, to, strlen(to));
    assert_int_equal(mla_fs_write(path, bytes.data, bytes.len, &err), 0);
    mla_buf_clear(&bytes);
    free(path);
}

static void foreign_tensors_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *why;
    } all[] = {
        {"layers.1.self_attn.k_proj.lora_A", "layers.1.self_attn.K_proj.lora_A", "K_proj"},
        {"layers.1.self_attn.k_proj.lora_A", "layers.7.self_attn.k_proj.lora_A", "8 layers"},
        {"layers.1.self_attn.k_proj.lora_A", "layers.1.self_attn.q_proj.lora_A", "no tensor"},
        {"layers.1.self_attn.k_proj.lora_A", "layers.x.self_attn.k_proj.lora_A", "layers.x"},
        {"base_model.model.model.layers.0.", "base_model.model.model.lm_heads.", "lm_heads"},
        {"layers.0.mlp.down_proj.lora_B.weight", "layers.0.mlp.down_proj.lora_B.\\nweig", "weig"},
        {"\"F32\"", "\"F33\"", "element type"},
        {"[3,32]", "[4,32]", "offsets that do not fit"},
    };
    for (size_t i = 0; i < MLA_COUNT(all); i++) {
        char *dir = write_adapter(&llama_tied, &small, true, "names");
        rename_tensor(dir, all[i].from, all[i].to);
        assert_refused(&llama_tied, dir, all[i].why);
        remove_scratch(dir);
    }
}

static void missing_files_are_named(void **state) {
    (void)state;
    mla_err err;
    char *dir = write_adapter(&llama_tied, &small, true, "missing");
    char *tensors = mla_fs_join(dir, "adapter_model.safetensors");
    char *config = mla_fs_join(dir, "adapter_config.json");
    assert_int_equal(mla_fs_write(tensors, "short", 5, &err), 0);
    assert_refused(&llama_tied, dir, "cut off");
    assert_int_equal(unlink(tensors), 0);
    assert_refused(&llama_tied, dir, "no adapter_model.safetensors");
    assert_int_equal(mla_fs_write(config, "[1]", 3, &err), 0);
    assert_refused(&llama_tied, dir, "is no JSON object");
    assert_int_equal(unlink(config), 0);
    assert_refused(&llama_tied, dir, "no adapter_config.json");
    assert_false(mla_adapter_is_folder(dir));
    free(tensors);
    free(config);
    remove_scratch(dir);
}

static void models_that_cannot_carry_one_say_so(void **state) {
    (void)state;
    char *dir = write_adapter(&llama_tied, &small, true, "carry");
    mla_err err = {{0}};
    mla_model *full = formula_model(&llama_tied, MLA_COMPUTE_F32);
    assert_int_equal(mla_adapter_load(full, dir, false, &err), -1);
    assert_non_null(strstr(err.text, "frozen weights"));
    mla_model *sampler = open_formula(&llama_tied, MLA_COMPUTE_F32, false);
    assert_int_equal(mla_adapter_load(sampler, dir, true, &err), -1);
    assert_non_null(strstr(err.text, "adaptable"));
    assert_int_equal(mla_adapter_load(sampler, dir, false, &err), 0);
    assert_int_equal(mla_model_merge(sampler, &err), -1);   // fp32, packed only
    assert_non_null(strstr(err.text, "mlagent model merge"));
    mla_adapter_options bad = small;
    bad.rank = MLA_RANK_MAX + 1;
    mla_model *m = adaptable_model(&llama_tied, MLA_COMPUTE_F32);
    assert_int_equal(mla_adapter_add(m, &bad, 1, &err), -1);
    assert_non_null(strstr(err.text, "rank"));
    bad = small;
    bad.targets = 0;
    assert_int_equal(mla_adapter_add(m, &bad, 1, &err), -1);
    assert_non_null(strstr(err.text, "target"));
    mla_model_free(m);
    mla_model_free(sampler);
    mla_model_free(full);
    remove_scratch(dir);
}

// ---- merged on the way -----------------------------------------------------------------------

static void weights_are_read_as_merged(void **state) {
    (void)state;
    const mla_model_config *c = &llama_tied;
    const size_t kv = (size_t)(c->kv_heads * c->head_dim), dim = (size_t)c->dim;
    char *base = formula_folder(c, "merge-base"), *dir = write_adapter(c, &small, true, "merge");
    char *out = scratch_dir("merge-out");
    mla_err err = {{0}};
    mla_weights *w = mla_weights_open(base, &err);
    assert_non_null(w);
    float *before = MLA_NEW_ARRAY(float, kv * dim), *after = MLA_NEW_ARRAY(float, kv * dim);
    const char *name = "model.layers.1.self_attn.k_proj.weight";
    assert_int_equal(mla_weights_read(w, name, before, kv, dim, &err), 0);
    if (mla_weights_adapt(w, dir, &err)) fail_msg("%s", err.text);
    assert_int_equal(mla_weights_read(w, name, after, kv, dim, &err), 0);
    mla_model *m = adaptable_model(c, MLA_COMPUTE_F32);
    assert_int_equal(mla_adapter_load(m, dir, true, &err), 0);
    const mla_param *a = NULL, *b = NULL;
    for (size_t i = 0; i < mla_model_params(m); i += 2)
        if (strstr(mla_model_param(m, i)->name, "layers.1.self_attn.k_proj")) {
            a = mla_model_param(m, i);
            b = mla_model_param(m, i + 1);
        }
    assert_non_null(a);
    for (size_t r = 0; r < kv; r++)
        for (size_t k = 0; k < dim; k++) {
            double want = (double)before[r * dim + k];
            for (size_t j = 0; j < 3; j++)
                want += 5 / sqrt(3.0) * (double)b->data[r * 3 + j] * (double)a->data[j * dim + k];
            assert_true(fabs(want - (double)after[r * dim + k]) < 1e-6);
        }
    assert_true(largest_gap(before, after, kv * dim) > 0.01);
    // Written, the merged model speaks as the base with its adapter does.
    assert_int_equal(mla_weights_convert(w, out, MLA_TO_HF, "", &err), 0);
    mla_weights_close(w);
    const mla_model_options options = {.compute = MLA_COMPUTE_F32};
    mla_model *merged = mla_model_load(out, &options, &err);
    assert_non_null(merged);
    int32_t ids[21];
    float want[21], got[21];
    fill_ids(ids, 21);
    next_logprobs(m, ids, 21, want);
    next_logprobs(merged, ids, 21, got);
    assert_close("merged", got, want, 20, 0.05);
    free(before);
    free(after);
    mla_model_free(merged);
    mla_model_free(m);
    remove_scratch(out);
    remove_scratch(dir);
    remove_scratch(base);
}

// An adapter of another base leaves the weights readable as they were.
static void a_foreign_adapter_leaves_the_weights(void **state) {
    (void)state;
    char *base = formula_folder(&llama_tied, "foreign-base");
    char *dir = write_adapter(&qwen2_tied, &small, true, "foreign");
    mla_err err = {{0}};
    mla_weights *w = mla_weights_open(base, &err);
    assert_int_equal(mla_weights_adapt(w, dir, &err), -1);
    assert_non_null(strstr(err.text, "another base"));
    mla_weights_close(w);
    remove_scratch(dir);
    remove_scratch(base);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_config_is_what_peft_reads),
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(other_kinds_of_adapters_are_refused),
        cmocka_unit_test(other_bases_are_refused),
        cmocka_unit_test(foreign_tensors_are_refused),
        cmocka_unit_test(missing_files_are_named),
        cmocka_unit_test(models_that_cannot_carry_one_say_so),
        cmocka_unit_test(weights_are_read_as_merged),
        cmocka_unit_test(a_foreign_adapter_leaves_the_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
