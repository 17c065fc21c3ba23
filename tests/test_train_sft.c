// Fine-tuning on a tiny model: it learns; batches of 8 equal 8 accumulated ones; and a run that was
// stopped and resumed ends with the same bits as one that was not.
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

#include "base/log.h"
#include "record/store.h"
#include "tiny_policy.h"
#include "train/train.h"

static char root[64];

static mla_sft_options options_of(void) {
    mla_sft_options o = mla_sft_options_default();
    o.lr = 3e-3;
    o.batch = 2;
    o.epochs = 6;
    o.compute = MLA_COMPUTE_F32;
    return o;
}

// Samples whose action is a function of the prompt's first token.
static int write_file(const char *dir, const char *name, int n) {
    mla_err err = {{0}};
    char *folder = mla_fs_join(dir, "sft"), *path = mla_fs_join(folder, name);
    int rc = mla_fs_mkdirs(folder, &err);
    mla_lines *lines = rc == 0 ? mla_lines_open(path, &err) : NULL;
    for (int i = 0; lines && rc == 0 && i < n; i++) {
        mla_step s;
        mla_step_init(&s);
        s.task = mla_strdup("made-up"), s.trajectory = mla_strdup("made-up-0");
        s.actor = mla_strdup("expert"), s.text = mla_strdup("x");
        s.index = i;
        s.n_prompt = 12, s.n_action = 5;
        s.prompt_ids = MLA_NEW_ARRAY(int32_t, s.n_prompt);
        s.action_ids = MLA_NEW_ARRAY(int32_t, s.n_action);
        for (int j = 0; j < 12; j++) s.prompt_ids[j] = 1000 + i % 4 * 7 + j * (j > 0);
        for (int j = 0; j < 5; j++) s.action_ids[j] = 2000 + i % 4 * 11 + j;
        rc = mla_store_append(lines, &s, &err);
        mla_step_clear(&s);
    }
    mla_lines_close(lines);
    free(folder);
    free(path);
    if (rc < 0 || !lines) fprintf(stderr, "%s\n", err.text);
    return lines ? rc : -1;
}

static int write_samples(const char *dir) {
    return write_file(dir, "steps.jsonl", 18) | write_file(dir, "validation.jsonl", 2);
}

// Sends SIGTERM once three steps are in the metrics.
static void *stop_after_three(void *path) {
    for (int tries = 0; tries < 20000; tries++) {
        mla_buf text;
        mla_err err;
        int lines = 0;
        if (mla_fs_exists(path) && mla_fs_read(path, 1 << 20, &text, &err) == 0) {
            for (size_t i = 0; i < text.len; i++) lines += text.data[i] == '\n';
            mla_buf_clear(&text);
        }
        if (lines >= 3) break;
        usleep(500);
    }
    raise(SIGTERM);
    return NULL;
}

// Runs fine-tuning in a process of its own (a stop cannot be taken back); its result, or 99.
static int run_sft(const char *dir, bool stop) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        mla_err err = {{0}};
        mla_log_set_level(MLA_LOG_ERROR);
        char *model = mla_fs_join(root, "model"), *metrics = mla_fs_join(dir, "sft/metrics.jsonl");
        mla_stop_install();
        pthread_t thread;
        if (stop) pthread_create(&thread, NULL, stop_after_three, metrics);
        mla_run *run = mla_run_open(dir, &err);
        const mla_sft_options o = options_of();
        int rc = run ? mla_sft_run(run, model, &o, &err) : -1;
        if (rc < 0) fprintf(stderr, "%s\n", err.text);
        mla_run_close(run);
        _exit(rc < 0 ? 99 : rc);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

static char *hash_of(const char *dir, const char *file) {
    char hex[65];
    mla_err err;
    char *path = mla_fs_join(dir, file);
    int rc = mla_sha256_file(path, hex, &err);
    free(path);
    return rc == 0 ? mla_strdup(hex) : mla_strdup(err.text);
}

static int read_loss(void *ctx, json_t *line, mla_err *err) {
    (void)err;
    double *losses = ctx;
    int step = (int)mla_json_get_int(line, "step", 0);
    if (losses[0] < step) losses[0] = step;
    if (step == 1) losses[1] = mla_json_get_number(line, "loss", NAN);
    losses[2] = mla_json_get_number(line, "loss", NAN);
    losses[3] = mla_json_get_number(line, "val_loss", NAN);
    return 0;
}

static void a_resumed_run_ends_with_the_same_bits(void **state) {
    (void)state;
    char *whole = mla_fs_join(root, "whole"), *parts = mla_fs_join(root, "parts");
    assert_int_equal(write_samples(whole), 0);
    assert_int_equal(write_samples(parts), 0);
    assert_int_equal(run_sft(whole, false), 1);
    assert_int_equal(run_sft(parts, true), 0);
    char *model = mla_fs_join(parts, "sft/model"), *kept = mla_fs_join(parts, "sft/checkpoint");
    assert_false(mla_fs_exists(model));
    assert_true(mla_fs_exists(kept));
    assert_int_equal(run_sft(parts, false), 1);
    assert_false(mla_fs_exists(kept));
    char *a = hash_of(whole, "sft/model/model.safetensors");
    char *b = hash_of(parts, "sft/model/model.safetensors");
    assert_string_equal(a, b);
    double losses[4] = {0}, again[4] = {0};
    mla_err err;
    char *log_a = mla_fs_join(whole, "sft/metrics.jsonl"),
         *log_b = mla_fs_join(parts, "sft/metrics.jsonl");
    assert_int_equal(mla_lines_read(log_a, read_loss, losses, &err), 0);
    assert_int_equal(mla_lines_read(log_b, read_loss, again, &err), 0);
    assert_float_equal(losses[0], 54, 0);
    assert_memory_equal(losses, again, sizeof losses);
    assert_true(isfinite(losses[3]));
    if (losses[2] >= 0.7 * losses[1])
        fail_msg("loss %.3f at first, %.3f at last", losses[1], losses[2]);
    free(whole), free(parts), free(model), free(kept), free(a), free(b), free(log_a), free(log_b);
}

static void a_data_set_without_ids_is_refused(void **state) {
    (void)state;
    char *dir = mla_fs_join(root, "empty");
    mla_err err = {{0}};
    mla_run *run = mla_run_open(dir, &err);
    assert_non_null(run);
    const mla_sft_options o = options_of();
    char *model = mla_fs_join(root, "model");
    assert_int_equal(mla_sft_run(run, model, &o, &err), -1);
    assert_non_null(strstr(err.text, "no samples"));
    mla_run_close(run);
    free(dir);
    free(model);
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
        cmocka_unit_test(a_resumed_run_ends_with_the_same_bits),
        cmocka_unit_test(a_data_set_without_ids_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
