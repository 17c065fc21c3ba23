// `mlagent collect import`, `export`, `stats` and `sft` as a person runs them, with a tiny policy
// and no environment: what is printed, exit statuses, and that nothing is lost.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "base/proc.h"
#include "tiny_policy.h"

static char root[64];            // model/, and what a test makes

static void write_text(const char *name, const char *text) {
    mla_err err;
    char *path = mla_fs_join(root, name);
    assert_int_equal(mla_fs_write(path, text, strlen(text), &err), 0);
    free(path);
}

static char *text_of(const char *name) {
    mla_err err = {0};
    mla_buf text;
    char *path = mla_fs_join(root, name);
    if (mla_fs_read(path, 1 << 24, &text, &err) < 0) fail_msg("%s", err.text);
    free(path);
    return mla_buf_take(&text);
}

// Runs `mlagent WORDS`; what it says, on both streams. Caller frees.
static char *run(const char *words, int status) {
    mla_err err = {0};
    mla_proc_result result;
    mla_buf out;
    mla_buf_init(&out, 1 << 22);
    char *self = mla_fs_self_dir();
    char *line = mla_format("cd %s && exec %s/../mlagent %s --home nowhere 2>&1", root, self,
                            words);
    char *argv[] = {(char[]){"sh"}, (char[]){"-c"}, line, NULL};
    assert_int_equal(mla_proc_run(argv, NULL, NULL, 200, &out, &result, &err), 0);
    if (result.exit_code != status) {
        fail_msg("%s: exit %d: %s", words, result.exit_code, mla_buf_text(&out));
    }
    free(line);
    free(self);
    return mla_buf_take(&out);
}

static void expect(const char *words, int status, const char *what) {
    char *out = run(words, status);
    if (!strstr(out, what)) fail_msg("%s: no \"%s\" in: %s", words, what, out);
    free(out);
}

static void imported_data_is_learned_from_without_an_environment(void **state) {
    (void)state;
    mla_buf text;
    mla_buf_init(&text, 1 << 20);
    for (int i = 0; i < 20; i++) {
        mla_buf_printf(&text, "{\"messages\":[{\"role\":\"user\",\"content\":\"say %d\"},{\"role\":"
                       "\"assistant\",\"content\":\"%d\"}]}\n", i, i);
    }
    write_text("chats.jsonl", mla_buf_text(&text));
    expect("collect import run chats.jsonl --model model", 0, "19 samples to train on");
    expect("sft run --quiet", 0, "");
    char *metrics = text_of("run/sft/metrics.jsonl");
    assert_non_null(strstr(metrics, "\"val_loss\":"));
    free(metrics);
    char *model = mla_fs_join(root, "run/sft/model/model.safetensors");
    assert_true(mla_fs_exists(model));
    free(model);
    // What needs an environment says that there is none.
    expect("rl run", 1, "names no tasks");
    // A second time: not without --force.
    expect("collect import run chats.jsonl", 1, "replace it with --force");
    expect("collect import run chats.jsonl --force --json", 0, "\"train\":19");
    expect("collect export run out.json --to openai", 0, "out.json: 19 records");
    expect("collect export run out.json --to openai", 1, "replace it with --force");
    expect("collect import again out.json --model model --json", 0, "\"validation\":1");
    expect("collect export again out2.json --to openai --json", 0, "\"train\":19");
    char *a = text_of("out.json"), *b = text_of("out2.json");
    assert_string_equal(a, b);
    free(a);
    free(b);
    mla_buf_clear(&text);
}

static void bad_records_are_told_one_a_line(void **state) {
    (void)state;
    write_text("bad.jsonl",
               "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\","
               "\"content\":\"b\"}]}\nnonsense\n{\"messages\":[{\"role\":\"a\\nb\",\"content\":"
               "\"x\"}]}\n");
    char *out = run("collect import bad bad.jsonl --model model", 0);
    assert_non_null(strstr(out, "bad.jsonl: line 2: not JSON"));
    assert_non_null(strstr(out, "bad.jsonl: line 3: turn 1 is of \"a b\""));
    assert_non_null(strstr(out, "left out: 2 records that cannot be used"));
    free(out);
    expect("collect import bad2 bad.jsonl --model model --max-bad 1", 1, "nothing was imported");
    expect("collect import bad2 bad.jsonl --model other", 1, "names the model model");
    expect("collect import bad2 bad.jsonl --model model", 0, "1 samples");   // the same again
    expect("collect import bad3 bad.jsonl", 1, "no config.yaml");
    expect("collect import bad3", 2, "usage");
    expect("collect export bad x.jsonl --to csv", 1, "sharegpt, openai or steps");
    expect("collect import bad4 nowhere.jsonl --model model", 1, "nowhere.jsonl: cannot open");
    expect("collect export bad4 x.jsonl --to steps", 1, "there is no data set");
}

static void foreign_files_in_our_places_are_said(void **state) {
    (void)state;
    write_text("bad/sft/steps.jsonl", "{\"messages\":[]}\n");
    expect("collect stats bad", 1, "bad/sft/steps.jsonl: line 1: ");
    expect("sft bad", 1, "mlagent collect import");
    write_text("bad/sft/steps.jsonl", "{\"version\":1,\n{}\n");
    expect("sft bad", 1, "bad/sft/steps.jsonl: line 1: not JSON");
    expect("collect export bad x.jsonl --to steps", 1, "mend the line");
}

static void stats_are_printed(void **state) {
    (void)state;
    expect("collect stats run", 0, "19 steps of 19 trajectories");
    expect("collect stats --run run", 0, "19 steps of 19 trajectories");
    expect("collect stats run/sft/steps.jsonl", 0, "filters     data.keep not_hurt");
    char *out = run("collect stats run --json", 0);
    mla_err err;
    json_t *stats = mla_json_parse(out, strlen(out), "stats", &err);
    assert_non_null(stats);
    assert_int_equal(mla_json_get_int(json_object_get(stats, "train"), "steps", 0), 19);
    assert_int_equal(mla_json_get_int(json_object_get(stats, "validation"), "steps", 0), 1);
    json_decref(stats);
    free(out);
    expect("collect stats", 2, "usage");
    expect("collect stats model", 1, "neither trajectories nor a data set");
    expect("collect --help", 0, "collect stats RUN");
}

static int set_up(void **state) {
    (void)state;
    snprintf(root, sizeof root, "/tmp/mlagent-test-data-%d", (int)getpid());
    char *model = mla_fs_join(root, "model");
    int rc = tiny_policy_write(model, 4);
    free(model);
    return rc;
}

static int tear_down(void **state) {
    (void)state;
    mla_err err;
    return mla_fs_remove_tree(root, &err);
}

int main(void) {
    char *model = default_model();
    bool ready = mla_fs_exists(model);
    free(model);
    if (!ready) {
        printf("skipped: no default model; run scripts/setup\n");
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(imported_data_is_learned_from_without_an_environment),
        cmocka_unit_test(bad_records_are_told_one_a_line),
        cmocka_unit_test(foreign_files_in_our_places_are_said),
        cmocka_unit_test(stats_are_printed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
