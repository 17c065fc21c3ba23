// Fine-tuning runs on a tiny model, each in a process of its own: a run learns; one that was
// stopped, or killed at any moment, ends with the same bits as one that was not, in every setting;
// the best validation's weights are kept; what is no number stops it at the last good step.
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <omp.h>

#include "base/log.h"
#include "record/store.h"
#include "tiny_policy.h"
#include "train/train.h"

static char root[64];

// ---- settings --------------------------------------------------------------------------------

static mla_sft_options plain(void) {
    mla_sft_options o = mla_sft_options_default();
    o.schedule.lr = 3e-3;
    o.batch = 2;
    o.epochs = 6;
    o.val_actions = 0;
    o.compute = MLA_COMPUTE_F32;
    return o;
}

// Everything that a checkpoint must carry, at once.
static mla_sft_options full_with_all(void) {
    mla_sft_options o = plain();
    o.epochs = 3;
    o.ema = 0.9;
    o.weight_decay = 0.1;
    o.recompute = 1;
    o.pack_tokens = 64;
    o.batch = 3;
    o.val_every = 4;
    o.val_actions = 2;
    o.val_max_new = 3;
    o.keep = MLA_SFT_KEEP_LOSS;
    o.patience = 3;
    return o;
}

static mla_sft_options lora_with_all(void) {
    mla_sft_options o = full_with_all();
    o.method = MLA_SFT_LORA;
    o.lora.rank = 4;
    o.lora.rslora = true;
    o.lora.dropout = 0.2f;
    o.schedule = (mla_schedule){.shape = MLA_SCHEDULE_LINEAR, .lr = 1e-2, .warmup_ratio = 0.2};
    o.keep = MLA_SFT_KEEP_ACCURACY;
    o.ema = 0;
    return o;
}

// ---- a data set ------------------------------------------------------------------------------

// Samples whose action is a function of the prompt's first token; every fifth shares the state of
// the one before.
static int write_file(const char *dir, const char *name, int n) {
    mla_err err = {{0}};
    char *folder = mla_fs_join(dir, "sft"), *path = mla_fs_join(folder, name);
    int rc = mla_fs_mkdirs(folder, &err);
    mla_lines *lines = rc == 0 ? mla_lines_open(path, &err) : NULL;
    for (int i = 0; lines && rc == 0 && i < n; i++) {
        mla_step s;
        mla_step_init(&s);
        int kind = (i - (i % 5 == 4)) % 4;
        s.task = mla_strdup("made-up"), s.trajectory = mla_format("made-up-%d", i);
        s.actor = mla_strdup("expert"), s.text = mla_strdup("x");
        s.index = i;
        s.n_prompt = 12, s.n_action = 5;
        s.prompt_ids = MLA_NEW_ARRAY(int32_t, s.n_prompt);
        s.action_ids = MLA_NEW_ARRAY(int32_t, s.n_action);
        for (int j = 0; j < 12; j++) s.prompt_ids[j] = 1000 + kind * 7 + j * (j > 0);
        for (int j = 0; j < 5; j++) s.action_ids[j] = 2000 + kind * 11 + j;
        rc = mla_store_append(lines, &s, &err);
        mla_step_clear(&s);
    }
    mla_lines_close(lines);
    free(folder);
    free(path);
    if (rc < 0 || !lines) fprintf(stderr, "%s\n", err.text);
    return lines ? rc : -1;
}

static char *new_run(const char *name, int held_back) {
    char *dir = mla_fs_join(root, name);
    assert_int_equal(write_file(dir, "steps.jsonl", 18), 0);
    if (held_back) assert_int_equal(write_file(dir, "validation.jsonl", held_back), 0);
    return dir;
}

// ---- running ---------------------------------------------------------------------------------

static int count_lines(const char *path) {
    mla_buf text;
    mla_err err;
    int lines = 0;
    if (!mla_fs_exists(path) || mla_fs_read(path, 1 << 20, &text, &err) < 0) return 0;
    for (size_t i = 0; i < text.len; i++) lines += text.data[i] == '\n';
    mla_buf_clear(&text);
    return lines;
}

static char *metrics_of(const char *dir) {
    return mla_fs_join(dir, "sft/metrics.jsonl");
}

static void wait_for_lines(const char *path, int lines) {
    for (int tries = 0; tries < 100000 && count_lines(path) < lines; tries++) usleep(300);
}

static void *stop_after_three(void *path) {
    wait_for_lines(path, 3);
    usleep(20000);
    raise(SIGTERM);
    return NULL;
}

// Writes the error's text to <dir>/error. 99 on error.
static int run_here(const char *dir, const mla_sft_options *options, bool stop) {
    mla_err err = {{0}};
    pthread_t thread;
    mla_log_set_level(MLA_LOG_ERROR);
    omp_set_num_threads(1);                    // so small a model only waits for others
    char *model = mla_fs_join(root, "model"), *error = mla_fs_join(dir, "error");
    mla_stop_install();
    if (stop) pthread_create(&thread, NULL, stop_after_three, metrics_of(dir));
    mla_run *run = mla_run_open(dir, &err);
    int rc = run ? mla_sft_run(run, model, options, &err) : -1;
    if (rc < 0) (void)!mla_fs_write(error, err.text, strlen(err.text), &err);
    mla_run_close(run);
    return rc < 0 ? 99 : rc;
}

// A process of its own, for a stop cannot be taken back.
static pid_t start_sft(const char *dir, const mla_sft_options *options, bool stop) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) _exit(run_here(dir, options, stop));
    return pid;
}

static int run_sft(const char *dir, const mla_sft_options *options, bool stop) {
    int status = 0;
    waitpid(start_sft(dir, options, stop), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Kills it when so many lines are in the metrics. False: it had come to its end.
static bool kill_at(const char *dir, const mla_sft_options *options, int lines, unsigned delay) {
    char *metrics = metrics_of(dir);
    int status = 0;
    pid_t pid = start_sft(dir, options, false);
    wait_for_lines(metrics, lines);
    usleep(delay);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    free(metrics);
    if (WIFEXITED(status)) assert_int_equal(WEXITSTATUS(status), 1);
    return !WIFEXITED(status);
}

// ---- looking on ------------------------------------------------------------------------------

static char *hash_of(const char *dir, const char *file) {
    char hex[65];
    mla_err err;
    char *path = mla_fs_join(dir, file);
    int rc = mla_sha256_file(path, hex, &err);
    free(path);
    return rc == 0 ? mla_strdup(hex) : mla_strdup(err.text);
}

static bool is_there(const char *dir, const char *file) {
    char *path = mla_fs_join(dir, file);
    bool there = mla_fs_exists(path);
    free(path);
    return there;
}

static void same_file(const char *a, const char *b, const char *file) {
    char *x = hash_of(a, file), *y = hash_of(b, file);
    assert_string_equal(x, y);
    free(x);
    free(y);
}

static int keep_line(void *ctx, json_t *line, mla_err *err) {
    (void)err;
    static const char *const timed[] = {"seconds", "tokens_per_second", "validation_seconds"};
    for (size_t i = 0; i < MLA_COUNT(timed); i++) json_object_del(line, timed[i]);
    json_array_append(ctx, line);
    return 0;
}

// The lines without what a clock gave. Caller owns.
static json_t *read_metrics(const char *dir) {
    mla_err err;
    char *path = metrics_of(dir);
    json_t *lines = json_array();
    if (mla_lines_read(path, keep_line, lines, &err) < 0) fail_msg("%s", err.text);
    free(path);
    return lines;
}

static void same_metrics(const char *a, const char *b) {
    json_t *x = read_metrics(a), *y = read_metrics(b);
    assert_true(json_array_size(x) > 0);
    assert_true(json_equal(x, y));
    json_decref(x);
    json_decref(y);
}

static double value_at(const json_t *lines, size_t at, const char *key) {
    return mla_json_get_number(json_array_get(lines, at), key, NAN);
}

static char *error_of(const char *dir) {
    char *path = mla_fs_join(dir, "error");
    mla_buf text;
    mla_err err;
    if (mla_fs_read(path, 4096, &text, &err) < 0) fail_msg("%s", err.text);
    free(path);
    return mla_buf_take(&text);
}

// ---- tests -----------------------------------------------------------------------------------

static void a_stopped_run_ends_with_the_same_bits(void **state) {
    (void)state;
    const mla_sft_options o = plain();
    char *whole = new_run("whole", 2), *parts = new_run("parts", 2);
    assert_int_equal(run_sft(whole, &o, false), 1);
    assert_int_equal(run_sft(parts, &o, true), 0);
    assert_false(is_there(parts, "sft/model"));
    assert_true(is_there(parts, "sft/checkpoint"));
    assert_int_equal(run_sft(parts, &o, false), 1);
    assert_false(is_there(parts, "sft/checkpoint"));
    same_file(whole, parts, "sft/model/model.safetensors");
    same_metrics(whole, parts);
    json_t *lines = read_metrics(whole);
    size_t n = json_array_size(lines);
    assert_int_equal(value_at(lines, n - 1, "step"), n);
    assert_true(value_at(lines, n - 1, "epoch") == 6);
    assert_true(isfinite(value_at(lines, n - 1, "val_loss")));
    if (value_at(lines, n - 1, "loss") >= 0.7 * value_at(lines, 0, "loss"))
        fail_msg("loss %.3f at first, %.3f at last", value_at(lines, 0, "loss"),
                 value_at(lines, n - 1, "loss"));
    json_decref(lines);
    free(whole), free(parts);
}

// Kills of one run, one after another, each later than the last; then it goes on to its end.
static void killed_runs_end_alike(const char *name, mla_sft_options o, const char *also) {
    char *whole_name = mla_format("%s-whole", name), *killed_name = mla_format("%s-killed", name);
    char *whole = new_run(whole_name, 4), *killed = new_run(killed_name, 4);
    int kills = 0, lines = 0;
    assert_int_equal(run_sft(whole, &o, false), 1);
    o.checkpoint_seconds = 1e-9;               // after every step
    char *metrics = metrics_of(killed);
    for (unsigned k = 0; k < 14; k++, lines = count_lines(metrics) + (int)k % 3) {
        if (!kill_at(killed, &o, lines, k * 977 % 4000)) break;
        kills++;
    }
    if (!is_there(killed, "sft/model") || is_there(killed, "sft/checkpoint"))
        assert_int_equal(run_sft(killed, &o, false), 1);
    print_message("%s: %d kills\n", name, kills);
    assert_true(kills >= 5);
    same_file(whole, killed, "sft/model/model.safetensors");
    if (also) same_file(whole, killed, also);
    same_metrics(whole, killed);
    assert_false(is_there(killed, "sft/checkpoint"));
    assert_false(is_there(killed, "sft/best"));
    free(whole_name), free(killed_name), free(whole), free(killed), free(metrics);
}

static void a_killed_run_ends_with_the_same_bits(void **state) {
    (void)state;
    killed_runs_end_alike("full", full_with_all(), NULL);
    killed_runs_end_alike("lora", lora_with_all(), "sft/adapter/adapter_model.safetensors");
}

// The line that a stopped validation left in the checkpoint, or 0.
static int pending_step(const char *dir) {
    mla_err err;
    char *path = mla_fs_join(dir, "sft/checkpoint/trainer.json");
    json_t *kept = mla_json_read_file(path, 1 << 20, &err);
    if (!kept) fail_msg("%s", err.text);
    json_t *line = json_object_get(kept, "line");
    int step = json_is_object(line) ? (int)mla_json_get_int(line, "step", 0) : 0;
    if (step) assert_int_equal(mla_json_get_int(kept, "done", 0), step);
    json_decref(kept);
    free(path);
    return step;
}

// A stop in the middle of a validation: it comes first when the run goes on. A stop may also find a
// step under way, so it is tried until one finds a validation.
static void a_stop_while_validating_loses_nothing(void **state) {
    (void)state;
    mla_sft_options o = plain();
    o.epochs = 1;
    o.val_every = 2;
    o.val_actions = 2;
    o.val_max_new = 300;
    char *whole = new_run("calm", 2), *parts = NULL;
    assert_int_equal(run_sft(whole, &o, false), 1);
    for (int k = 0, found = 0; !found; k++) {
        if (k == 20) fail_msg("no stop found a validation under way");
        free(parts);
        char *name = mla_format("hasty-%d", k);
        parts = new_run(name, 2);
        assert_int_equal(run_sft(parts, &o, true), 0);
        found = pending_step(parts);
        free(name);
    }
    assert_int_equal(run_sft(parts, &o, false), 1);
    same_file(whole, parts, "sft/model/model.safetensors");
    same_metrics(whole, parts);
    free(whole), free(parts);
}

// With a rate too high for long training the validation turns; what is kept has the bits of a run
// that ended at the turn.
static void the_best_validation_is_kept_and_the_rest_spared(void **state) {
    (void)state;
    mla_sft_options o = plain();
    o.schedule = (mla_schedule){.shape = MLA_SCHEDULE_CONSTANT, .lr = 8e-2};
    o.batch = 1;
    o.epochs = 30;
    o.keep = MLA_SFT_KEEP_LOSS;
    o.patience = 2;
    char *best = new_run("best", 7), *upto = new_run("upto", 7);
    assert_int_equal(run_sft(best, &o, false), 1);
    json_t *lines = read_metrics(best);
    const size_t n = json_array_size(lines);
    size_t at = 0, stale = 0;
    double low = INFINITY;
    for (size_t i = 0; i < n; i++) {
        double loss = value_at(lines, i, "val_loss");
        if (!isfinite(loss)) continue;
        assert_int_equal(mla_json_get_bool(json_array_get(lines, i), "best", false), loss < low);
        stale = loss < low ? 0 : stale + 1;
        if (loss < low) at = i, low = loss;
    }
    const double epochs = value_at(lines, at, "epoch");
    print_message("best after %g of %g epochs: %.3f\n", epochs, value_at(lines, n - 1, "epoch"),
                  low);
    assert_int_equal(stale, 2);
    assert_true(value_at(lines, n - 1, "epoch") == epochs + 2 && epochs + 2 < 30);
    o.epochs = (int)epochs;
    o.keep = MLA_SFT_KEEP_LAST;
    o.patience = 0;
    assert_int_equal(run_sft(upto, &o, false), 1);
    same_file(best, upto, "sft/model/model.safetensors");
    json_decref(lines);
    free(best), free(upto);
}

// Packing and recomputation are matters of speed and memory only.
static void packs_change_no_loss(void **state) {
    (void)state;
    mla_sft_options o = plain();
    o.epochs = 2;
    o.batch = 8;
    char *alone = new_run("alone", 4), *packed = new_run("packed", 4);
    o.pack_tokens = 64;                        // four states of 16 tokens at most, most of them 3
    assert_int_equal(run_sft(alone, &o, false), 1);
    o.pack_tokens = 4096;
    o.recompute = 1;
    assert_int_equal(run_sft(packed, &o, false), 1);
    json_t *a = read_metrics(alone), *b = read_metrics(packed);
    assert_int_equal(json_array_size(a), json_array_size(b));
    for (size_t i = 0; i < json_array_size(a); i++) {
        assert_float_equal(value_at(a, i, "loss"), value_at(b, i, "loss"), 2e-4);
        assert_float_equal(value_at(a, i, "grad_norm"), value_at(b, i, "grad_norm"), 2e-3);
        assert_true(value_at(a, i, "seen_tokens") == value_at(b, i, "seen_tokens"));
    }
    json_decref(a), json_decref(b);
    free(alone), free(packed);
}

// The merged model is what base and adapter are together: it gives the losses of both.
static void lora_leaves_an_adapter_and_the_merged_model(void **state) {
    (void)state;
    mla_sft_options o = lora_with_all();
    o.keep = MLA_SFT_KEEP_LAST;
    char *dir = new_run("lora-result", 4), *model = mla_fs_join(dir, "sft/model");
    char *adapter = mla_fs_join(dir, "sft/adapter"), *base = mla_fs_join(root, "model");
    assert_int_equal(run_sft(dir, &o, false), 1);
    mla_adapter_info info;
    mla_err err = {{0}};
    if (mla_adapter_describe(adapter, &info, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(info.options.rank, 4);
    assert_true(info.options.rslora && info.options.dropout == 0.2f);
    mla_weights *merged = mla_weights_open(model, &err), *plain_base = mla_weights_open(base, &err);
    assert_true(merged && plain_base);
    const char *name = "model.layers.1.mlp.down_proj.weight";
    float got[32 * 64], want[32 * 64], before[32 * 64];
    assert_int_equal(mla_weights_read(merged, name, got, 32, 64, &err), 0);
    assert_int_equal(mla_weights_read(plain_base, name, before, 32, 64, &err), 0);
    assert_int_equal(mla_weights_adapt(plain_base, adapter, &err), 0);
    assert_int_equal(mla_weights_read(plain_base, name, want, 32, 64, &err), 0);
    double moved = 0, gap = 0;
    for (int i = 0; i < 32 * 64; i++) {
        moved = fmax(moved, fabs((double)want[i] - before[i]));
        gap = fmax(gap, fabs((double)got[i] - want[i]));
    }
    assert_true(moved > 1e-2 && gap < 1e-3);
    mla_weights_close(merged), mla_weights_close(plain_base);
    free(dir), free(model), free(adapter), free(base);
}

// The step that cannot be computed changes nothing; a sample is named, and what was good is kept.
static void no_number_stops_at_the_last_good_step(void **state) {
    (void)state;
    mla_sft_options o = plain();
    o.schedule = (mla_schedule){.shape = MLA_SCHEDULE_CONSTANT, .lr = 1e30};
    o.clip_norm = 0;
    char *dir = new_run("wild", 2);
    assert_int_equal(run_sft(dir, &o, false), 99);
    char *why = error_of(dir), *metrics = metrics_of(dir);
    const int good = count_lines(metrics);
    print_message("%s\n", why);
    assert_true(good >= 1);
    char *step = mla_format("of step %d is not a finite number", good + 1);
    char *kept = mla_format("as step %d left it", good);
    assert_non_null(strstr(why, step));
    assert_non_null(strstr(why, kept));
    assert_non_null(strstr(why, "made-up-"));
    assert_non_null(strstr(why, "Lower sft.lr"));
    mla_err err;
    char *path = mla_fs_join(dir, "sft/checkpoint/trainer.json");
    json_t *trainer = mla_json_read_file(path, 1 << 20, &err);
    assert_int_equal(mla_json_get_int(trainer, "done", 0), good);
    json_decref(trainer);
    free(dir), free(why), free(metrics), free(step), free(kept), free(path);
}

static void expect_refusal(const char *name, int held_back, const mla_sft_options *o,
                           const char *words) {
    char *dir = new_run(name, held_back);
    assert_int_equal(run_sft(dir, o, false), 99);
    char *why = error_of(dir);
    if (!strstr(why, words)) fail_msg("\"%s\" does not say \"%s\"", why, words);
    free(dir);
    free(why);
}

static void what_cannot_be_is_refused(void **state) {
    (void)state;
    mla_sft_options o = plain();
    o.cutoff = 16;
    expect_refusal("long", 0, &o, "all 18 samples are longer than 16 tokens");
    o = plain();
    o.keep = MLA_SFT_KEEP_LOSS;
    expect_refusal("blind", 0, &o, "nothing is held back");
    o = plain();
    o.keep = MLA_SFT_KEEP_ACCURACY;
    expect_refusal("mute", 2, &o, "needs sft.val_actions above 0");
    o = plain();
    o.method = MLA_SFT_LORA;
    o.lora.targets = 0;
    expect_refusal("aimless", 2, &o, "at least one of the seven targets");
    char *dir = mla_fs_join(root, "empty"), *why;
    mla_err err;
    o = plain();
    assert_int_equal(mla_fs_mkdirs(dir, &err), 0);
    assert_int_equal(run_sft(dir, &o, false), 99);
    assert_non_null(strstr(why = error_of(dir), "no samples to train on"));
    free(dir);
    free(why);
}

static int set_up(void **state) {
    (void)state;
    snprintf(root, sizeof root, "/tmp/mlagent-test-sft-%d", (int)getpid());
    char *model = mla_fs_join(root, "model");
    // In a process of its own: the children that train must not inherit a thread pool.
    pid_t pid = fork();
    if (pid == 0) _exit(tiny_policy_write(model, 3) == 0 ? 0 : 1);
    int status = 1;
    waitpid(pid, &status, 0);
    free(model);
    return status;
}

static int tear_down(void **state) {
    (void)state;
    mla_err err;
    return mla_fs_remove_tree(root, &err);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stopped_run_ends_with_the_same_bits),
        cmocka_unit_test(a_killed_run_ends_with_the_same_bits),
        cmocka_unit_test(a_stop_while_validating_loses_nothing),
        cmocka_unit_test(the_best_validation_is_kept_and_the_rest_spared),
        cmocka_unit_test(packs_change_no_loss),
        cmocka_unit_test(lora_leaves_an_adapter_and_the_merged_model),
        cmocka_unit_test(no_number_stops_at_the_last_good_step),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests_name("train_sft", tests, set_up, tear_down);
}
