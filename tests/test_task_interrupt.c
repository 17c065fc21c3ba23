// A preparation that is killed before any one of the calls by which it changes files, or stopped by
// Ctrl-C: what is there is whole or counts as nothing, and the next preparation ends with the same
// files, byte for byte, as one that was never interrupted. On the real tasks: long_task_prepare.c.
#include "task_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "task/prepare.h"

// Run by bash, which starts in a hundredth of the time: most of what is left is our own work.
static const char prepare_sh[] =
    "out=$2/public\n"
    "mkdir -p $out/more\n"
    "printf 'id,x,y\\n1,1,0\\n2,VALUE,1\\n' >$out/train.csv\n"
    "printf 'id,x\\n3,1\\n4,2\\n' >$out/test.csv\n"
    "printf 'id,y\\n3,0\\n4,0\\n' >$out/sample_submission.csv\n"
    "printf 'a note\\n' >$out/more/note.txt\n"
    "printf 'id,y,half\\n3,0,public\\n4,1,private\\n' >$2/answers.csv\n";

static void write_prepare(const fixture *f, const char *value) {
    char *text = with(prepare_sh, "VALUE", value);
    fixture_write(f->dir, "prepare.py", text);
    free(text);
}

static int prepare(const fixture *f, mla_err *err) {
    *err = (mla_err){0};
    return mla_task_prepare(f->dir, f->home, "bash", err);
}

static void must_prepare(const fixture *f) {
    mla_err err;
    if (prepare(f, &err) < 0) fail_msg("%s", err.text);
}

static bool changes_files(const struct __ptrace_syscall_info *info) {
    static const long calls[] = {SYS_write, SYS_rename, SYS_unlink, SYS_unlinkat, SYS_rmdir,
                                 SYS_mkdir, SYS_fsync, SYS_chmod, SYS_fchmod};
    if (info->op != PTRACE_SYSCALL_INFO_ENTRY) return false;
    if (info->entry.nr == SYS_openat) return (info->entry.args[2] & O_CREAT) != 0;
    for (size_t i = 0; i < MLA_COUNT(calls); i++) {
        if (info->entry.nr == (uint64_t)calls[i]) return true;
    }
    return false;
}

static pid_t begin_traced(const fixture *f) {
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        mla_err err;
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0) _exit(77);
        raise(SIGSTOP);
        _exit(prepare(f, &err) < 0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFSTOPPED(status)) fail_msg("a process of one's own cannot be traced here");
    assert_int_equal(ptrace(PTRACE_SETOPTIONS, pid, NULL,
                            PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL), 0);
    return pid;
}

// Kills a preparation before its n-th change of a file, from 1. False when it ended before.
static bool kill_before(const fixture *f, int n) {
    pid_t pid = begin_traced(f);
    int status, seen = 0, signal = 0;
    for (;;) {
        assert_int_equal(ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(intptr_t)signal), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (WIFEXITED(status)) {
            assert_int_equal(WEXITSTATUS(status), 0);
            return false;
        }
        assert_true(WIFSTOPPED(status));
        signal = WSTOPSIG(status);
        if (signal != (SIGTRAP | 0x80)) continue;
        signal = 0;
        struct __ptrace_syscall_info info;
        assert_true(ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof info, &info) > 0);
        if (!changes_files(&info) || ++seen < n) continue;
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        return true;
    }
}

// What passes for prepared is whole: preparing it again finds nothing to do.
static void whole_or_nothing(const fixture *f, int n) {
    mla_err err = {0};
    mla_task *task = mla_task_load(f->dir, f->home, true, &err);
    if (!task) {
        assert_non_null(strstr(err.text, "data not prepared"));
        return;
    }
    char *train = mla_fs_join(task->data_dir, "train.csv");
    mla_buf text;
    if (mla_fs_read(train, 4096, &text, &err) < 0) fail_msg("change %d: %s", n, err.text);
    assert_int_equal(mla_fs_size(task->answers_path), 33);
    assert_non_null(strstr(mla_buf_text(&text), "1,1,0\n2,"));
    mla_buf_clear(&text);
    free(train);
    mla_task_free(task);
}

// `before`: whether other data of the task is there already.
static void kill_at_every_change(bool before) {
    fixture f;
    char *wanted = NULL;
    for (int n = 0;; n++) {         // the first round is not interrupted
        fixture_begin(&f);
        mla_err err;
        assert_int_equal(mla_fs_mkdirs(f.home, &err), 0);
        if (before) {
            write_prepare(&f, "old");
            must_prepare(&f);
        }
        write_prepare(&f, "new");
        bool killed = n > 0 && kill_before(&f, n);
        whole_or_nothing(&f, n);
        must_prepare(&f);
        char *found = fixture_look(&f);
        if (!wanted) wanted = mla_strdup(found);
        else if (strcmp(found, wanted)) fail_msg("change %d:\n%s\nnot\n%s", n, found, wanted);
        free(found);
        fixture_end(&f);
        if (n > 0 && !killed) {
            assert_true(n > 20);
            break;
        }
    }
    free(wanted);
}

static void killed_when_there_was_nothing(void **state) {
    (void)state;
    kill_at_every_change(false);
}

static void killed_when_there_was_other_data(void **state) {
    (void)state;
    kill_at_every_change(true);
}

// Ctrl-C ends prepare.py and what it has started, and leaves what was there.
static void stopped_by_ctrl_c(void **state) {
    (void)state;
    fixture f;
    fixture_begin(&f);
    write_prepare(&f, "old");
    must_prepare(&f);
    char *wanted = fixture_look(&f);
    char *endless = mla_format("%ssleep 1000 & echo $! >%s/pid; wait\n", prepare_sh, f.root);
    fixture_write(f.dir, "prepare.py", endless);
    free(endless);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        mla_err err;
        mla_stop_install();
        int rc = prepare(&f, &err);
        _exit(rc < 0 && strstr(err.text, "task toy: stopped") && mla_stop_wanted() ? 0 : 1);
    }
    char *path = mla_fs_join(f.root, "pid");
    for (int i = 0; i < 3000 && mla_fs_size(path) <= 0; i++) usleep(10000);
    int status, sleeper = 0;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%d", &sleeper), 1);
    fclose(file);
    assert_int_equal(kill(pid, SIGINT), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    for (int i = 0; i < 1000 && kill(sleeper, 0) == 0; i++) usleep(10000);
    assert_int_equal(kill(sleeper, 0), -1);
    char *found = fixture_look(&f);
    assert_string_equal(found, wanted);
    free(found);
    free(wanted);
    free(path);
    fixture_end(&f);
}

// We are killed, and prepare.py goes on: the next preparation waits for it, and only its own files
// count.
static void waits_for_an_orphan(void **state) {
    (void)state;
    fixture f;
    fixture_begin(&f);
    char *slow = mla_format("touch %s/began; while [ ! -e %s/go ]; do sleep 0.01; done\n"
                            "mkdir -p $2/public; echo junk >$2/public/junk.txt\n", f.root, f.root);
    fixture_write(f.dir, "prepare.py", slow);
    free(slow);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        mla_err err;
        _exit(prepare(&f, &err) < 0);
    }
    char *began = mla_fs_join(f.root, "began"), *go = mla_fs_join(f.root, "go");
    for (int i = 0; i < 3000 && !mla_fs_exists(began); i++) usleep(10000);
    assert_true(mla_fs_exists(began));
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    write_prepare(&f, "new");
    pid_t late = fork();
    assert_true(late >= 0);
    if (late == 0) {
        mla_err err;
        _exit(prepare(&f, &err) != 1);
    }
    usleep(300000);
    int status;
    assert_int_equal(waitpid(late, &status, WNOHANG), 0);      // it waits
    fixture_write(f.root, "go", "");
    assert_int_equal(waitpid(late, &status, 0), late);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    char *junk = mla_fs_join(f.home, "data/toy/junk.txt"), *note = mla_fs_join(f.home,
                                                                       "data/toy/more/note.txt");
    assert_false(mla_fs_exists(junk));
    assert_true(mla_fs_exists(note));
    char *all[] = {began, go, junk, note};
    for (size_t i = 0; i < MLA_COUNT(all); i++) free(all[i]);
    fixture_end(&f);
}

int main(void) {
    mla_log_set_level(MLA_LOG_WARN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_when_there_was_nothing),
        cmocka_unit_test(killed_when_there_was_other_data),
        cmocka_unit_test(stopped_by_ctrl_c),
        cmocka_unit_test(waits_for_an_orphan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
