// The parts of fine-tuning alone: rates, averages, presets, packs and their gradients, validation,
// what counts as a valid reply, and what is said when memory is short.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tiny_policy.h"
#include "model/footprint.h"
#include "train/sft_internal.h"

static char *root;

// ---- rates -----------------------------------------------------------------------------------

static void near(double got, double want) {
    if (!(fabs(got - want) <= 1e-12 * fabs(want) + 1e-15)) fail_msg("%.17g, not %.17g", got, want);
}

static void rates_are_those_of_the_formulas(void **state) {
    (void)state;
    const mla_schedule cosine = {.shape = MLA_SCHEDULE_COSINE, .lr = 2e-5};
    near(mla_schedule_lr(&cosine, 0, 100), 2e-5);
    near(mla_schedule_lr(&cosine, 25, 100), 2e-5 * (1 + sqrt(0.5)) / 2);
    near(mla_schedule_lr(&cosine, 50, 100), 1e-5);
    const mla_schedule line = {.shape = MLA_SCHEDULE_LINEAR, .lr = 1, .floor = 0.2,
                               .warmup_steps = 4};
    const double want[] = {0.25, 0.5, 0.75, 1, 1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3};
    for (int i = 0; i < 12; i++) near(mla_schedule_lr(&line, i, 12), want[i]);
    const mla_schedule flat = {.shape = MLA_SCHEDULE_CONSTANT, .lr = 3, .floor = 0.1,
                               .warmup_steps = 1, .warmup_ratio = 0.25};
    near(mla_schedule_lr(&flat, 0, 8), 1.5);   // the ratio's two steps are longer
    near(mla_schedule_lr(&flat, 1, 8), 3);
    near(mla_schedule_lr(&flat, 7, 8), 3);
    assert_true(mla_schedule_lr(&cosine, 0, 1) == 2e-5);
}

static void the_preset_is_the_release(void **state) {
    (void)state;
    mla_sft_options o = mla_sft_options_default();
    o.val_actions = 3;
    mla_sft_preset_apply(&o, MLA_SFT_PAPER);
    assert_int_equal(o.method, MLA_SFT_FULL);
    assert_true(o.schedule.lr == 2e-5 && o.schedule.shape == MLA_SCHEDULE_COSINE);
    assert_true(o.schedule.floor == 0 && !o.schedule.warmup_steps && !o.schedule.warmup_ratio);
    assert_true(o.epochs == 2 && o.batch == 64 && o.cutoff == 15000 && o.weight_decay == 0);
    assert_true(o.ema == 0 && o.keep == MLA_SFT_KEEP_LAST);
    assert_int_equal(o.val_actions, 3);
    assert_int_equal(mla_sft_preset_parse(mla_sft_preset_name(MLA_SFT_PAPER)), MLA_SFT_PAPER);
    assert_int_equal(mla_sft_method_parse("qlora"), -1);
    unsigned targets;
    assert_int_equal(mla_targets_parse(&targets, "v_proj, down_proj"), 0);
    assert_int_equal(targets, 1u << MLA_TARGET_V | 1u << MLA_TARGET_DOWN);
    char *text = mla_targets_text(targets);
    assert_string_equal(text, "v_proj,down_proj");
    free(text);
    assert_int_equal(mla_targets_parse(&targets, "v_proj,lm_head"), -1);
    assert_int_equal(mla_targets_parse(&targets, " , "), -1);
}

// ---- data ------------------------------------------------------------------------------------

static mla_policy *open_policy(bool adaptable) {
    mla_policy_options wanted = mla_policy_options_default();
    wanted.compute = MLA_COMPUTE_F32;
    wanted.trainable = !adaptable;
    wanted.adaptable = adaptable;
    char *path = mla_fs_join(root, "model");
    mla_err err = {{0}};
    mla_policy *policy = mla_policy_open(path, &wanted, &err);
    if (!policy) fail_msg("%s", err.text);
    free(path);
    return policy;
}

// States of n_samples[i] samples each, of 12 to 18 prompt tokens.
static void write_states(const char *name, const int *n_samples, int n) {
    mla_err err = {{0}};
    char *dir = mla_fs_join(root, "sft"), *path = mla_fs_join(dir, name);
    assert_int_equal(mla_fs_mkdirs(dir, &err), 0);
    if (mla_fs_exists(path)) assert_int_equal(mla_fs_remove_tree(path, &err), 0);
    mla_lines *lines = mla_lines_open(path, &err);
    for (int i = 0, id = 0; i < n; i++)
        for (int k = 0; k < n_samples[i]; k++, id++) {
            mla_step s;
            mla_step_init(&s);
            s.task = mla_strdup("made-up"), s.trajectory = mla_strdup("made-up-0");
            s.actor = mla_strdup("expert"), s.text = mla_strdup("x"), s.index = id;
            s.n_prompt = 12 + (size_t)i % 7, s.n_action = 3 + (size_t)id % 4;
            s.prompt_ids = MLA_NEW_ARRAY(int32_t, s.n_prompt);
            s.action_ids = MLA_NEW_ARRAY(int32_t, s.n_action);
            for (size_t j = 0; j < s.n_prompt; j++)
                s.prompt_ids[j] = 1000 + i * 7 + (int)j * 3;
            for (size_t j = 0; j < s.n_action; j++) s.action_ids[j] = 2000 + id * 11 + (int)j;
            assert_int_equal(mla_store_append(lines, &s, &err), 0);
            mla_step_clear(&s);
        }
    mla_lines_close(lines);
    free(dir);
    free(path);
}

static int read_states(mla__sft_data *data, const mla_sft_options *o, int vocab, mla_err *err) {
    const mla_model_config config = {.vocab = vocab, .max_context = 2048};
    mla_run *run = mla_run_open(root, err);
    assert_non_null(run);
    int rc = mla__sft_data_read(data, run, &config, o, err);
    mla_run_close(run);
    return rc;
}

static const int shared[] = {1, 8, 2, 1, 3, 1};

static void samples_of_a_state_share_its_tokens(void **state) {
    (void)state;
    mla_sft_options o = mla_sft_options_default();
    mla__sft_data d;
    mla_err err = {{0}};
    write_states("steps.jsonl", shared, 6);
    write_states("validation.jsonl", shared, 2);
    o.pack_tokens = 1000;
    if (read_states(&d, &o, 49152, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(d.n_train, 6);
    assert_int_equal(d.n_states, 8);
    for (int i = 0; i < 8; i++) assert_int_equal(d.states[i].n, shared[i % 6]);
    assert_int_equal(d.states[1].first, 1);
    assert_int_equal(d.lines[16], 1);          // the first one held back
    int targets = 0;
    for (int k = 0; k < 8; k++) targets += 3 + (k + 1) % 4;
    assert_int_equal(d.states[1].targets, targets);
    assert_int_equal(d.states[1].tokens, 13 + targets - 8);
    mla__sft_data_clear(&d);
    o.pack_tokens = 30;                        // the state of eight must be cut
    assert_int_equal(read_states(&d, &o, 49152, &err), 0);
    size_t n = 0;
    for (size_t i = 0; i < d.n_states; i++) {
        assert_true(d.states[i].tokens <= 30);
        n += d.states[i].n;
    }
    assert_int_equal(n, d.samples.len);
    assert_true(d.n_states > 8);
    mla__sft_data_clear(&d);
    o.cutoff = 20;
    assert_int_equal(read_states(&d, &o, 49152, &err), 0);
    for (size_t i = 0; i < d.samples.len; i++)
        assert_true(d.samples.items[i].n_prompt + d.samples.items[i].n_action <= 20);
    assert_int_equal(d.left_out + d.samples.len, 16 + 9);
    assert_true(d.left_out > 2);
    mla__sft_data_clear(&d);
    assert_int_equal(read_states(&d, &o, 2100, &err), -1);
    assert_non_null(strstr(err.text, "line 10 has the token id 2100"));
    mla__sft_data_clear(&d);
}

// Every state once an epoch, whole states, in an order that the seed and the epoch decide.
static void a_plan_deals_every_state_once_an_epoch(void **state) {
    (void)state;
    mla_sft_options o = mla_sft_options_default();
    mla__sft_data d;
    mla__sft_plan plan, again;
    mla_err err = {{0}};
    write_states("steps.jsonl", shared, 6);
    assert_int_equal(read_states(&d, &o, 49152, &err), 0);
    o.epochs = 3;
    o.batch = 4;
    mla__sft_plan_make(&plan, &d, &o);
    mla__sft_plan_make(&again, &d, &o);
    assert_memory_equal(plan.order, again.order, 18 * sizeof *plan.order);
    assert_memory_not_equal(plan.order, plan.order + 6, 6 * sizeof *plan.order);
    for (int epoch = 0; epoch < 3; epoch++) {
        int seen[6] = {0};
        for (int i = 0; i < 6; i++) seen[plan.order[6 * epoch + i]]++;
        for (int i = 0; i < 6; i++) assert_int_equal(seen[i], 1);
        assert_int_equal(plan.begin[plan.epoch_end[epoch]], 6 * (epoch + 1));
    }
    for (int step = 0; step < plan.steps; step++) {
        size_t samples = 0, last = plan.begin[step + 1] - 1;
        for (size_t at = plan.begin[step]; at < last; at++)
            samples += d.states[plan.order[at]].n;
        assert_true(samples < 4);              // it goes on until it has enough
    }
    assert_true(mla__sft_plan_largest(&plan, &d, 2048) > mla__sft_plan_largest(&plan, &d, 0));
    mla__sft_plan_clear(&plan);
    mla__sft_plan_clear(&again);
    mla__sft_data_clear(&d);
}

// ---- gradients -------------------------------------------------------------------------------

static size_t count_values(mla_model *m) {
    size_t n = 0;
    for (size_t i = 0; i < mla_model_params(m); i++)
        n += mla_model_param(m, i)->rows * mla_model_param(m, i)->cols;
    return n;
}

static float *take_gradients(mla_model *m) {
    float *out = MLA_NEW_ARRAY(float, count_values(m)), *to = out;
    for (size_t i = 0; i < mla_model_params(m); i++) {
        const mla_param *p = mla_model_param(m, i);
        memcpy(to, p->grad, p->rows * p->cols * sizeof *to);
        to += p->rows * p->cols;
    }
    mla_model_zero_grad(m);
    return out;
}

// The gradient of the summed loss of all training states, in passes of so many tokens.
static float *gradient_in_packs(mla_policy *policy, const mla__sft_data *d, int tokens,
                                double *loss, int *passes) {
    mla_model *m = mla_policy_model(policy);
    mla_activations *acts = mla_activations_create(m);
    size_t states[64];
    *loss = *passes = 0;
    for (size_t i = 0; i < d->n_train; i++) states[i] = i;
    for (size_t at = 0; at < d->n_train; ++*passes) {
        mla__sft_pack pack;
        at += mla__sft_pack_make(&pack, d, states + at, d->n_train - at, tokens);
        const mla_token_batch batch = mla_group_batch(&pack.group);
        const mla_head_rows head = mla_group_head(&pack.group, 1.0f);
        float logprob[512], grad[512];
        assert_true(head.n <= 512);
        mla_transformer_forward(m, &batch, acts, true);
        mla_head_forward(m, acts, &head, logprob, NULL);
        for (int i = 0; i < head.n; i++) *loss -= (double)logprob[i], grad[i] = -1;
        mla_head_backward(m, acts, &head, grad, NULL);
        mla_transformer_backward(m, &batch, acts);
        mla__sft_pack_clear(&pack);
    }
    mla_activations_free(acts);
    return take_gradients(m);
}

static void same_within(const float *a, const float *b, size_t n, double tolerance) {
    double size = 0, gap = 0;
    for (size_t i = 0; i < n; i++) {
        size = fmax(size, fabs((double)a[i]));
        gap = fmax(gap, fabs((double)a[i] - b[i]));
    }
    print_message("largest gradient %g, largest gap %g\n", size, gap);
    assert_true(size > 1e-3 && gap <= tolerance * size);
}

// One sample at a time eight times, or eight in one pass; each with its own state, or sharing it:
// one gradient.
static void accumulating_is_packing_is_sharing(void **state) {
    (void)state;
    mla_sft_options o = mla_sft_options_default();
    mla_policy *policy = open_policy(false);
    const size_t n = count_values(mla_policy_model(policy));
    static const int eight_alone[] = {1, 1, 1, 1, 1, 1, 1, 1}, eight_shared[] = {8, 2, 3};
    static const int *const sets[] = {eight_alone, eight_shared};
    for (int k = 0; k < 2; k++) {
        mla__sft_data d, apart;
        mla_err err = {{0}};
        double one_loss, all_loss;
        int one_passes, all_passes;
        write_states("steps.jsonl", sets[k], k ? 3 : 8);
        assert_int_equal(read_states(&d, &o, 49152, &err), 0);
        o.pack_tokens = 1;                     // a state for each sample, a pass for each state
        assert_int_equal(read_states(&apart, &o, 49152, &err), 0);
        o = mla_sft_options_default();
        float *one = gradient_in_packs(policy, &apart, 1, &one_loss, &one_passes);
        float *all = gradient_in_packs(policy, &d, 4096, &all_loss, &all_passes);
        assert_int_equal(one_passes, k ? 13 : 8);
        assert_int_equal(all_passes, 1);
        assert_true(fabs(one_loss - all_loss) < 1e-5 * all_loss);
        same_within(one, all, n, 2e-5);
        free(one), free(all);
        mla__sft_data_clear(&d);
        mla__sft_data_clear(&apart);
    }
    mla_policy_free(policy);
}

// ---- averages --------------------------------------------------------------------------------

static void the_average_is_kept_and_given_back(void **state) {
    (void)state;
    mla_policy *policy = open_policy(false);
    mla_model *m = mla_policy_model(policy);
    mla_ema *ema = mla__ema_create(m, 0.75), *again = mla__ema_create(m, 0.75);
    mla_param *p = mla_model_param(m, 3);
    const float first = p->data[5];
    p->data[5] = first + 4;
    mla__ema_update(ema);
    p->data[5] = first + 8;
    mla__ema_update(ema);                      // 0.75 (0.75 f + 0.25 (f + 4)) + 0.25 (f + 8)
    mla__ema_swap(ema);
    assert_float_equal(p->data[5], first + 0.75 * 1 + 2, 1e-5);
    const float mean = p->data[5];
    mla__ema_swap(ema);
    assert_true(p->data[5] == first + 8);
    mla_err err = {{0}};
    char *path = mla_fs_join(root, "ema.bin");
    assert_int_equal(mla__ema_save(ema, path, &err), 0);
    assert_int_equal(mla__ema_load(again, path, &err), 0);
    mla__ema_swap(again);
    assert_true(p->data[5] == mean);
    assert_int_equal(truncate(path, 1000), 0);
    assert_int_equal(mla__ema_load(again, path, &err), -1);
    assert_non_null(strstr(err.text, "no average of this model"));
    mla__ema_free(ema);
    mla__ema_free(again);
    mla_policy_free(policy);
    free(path);
}

// ---- validation ------------------------------------------------------------------------------

static void nothing_is_dropped_in_validation(void **state) {
    (void)state;
    mla_sft_options o = mla_sft_options_default();
    o.val_actions = 0;
    mla_policy *policy = open_policy(true);
    mla_model *m = mla_policy_model(policy);
    mla_adapter_options lora = mla_adapter_options_default();
    mla__sft_data d;
    mla_err err = {{0}};
    lora.dropout = 0.5f;
    assert_int_equal(mla_adapter_add(m, &lora, 1, &err), 0);
    for (size_t i = 0; i < mla_model_params(m); i++) {
        mla_param *p = mla_model_param(m, i);
        for (size_t k = 0; k < p->rows * p->cols; k++) p->data[k] = 0.05f * (float)(k % 7) - 0.1f;
    }
    mla_model_refresh(m);
    write_states("steps.jsonl", shared, 6);
    write_states("validation.jsonl", shared, 3);
    assert_int_equal(read_states(&d, &o, 49152, &err), 0);
    mla_activations *acts = mla_activations_create(m);
    mla__sft_score none, some;
    assert_int_equal(mla__sft_validate(&none, &d, &o, policy, acts, &err), 1);
    mla_activations_dropout(acts, 9);
    assert_int_equal(mla__sft_validate(&some, &d, &o, policy, acts, &err), 1);
    assert_true(isfinite(none.loss) && none.loss == some.loss && isnan(none.accuracy));
    double kept, dropped;
    int passes;
    free(gradient_in_packs(policy, &d, 4096, &kept, &passes));
    const mla_group *group;
    mla__sft_pack pack;
    size_t first = 0;
    mla__sft_pack_make(&pack, &d, &first, 1, 1);
    group = &pack.group;
    const mla_token_batch batch = mla_group_batch(group);
    const mla_head_rows head = mla_group_head(group, 1.0f);
    float with[16], without[16];
    mla_transformer_forward(m, &batch, acts, true);
    mla_head_forward(m, acts, &head, with, NULL);
    mla_transformer_forward(m, &batch, acts, false);
    mla_head_forward(m, acts, &head, without, NULL);
    dropped = fabs((double)with[0] - without[0]);
    assert_true(dropped > 1e-6);               // there was something to drop
    mla__sft_pack_clear(&pack);
    mla_activations_free(acts);
    mla__sft_data_clear(&d);
    mla_policy_free(policy);
}

// A model of random weights never speaks an action; what it says is counted all the same.
static void accuracy_is_over_the_states_asked_for(void **state) {
    (void)state;
    mla_sft_options o = mla_sft_options_default();
    o.val_actions = 2;
    o.val_max_new = 4;
    mla_policy *policy = open_policy(false);
    mla__sft_data d;
    mla_err err = {{0}};
    write_states("steps.jsonl", shared, 6);
    write_states("validation.jsonl", shared, 3);
    assert_int_equal(read_states(&d, &o, 49152, &err), 0);
    mla_activations *acts = mla_activations_create(mla_policy_model(policy));
    mla__sft_score score;
    assert_int_equal(mla__sft_validate(&score, &d, &o, policy, acts, &err), 1);
    assert_true(score.accuracy == 0 && isfinite(score.loss));
    mla_activations_free(acts);
    mla__sft_data_clear(&d);
    mla_policy_free(policy);
}

static void a_reply_is_judged_by_the_script_it_was_shown(void **state) {
    (void)state;
    const mla_task task = {
        .name = "toy", .description = "Tell good wine from bad.", .metric = MLA_METRIC_ACCURACY,
        .direction = 1, .id_column = "id", .target_columns = (char *[]){"good"},
        .target_count = 1, .splits = 1, .script = "train.py", .init = {0.75, 0.7}};
    mla_policy *policy = open_policy(false);
    const mla_view view = {.task = &task, .state = {.score = 0.8, .best = 0.8},
                           .script = "depth = 3\n# Now\nprint(depth)\n", .steps_left = 4};
    const mla_prompt_options options = mla_prompt_options_default();
    mla_ids ids = {0};
    mla_prompt_render(policy, &view, &options, &ids);
    char *name, *script;
    assert_true(mla_prompt_script(policy, ids.data, ids.len, &name, &script));
    assert_string_equal(name, "train.py");
    assert_string_equal(script, view.script);
    free(name), free(script);
    mla_step sample;
    mla_step_init(&sample);
    sample.prompt_ids = ids.data, sample.n_prompt = ids.len;
#define EDIT(file, search)                                                                     \
    "Thought: deeper\nAction: Edit Script\nAction Input: {\"script_name\": \"" file "\"}\n"    \
    "<<<<<<< SEARCH\n" search "\n=======\ndepth = 5\n>>>>>>> REPLACE\n"
    const struct {
        const char *reply;
        bool valid;
    } cases[] = {
        {EDIT("train.py", "depth = 3"), true},
        {EDIT("train.py", "depth = 4"), false},
        {EDIT("train.py", "depth = 5"), false},
        {EDIT("other.py", "depth = 3"), false},
        {"Thought: run\nAction: Execute Script\nAction Input: {\"script_name\": \"train.py\"}",
         true},
        {"Thought: ask\nAction: Understand File\nAction Input: {\"file_name\": \"train.py\"}",
         false},                               // not offered by default
        {"Thought: back\nAction: Undo Edit Script\nAction Input: {\"script_name\": \"train.py\"}",
         false},                               // there is nothing to take back
        {"I would try a deeper tree.", false},
    };
    for (size_t i = 0; i < MLA_COUNT(cases); i++)
        if (mla__sft_reply_valid(policy, &sample, options.actions, cases[i].reply) !=
            cases[i].valid)
            fail_msg("case %zu should be %svalid", i, cases[i].valid ? "" : "in");
    memset(sample.state.undo, '0', MLA_OID_HEX - 1);
    assert_true(mla__sft_reply_valid(policy, &sample, options.actions, cases[6].reply));
    mla_ids_clear(&ids);
    mla_policy_free(policy);
}

// ---- memory ----------------------------------------------------------------------------------

static void short_memory_is_said_with_what_would_fit(void **state) {
    (void)state;
    const mla_model_config c = {.arch = MLA_ARCH_QWEN2, .vocab = 151936, .dim = 1536, .layers = 28,
                                .heads = 12, .kv_heads = 2, .head_dim = 128, .hidden = 8960,
                                .max_context = 32768, .tied = true};
    mla_sft_options o = mla_sft_options_default();
    mla_err err = {{0}};
    o.compute = MLA_COMPUTE_BF16;
    const uint64_t gb = 1000000000;
    const uint64_t full = mla__sft_memory(&c, &o, 2048);
    assert_true(full > 28 * gb && full < 40 * gb);
    assert_int_equal(mla__sft_memory_check(&c, &o, 2048, 1024, full, &err), 0);
    assert_int_equal(mla__sft_memory_check(&c, &o, 2048, 1024, full - 1, &err), -1);
    assert_non_null(strstr(err.text, "sft.pack_tokens: 1024"));
    assert_non_null(strstr(err.text, "sft.recompute: 1"));
    assert_non_null(strstr(err.text, "sft.method: lora"));
    assert_int_equal(mla__sft_memory_check(&c, &o, 2048, 1024, 12 * gb, &err), -1);
    print_message("%s\n", err.text);
    assert_null(strstr(err.text, "sft.pack_tokens"));
    assert_non_null(strstr(err.text, "sft.method: lora"));
    assert_int_equal(mla__sft_memory_check(&c, &o, 2048, 1024, 2 * gb, &err), -1);
    assert_non_null(strstr(err.text, "a smaller model"));
    o.ema = 0.99;
    assert_int_equal(mla__sft_memory(&c, &o, 2048) - full, 4 * mla_footprint_params(&c));
    o.method = MLA_SFT_LORA;
    const uint64_t lora = mla__sft_memory(&c, &o, 1024);
    assert_true(lora > 7 * gb && lora < 10 * gb);
}

static int set_up(void **state) {
    (void)state;
    char template[] = "/tmp/mlagent-train-parts-XXXXXX";
    root = mla_strdup(mkdtemp(template));
    char *model = mla_fs_join(root, "model");
    int rc = tiny_policy_write(model, 3);
    free(model);
    return rc;
}

static int tear_down(void **state) {
    (void)state;
    mla_err err;
    int rc = mla_fs_remove_tree(root, &err);
    free(root);
    return rc;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_those_of_the_formulas),
        cmocka_unit_test(the_preset_is_the_release),
        cmocka_unit_test(samples_of_a_state_share_its_tokens),
        cmocka_unit_test(a_plan_deals_every_state_once_an_epoch),
        cmocka_unit_test(accumulating_is_packing_is_sharing),
        cmocka_unit_test(the_average_is_kept_and_given_back),
        cmocka_unit_test(nothing_is_dropped_in_validation),
        cmocka_unit_test(accuracy_is_over_the_states_asked_for),
        cmocka_unit_test(a_reply_is_judged_by_the_script_it_was_shown),
        cmocka_unit_test(short_memory_is_said_with_what_would_fit),
    };
    return cmocka_run_group_tests_name("train_parts", tests, set_up, tear_down);
}
