// task.yaml and ideas.yaml: what is read, and that each mistake gives one line that names it.
#include "task_fixture.h"

static void one_line_with(const mla_err *err, const char *needle) {
    if (!strstr(err->text, needle)) fail_msg("'%s' does not say '%s'", err->text, needle);
    assert_null(strchr(err->text, '\n'));
    assert_non_null(strstr(err->text, ".yaml"));
}

static void loads_all_fields(void **state) {
    (void)state;
    fixture f;
    mla_err err = {0};
    fixture_begin(&f);
    mla_task *task = mla_task_load(f.dir, f.home, false, &err);
    if (!task) fail_msg("%s", err.text);
    assert_string_equal(task->name, "toy");
    assert_string_equal(task->description, "Guess y from x. It is a toy.\n");
    assert_int_equal(task->metric, MLA_METRIC_ACCURACY);
    assert_int_equal(task->direction, 1);
    assert_string_equal(task->id_column, "id");
    assert_int_equal(task->target_count, 1);
    assert_string_equal(task->target_columns[0], "y");
    assert_int_equal(task->class_count, 0);
    assert_int_equal(task->splits, 1);
    assert_string_equal(task->script, "train.py");
    assert_false(task->held_out);
    assert_true(task->limits.seconds == 30 && task->limits.memory_mb == 2048);
    assert_true(task->init.public_half == 0.5 && task->init.private_half == 0.51);
    assert_true(task->best.public_half == 0.9 && task->best.private_half == 0.91);
    assert_string_equal(task->source.mirrors, "toy-competition");
    assert_string_equal(task->source.licence, "CC0");
    assert_int_equal(task->source.package_count, 1);
    assert_string_equal(task->source.packages[0].from, "pypi");
    assert_string_equal(task->source.packages[0].file, "toys/data.csv");
    assert_string_equal(task->source.notes, "none");
    assert_string_equal(task->dir, f.dir);
    assert_null(task->data_version);
    mla_task_free(task);
    fixture_end(&f);
}

// Every key removed in turn must be reported missing, by its name and the file.
static void missing_keys(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *key;
    } cases[] = {
        {"name: toy\n", "", "missing key name"},
        {"metric: accuracy\n", "", "missing key metric"},
        {"direction: higher\n", "", "missing key direction"},
        {"id_column: id\n", "", "missing key id_column"},
        {"target_column: y\n", "", "missing key target_column"},
        {"script: train.py\n", "", "missing key script"},
        {"split: train\n", "", "missing key split"},
        {"limits: {seconds: 30, memory_mb: 2048}\n", "", "missing key limits"},
        {"seconds: 30, ", "", "limits: missing key seconds"},
        {", memory_mb: 2048", "", "limits: missing key memory_mb"},
        {"baseline: {public: 0.5, private: 0.51}\n", "", "missing key baseline"},
        {"{public: 0.5, ", "{", "baseline: missing key public"},
        {", private: 0.91", "", "reference: missing key private"},
        {"  mirrors: toy-competition\n", "", "source: missing key mirrors"},
        {"  licence: CC0\n", "", "source: missing key licence"},
        {"  notes: none\n", "", "source: missing key notes"},
        {"      version: 1.2.3\n", "", "missing key version"},
        {"description: >\n  Guess y from x.\n  It is a toy.\n", "", "missing key description"},
    };
    fixture f;
    fixture_begin(&f);
    for (size_t i = 0; i < MLA_COUNT(cases); i++) {
        mla_err err = {0};
        char *text = with(toy_yaml, cases[i].from, cases[i].to);
        fixture_write(f.dir, "task.yaml", text);
        assert_null(mla_task_load(f.dir, f.home, false, &err));
        one_line_with(&err, cases[i].key);
        free(text);
    }
    fixture_end(&f);
}

static void wrong_values(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *says;
    } cases[] = {
        {"name: toy", "name: other", "name: 'other' is not the folder's name, 'toy'"},
        {"name: toy", "name: ../toy", "name: '../toy' is not made of"},
        {"name: toy", "name: [toy]", "line 1: name: a text was expected"},
        {"name: toy\n", "name: toy\nname: toy\n", "there twice: name"},
        {"split: train", "colour: red\nsplit: train", "unknown key colour"},
        {"seconds: 30", "seconds: 30, hours: 1", "limits: unknown key hours"},
        {"      name: toys", "      url: x\n      name: toys",
         "source.packages[0]: unknown key url"},
        {"metric: accuracy", "metric: f1",
         "metric: 'f1' is not one of accuracy, auc, mean_column_auc, log_loss, mae, rmse, "},
        {"direction: higher", "direction: up", "direction: 'up' is neither higher nor lower"},
        {"split: train", "split: test", "split: 'test' is neither train nor held-out"},
        {"id_column: id", "id_column: ''", "id_column: is empty"},
        {"target_column: y", "target_column: id", "target_column: 'id' is the id_column too"},
        {"target_column: y", "target_column: half", "'half' is the name of a column of the ans"},
        {"target_column: y", "target_column: split", "'split' is the name of a column"},
        {"id_column: id", "id_column: half", "id_column: 'half' is the name of a column"},
        {"target_column: y", "target_column: ' y'", "target_column: ' y' begins or ends with a bl"},
        {"id_column: id", "id_column: \"id\\t\"", "id_column: 'id ' begins or ends with a blank"},
        {"target_column: y", "target_column: [y]", "target_column: a text was expected"},
        {"target_column: y", "target_column: y\ntarget_columns: [y]",
         "has both target_column and target_columns"},
        {"target_column: y", "target_columns: [y]",
         "target_columns: metric accuracy wants target_column"},
        {"metric: accuracy", "metric: mcrmse", "target_column: metric mcrmse wants target_columns"},
        {"target_column: y", "target_columns: y", "target_columns: a list was expected"},
        {"target_column: y", "target_column: y\nclasses: [a, b]",
         "classes: metric accuracy has none"},
        {"target_column: y", "target_column: y\nsplits: 0", "splits: must be a whole number from"},
        {"target_column: y", "target_column: y\nsplits: 2.5", "splits: must be a whole number"},
        {"target_column: y", "target_column: y\nsplits: 101", "splits: must be a whole number"},
        {"target_column: y", "target_column: y\nsplits: two", "splits: 'two' is not a finite"},
        {"script: train.py", "script: ../train.py",
         "script: '../train.py' is not a plain file name"},
        {"script: train.py", "script: run.py", "script: there is no env/run.py"},
        {"seconds: 30", "seconds: 30x", "limits.seconds: '30x' is not a finite number"},
        {"seconds: 30", "seconds: 0x10", "limits.seconds: '0x10' is not a finite number"},
        {"seconds: 30", "seconds: 0", "limits.seconds: must be above 0"},
        {"seconds: 30", "seconds: -1", "limits.seconds: must be above 0"},
        {"seconds: 30", "seconds: nan", "limits.seconds: 'nan' is not a finite number"},
        {"memory_mb: 2048", "memory_mb: 0.5", "limits.memory_mb: must be a whole number"},
        {"memory_mb: 2048", "memory_mb: 1e300", "limits.memory_mb: must be a whole number"},
        {"public: 0.5", "public: inf", "baseline.public: 'inf' is not a finite number"},
        {"public: 0.5", "public: ''", "baseline.public: '' is not a finite number"},
        {"public: 0.9", "public: 0.5", "reference.public: is not better than baseline.public"},
        {"private: 0.91", "private: 0.5", "reference.private: is not better"},
        {"direction: higher", "direction: lower", "where lower is better"},
        {"from: pypi", "from: web", "source.packages[0].from: 'web' is neither pypi nor debian"},
        {"version: 1.2.3", "version: ''", "source.packages[0].version: is empty"},
        {"sha256: 0", "sha256: G", "source.packages[0].sha256: is not 64"},
        {"licence: CC0", "licence: ''", "source.licence: is empty"},
        {"limits: {seconds: 30, memory_mb: 2048}", "limits: 30", "limits: keys with values were"},
        {"notes: none", "notes: &a none\nx: *a", "unknown key x"},
        {"mirrors: toy-competition", "mirrors: *a", "aliases (*name) are not allowed"},
        {"notes: none\n", "notes: none\n---\nname: toy\n", "more than one YAML document"},
        {"name: toy\n", "name: toy\n\t: [\n", "not YAML: "},
        {"name: toy\n", "- toy\n", "task.yaml: keys with values were expected"},
        {"description: >\n  Guess y from x.\n  It is a toy.\n", "description: ''\n",
         "description: is empty"},
    };
    fixture f;
    fixture_begin(&f);
    for (size_t i = 0; i < MLA_COUNT(cases); i++) {
        mla_err err = {0};
        char *text = with(toy_yaml, cases[i].from, cases[i].to);
        fixture_write(f.dir, "task.yaml", text);
        if (mla_task_load(f.dir, f.home, false, &err)) fail_msg("'%s' was taken", cases[i].to);
        one_line_with(&err, cases[i].says);
        free(text);
    }
    fixture_end(&f);
}

// A toy whose metric and columns are as given.
static mla_task *load_with(const fixture *f, const char *metric, const char *columns,
                           mla_err *err) {
    char *middle = with(toy_yaml, "metric: accuracy\n", metric);
    char *text = with(middle, "target_column: y\n", columns);
    fixture_write(f->dir, "task.yaml", text);
    free(middle);
    free(text);
    return mla_task_load(f->dir, f->home, false, err);
}

static void several_targets(void **state) {
    (void)state;
    fixture f;
    mla_err err = {0};
    fixture_begin(&f);
    mla_task *task = load_with(&f, "metric: mcrmse\n",
                               "target_columns: [a, half-life]\nsplits: 5\n", &err);
    if (!task) fail_msg("%s", err.text);
    assert_int_equal(task->target_count, 2);
    assert_string_equal(task->target_columns[0], "a");
    assert_string_equal(task->target_columns[1], "half-life");
    assert_int_equal(task->splits, 5);
    size_t count;
    assert_ptr_equal(mla_task_guess_columns(task, &count), task->target_columns);
    assert_int_equal(count, 2);
    mla_task_free(task);
    fixture_end(&f);
}

static void classes_as_columns(void **state) {
    (void)state;
    fixture f;
    mla_err err = {0};
    fixture_begin(&f);
    mla_task *task = load_with(&f, "metric: log_loss\n",
                               "target_column: y\nclasses: [low, 2, half]\n", &err);
    if (!task) fail_msg("%s", err.text);
    size_t count;
    assert_ptr_equal(mla_task_guess_columns(task, &count), task->classes);
    assert_int_equal(count, 3);
    assert_string_equal(task->classes[1], "2");
    assert_string_equal(task->target_columns[0], "y");
    mla_task_free(task);
    fixture_end(&f);
}

static void wrong_columns(void **state) {
    (void)state;
    static const struct {
        const char *metric, *columns, *says;
    } cases[] = {
        {"mcrmse", "target_columns: []", "target_columns[0]: Insufficient entries (0"},
        {"mcrmse", "target_columns: [a, '']", "target_columns: is empty"},
        {"mcrmse", "target_columns: [a, b, a]", "target_columns: 'a' is there twice"},
        {"mcrmse", "target_columns: [a, id]", "target_columns: 'id' is the id_column too"},
        {"mcrmse", "target_columns: [a, split]", "'split' is the name of a column of the answers'"},
        {"mcrmse", "target_columns: [a, [b]]", "target_columns[1]: a text was expected"},
        {"log_loss", "target_column: y\nclasses: [a]", "classes: fewer than two"},
        {"log_loss", "target_column: y\nclasses: []", "classes[0]: Insufficient entries (0"},
        {"log_loss", "target_column: y\nclasses: [a, b, a]", "classes: 'a' is there twice"},
        {"log_loss", "target_column: y\nclasses: [1, 1.0]", "classes: '1.0' is there twice"},
        {"log_loss", "target_column: y\nclasses: [a, id]", "classes: 'id' is the id_column too"},
        {"log_loss", "target_column: y\nclasses: [a, '']", "classes: is empty"},
        {"log_loss", "target_column: y\nclasses: [a, ' b']", "' b' begins or ends with a blank"},
        {"log_loss", "target_columns: [y]", "metric log_loss wants target_column"},
    };
    fixture f;
    fixture_begin(&f);
    for (size_t i = 0; i < MLA_COUNT(cases); i++) {
        mla_err err = {0};
        char *metric = mla_format("metric: %s\n", cases[i].metric);
        char *columns = mla_format("%s\n", cases[i].columns);
        if (load_with(&f, metric, columns, &err)) fail_msg("'%s' was taken", cases[i].columns);
        one_line_with(&err, cases[i].says);
        free(metric);
        free(columns);
    }
    fixture_end(&f);
}

static void wrong_files(void **state) {
    (void)state;
    fixture f;
    fixture_begin(&f);
    static const char *const cases[][2] = {
        {"", "the file is empty"},
        {"# nothing\n", "the file is empty"},
        {"just text\n", "keys with values were expected"},
    };
    for (size_t i = 0; i < MLA_COUNT(cases); i++) {
        mla_err err = {0};
        fixture_write(f.dir, "task.yaml", cases[i][0]);
        assert_null(mla_task_load(f.dir, f.home, false, &err));
        one_line_with(&err, cases[i][1]);
    }
    char *huge = malloc(70000);
    assert_non_null(huge);
    memset(huge, '#', 69999);
    huge[69999] = '\0';
    mla_err err = {0};
    fixture_write(f.dir, "task.yaml", huge);
    assert_null(mla_task_load(f.dir, f.home, false, &err));
    one_line_with(&err, "longer than 65536 bytes");
    free(huge);
    assert_null(mla_task_load("/nowhere/toy", f.home, false, &err));
    one_line_with(&err, "/nowhere/toy/task.yaml: cannot open");
    fixture_end(&f);
}

static void wants_data(void **state) {
    (void)state;
    fixture f;
    mla_err err = {0};
    fixture_begin(&f);
    assert_null(mla_task_load(f.dir, f.home, true, &err));
    assert_string_equal(err.text,
                        "task toy: data not prepared; run: mlagent tasks prepare toy");
    fixture_end(&f);
}

static void lists_tasks(void **state) {
    (void)state;
    fixture f;
    mla_err err = {0};
    fixture_begin(&f);
    char *root = mla_fs_join(f.root, "tasks");
    fixture_write(root, "empty/readme", "");
    fixture_write(root, "another/task.yaml", "");
    fixture_write(root, "common.py", "");
    char **names;
    size_t count;
    assert_int_equal(mla_task_list(root, &names, &count, &err), 0);
    assert_int_equal(count, 2);
    assert_string_equal(names[0], "another");
    assert_string_equal(names[1], "toy");
    mla_fs_names_free(names, count);
    assert_int_equal(mla_task_list("/nowhere", &names, &count, &err), -1);
    free(root);
    fixture_end(&f);
}

static const char toy_ideas[] =
    "ideas:\n"
    "  - id: deeper\n"
    "    family: model\n"
    "    text: A deeper tree.\n"
    "    why: It is too shallow.\n"
    "    edit: |\n"
    "      <<<<<<< SEARCH\n"
    "      depth = 1\n"
    "      =======\n"
    "      depth = 2\n"
    "      >>>>>>> REPLACE\n"
    "  - {id: wider, family: model, text: More trees., why: Less variance., edit: x}\n";

static void loads_ideas(void **state) {
    (void)state;
    fixture f;
    mla_err err = {0};
    fixture_begin(&f);
    mla_task *task = mla_task_load(f.dir, f.home, false, &err);
    assert_non_null(task);
    mla_ideas ideas;
    assert_int_equal(mla_ideas_load(&ideas, task, &err), -1);
    one_line_with(&err, "ideas.yaml: cannot open");
    fixture_write(f.dir, "ideas.yaml", toy_ideas);
    if (mla_ideas_load(&ideas, task, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(ideas.len, 2);
    assert_string_equal(ideas.items[0].id, "deeper");
    assert_string_equal(ideas.items[0].blocks, "<<<<<<< SEARCH\ndepth = 1\n=======\ndepth = 2\n"
                                               ">>>>>>> REPLACE\n");
    assert_string_equal(ideas.items[1].why, "Less variance.");
    assert_int_equal(ideas.items[1].n_after, 0);
    mla_ideas_clear(&ideas);
    static const struct {
        const char *from, *to, *says;
    } cases[] = {
        {"id: wider", "id: deeper", "ideas[1].id: 'deeper' is there twice"},
        {"id: wider", "id: More Trees", "ideas[1].id: 'More Trees' is not made of"},
        {"edit: x", "edit: ''", "ideas[1].edit: is empty (idea 'wider')"},
        {"    why: It is too shallow.\n", "", "ideas[0]: missing key why"},
        {"family: model", "family: ''", "ideas[0].family: is empty"},
        {"edit: x", "edit: x, score: 1", "ideas[1]: unknown key score"},
        {"ideas:", "idea:", "unknown key idea"},
        {"edit: x", "edit: x, after: [taller]", "ideas[1].after: 'taller' is no idea's id (idea"},
        {"edit: x", "edit: x, after: [wider]", "ideas[1].after: 'wider' is not above it"},
        {"family: model\n", "after: [wider]\n    family: model\n",
         "ideas[0].after: 'wider' is not above it: move it there (idea 'deeper')"},
        {"edit: x", "edit: x, after: []", "ideas[1].after"},
    };
    for (size_t i = 0; i < MLA_COUNT(cases); i++) {
        char *text = with(toy_ideas, cases[i].from, cases[i].to);
        fixture_write(f.dir, "ideas.yaml", text);
        assert_int_equal(mla_ideas_load(&ideas, task, &err), -1);
        one_line_with(&err, cases[i].says);
        free(text);
    }
    fixture_write(f.dir, "ideas.yaml", "ideas: []\n");
    assert_int_equal(mla_ideas_load(&ideas, task, &err), -1);
    one_line_with(&err, "ideas: the list is empty");
    mla_task_free(task);
    fixture_end(&f);
}

// All that an idea builds on, each once and in the file's order, whatever the order of its own.
static void an_idea_builds_on_others(void **state) {
    (void)state;
    fixture f;
    mla_err err = {0};
    fixture_begin(&f);
    mla_task *task = mla_task_load(f.dir, f.home, false, &err);
    assert_non_null(task);
    fixture_write(f.dir, "ideas.yaml",
                  "ideas:\n"
                  "  - {id: a, family: model, text: A., why: B., edit: one}\n"
                  "  - {id: b, family: model, text: A., why: B., edit: two, after: [a]}\n"
                  "  - {id: c, family: model, text: A., why: B., edit: three}\n"
                  "  - {id: d, family: model, text: A., why: B., edit: four, after: [c, b, a]}\n");
    mla_ideas ideas;
    if (mla_ideas_load(&ideas, task, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(ideas.items[3].n_after, 3);
    assert_string_equal(ideas.items[3].after[1], "b");
    assert_int_equal(mla_ideas_find(&ideas, "c"), 2);
    assert_int_equal(mla_ideas_find(&ideas, "e"), 4);
    static const char *const before[] = {"", "one\n", "", "one\ntwo\nthree\n"};
    for (size_t i = 0; i < MLA_COUNT(before); i++) {
        char *blocks = mla_ideas_blocks_before(&ideas, i);
        assert_string_equal(blocks, before[i]);
        free(blocks);
    }
    mla_ideas_clear(&ideas);
    mla_task_free(task);
    fixture_end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_all_fields), cmocka_unit_test(missing_keys),
        cmocka_unit_test(wrong_values),     cmocka_unit_test(wrong_files),
        cmocka_unit_test(wants_data),       cmocka_unit_test(lists_tasks),
        cmocka_unit_test(loads_ideas),
        cmocka_unit_test(an_idea_builds_on_others),      cmocka_unit_test(several_targets),
        cmocka_unit_test(classes_as_columns), cmocka_unit_test(wrong_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
