// A trainer that is killed while it writes a checkpoint, at one system call after another: what is
// there afterwards is the old checkpoint or the new one, whole to the byte, and can be gone on
// from; and nothing else is left beside it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "base/json.h"
#include "tokenizer_fixture.h"
#include "train/internal.h"

static char *root, *checkpoint;
static char *sums[3], *kept[3];        // [done]: what a whole checkpoint holds, and a copy of it

// ---- what children do: they have threads, and this process must not --------------------------

typedef struct {
    mla_policy *policy;
    mla_adamw *opt;
    mla_critic *critic;
} trainer;

static void must(int rc, const mla_err *err) {
    if (rc >= 0) return;
    fprintf(stderr, "%s\n", err->text);
    _exit(1);
}

static void open_trainer(trainer *t, const char *dir) {
    mla_err err = {{0}};
    mla_policy_options options = mla_policy_options_default();
    options.compute = MLA_COMPUTE_F32;
    options.trainable = true;
    t->policy = mla_policy_open(dir, &options, &err);
    must(t->policy ? 0 : -1, &err);
    mla_model *model = mla_policy_model(t->policy);
    mla_adamw_options adamw = mla_adamw_options_default();
    t->opt = mla_adamw_create(model, &adamw);
    t->critic = mla__critic_create(mla_model_get_config(model)->dim);
}

static void write_model(const char *dir, int seed) {
    mla_err err = {{0}};
    small_vocab v;
    must(small_vocab_read(&v, "smollm", &err), &err);
    const mla_model_config config = {.arch = MLA_ARCH_LLAMA, .vocab = (int)v.vocab.n, .dim = 32,
                                     .layers = 1, .heads = 2, .kv_heads = 1, .head_dim = 16,
                                     .hidden = 32, .max_context = 64, .rope_theta = 10000,
                                     .norm_eps = 1e-5f, .tied = true};
    const mla_model_options options = {.compute = MLA_COMPUTE_F32, .trainable = true};
    mla_model *model = mla_model_random(&config, &options, (uint64_t)seed);
    mla_tokenizer *tok = mla_tokenizer_create(&v.vocab, &err);
    must(tok ? mla_fs_mkdirs(dir, &err) : -1, &err);
    must(mla_model_save(model, dir, true, &err), &err);
    must(mla_tokenizer_save(tok, dir, &err), &err);
}

// The checkpoint after `done` steps; each has other weights, another optimiser, another critic.
static void save(int done, bool traced) {
    mla_err err = {{0}};
    trainer t;
    char *model = mla_format("%s.model%d", root, done);
    if (!mla_fs_exists(model)) write_model(model, done);
    open_trainer(&t, model);
    for (int i = 0; i < done; i++) mla_adamw_step(t.opt, 0.1);
    mla__critic_set_bias(t.critic, done);
    if (traced && (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 || raise(SIGSTOP) < 0)) _exit(2);
    const mla_trained what = {.policy = t.policy, .opt = t.opt, .critic = t.critic};
    json_t *trainer_state = json_pack("{s:i}", "done", done);
    must(mla__checkpoint_save(checkpoint, &what, trainer_state, &err), &err);
}

static void resume(int done) {
    mla_err err = {{0}};
    trainer t;
    must(mla__checkpoint_done(checkpoint, &err) == done ? 0 : -1, &err);
    open_trainer(&t, checkpoint);
    const mla_trained what = {.policy = t.policy, .opt = t.opt, .critic = t.critic};
    must(mla__checkpoint_load(checkpoint, &what, &err), &err);
    float hidden[32] = {0}, value;
    mla__critic_value(t.critic, hidden, 1, &value);
    if (value != (float)done) _exit(3);
}

static pid_t start(int done, bool traced) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid) return pid;
    save(done, traced);
    _exit(0);
}

static void copy_folder(const char *from, const char *to) {
    mla_err err = {{0}};
    char **names;
    size_t n;
    if (mla_fs_list(from, &names, &n, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(mla_fs_mkdirs(to, &err), 0);
    for (size_t i = 0; i < n; i++) {
        char *source = mla_fs_join(from, names[i]), *copy = mla_fs_join(to, names[i]);
        if (mla_fs_copy_file(source, copy, &err) < 0) fail_msg("%s", err.text);
        free(source);
        free(copy);
    }
    mla_fs_names_free(names, n);
}

// ---- looking on ------------------------------------------------------------------------------

static char *sum_folder(void) {
    mla_err err = {{0}};
    char **names;
    size_t n;
    mla_buf out;
    mla_buf_init(&out, 1 << 16);
    if (mla_fs_list(checkpoint, &names, &n, &err) < 0) fail_msg("%s", err.text);
    for (size_t i = 0; i < n; i++) {
        char *path = mla_fs_join(checkpoint, names[i]), hex[65];
        if (mla_sha256_file(path, hex, &err) < 0) fail_msg("%s", err.text);
        mla_buf_printf(&out, "%s %s\n", names[i], hex);
        free(path);
    }
    mla_fs_names_free(names, n);
    return mla_buf_take(&out);
}

// Which checkpoint is there, held to the byte; whether it can be gone on from when `load`.
static int expect_whole(bool load) {
    mla_err err = {{0}};
    int done = mla__checkpoint_done(checkpoint, &err), status;
    if (done < 1 || done > 2) fail_msg("%d done: %s", done, err.text);
    char *sum = sum_folder(), **names;
    size_t n;
    assert_string_equal(sum, sums[done]);
    free(sum);
    assert_int_equal(mla_fs_list(root, &names, &n, &err), 0);
    assert_int_equal(n, 1);                     // itself
    mla_fs_names_free(names, n);
    if (!load) return done;
    pid_t pid = fork();
    if (pid == 0) {
        resume(done);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    return done;
}

// Kills a process that writes the checkpoint `done` at its k-th stop, each system call having one
// before it and one after. False: it had come to its end before.
static bool kill_at(int done, int k) {
    pid_t pid = start(done, true);
    int status;
    for (int stops = 0;; stops++) {
        assert_int_equal(waitpid(pid, &status, __WALL), pid);
        if (WIFEXITED(status)) {
            assert_int_equal(WEXITSTATUS(status), 0);
            return false;
        }
        assert_true(WIFSTOPPED(status));
        if (stops == k) break;
        assert_int_equal(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
    }
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, __WALL), pid);
    return true;
}

// ---- tests -----------------------------------------------------------------------------------

static void a_killed_writer_leaves_one_or_the_other(void **state) {
    (void)state;
    int kills = 0, found[3] = {0};
    for (int k = 1, at = 1; kill_at(3 - at, k); k += 3) {
        bool moved = expect_whole(k % 30 == 1) != at;
        kills++;
        found[moved ? 2 : 1]++;
        if (moved) at = 3 - at;
    }
    print_message("%d kills: %d times the old checkpoint, %d times the new one\n", kills, found[1],
                  found[2]);
    assert_true(kills > 40 && found[1] > 20 && found[2] > 1);
}

// The first checkpoint of all: there is none, or it.
static void a_killed_first_writer_leaves_none_or_it(void **state) {
    (void)state;
    mla_err err = {{0}};
    int none = 0, whole = 0;
    for (int k = 1;; k += 6) {
        if (mla_fs_remove_tree(checkpoint, &err) < 0) fail_msg("%s", err.text);
        if (!kill_at(1, k)) break;
        int done = mla__checkpoint_done(checkpoint, &err);
        if (done < 0) fail_msg("%s", err.text);
        if (done) assert_int_equal(expect_whole(false), 1);
        none += done == 0;
        whole += done == 1;
    }
    assert_true(none > 10 && whole > 0);
}

// A kill while what it left is being put right changes nothing either.
static void recovery_may_be_killed_too(void **state) {
    (void)state;
    mla_err err = {{0}};
    char *fresh = mla_format("%s.new", checkpoint), *aside = mla_format("%s.old", checkpoint);
    for (int k = 1, more = 1; more; k++) {
        if (mla_fs_remove_tree(checkpoint, &err) < 0) fail_msg("%s", err.text);
        copy_folder(kept[1], aside);                         // as between the two renames
        copy_folder(kept[2], fresh);
        pid_t pid = fork();
        if (pid == 0) {
            if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 || raise(SIGSTOP) < 0) _exit(2);
            _exit(mla__checkpoint_done(checkpoint, &err) != 2);
        }
        int status;
        for (int stops = 0; (more = waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status));) {
            if (stops++ == k) break;
            assert_int_equal(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
        }
        if (more) kill(pid, SIGKILL);
        if (more) waitpid(pid, &status, __WALL);
        else assert_int_equal(status, 0);
        assert_int_equal(expect_whole(false), 2);
    }
    free(fresh);
    free(aside);
}

// The new one is not whole, whoever took it apart: the old one counts.
static void an_old_one_set_aside_is_not_lost(void **state) {
    (void)state;
    mla_err err = {{0}};
    char *fresh = mla_format("%s.new", checkpoint), *aside = mla_format("%s.old", checkpoint);
    assert_int_equal(mla_fs_remove_tree(checkpoint, &err), 0);
    copy_folder(kept[1], aside);
    assert_int_equal(mla_fs_mkdirs(fresh, &err), 0);
    assert_int_equal(expect_whole(true), 1);
    free(fresh);
    free(aside);
}

static int begin(void **state) {
    (void)state;
    char template[] = "/tmp/mlagent-checkpoint-XXXXXX";
    root = mla_strdup(mkdtemp(template));
    checkpoint = mla_fs_join(root, "checkpoint");
    for (int done = 2, status = 0; done >= 1; done--) {
        assert_true(waitpid(start(done, false), &status, 0) > 0);
        assert_int_equal(status, 0);
        sums[done] = sum_folder();
        kept[done] = mla_format("%s.kept%d", root, done);
        copy_folder(checkpoint, kept[done]);
    }
    assert_string_not_equal(sums[1], sums[2]);
    return 0;
}

static int end(void **state) {
    (void)state;
    mla_err err = {{0}};
    int rc = mla_fs_remove_tree(root, &err);
    for (int done = 1; done <= 2; done++) {
        char *model = mla_format("%s.model%d", root, done);
        rc |= mla_fs_remove_tree(kept[done], &err) | mla_fs_remove_tree(model, &err);
        free(model);
        free(kept[done]);
        free(sums[done]);
    }
    free(root);
    free(checkpoint);
    return rc;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_writer_leaves_one_or_the_other),
        cmocka_unit_test(recovery_may_be_killed_too),
        cmocka_unit_test(an_old_one_set_aside_is_not_lost),
        cmocka_unit_test(a_killed_first_writer_leaves_none_or_it),
    };
    return cmocka_run_group_tests_name("train_checkpoint", tests, begin, end);
}
