// What the tests of the environment share: a toy task with the real sandbox, and one action in one
// call. The interpreter is $MLAGENT_PYTHON, else <home>/venv/bin/python; without one the tests are
// skipped.
#ifndef MLA_TESTS_ENV_FIXTURE_H
#define MLA_TESTS_ENV_FIXTURE_H

#include <math.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/proc.h"
#include "env/action.h"
#include "env/env.h"
#include "env/internal.h"
#include "task_fixture.h"

#define UNUSED __attribute__((unused))

// Guesses y = x > K. In truth y is x > 4, but for the private id 2: K = 2 gives 0.75 in the public
// half (odd ids) and 0.5 in the private, K = 4 gives 1 and 0.75.
static const char train_py[] =
    "import csv\n"
    "K = 2\n"
    "rows = list(csv.DictReader(open('data/test.csv')))\n"
    "out = open('submission.csv', 'w')\n"
    "out.write('id,y\\n')\n"
    "for r in rows:\n"
    "    out.write('%s,%d\\n' % (r['id'], float(r['x']) > K))\n"
    "out.close()\n"
    "print('K is', K)\n";
static const char test_csv[] = "id,x\n1,1\n2,2\n3,3\n4,4\n5,5\n6,6\n7,7\n8,8\n";
static const char answers_csv[] = "id,y,half\n1,0,public\n2,1,private\n3,0,public\n4,0,private\n"
                                  "5,1,public\n6,1,private\n7,1,public\n8,1,private\n";

typedef struct {
    fixture f;
    char *states, *cache;
    mla_task *task;
    mla_env *env;
    mla_editor editor;
    mla_state start;
} toy;

static const char *python;

static mla_env *open_env(const toy *t, bool private_scores, int workers) {
    mla_env_options o = mla_env_options_default();
    o.workers = workers;
    o.python = python;
    o.home = t->f.home;
    o.states_path = t->states;
    o.cache_path = t->cache;
    o.private_scores = private_scores;
    o.actions = MLA_ACTIONS_ALL;
    o.editor = t->editor;
    mla_err err = {{0}};
    mla_env *env = mla_env_create(&o, &err);
    if (!env) fail_msg("%s", err.text);
    return env;
}

static int setup(void **state) {
    toy *t = MLA_NEW(toy);
    fixture_begin(&t->f);
    char *yaml = with(toy_yaml, "seconds: 30", "seconds: 3");
    fixture_write(t->f.dir, "task.yaml", yaml);
    free(yaml);
    fixture_write(t->f.dir, "env/train.py", train_py);
    fixture_write(t->f.dir, "env/notes.txt", "a note\n");
    fixture_write(t->f.home, "data/toy/test.csv", test_csv);
    fixture_write(t->f.home, "answers/toy.csv", answers_csv);
    fixture_write(t->f.home, "versions/toy.json", "{\"data\": \"v1\"}");
    t->states = mla_fs_join(t->f.root, "states.git");
    t->cache = mla_fs_join(t->f.root, "exec.sqlite");
    mla_err err = {{0}};
    t->task = mla_task_load(t->f.dir, t->f.home, true, &err);
    if (!t->task) fail_msg("%s", err.text);
    t->env = open_env(t, false, 1);
    if (mla_env_begin(t->env, t->task, &t->start, &err) < 0) fail_msg("%s", err.text);
    *state = t;
    return 0;
}

static int teardown(void **state) {
    toy *t = *state;
    mla_env_free(t->env);
    mla_task_free(t->task);
    fixture_end(&t->f);
    free(t->states);
    free(t->cache);
    free(t);
    return 0;
}

// --- helpers -----------------------------------------------------------------------------------

static mla_facts act(const toy *t, const mla_state *from, const char *name, const char *input,
                     const char *blocks) {
    char *reply = mla_format("Thought: t\nAction: %s\nAction Input: %s\n%s", name, input, blocks);
    mla_facts facts;
    mla_err err = {{0}};
    if (mla_env_step(t->env, t->task, from, reply, &facts, &err) < 0) fail_msg("%s", err.text);
    free(reply);
    return facts;
}

// Replaces one line of train.py.
static UNUSED mla_facts edit(const toy *t, const mla_state *from, const char *line,
                             const char *by) {
    char *blocks = mla_format("<<<<<<< SEARCH\n%s\n=======\n%s\n>>>>>>> REPLACE", line, by);
    mla_facts facts = act(t, from, "Edit Script", "{\"script_name\": \"train.py\"}", blocks);
    free(blocks);
    return facts;
}

static UNUSED mla_facts undo(const toy *t, const mla_state *from) {
    return act(t, from, "Undo Edit Script", "train.py", "");
}

static void expect(const mla_facts *facts, mla_outcome outcome, const char *in_feedback) {
    if (facts->outcome != outcome || !strstr(facts->feedback, in_feedback)) {
        fail_msg("%s, not %s with \"%s\":\n%s", mla_outcome_name(facts->outcome),
                 mla_outcome_name(outcome), in_feedback, facts->feedback);
    }
    assert_true(strlen(facts->feedback) <= MLA__FEEDBACK_MAX);
}

static UNUSED void expect_script(const toy *t, const mla_state *state, const char *part) {
    mla_err err = {{0}};
    char *text = mla_env_script(t->env, t->task, state, &err);
    if (!text) fail_msg("%s", err.text);
    if (!strstr(text, part)) fail_msg("no \"%s\" in\n%s", part, text);
    free(text);
}

static const char *find_python(void) {
    const char *named = getenv("MLAGENT_PYTHON");
    if (named && *named) return named;
    static char usual[4096];
    char *home = mla_home();
    snprintf(usual, sizeof usual, "%s/venv/bin/python", home);
    free(home);
    return usual;
}

#define run_with_env(tests)                                                                    \
    (python = find_python(), access(python, X_OK) == 0                                          \
         ? cmocka_run_group_tests(tests, NULL, NULL)                                            \
         : (print_message("skipped: no interpreter at %s (scripts/setup)\n", python), 0))

#endif
