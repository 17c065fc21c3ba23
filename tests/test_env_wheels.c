// A task's own packages: a run of its scripts can import them, one of another task's cannot; a task
// whose packages are not installed is not begun.
#include "env_fixture.h"

static mla_task *load(const toy *t) {
    mla_err err = {{0}};
    mla_task *task = mla_task_load(t->f.dir, t->f.home, true, &err);
    if (!task) fail_msg("%s", err.text);
    return task;
}

static mla_facts run_importing(toy *t, const mla_task *task) {
    mla_task *before = t->task;
    t->task = (mla_task *)task;
    mla_facts edited = edit(t, &t->start, "K = 2", "import toywheel\nK = toywheel.K");
    mla_state state = edited.state_after;
    mla_facts_clear(&edited);
    mla_facts facts = act(t, &state, "Execute Script", "{\"script_name\": \"train.py\"}", "");
    t->task = before;
    return facts;
}

static void packages_are_there_for_their_task_alone(void **state) {
    toy *t = *state;
    mla_err err = {{0}};
    // Named by what it says, so that this test's folder is nobody else's.
    char *list = mla_format("# %s\n", t->f.root);
    fixture_write(t->f.dir, "requirements.txt", list);
    mla_task *task = load(t);
    char *wheels = mla_task_wheels_dir(task, python);
    mla_state begun;
    assert_int_equal(mla_env_begin(t->env, task, &begun, &err), -1);
    assert_non_null(strstr(err.text, wheels));
    assert_non_null(strstr(err.text, "run: mlagent tasks prepare toy"));

    fixture_write(wheels, "toywheel.py", "K = 4\n");
    if (mla_env_begin(t->env, task, &begun, &err) < 0) fail_msg("%s", err.text);
    mla_facts facts = run_importing(t, task);
    expect(&facts, MLA_OUTCOME_OK, "K is 4");
    assert_true(facts.score_after == 1.0);
    mla_facts_clear(&facts);
    // The same files without the list are another run, and not the cached one.
    facts = run_importing(t, t->task);
    expect(&facts, MLA_OUTCOME_SCRIPT_ERROR, "No module named 'toywheel'");
    mla_facts_clear(&facts);
    assert_int_equal(mla_fs_remove_tree(wheels, &err), 0);
    free(wheels);
    free(list);
    mla_task_free(task);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(packages_are_there_for_their_task_alone, setup, teardown),
    };
    return run_with_env(tests);
}
