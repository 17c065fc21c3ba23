// `mlagent tasks check`, `noise`, `ideas` and `list` as a person runs them, on a toy task and on
// bad ones of each kind; scripts run in the sandbox.
#include "command_fixture.h"

#include "base/json.h"

static const char train_csv[] = "id,x,y\n11,1.5,0\n12,2.5,0\n13,5.5,1\n14,6.5,1\n";

static void write_yaml(const fixture *f, const char *from, const char *to) {
    mla_err err;
    mla_buf yaml;
    char *path = mla_fs_join(f->dir, "task.yaml");
    assert_int_equal(mla_fs_read(path, 1 << 20, &yaml, &err), 0);
    char *text = with(mla_buf_text(&yaml), from, to);
    fixture_write(f->dir, "task.yaml", text);
    free(text);
    mla_buf_clear(&yaml);
    free(path);
}

// The toy with a reference that scores what task.yaml says.
static void begin(fixture *f) {
    fixture_begin(f);
    toy_write(f);
    write_yaml(f, "{public: 1, private: 1}", "{public: 1, private: 0.75}");
    fixture_write(f->home, "data/toy/train.csv", train_csv);
    char *reference = with(train_py, "K = 2", "K = 4");
    fixture_write(f->dir, "reference.py", reference);
    free(reference);
}

static void a_good_task_passes_and_is_listed_with_its_seconds(void **state) {
    (void)state;
    fixture f;
    begin(&f);
    expect(&f, "list", 0, "       0.75          1         -      30  yes");
    expect(&f, "check", 0, "toy: ok: starter 0.75 in ");
    expect(&f, "check toy", 0, "1 task, 0 findings");
    mla_buf out = run(&f, "list", 0);
    assert_null(strstr(mla_buf_text(&out), "        -  "));
    mla_buf_clear(&out);
    out = run(&f, "list --json", 0);
    mla_err err;
    json_t *all = mla_json_parse(mla_buf_text(&out), out.len, "list", &err);
    double seconds = mla_json_get_number(json_array_get(all, 0), "starter_seconds", -1);
    assert_true(seconds > 0 && seconds < 30);
    json_decref(all);
    mla_buf_clear(&out);
    fixture_end(&f);
}

static void bad_scripts_are_found(void **state) {
    (void)state;
    fixture f;
    begin(&f);
    char *broken = with(train_py, "int(x > K)", "int(x > LIMIT)");
    fixture_write(f.dir, "env/train.py", broken);
    expect(&f, "check", 1, "toy: run: train.py: script error: NameError: name 'LIMIT' is not");
    fixture_write(f.dir, "env/train.py", train_py);
    fixture_write(f.dir, "reference.py", "print('nothing')\n");
    expect(&f, "check", 1, "toy: run: reference.py: no submission");
    free(broken);
    char *big = mla_format("ballast = bytearray(780 << 20)\n%s", train_py);
    write_yaml(&f, "memory_mb: 2048", "memory_mb: 1024");
    fixture_write(f.dir, "env/train.py", big);
    expect(&f, "check", 1, "MB of the 1024 that limits.memory_mb allows");
    free(big);
    fixture_end(&f);
}

// A run of three seconds, of which two are allowed.
static void a_slow_machine_is_given_time(void **state) {
    (void)state;
    fixture f;
    begin(&f);
    write_yaml(&f, "seconds: 30", "seconds: 2");
    char *slow = mla_format("import time\ntime.sleep(3)\n%s", train_py);
    fixture_write(f.dir, "env/train.py", slow);
    free(slow);
    expect(&f, "check", 1, "toy: run: train.py: time-out");
    expect(&f, "check --seconds 200", 0, "toy: ok");
    fixture_end(&f);
}

static void scores_that_do_not_agree_are_found(void **state) {
    (void)state;
    fixture f;
    begin(&f);
    write_yaml(&f, "{public: 0.75, private: 0.5}", "{public: 0.72, private: 0.5}");
    expect(&f, "check", 1, "toy: score: train.py: scores 0.75 on the public half, but task.yaml "
                           "says baseline.public: 0.72");
    write_yaml(&f, "{public: 0.72, private: 0.5}", "{public: 0.749, private: 0.5}");
    expect(&f, "check", 0, "toy: ok");
    char *worse = with(train_py, "K = 2", "K = 0");
    fixture_write(f.dir, "reference.py", worse);
    expect(&f, "check", 1, "toy: direction: the reference (0.5 public, 0.75 private) is not better "
                           "than the starter (0.75, 0.5), where higher is better");
    free(worse);
    fixture_end(&f);
}

static void a_task_that_cannot_be_run_is_found(void **state) {
    (void)state;
    fixture f;
    begin(&f);
    write_yaml(&f, "licence: CC0", "licence: unknown");
    expect(&f, "check", 1, "toy: licence: task.yaml: source.licence is 'unknown'");
    write_yaml(&f, "licence: unknown", "licence: CC0\n  shape: round");
    expect(&f, "check", 1, "toy: schema: ");
    write_yaml(&f, "\n  shape: round", "");
    char *version = mla_fs_join(f.home, "versions/toy.json");
    assert_int_equal(remove(version), 0);
    expect(&f, "check", 0, "0 tasks, 0 findings");
    expect(&f, "check toy", 1, "toy: data: is not prepared; run: mlagent tasks prepare toy");
    expect(&f, "check none", 1, "there is no task \"none\"");
    free(version);
    fixture_end(&f);
}

static void findings_as_json(void **state) {
    (void)state;
    fixture f;
    begin(&f);
    fixture_write(f.home, "data/toy/train.csv", "id,x,y\n1,1.5,0\n12,3,0\n13,5.5,1\n14,6.5,1\n");
    mla_buf out = run(&f, "check --json", 1);
    mla_err err;
    json_t *o = mla_json_parse(mla_buf_text(&out), out.len, "check", &err);
    const json_t *found = json_object_get(o, "findings");
    assert_int_equal(json_array_size(found), 2);
    assert_string_equal(mla_json_get_text(json_array_get(found, 0), "check", ""), "ids");
    assert_string_equal(mla_json_get_text(json_array_get(found, 1), "check", ""), "rows");
    assert_false(mla_json_get_bool(o, "ok", true));
    assert_true(mla_json_get_number(json_object_get(o, "reference"), "private", 0) == 0.75);
    json_decref(o);
    mla_buf_clear(&out);
    fixture_end(&f);
}

// Of the starter's line: the sd over seeds of the public half and the share, as the table has them.
static void noise_is_measured(void **state) {
    (void)state;
    fixture f;
    begin(&f);
    expect(&f, "noise toy", 0, "starter            0   0.00%          0   0.00%");
    // What comes from the future comes first.
    char *drawn = with(train_py, "K = 2", "import random\nfirst = 2\nK = random.Random(first)."
                                          "randrange(8)"),
         *own = mla_format("from __future__ import annotations\n%s", drawn),
         *global = with(train_py, "K = 2", "import random\nK = random.randrange(8)"),
         *fixed = with(train_py, "K = 2", "seed = 2\nK = seed % 7");
    fixture_write(f.dir, "env/train.py", own);
    expect(&f, "noise toy", 1, "%  5% or more\n");
    fixture_write(f.dir, "env/train.py", global);
    expect(&f, "noise toy", 1, "%  5% or more\n");
    fixture_write(f.dir, "env/train.py", fixed);
    mla_buf out = run(&f, "noise toy --json", 0);
    mla_err err;
    char *end = strchr(mla_buf_text(&out), '\n');
    json_t *o = mla_json_parse(out.data, (size_t)(end - out.data), "noise", &err);
    assert_true(mla_json_get_number(json_object_get(o, "seeds_sd"), "public", 1) == 0);
    // Four rows, three right: sqrt(0.75 * 0.25 / 4).
    double rows = mla_json_get_number(json_object_get(o, "rows_sd"), "public", 0);
    assert_true(rows > 0.18 && rows < 0.26);
    json_decref(o);
    mla_buf_clear(&out);
    fixture_write(f.dir, "env/train.py", "raise SystemExit(3)\n");
    expect(&f, "noise toy", 1, "toy                starter   script error: SystemExit");
    free(drawn);
    free(own);
    free(global);
    free(fixed);
    fixture_end(&f);
}

static void every_kind_of_seed_is_moved(void **state) {
    (void)state;
    mla_err err = {0};
    mla_proc_result result;
    mla_buf out;
    mla_buf_init(&out, 1 << 16);
    char *python = toy_python();
    char *argv[] = {python, (char[]){"tests/noise_seeds.py"}, NULL};
    assert_int_equal(mla_proc_run(argv, NULL, NULL, 200, &out, &result, &err), 0);
    const char *text = mla_buf_text(&out);
    if (strcmp(text, "20 kinds\n") && strcmp(text, "24 kinds\n")) fail_msg("%s", text);
    mla_buf_clear(&out);
    free(python);
}

static void ideas_are_listed_and_tried(void **state) {
    (void)state;
    fixture f;
    begin(&f);
    expect(&f, "ideas toy", 0, "model (6)\n  four                         Split the rows at four.");
    expect(&f, "ideas toy --run-all", 0,
           "all 6, starter 0.75          2 help, 1 hurt, 2 change nothing, 1 fail");
    mla_buf out = run(&f, "ideas toy --run-all --json", 0);
    static const char *const verdicts[] = {"helps", "nothing", "hurts",
                                           "nothing", "helps", "fails"};
    char *line = out.data;
    for (size_t i = 0; i < MLA_COUNT(verdicts); i++) {
        mla_err err;
        char *end = strchr(line, '\n');
        json_t *o = mla_json_parse(line, (size_t)(end - line), "ideas", &err);
        assert_string_equal(mla_json_get_text(o, "verdict", ""), verdicts[i]);
        if (i == 0) assert_true(mla_json_get_number(o, "gain", 0) == 0.25);
        if (i == 5) assert_non_null(strstr(mla_json_get_text(o, "fault", ""), "LIMIT"));
        json_decref(o);
        line = end + 1;
    }
    assert_true(*line == '\0');
    mla_buf_clear(&out);
    // An idea that builds on another is measured against it, not against the starter.
    fixture_write(f.dir, "ideas.yaml",
                  "ideas:\n" IDEA("four", "Split the rows at four.", "K = 2", "K = 4")
                  IDEA("on", "Split at six instead.", "K = 4", "K = 6") "  after: [four]\n");
    expect(&f, "ideas toy", 0, "Split at six instead. (after four)");
    out = run(&f, "ideas toy --run-all --json", 0);
    mla_err err;
    line = strchr(out.data, '\n') + 1;
    json_t *on = mla_json_parse(line, strlen(line), "ideas", &err);
    assert_string_equal(mla_json_get_text(on, "verdict", ""), "hurts");
    assert_true(mla_json_get_number(on, "gain", 0) == -0.25);
    assert_true(mla_json_get_number(on, "public", 0) == 0.75);
    json_decref(on);
    mla_buf_clear(&out);
    char *ideas = mla_fs_join(f.dir, "ideas.yaml");
    assert_int_equal(remove(ideas), 0);
    expect(&f, "ideas toy", 1, "toy has no ideas.yaml");
    expect(&f, "ideas", 2, "usage");
    free(ideas);
    fixture_end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_task_passes_and_is_listed_with_its_seconds),
        cmocka_unit_test(bad_scripts_are_found),
        cmocka_unit_test(a_slow_machine_is_given_time),
        cmocka_unit_test(scores_that_do_not_agree_are_found),
        cmocka_unit_test(a_task_that_cannot_be_run_is_found),
        cmocka_unit_test(findings_as_json),
        cmocka_unit_test(noise_is_measured),
        cmocka_unit_test(every_kind_of_seed_is_moved),
        cmocka_unit_test(ideas_are_listed_and_tried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
