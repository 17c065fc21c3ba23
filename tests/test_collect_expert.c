// The scripted expert, driven by hand: what it does after an edit that helped, hurt, broke the
// script or did not apply; that it repairs its own slips, ends, and is a function of its seed.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "collect/internal.h"
#include "env/action.h"

#define BLOCK(search, replace) \
    "<<<<<<< SEARCH\n" search "\n=======\n" replace "\n>>>>>>> REPLACE"
#define MAX_STEPS 15

static const char script[] = "import pandas as pd\n\nx = pd.read_csv(\"a\")\nmodel = Tree()\n";

static mla_idea idea_items[] = {
    {"sex", "features", "Add the passenger's sex as a 0/1 column.", "Women went first.",
     BLOCK("x = pd.read_csv(\"a\")",
           "x = pd.read_csv(\"a\")\nx[\"f\"] = x[\"sex\"].factorize()[0]"), NULL, 0},
    {"forest", "model", "Use a random forest instead of one tree.", "Averaging lowers variance.",
     BLOCK("model = Tree()", "model = RandomForestClassifier()"), NULL, 0},
    {"depth", "hyper-parameters", "Limit the depth of the tree to 4.",
     "A deep tree learns the noise of the training rows by heart and then it cannot do well on "
     "rows that it has not seen before, which is the most usual way for a tree to go wrong.",
     BLOCK("model = Tree()", "model = make_shallow_tree(4)"), NULL, 0},
    {"bins", "features", "Cut the fare into bins.", "Outliers do less harm.",
     BLOCK("import pandas as pd",
           "import pandas as pd\nfrom sklearn.preprocessing import KBinsDiscretizer"), NULL, 0},
    {"log", "features", "Take the logarithm of the fare.", "The fare is skewed.",
     BLOCK("import pandas as pd", "import pandas as pd\nimport numpy as np"), NULL, 0},
};
static const mla_ideas ideas = {idea_items, 5};
static const size_t chosen[] = {0, 1, 2, 3, 4};
static mla_task task = {.name = (char *)"toy", .metric = MLA_METRIC_ACCURACY, .direction = 1,
                        .script = (char *)"train.py", .init = {0.7, 0.7}, .best = {0.9, 0.9}};
static const mla_expert_ideas book[] = {{&task, &ideas, chosen, 5}};

// One episode by hand.
typedef struct {
    mla_expert *expert;
    mla_actor actor;
    mla_steps steps;
    mla_state state;
    const char *script;
    int max_steps;
    double seconds_left;
    uint64_t seed;
    int commits;
    mla_action action;        // of the reply that waits for its result
    char *text, *idea;
} drive;

static int take_reply(void *ctx, size_t at, mla_reply *take, mla_err *err) {
    drive *d = ctx;
    assert_int_equal(at, 0);
    d->text = mla_strdup(take->text);
    d->idea = mla_strdup(take->idea);
    assert_null(take->ids);
    mla_reply_clear(take);
    assert_int_equal(mla_action_parse(&d->action, d->text, MLA_ACTIONS_ALL, err), 0);
    char *again = mla_action_format(&d->action);
    assert_string_equal(again, d->text);      // canonical
    free(again);
    return 0;
}

static size_t words(const char *text) {
    size_t n = 0;
    for (const char *p = text; *p;) {
        p += strspn(p, " \n");
        n += *p != '\0';
        p += strcspn(p, " \n");
    }
    return n;
}

static mla_action_kind ask(drive *d) {
    const mla_view view = {
        .task = &task, .state = d->state, .script = d->script, .history = d->steps.items,
        .n_history = d->steps.len, .steps_left = d->max_steps - (int)d->steps.len,
        .seconds_left = d->seconds_left, .seed = d->seed + d->steps.len};
    mla_err err = {0};
    assert_int_equal(d->actor.act(d->actor.self, &view, 1, take_reply, d, &err), 0);
    assert_non_null(d->action.thought);
    assert_true(words(d->action.thought) <= MLA__THOUGHT_WORDS);
    return d->action.kind;
}

// Records what became of the reply. A step that changes the script makes a new state.
static void answer(drive *d, mla_outcome outcome, const char *error, double after, bool changes) {
    mla_step step;
    mla_step_init(&step);
    step.task = mla_strdup("toy");
    step.trajectory = mla_strdup("toy-0000");
    step.actor = mla_strdup("expert");
    step.index = (int)d->steps.len;
    step.kind = d->action.kind;
    step.outcome = outcome;
    step.error_type = mla_strdup(error);
    step.text = d->text;
    step.idea = d->idea;
    step.feedback = mla_strdup("");
    step.state = d->state;
    step.reward.score_before = d->state.score;
    step.reward.score_after = after;
    if (changes) {
        memcpy(d->state.undo, d->state.commit, sizeof d->state.undo);
        snprintf(d->state.commit, sizeof d->state.commit, "%040d", ++d->commits);
        if (!isnan(after)) d->state.score = after;
    }
    step.state_after = d->state;
    mla_action_clear(&d->action);
    mla_steps_push_take(&d->steps, &step);
}

static void answer_undo(drive *d, const mla_state *back) {
    assert_int_equal(d->action.kind, MLA_ACTION_UNDO_EDIT);
    answer(d, MLA_OUTCOME_OK, NULL, NAN, true);
    snprintf(d->state.undo, sizeof d->state.undo, "%s", back->undo);
    d->state.score = back->score;
    d->steps.items[d->steps.len - 1].state_after = d->state;
}

static void start_with(drive *d, const mla_expert_ideas *with, uint64_t seed) {
    *d = (drive){.expert = mla_expert_create(with, 1, 1), .script = script, .max_steps = MAX_STEPS,
                 .seconds_left = INFINITY, .seed = seed, .state = {.score = NAN, .best = NAN}};
    memset(d->state.commit, '0', 40);
    d->actor = mla_expert_actor(d->expert);
}

static void start(drive *d, uint64_t seed) {
    start_with(d, book, seed);
}

static void end(drive *d) {
    if (d->action.kind != MLA_ACTION_NONE && d->action.thought) {
        mla_action_clear(&d->action);
        free(d->text);
        free(d->idea);
    }
    mla_steps_clear(&d->steps);
    mla_expert_free(d->expert);
}

static bool is_idea(const char *blocks) {
    for (size_t i = 0; i < ideas.len; i++) {
        if (!strcmp(blocks, ideas.items[i].blocks)) return true;
    }
    return false;
}

// Answers looks until the first edit, which is returned unanswered. False: there is none, as it is
// a deliberate slip (`slips` false) or the other way round.
static bool first_edit(drive *d, bool slips) {
    for (;;) {
        mla_action_kind kind = ask(d);
        if (kind == MLA_ACTION_EDIT_SCRIPT) return is_idea(d->action.blocks) != slips;
        assert_int_not_equal(kind, MLA_ACTION_FINAL_ANSWER);
        assert_true(d->steps.len < 2);
        if (kind == MLA_ACTION_INSPECT_LINES) assert_string_equal(d->action.inputs[2], "4");
        bool runs = kind == MLA_ACTION_EXECUTE_SCRIPT;
        answer(d, MLA_OUTCOME_OK, NULL, runs ? 0.7 : NAN, false);
    }
}

// --- reactions ----------------------------------------------------------------------------------

static bool says_any(const char *thought, const char *a, const char *b, const char *c) {
    return strstr(thought, a) || strstr(thought, b) || strstr(thought, c);
}

static void undoes_what_hurt(void **unused) {
    (void)unused;
    for (uint64_t seed = 0; seed < 40; seed++) {
        drive d;
        start(&d, seed * 1000);
        if (first_edit(&d, false)) {
            mla_state before = d.state;
            char *tried = mla_strdup(d.action.blocks);
            answer(&d, MLA_OUTCOME_OK, NULL, 0.65, true);
            assert_int_equal(ask(&d), MLA_ACTION_UNDO_EDIT);
            assert_true(says_any(d.action.thought, "worse", "Worse", "hurt"));
            answer_undo(&d, &before);
            // Another idea is put in its place.
            assert_int_equal(ask(&d), MLA_ACTION_EDIT_SCRIPT);
            assert_string_not_equal(d.action.blocks, tried);
            assert_null(strchr(d.idea, '+'));
            free(tried);
        }
        end(&d);
    }
}

static void keeps_what_helped(void **unused) {
    (void)unused;
    size_t went_on = 0, ended = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        drive d;
        start(&d, seed * 1000);
        if (first_edit(&d, false)) {
            answer(&d, MLA_OUTCOME_OK, NULL, 0.81, true);
            mla_action_kind next = ask(&d);
            assert_int_not_equal(next, MLA_ACTION_UNDO_EDIT);
            assert_true(says_any(d.action.thought, "helped", "Better", "Good"));
            went_on += next == MLA_ACTION_EDIT_SCRIPT;
            ended += next == MLA_ACTION_FINAL_ANSWER;
            if (next == MLA_ACTION_EDIT_SCRIPT) {
                assert_non_null(strchr(d.idea, '+'));
            } else {
                assert_string_equal(d.action.inputs[0],
                                    "The best accuracy reached is 0.81, up from 0.7.");
                assert_non_null(d.idea);
            }
        }
        end(&d);
    }
    assert_true(went_on > ended && ended > 0);     // 1 to 3 ideas
}

static void lower_is_better_where_the_task_says_so(void **unused) {
    (void)unused;
    task.direction = -1;
    drive d;
    start(&d, 0);
    if (!first_edit(&d, false)) fail_msg("seed 0 begins with a slip; take another");
    answer(&d, MLA_OUTCOME_OK, NULL, 0.81, true);
    assert_int_equal(ask(&d), MLA_ACTION_UNDO_EDIT);
    assert_true(says_any(d.action.thought, "rose, which is worse", "Worse", "hurt"));
    task.direction = 1;
    end(&d);
}

static void undoes_what_failed(void **unused) {
    (void)unused;
    static const struct {
        mla_outcome outcome;
        const char *error, *says;
    } cases[] = {
        {MLA_OUTCOME_SCRIPT_ERROR, "KeyError", "KeyError"},
        {MLA_OUTCOME_BAD_SUBMISSION, "3 ids are missing", "bad submission"},
        {MLA_OUTCOME_NO_SUBMISSION, NULL, "no submission"},
        {MLA_OUTCOME_TIME_OUT, NULL, "too"},
        {MLA_OUTCOME_OUT_OF_MEMORY, NULL, "memory"},
    };
    for (uint64_t i = 0; i < 40; i++) {
        drive d;
        start(&d, i * 1000);
        size_t c = i % MLA_COUNT(cases);
        if (first_edit(&d, false)) {
            answer(&d, cases[c].outcome, cases[c].error, NAN, true);
            assert_int_equal(ask(&d), MLA_ACTION_UNDO_EDIT);
            assert_non_null(strcasestr(d.action.thought, cases[c].says));
        }
        end(&d);
    }
}

static void gives_up_an_edit_that_does_not_apply(void **unused) {
    (void)unused;
    for (uint64_t seed = 0; seed < 40; seed++) {
        drive d;
        start(&d, seed * 1000);
        if (first_edit(&d, false)) {
            char *tried = mla_strdup(d.action.blocks);
            answer(&d, MLA_OUTCOME_EDIT_FAILED, NULL, NAN, false);
            assert_int_equal(ask(&d), MLA_ACTION_EDIT_SCRIPT);
            assert_string_not_equal(d.action.blocks, tried);
            free(tried);
        }
        end(&d);
    }
}

static void ends_when_another_run_would_take_too_long(void **unused) {
    (void)unused;
    for (int late = 0; late < 2; late++) {
        size_t ended = 0;
        for (uint64_t seed = 0; seed < 40; seed++) {
            drive d;
            start(&d, seed * 1000);
            if (first_edit(&d, false)) {
                answer(&d, MLA_OUTCOME_OK, NULL, 0.81, true);
                d.steps.items[d.steps.len - 1].cost.run_seconds = 10;
                d.seconds_left = late ? 9 : 11;
                ended += ask(&d) == MLA_ACTION_FINAL_ANSWER;
            }
            end(&d);
        }
        if (late) assert_true(ended > 30);
        else assert_true(ended < 20);
    }
}

// Our own machinery fails: the script is as it was, so there is nothing to undo.
static void goes_on_when_the_sandbox_failed(void **unused) {
    (void)unused;
    drive d;
    start(&d, 0);
    if (!first_edit(&d, false)) fail_msg("seed 0 begins with a slip; take another");
    answer(&d, MLA_OUTCOME_SANDBOX_FAILED, NULL, NAN, false);
    assert_int_equal(ask(&d), MLA_ACTION_EDIT_SCRIPT);
    end(&d);
}

// --- slips --------------------------------------------------------------------------------------

// Drives many episodes until one begins with a slip.
static bool find_slip(drive *d, uint64_t *seed) {
    for (; *seed < 2000; ++*seed) {
        start(d, *seed * 1000);
        if (first_edit(d, true)) return true;
        end(d);
    }
    return false;
}

static void repairs_a_slip(void **unused) {
    (void)unused;
    size_t found = 0;
    for (uint64_t seed = 0; found < 10; seed++) {
        drive d;
        assert_true(find_slip(&d, &seed));
        found++;
        // The script with the slip in it, made from the REPLACE part of its only block.
        char *replaced = mla_strdup(strstr(d.action.blocks, "=======\n") + 8);
        *strstr(replaced, ">>>>>>>") = '\0';
        d.script = replaced;
        mla_state before = d.state;
        answer(&d, MLA_OUTCOME_SCRIPT_ERROR, "NameError", NAN, true);
        assert_int_equal(ask(&d), MLA_ACTION_EDIT_SCRIPT);
        assert_false(is_idea(d.action.blocks));
        // Its SEARCH is a line of the broken script, its REPLACE a line of the idea's edit.
        char *search = mla_strdup(strchr(d.action.blocks, '\n') + 1);
        char *replace = mla_strdup(strstr(search, "=======\n") + 8);
        *strstr(search, "=======") = '\0';
        *strstr(replace, "\n>>>>>>>") = '\0';
        assert_non_null(strstr(replaced, search));
        bool right = false;
        for (size_t i = 0; i < ideas.len; i++) {
            right |= strstr(ideas.items[i].blocks, replace) != NULL;
        }
        assert_true(right);
        free(search);
        free(replace);
        // Where the whole idea then hurts, both of its edits are taken back.
        mla_state broken = d.state;
        answer(&d, MLA_OUTCOME_OK, NULL, 0.6, true);
        assert_int_equal(ask(&d), MLA_ACTION_UNDO_EDIT);
        answer_undo(&d, &broken);
        assert_int_equal(ask(&d), MLA_ACTION_UNDO_EDIT);
        answer_undo(&d, &before);
        assert_int_not_equal(ask(&d), MLA_ACTION_UNDO_EDIT);
        end(&d);
        free(replaced);
    }
}

static void slips_are_rare(void **unused) {
    (void)unused;
    size_t slips = 0;
    for (uint64_t seed = 0; seed < 1000; seed++) {
        drive d;
        start(&d, seed * 1000);
        slips += first_edit(&d, true);
        end(&d);
    }
    // 5 in 100 of the four edits of five that have a name to misspell: 40 expected.
    assert_in_range(slips, 20, 60);
}

static void a_slip_is_in_what_runs(void **unused) {
    (void)unused;
    mla_rng rng;
    mla_rng_init(&rng, 5);
    mla__mistake m;
    assert_false(mla__mistake_make(&m, &rng, BLOCK("a = 1", "a = 2  # RandomForest(")));
    assert_false(mla__mistake_make(&m, &rng, BLOCK("a = 1", "a = \"factorize(x)\"")));
    assert_false(mla__mistake_make(&m, &rng, BLOCK("a = 1", "def make_features(x):")));
    assert_false(mla__mistake_make(&m, &rng, BLOCK("a = factorize(x)", "a = 1")));
    assert_false(mla__mistake_make(&m, &rng, BLOCK("a = factorize(x)\nb", "a = factorize(x)\nc")));
    for (int i = 0; i < 50; i++) {
        assert_true(mla__mistake_make(&m, &rng, BLOCK("a = 1", "b\n  a = factorize(x)\nc = 3")));
        assert_string_equal(m.right, "factorize");
        assert_string_not_equal(m.wrong, m.right);
        assert_int_equal(m.wrong[0], 'f');
        assert_string_equal(m.right_line, "  a = factorize(x)");
        assert_non_null(strstr(m.blocks, m.wrong_line));
        assert_null(strstr(m.blocks, m.right_line));
        mla__mistake_clear(&m);
    }
    assert_true(mla__mistake_make(&m, &rng, BLOCK("a = 1", "from b import Forest")));
    char *repair = mla__mistake_repair(&m, "x\ny\n");
    assert_null(repair);
    char *text = mla_format("x\n%s\ny\n", m.wrong_line);
    repair = mla__mistake_repair(&m, text);
    char *expected = mla_format(BLOCK("%s", "from b import Forest"), m.wrong_line);
    assert_string_equal(repair, expected);
    free(repair);
    free(text);
    free(expected);
    mla__mistake_clear(&m);
}

// --- whole episodes -----------------------------------------------------------------------------

// Plays one with results drawn by `seed`; returns all replies as one text.
static char *play(uint64_t seed, int max_steps, size_t counts[MLA_ACTION_COUNT]) {
    drive d;
    start(&d, seed);
    d.max_steps = max_steps;
    mla_rng world;
    mla_rng_init(&world, seed);
    mla_buf all;
    mla_buf_init(&all, 1 << 20);
    mla_state stack[MAX_STEPS + 1];
    size_t depth = 0;
    for (bool over = false; !over;) {
        mla_action_kind kind = ask(&d);
        mla_buf_printf(&all, "%s\n[%s]\n", d.text, d.idea ? d.idea : "");
        counts[kind]++;
        over = kind == MLA_ACTION_FINAL_ANSWER;
        double draw = mla_rng_uniform(&world);
        if (kind == MLA_ACTION_UNDO_EDIT) {
            assert_true(depth > 0);
            answer_undo(&d, &stack[--depth]);
        } else if (kind != MLA_ACTION_EDIT_SCRIPT) {
            answer(&d, MLA_OUTCOME_OK, NULL, NAN, false);
        } else if (draw < 0.1) {
            answer(&d, MLA_OUTCOME_EDIT_FAILED, NULL, NAN, false);
        } else {
            stack[depth++] = d.state;
            if (draw < 0.2) answer(&d, MLA_OUTCOME_SCRIPT_ERROR, "ValueError", NAN, true);
            else answer(&d, MLA_OUTCOME_OK, NULL, 0.65 + draw / 5, true);
        }
        assert_true(d.steps.len <= (size_t)max_steps);
        assert_true(over || d.steps.len < (size_t)max_steps);
    }
    end(&d);
    return mla_buf_take(&all);
}

static void ends_and_depends_on_its_seed_only(void **unused) {
    (void)unused;
    size_t different = 0;
    char *last = NULL;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        size_t counts[MLA_ACTION_COUNT] = {0};
        char *a = play(seed * 77, MAX_STEPS, counts), *b = play(seed * 77, MAX_STEPS, counts);
        assert_string_equal(a, b);
        different += last && strcmp(a, last) != 0;
        free(last);
        free(b);
        last = a;
    }
    free(last);
    assert_int_equal(different, 99);
}

static void ends_when_steps_are_few(void **unused) {
    (void)unused;
    size_t counts[MLA_ACTION_COUNT] = {0};
    for (uint64_t seed = 0; seed < 50; seed++) {
        for (int max_steps = 1; max_steps < 6; max_steps++) free(play(seed, max_steps, counts));
    }
}

static void edits_are_most_of_what_it_does(void **unused) {
    (void)unused;
    size_t counts[MLA_ACTION_COUNT] = {0}, all = 0;
    for (uint64_t seed = 0; seed < 500; seed++) free(play(seed * 13, MAX_STEPS, counts));
    for (int k = 0; k < MLA_ACTION_COUNT; k++) all += counts[k];
    double edits = (double)counts[MLA_ACTION_EDIT_SCRIPT] / (double)all;
    print_message("edits %.2f undos %.2f final %.2f inspect %.2f list %.2f execute %.2f, "
                  "%.1f steps\n", edits, (double)counts[MLA_ACTION_UNDO_EDIT] / (double)all,
                  (double)counts[MLA_ACTION_FINAL_ANSWER] / (double)all,
                  (double)counts[MLA_ACTION_INSPECT_LINES] / (double)all,
                  (double)counts[MLA_ACTION_LIST_FILES] / (double)all,
                  (double)counts[MLA_ACTION_EXECUTE_SCRIPT] / (double)all, (double)all / 500);
    assert_true(edits > 0.5 && edits < 0.75);
}

// "cut" needs "bins", which is not among the chosen: it comes first, and alone where it hurts.
static void what_an_idea_builds_on_comes_first(void **unused) {
    (void)unused;
    static char *needs[] = {(char *)"bins"};
    static mla_idea items[] = {
        {"bins", "features", "Load the binning.", "Outliers do less harm.",
         BLOCK("import pandas as pd", "import pandas as pd\nimport bins"), NULL, 0},
        {"cut", "features", "Cut the fare into bins.", "Outliers do less harm.",
         BLOCK("import bins", "import bins\nbins.cut()"), needs, 1},
    };
    static const mla_ideas two = {items, 2};
    static const size_t last[] = {1};
    static const mla_expert_ideas only[] = {{&task, &two, last, 1}};
    static const char binned[] = "import pandas as pd\nimport bins\n\nmodel = Tree()\n";
    size_t went_on = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        drive d;
        start_with(&d, only, seed * 1000);
        first_edit(&d, false);
        if (!strcmp(d.action.blocks, items[0].blocks)) {
            bool helps = seed % 2;
            mla_state before = d.state;
            if (helps) d.script = binned;
            answer(&d, MLA_OUTCOME_OK, NULL, helps ? 0.8 : 0.6, true);
            mla_action_kind next = ask(&d);
            if (!helps) {
                answer_undo(&d, &before);
                assert_int_equal(ask(&d), MLA_ACTION_FINAL_ANSWER);
            } else if (next == MLA_ACTION_EDIT_SCRIPT) {
                assert_string_equal(d.idea, "bins+cut");
                went_on++;
            }
        }
        assert_string_not_equal(d.idea ? d.idea : "", "cut");
        end(&d);
    }
    assert_true(went_on > 0);
}

static void a_task_without_ideas_is_an_error(void **unused) {
    (void)unused;
    drive d;
    start(&d, 1);
    mla_task other = task;
    other.name = (char *)"other";
    mla_view view = {.task = &other, .script = script, .steps_left = 5};
    mla_err err = {0};
    assert_int_equal(d.actor.act(d.actor.self, &view, 1, take_reply, &d, &err), -1);
    assert_non_null(strstr(err.text, "other"));
    end(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(undoes_what_hurt),
        cmocka_unit_test(keeps_what_helped),
        cmocka_unit_test(lower_is_better_where_the_task_says_so),
        cmocka_unit_test(undoes_what_failed),
        cmocka_unit_test(gives_up_an_edit_that_does_not_apply),
        cmocka_unit_test(ends_when_another_run_would_take_too_long),
        cmocka_unit_test(goes_on_when_the_sandbox_failed),
        cmocka_unit_test(repairs_a_slip),
        cmocka_unit_test(slips_are_rare),
        cmocka_unit_test(a_slip_is_in_what_runs),
        cmocka_unit_test(ends_and_depends_on_its_seed_only),
        cmocka_unit_test(ends_when_steps_are_few),
        cmocka_unit_test(edits_are_most_of_what_it_does),
        cmocka_unit_test(what_an_idea_builds_on_comes_first),
        cmocka_unit_test(a_task_without_ideas_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
