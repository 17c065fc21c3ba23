// The scripted expert: works as a careful engineer does, through the same environment as everybody.
// It looks first, tries one idea at a time, reads the result, keeps what helped, takes back what
// hurt or broke, and ends with what it reached. All its choices come from the episode's seed. It
// leaves out its words (words.c) and its mistakes (mistake.c).
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "collect/internal.h"
#include "env/action.h"

#define IDEAS_MAX 3            // carried through in one trajectory: the paper's 1 to 3
#define SPARES 3               // ideas that may stand in for such as did not work
#define INSPECT_LINES 100      // what Inspect Script Lines shows at most
#define THOUGHT_BYTES 1024

// How often it does what. Few looks: what a small model should learn from the data is editing.
static const double look_first = 0.5, look_again = 0.1, slip = 0.05, overlook = 0.25;
static const struct {
    mla_action_kind kind;
    double share;
} looks[] = {
    {MLA_ACTION_INSPECT_LINES, 0.45},
    {MLA_ACTION_LIST_FILES, 0.35},
    {MLA_ACTION_EXECUTE_SCRIPT, 0.20},
};

// What the expert remembers of an episode.
typedef struct {
    bool begun;
    mla_rng rng;
    const mla_expert_ideas *from;
    size_t *order;             // [from->n_chosen], owned: the ideas in the order it would try them
    size_t next;               // of order
    const mla_idea *needed;    // what was tried last because another idea builds on it; or NULL
    size_t to_do;              // ideas still to be carried through
    size_t spares;             // ideas that may still stand in
    mla_action_kind looks[2];
    size_t n_looks, looked;
    const mla_idea *trying;    // whose edit is in the script, not judged yet; or NULL
    mla__mistake mistake;      // that edit's, while it is not repaired
    size_t edits;              // of that idea; how many to undo to be rid of it
    size_t undos;              // still to be made
    bool edited;               // ever
    mla_buf kept;              // ids of the ideas that stayed in the script, joined by '+'
} memory;

struct mla_expert {
    const mla_expert_ideas *tasks;
    size_t n_tasks;
    memory *memories;          // [n_episodes]
    size_t n_episodes;
};

// A reply in the making.
typedef struct {
    mla_action action;         // inputs and blocks owned; the thought is set at the end
    mla_buf thought;
    char *idea;                // owned
} draft;

mla_expert *mla_expert_create(const mla_expert_ideas *tasks, size_t n_tasks, size_t n_episodes) {
    mla_expert *expert = MLA_NEW(mla_expert);
    *expert = (mla_expert){.tasks = tasks, .n_tasks = n_tasks, .n_episodes = n_episodes};
    expert->memories = MLA_NEW_ARRAY(memory, n_episodes);
    for (size_t i = 0; i < n_episodes; i++) mla_buf_init(&expert->memories[i].kept, 4096);
    return expert;
}

void mla_expert_free(mla_expert *expert) {
    if (!expert) return;
    for (size_t i = 0; i < expert->n_episodes; i++) {
        free(expert->memories[i].order);
        mla__mistake_clear(&expert->memories[i].mistake);
        mla_buf_clear(&expert->memories[i].kept);
    }
    free(expert->memories);
    free(expert);
}

// --- the plan -----------------------------------------------------------------------------------

static mla_action_kind draw_look(mla_rng *rng) {
    double at = mla_rng_uniform(rng);
    size_t i = 0;
    while (i + 1 < MLA_COUNT(looks) && at >= looks[i].share) at -= looks[i++].share;
    return looks[i].kind;
}

static void draw_looks(memory *m) {
    if (mla_rng_uniform(&m->rng) >= look_first) return;
    m->looks[m->n_looks++] = draw_look(&m->rng);
    if (mla_rng_uniform(&m->rng) >= look_again) return;
    mla_action_kind second = draw_look(&m->rng);
    if (second != m->looks[0]) m->looks[m->n_looks++] = second;
}

// More often three ideas than one: a longer trajectory has more edits beside its look and its end.
static void begin(memory *m, const mla_expert_ideas *from, uint64_t seed) {
    m->begun = true;
    m->from = from;
    mla_rng_init(&m->rng, seed);
    m->order = MLA_NEW_ARRAY(size_t, from->n_chosen);
    memcpy(m->order, from->chosen, from->n_chosen * sizeof *m->order);
    mla_rng_shuffle(&m->rng, m->order, from->n_chosen);
    size_t a = 1 + (size_t)mla_rng_below(&m->rng, IDEAS_MAX);
    size_t b = 1 + (size_t)mla_rng_below(&m->rng, IDEAS_MAX);
    m->to_do = a > b ? a : b;
    m->spares = SPARES;
    draw_looks(m);
}

static const mla_expert_ideas *ideas_of(const mla_expert *expert, const mla_task *task) {
    for (size_t i = 0; i < expert->n_tasks; i++) {
        if (!strcmp(expert->tasks[i].task->name, task->name)) return &expert->tasks[i];
    }
    return NULL;
}

// --- reading the result -------------------------------------------------------------------------

static bool better(const mla_task *task, double a, double b) {
    return task->direction * (a - b) > 0;
}

static mla__verdict verdict_of(const mla_task *task, const mla_step *step, double before) {
    double after = step->reward.score_after;
    switch (mla_outcome_class_of(step->outcome)) {
    case MLA_CLASS_NONE: return MLA__LOST;
    case MLA_CLASS_CORNER: return MLA__SLOW;
    case MLA_CLASS_FAILED:
        return strcmp(step->state.commit, step->state_after.commit) ? MLA__BROKE : MLA__GONE;
    case MLA_CLASS_DONE: break;
    }
    if (isnan(after)) return MLA__LOST;
    return better(task, after, before) ? MLA__HELPED : better(task, before, after) ? MLA__HURT
                                                                                  : MLA__SAME;
}

static mla__result read_result(const mla_view *view) {
    const mla_step *last = &view->history[view->n_history - 1];
    double before = last->reward.score_before;
    if (isnan(before)) before = view->task->init.public_half;
    return (mla__result){
        .verdict = verdict_of(view->task, last, before), .outcome = last->outcome,
        .error = last->error_type, .before = before, .after = last->reward.score_after,
    };
}

static double best_score(const mla_view *view) {
    double best = view->task->init.public_half;
    for (size_t i = 0; i < view->n_history; i++) {
        double after = view->history[i].reward.score_after;
        if (view->history[i].outcome == MLA_OUTCOME_OK && better(view->task, after, best)) {
            best = after;
        }
    }
    return best;
}

// --- actions ------------------------------------------------------------------------------------

static void set_action(draft *d, const mla_view *view, mla_action_kind kind) {
    d->action.kind = kind;
    d->action.inputs[0] = mla_strdup(view->task->script);
}

static char *ids_with(const memory *m, const mla_idea *idea) {
    const char *kept = mla_buf_text(&m->kept);
    if (!*kept && !idea) return NULL;
    return mla_format("%s%s%s", kept, *kept && idea ? "+" : "", idea ? idea->id : "");
}

static size_t count_lines(const char *text) {
    size_t n = 0;
    for (; *text; text++) n += *text == '\n' || !text[1];
    return n;
}

static void look(memory *m, const mla_view *view, draft *d) {
    mla_action_kind kind = m->looks[m->looked++];
    set_action(d, view, kind);
    if (kind == MLA_ACTION_LIST_FILES) {
        free(d->action.inputs[0]);
        d->action.inputs[0] = mla_strdup(".");
    } else if (kind == MLA_ACTION_INSPECT_LINES) {
        size_t lines = count_lines(view->script);
        d->action.inputs[1] = mla_strdup("1");
        d->action.inputs[2] = mla_format("%zu", lines < INSPECT_LINES ? lines : INSPECT_LINES);
    }
    mla__say_look(&d->thought, &m->rng, kind, view->task);
}

// Whether whole lines of the script are the text, as far as it goes.
static bool has_lines(const char *script, const char *text, size_t len) {
    for (const char *p = script; *p; p += strcspn(p, "\n"), p += *p == '\n') {
        if (!strncmp(p, text, len)) return true;
    }
    return false;
}

// Whether the lines that an edit searches for are in the script, as a reader sees it: one block may
// still be in the way of the next.
static bool fits(const char *blocks, const char *script) {
    for (const char *p = strstr(blocks, "<<<<<<<"); p; p = strstr(p, "<<<<<<<")) {
        const char *search = p + strcspn(p, "\n");
        const char *divider = strstr(search, "\n=======");
        if (!divider) return false;
        p = divider;
        size_t len = (size_t)(divider - search);
        if (len && !has_lines(script, search + 1, len)) return false;
    }
    return true;
}

static bool is_kept(const memory *m, const char *id) {
    size_t len = strlen(id);
    for (const char *p = mla_buf_text(&m->kept); *p; p += strcspn(p, "+"), p += *p == '+') {
        if (strcspn(p, "+") == len && !strncmp(p, id, len)) return true;
    }
    return false;
}

// The first idea to be in the script before this one can be; NULL when it can.
static const mla_idea *missing(const memory *m, const mla_idea *idea) {
    const mla_ideas *ideas = m->from->ideas;
    for (size_t i = 0; i < idea->n_after; i++) {
        if (is_kept(m, idea->after[i])) continue;
        const mla_idea *need = &ideas->items[mla_ideas_find(ideas, idea->after[i])];
        const mla_idea *first = missing(m, need);
        return first ? first : need;
    }
    return NULL;
}

// The idea to try next: one that fits the script, unless the expert overlooks that it does not.
// What another one builds on comes before it; where that was tried and not kept, both are left.
// NULL when there is none.
static const mla_idea *next_idea(memory *m, const char *script) {
    while (m->next < m->from->n_chosen) {
        const mla_idea *idea = &m->from->ideas->items[m->order[m->next]];
        const mla_idea *need = missing(m, idea);
        if (need && need != m->needed && fits(need->blocks, script)) return m->needed = need;
        m->next++;
        if (need || idea == m->needed || is_kept(m, idea->id)) continue;
        bool overlooks = mla_rng_uniform(&m->rng) < overlook;
        if (overlooks || fits(idea->blocks, script)) return idea;
    }
    return NULL;
}

static void edit(memory *m, const mla_view *view, draft *d, const mla_idea *idea) {
    m->trying = idea;
    m->edits = 1;
    m->edited = true;
    set_action(d, view, MLA_ACTION_EDIT_SCRIPT);
    bool slips = mla_rng_uniform(&m->rng) < slip;
    if (slips && mla__mistake_make(&m->mistake, &m->rng, idea->blocks)) {
        d->action.blocks = mla_strdup(m->mistake.blocks);
    } else {
        d->action.blocks = mla_strdup(idea->blocks);
    }
    d->idea = ids_with(m, idea);
    mla__say_idea(&d->thought, &m->rng, idea);
}

// False when the misspelt line is not found again.
static bool repair(memory *m, const mla_view *view, draft *d, const mla__result *result) {
    char *blocks = mla__mistake_repair(&m->mistake, view->script);
    if (blocks) {
        set_action(d, view, MLA_ACTION_EDIT_SCRIPT);
        d->action.blocks = blocks;
        d->idea = ids_with(m, m->trying);
        mla__say_repair(&d->thought, &m->rng, m->mistake.wrong, m->mistake.right, result);
        m->edits++;
    }
    mla__mistake_clear(&m->mistake);
    return blocks != NULL;
}

static void undo(memory *m, const mla_view *view, draft *d, const mla__result *result) {
    set_action(d, view, MLA_ACTION_UNDO_EDIT);
    d->idea = ids_with(m, m->trying);
    if (result) mla__say_undo(&d->thought, &m->rng, view->task, result);
    else mla__say_undo_more(&d->thought, &m->rng);
    m->undos--;
}

static void finish(memory *m, const mla_view *view, draft *d) {
    mla_buf answer;
    mla_buf_init(&answer, THOUGHT_BYTES);
    mla__say_answer(&answer, view->task, best_score(view));
    d->action.kind = MLA_ACTION_FINAL_ANSWER;
    d->action.inputs[0] = mla_buf_take(&answer);
    d->idea = ids_with(m, NULL);
    mla__say_final(&d->thought, &m->rng, m->to_do > 0 && m->next < m->from->n_chosen);
}

// --- what to do next ----------------------------------------------------------------------------

static void keep(memory *m) {
    char *ids = ids_with(m, m->trying);
    mla_buf_reset(&m->kept);
    mla_buf_puts(&m->kept, ids);
    free(ids);
    m->to_do--;
}

// An idea that came to nothing is replaced by another while there are spares.
static void give_up(memory *m) {
    if (m->spares) m->spares--;
    else m->to_do--;
}

// Judges the edit that was made last. True when that took an action: its repair or its undoing.
static bool judge(memory *m, const mla_view *view, draft *d) {
    mla__result result = read_result(view);
    bool changed = strcmp(view->history[view->n_history - 1].state.commit, view->state.commit) != 0;
    bool good = result.verdict == MLA__HELPED || result.verdict == MLA__SAME;
    bool can_undo = view->state.undo[0] && (changed || m->edits > 1);
    bool slipped = result.verdict == MLA__BROKE && m->mistake.wrong;
    if (slipped && repair(m, view, d, &result)) return true;
    mla__mistake_clear(&m->mistake);
    if (good) {
        keep(m);
        mla__say_kept(&d->thought, &m->rng, view->task, &result);
    } else {
        give_up(m);
        if (!can_undo) mla__say_given_up(&d->thought, &m->rng, result.verdict == MLA__GONE);
    }
    if (!good && can_undo) {
        m->undos = m->edits - !changed;
        undo(m, view, d, changed ? &result : NULL);
    }
    m->trying = NULL;
    return d->action.kind != MLA_ACTION_NONE;
}

static double longest_run(const mla_view *view) {
    double longest = 0;
    for (size_t i = 0; i < view->n_history; i++) {
        longest = fmax(longest, view->history[i].cost.run_seconds);
    }
    return longest;
}

// A new edit needs steps for itself, for undoing it and for the final answer; and time for a run.
static bool may_edit(const memory *m, const mla_view *view) {
    return m->to_do > 0 && view->seconds_left > longest_run(view) &&
           view->steps_left >= (m->edited ? 3 : 2);
}

static void decide(memory *m, const mla_view *view, draft *d) {
    if (view->steps_left <= 1) {
        finish(m, view, d);
        return;
    }
    if (m->trying && view->n_history && judge(m, view, d)) return;
    if (m->undos && view->state.undo[0]) {
        undo(m, view, d, NULL);
        return;
    }
    m->undos = 0;
    if (m->looked < m->n_looks && view->steps_left > 3) {
        look(m, view, d);
        return;
    }
    const mla_idea *idea = may_edit(m, view) ? next_idea(m, view->script) : NULL;
    if (idea) edit(m, view, d, idea);
    else finish(m, view, d);
}

static mla_reply reply_to(memory *m, const mla_view *view) {
    draft d = {.action = {.kind = MLA_ACTION_NONE}};
    mla_buf_init(&d.thought, THOUGHT_BYTES);
    decide(m, view, &d);
    d.action.thought = mla_buf_take(&d.thought);
    mla_reply reply = {.text = mla_action_format(&d.action), .ended = true, .idea = d.idea};
    mla_action_clear(&d.action);
    return reply;
}

static int act(void *self, const mla_view *views, size_t n, mla_reply_sink sink, void *ctx,
               mla_err *err) {
    mla_expert *expert = self;
    for (size_t i = 0; i < n; i++) {
        MLA_ASSERT(views[i].episode < expert->n_episodes);
        memory *m = &expert->memories[views[i].episode];
        const mla_expert_ideas *from = ideas_of(expert, views[i].task);
        if (!from) {
            return mla_err_set(err, "the expert has no ideas for task %s", views[i].task->name);
        }
        if (!m->begun) begin(m, from, views[i].seed);
        mla_reply reply = reply_to(m, &views[i]);
        if (sink(ctx, i, &reply, err) < 0) {
            mla_reply_clear(&reply);
            return -1;
        }
    }
    return 0;
}

mla_actor mla_expert_actor(mla_expert *expert) {
    return (mla_actor){.name = "expert", .act = act, .self = expert};
}
