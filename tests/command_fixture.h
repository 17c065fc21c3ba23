// The program as a person runs it, for tests of commands: words in, words and status out.
#ifndef MLA_TESTS_COMMAND_FIXTURE_H
#define MLA_TESTS_COMMAND_FIXTURE_H

#include "base/proc.h"
#include "toy_task.h"

// `mlagent WORDS` in `dir`, with the home there, after `before` (a shell's words, "exec" for none);
// any other status is a failure. What it wrote; the caller clears.
static inline mla_buf command_run(const char *dir, const char *before, const char *words,
                                  int status) {
    mla_err err = {0};
    mla_proc_result result;
    mla_buf out;
    mla_buf_init(&out, 1 << 22);
    char *self = mla_fs_self_dir(), *python = toy_python();
    char *line = mla_format("cd %s && %s %s/../mlagent %s --home home --python %s", dir, before,
                            self, words, python);
    char *argv[] = {(char[]){"sh"}, (char[]){"-c"}, line, NULL};
    assert_int_equal(mla_proc_run(argv, NULL, NULL, 200, &out, &result, &err), 0);
    if (result.exit_code != status) {
        fail_msg("%s: exit %d: %s", words, result.exit_code, mla_buf_text(&out));
    }
    free(line);
    free(self);
    free(python);
    return out;
}

// `mlagent tasks WORDS` on the tasks of a fixture.
static inline mla_buf run(const fixture *f, const char *words, int status) {
    char *whole = mla_format("tasks %s --tasks tasks", words);
    mla_buf out = command_run(f->root, "exec", whole, status);
    free(whole);
    return out;
}

// The same, which must say `what`.
static inline void expect(const fixture *f, const char *words, int status, const char *what) {
    mla_buf out = run(f, words, status);
    if (!strstr(mla_buf_text(&out), what)) {
        fail_msg("%s: no \"%s\" in: %s", words, what, mla_buf_text(&out));
    }
    mla_buf_clear(&out);
}

#endif
