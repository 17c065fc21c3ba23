// `mlagent tasks ideas`: what there is to try on a task, by family; with --run-all each is tried on
// the starter, as an expert would: after the ideas that its edit builds on.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/tasks.h"
#include "env/action.h"

#define AT_ONCE 16
#define COUNTS 1e-9       // a smaller change of a score is none

typedef enum { HELPS, HURTS, NOTHING, FAILS, VERDICTS } verdict;
static const char *const verdict_names[VERDICTS] = {"helps", "hurts", "nothing", "fails"};

typedef struct trying {
    const mla_options *options;
    mla_trial trial;
    mla_task *task;
    mla_ideas ideas;
    mla_state start;
    mla_halves base;          // the starter's score
    struct tried {
        size_t runs_left;     // at first 1, or 2 where what it builds on is run alone too
        verdict verdict;
        mla_halves before, score;
        double seconds;
        char *fault;
    } *tried;                 // [ideas.len]
    size_t printed;           // so many from the first on
} trying;

// --- the list -----------------------------------------------------------------------------------

static bool first_of_family(const mla_ideas *ideas, size_t at) {
    for (size_t i = 0; i < at; i++) {
        if (strcmp(ideas->items[i].family, ideas->items[at].family) == 0) return false;
    }
    return true;
}

static json_t *after_json(const mla_idea *idea) {
    json_t *ids = json_array();
    for (size_t i = 0; i < idea->n_after; i++) {
        json_array_append_new(ids, json_string(idea->after[i]));
    }
    return ids;
}

static void print_idea(const mla_idea *idea) {
    printf("  %-28s %s", idea->id, idea->text);
    for (size_t i = 0; i < idea->n_after; i++) {
        printf("%s%s", i ? ", " : " (after ", idea->after[i]);
    }
    puts(idea->n_after ? ")" : "");
}

static void print_family(const mla_ideas *ideas, const char *family) {
    size_t n = 0;
    for (size_t i = 0; i < ideas->len; i++) n += !strcmp(ideas->items[i].family, family);
    printf("%s (%zu)\n", family, n);
    for (size_t i = 0; i < ideas->len; i++) {
        const mla_idea *idea = &ideas->items[i];
        if (!strcmp(idea->family, family)) print_idea(idea);
    }
}

static void print_ideas(const mla_ideas *ideas, bool json) {
    for (size_t i = 0; i < ideas->len; i++) {
        const mla_idea *idea = &ideas->items[i];
        if (json) {
            mla_tasks_print_line(json_pack("{s:s, s:s, s:s, s:s, s:s, s:o}", "id", idea->id,
                                           "family", idea->family, "text", idea->text, "why",
                                           idea->why, "edit", idea->blocks, "after",
                                           after_json(idea)));
        } else if (first_of_family(ideas, i)) {
            print_family(ideas, idea->family);
        }
    }
    if (!json) printf("%zu ideas\n", ideas->len);
}

// --- trying -------------------------------------------------------------------------------------

static double gain_of(const trying *t, size_t at, bool private_half) {
    const mla_halves *a = &t->tried[at].before, *b = &t->tried[at].score;
    return t->task->direction * (private_half ? b->private_half - a->private_half
                                              : b->public_half - a->public_half);
}

static void take(trying *t, size_t tag, const mla_facts *facts) {
    size_t at = tag / 2;
    struct tried *r = &t->tried[at];
    mla_halves score = {facts->score_after, facts->score_private};
    char *fault = mla_facts_fault(facts);
    if (tag % 2) r->before = score;
    else r->score = score;
    if (tag % 2 == 0) r->seconds = facts->cost.run_seconds;
    if (fault && !r->fault) r->fault = mla_format("%s%s", tag % 2 ? "without it: " : "", fault);
    free(fault);
    r->runs_left--;
    double gain = gain_of(t, at, false);
    if (r->fault) r->verdict = FAILS;
    else r->verdict = gain > COUNTS ? HELPS : gain < -COUNTS ? HURTS : NOTHING;
}

static void print_json(const trying *t, size_t at) {
    const struct tried *r = &t->tried[at];
    const mla_idea *idea = &t->ideas.items[at];
    mla_tasks_print_line(json_pack("{s:s, s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:f, s:s?}", "id",
                                   idea->id, "family", idea->family, "after", after_json(idea),
                                   "verdict", verdict_names[r->verdict],
                                   "public", mla_json_number(r->score.public_half), "private",
                                   mla_json_number(r->score.private_half), "gain",
                                   mla_json_number(gain_of(t, at, false)), "gain_private",
                                   mla_json_number(gain_of(t, at, true)), "seconds", r->seconds,
                                   "fault", r->fault));
}

static void print_row(const trying *t, size_t at) {
    const struct tried *r = &t->tried[at];
    const mla_idea *idea = &t->ideas.items[at];
    double distance = fabs(t->task->best.public_half - t->task->init.public_half);
    if (r->fault) {
        printf("%-28s %-18s %-8s %s\n", idea->id, idea->family, "fails", r->fault);
    } else {
        printf("%-28s %-18s %-8s %11.5g %+11.4g %+7.1f%% %+11.4g %6.2f\n", idea->id, idea->family,
               verdict_names[r->verdict], r->score.public_half, gain_of(t, at, false),
               100 * gain_of(t, at, false) / distance, gain_of(t, at, true), r->seconds);
    }
}

// Prints what is done, in the ideas' order.
static void print_ready(trying *t) {
    for (; t->printed < t->ideas.len && !t->tried[t->printed].runs_left; t->printed++) {
        if (t->options->json) print_json(t, t->printed);
        else print_row(t, t->printed);
    }
    fflush(stdout);
}

static int collect_one(trying *t, mla_err *err) {
    size_t tag;
    mla_facts facts;
    int rc = mla_env_collect(t->trial.env, 1, &tag, &facts, err);
    if (rc <= 0) return rc;
    take(t, tag, &facts);
    mla_facts_clear(&facts);
    print_ready(t);
    return 0;
}

// Tag 2 * at: idea `at` with all that it builds on, which is 2 * at + 1.
static int submit(trying *t, size_t tag, mla_err *err) {
    const mla_idea *idea = &t->ideas.items[tag / 2];
    if (tag % 2 && !idea->n_after) return 0;
    char *before = mla_ideas_blocks_before(&t->ideas, tag / 2);
    char *blocks = mla_format("%s%s", before, tag % 2 ? "" : idea->blocks);
    const mla_action edit = {.kind = MLA_ACTION_EDIT_SCRIPT, .inputs = {t->task->script},
                             .blocks = blocks};
    char *reply = mla_action_format(&edit);
    int rc = mla_env_submit(t->trial.env, t->task, &t->start, reply, tag, err);
    free(reply);
    free(blocks);
    free(before);
    return rc;
}

static int try_all(trying *t, mla_err *err) {
    int rc = 0;
    size_t next = 0;
    while (rc == 0 && !mla_stop_wanted()) {
        size_t under_way = mla_env_outstanding(t->trial.env);
        if (next < 2 * t->ideas.len && under_way < AT_ONCE) rc = submit(t, next++, err);
        else if (under_way > 0) rc = collect_one(t, err);
        else break;
    }
    mla_env_cancel(t->trial.env, NULL);
    return rc;
}

static int run_starter(trying *t, mla_err *err) {
    mla_facts facts;
    char *text = mla_trial_starter(t->task, err);
    int rc = text ? mla_trial_run(&t->trial, t->task, text, &facts, err) : -1;
    free(text);
    if (rc < 0) return -1;
    char *fault = mla_facts_fault(&facts);
    if (fault) rc = mla_err_set(err, "%s: the starter: %s", t->task->name, fault);
    t->base = (mla_halves){facts.score_after, facts.score_private};
    free(fault);
    mla_facts_clear(&facts);
    return rc == 0 ? mla_env_begin(t->trial.env, t->task, &t->start, err) : rc;
}

static void count_verdicts(const trying *t, const char *family, size_t counts[VERDICTS]) {
    memset(counts, 0, VERDICTS * sizeof *counts);
    for (size_t i = 0; i < t->ideas.len; i++) {
        bool of = !family || strcmp(t->ideas.items[i].family, family) == 0;
        if (of && !t->tried[i].runs_left) counts[t->tried[i].verdict]++;
    }
}

static void print_counts(const char *what, const size_t counts[VERDICTS]) {
    printf("%-28s %zu help, %zu hurt, %zu change nothing, %zu fail\n", what, counts[HELPS],
           counts[HURTS], counts[NOTHING], counts[FAILS]);
}

static void print_sums(const trying *t) {
    size_t counts[VERDICTS];
    puts("");
    for (size_t i = 0; i < t->ideas.len; i++) {
        const char *family = t->ideas.items[i].family;
        if (!first_of_family(&t->ideas, i)) continue;
        count_verdicts(t, family, counts);
        print_counts(family, counts);
    }
    count_verdicts(t, NULL, counts);
    char *all = mla_format("all %zu, starter %.6g", counts[HELPS] + counts[HURTS] +
                           counts[NOTHING] + counts[FAILS], t->base.public_half);
    print_counts(all, counts);
    free(all);
}

static int run_all(trying *t, mla_err *err) {
    if (run_starter(t, err) < 0) return -1;
    t->tried = MLA_NEW_ARRAY(struct tried, t->ideas.len);
    for (size_t i = 0; i < t->ideas.len; i++) {
        t->tried[i] = (struct tried){.runs_left = t->ideas.items[i].n_after ? 2 : 1,
                                     .before = t->base};
    }
    if (!t->options->json) {
        printf("%-28s %-18s %-8s %11s %11s %8s %11s %6s\n", "idea", "family", "", "score", "gain",
               "share", "private", "s");
    }
    int rc = try_all(t, err);
    if (rc == 0 && !t->options->json) print_sums(t);
    for (size_t i = 0; i < t->ideas.len; i++) free(t->tried[i].fault);
    free(t->tried);
    return rc;
}

// --- the command --------------------------------------------------------------------------------

static int load_ideas(mla_ideas *ideas, const mla_task *task, mla_err *err) {
    char *path = mla_fs_join(task->dir, "ideas.yaml");
    bool there = mla_fs_exists(path);
    free(path);
    if (there) return mla_ideas_load(ideas, task, err);
    return mla_err_set(err, "%s has no ideas.yaml%s", task->name,
                       task->held_out ? ": nothing is tried on a held-out task" : "");
}

static int list_ideas(const mla_options *o, mla_err *err) {
    char *home = mla_options_home(o), *dir = mla_options_task(o, o->rest[1], err);
    mla_task *task = dir ? mla_task_load(dir, home, false, err) : NULL;
    mla_ideas ideas = {0};
    int rc = task ? load_ideas(&ideas, task, err) : -1;
    if (rc == 0) {
        print_ideas(&ideas, o->json);
        mla_ideas_clear(&ideas);
    }
    mla_task_free(task);
    free(dir);
    free(home);
    return rc;
}

int mla_tasks_ideas(const mla_options *o, mla_err *err) {
    if (!o->run_all) return list_ideas(o, err);
    trying t = {.options = o};
    if (mla_trial_open(&t.trial, o, NULL, err) < 0) return -1;
    t.task = mla_trial_task(&t.trial, o, o->rest[1], err);
    int rc = t.task ? load_ideas(&t.ideas, t.task, err) : -1;
    if (rc == 0) {
        rc = run_all(&t, err);
        mla_ideas_clear(&t.ideas);
    }
    mla_trial_close(&t.trial);
    return rc;
}
