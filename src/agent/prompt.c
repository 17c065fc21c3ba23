// What the policy reads. States of one task share the head of the prompt (system turn and task), so
// that a prefix cache can work across them; what changes comes after. The script stands last: an
// edit copies lines of it, and a small model copies best from near by.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "base/buf.h"
#include "base/mem.h"

#define TURN_MAX (256 * 1024)  // bytes of a turn; a token budget far below it does the real cutting
#define SCRIPT_MAX 12000        // bytes shown of a script
#define BYTES_PER_TOKEN 4      // of a model whose tokens nobody knows
#define THOUGHT_MAX 100         // bytes of a thought quoted in the history

static const char *const entries_names[] = {
#define X(id, name) name,
    MLA_PROMPT_ENTRIES(X)
#undef X
};

const char *mla_prompt_entries_name(mla_prompt_entries entries) {
    MLA_ASSERT((size_t)entries < MLA_COUNT(entries_names));
    return entries_names[entries];
}

int mla_prompt_entries_parse(const char *name) {
    for (size_t i = 0; i < MLA_COUNT(entries_names); i++)
        if (strcmp(name, entries_names[i]) == 0) return (int)i;
    return -1;
}

mla_prompt_options mla_prompt_options_default(void) {
    return (mla_prompt_options){.max_tokens = 1536, .feedback_bytes = 480,
                                .actions = MLA_ACTIONS_DEFAULT, .entries = MLA_PROMPT_THREE};
}

static void action_line(mla_buf *out, mla_action_kind kind) {
    mla_buf_printf(out, "- %s {", mla_action_name(kind));
    for (int i = 0; i < MLA_ACTION_INPUTS; i++) {
        const char *input = mla_action_input_name(kind, i);
        if (input) mla_buf_printf(out, "%s\"%s\"", i ? ", " : "", input);
    }
    mla_buf_printf(out, "}: %s\n", mla_action_help(kind));
}

// MLAgentBench's words for the entries that the paper's agents write before the thought.
static void entries_part(mla_buf *out, mla_prompt_entries entries) {
    mla_buf_puts(out, "Reply:\n");
    if (entries == MLA_PROMPT_SIX) {
        mla_buf_puts(out,
            "Reflection: what the last result means\n"
            "Research Plan and Status: the whole plan, what is done and what came of it, what is "
            "next\n"
            "Fact Check: which of these are confirmed by a result, which are guesses\n");
    }
    mla_buf_puts(out,
        "Thought: what you do and why\n"
        "Action: its name\n"
        "Action Input: its inputs as JSON\n");
}

static void system_turn(mla_buf *out, const mla_prompt_options *options) {
    mla_buf_puts(out,
        "Improve the machine-learning script, one small change at a time, so that the "
        "submission.csv that it writes scores better on hidden data. Undo what hurts.\nActions:\n");
    for (int kind = 0; kind < MLA_ACTION_COUNT; kind++) {
        if (mla_action_set_has(options->actions, (mla_action_kind)kind)) {
            action_line(out, (mla_action_kind)kind);
        }
    }
    entries_part(out, options->entries);
    if (!mla_action_set_has(options->actions, MLA_ACTION_EDIT_SCRIPT)) return;
    mla_buf_puts(out,
        "Edit Script's blocks come next; SEARCH copies whole lines of the script:\n"
        "<<<<<<< SEARCH\nold lines\n=======\nnew lines\n>>>>>>> REPLACE\n");
}

// The thought of a reply, as much of its first line as fits.
static void thought_of(mla_buf *out, const char *reply) {
    const char *at = reply ? strstr(reply, "Thought:") : NULL;
    if (!at) return;
    at += strlen("Thought:");
    at += strspn(at, " ");
    size_t n = strcspn(at, "\n");
    bool cut = n > THOUGHT_MAX;
    mla_buf_append(out, at, cut ? THOUGHT_MAX : n);
    if (cut) mla_buf_puts(out, "...");
}

// Only an edit's thought is told: what a look or an undo was for shows in what came after, and
// states that differ in nothing else then share their whole prompt.
static void history_line(mla_buf *out, const mla_step *step) {
    mla_buf_printf(out, "%d. %s", step->index + 1, mla_action_name(step->kind));
    if (mla_action_is_edit(step->kind)) {
        mla_buf_puts(out, " (");
        thought_of(out, step->text);
        mla_buf_puts(out, ")");
    }
    mla_buf_printf(out, " -> %s", mla_outcome_name(step->outcome));
    if (isfinite(step->reward.score_after)) {
        mla_buf_printf(out, ", score %.6g", step->reward.score_after);
        if (isfinite(step->reward.score_before)) {
            mla_buf_printf(out, " (was %.6g)", step->reward.score_before);
        }
    }
    mla_buf_puts(out, "\n");
}

static void task_part(mla_buf *out, const mla_task *task) {
    size_t count;
    char **columns = mla_task_guess_columns(task, &count);
    mla_buf_printf(out, "# Task %s\n%s\nsubmission.csv: %s", task->name, task->description,
                   task->id_column);
    for (size_t i = 0; i < count; i++) mla_buf_printf(out, ", %s", columns[i]);
    mla_buf_printf(out, " for each row of data/test.csv. Score: %s, %s is better; %.6g at the "
                   "start.\n", mla_metric_name(task->metric),
                   task->direction > 0 ? "higher" : "lower", task->init.public_half);
}

static void script_part(mla_buf *out, const mla_view *view) {
    size_t n = strlen(view->script);
    mla_buf_printf(out, "# %s\n", view->task->script);
    mla_buf_append(out, view->script, n > SCRIPT_MAX ? SCRIPT_MAX : n);
    if (n > SCRIPT_MAX) mla_buf_printf(out, "\n... (%zu more bytes)\n", n - SCRIPT_MAX);
    if (n && view->script[n - 1] != '\n') mla_buf_puts(out, "\n");
}

// The middle of a long feedback says least: a run's score comes first, an error's type last.
static void feedback_part(mla_buf *out, const char *feedback, size_t max) {
    size_t n = feedback ? strlen(feedback) : 0, half = max / 2;
    mla_buf_puts(out, "# Last result\n");
    mla_buf_append(out, feedback, n > max ? half : n);
    if (n > max) {
        mla_buf_printf(out, "\n... (%zu bytes left out)\n", n - 2 * half);
        mla_buf_append(out, feedback + n - half, half);
    }
    mla_buf_puts(out, "\n");
}

static void user_turn(mla_buf *out, const mla_view *view, const mla_prompt_options *options,
                      size_t skip) {
    task_part(out, view->task);
    if (view->n_history) {
        mla_buf_puts(out, "# Steps so far\n");
        if (skip) mla_buf_printf(out, "(%zu older steps left out)\n", skip);
        for (size_t i = skip; i < view->n_history; i++) history_line(out, &view->history[i]);
    }
    if (view->n_history) {
        feedback_part(out, view->history[view->n_history - 1].feedback,
                      (size_t)options->feedback_bytes);
    }
    mla_buf_printf(out, "# Now\nSteps left: %d.\n", view->steps_left);
    script_part(out, view);
}

static void render(const mla_policy *policy, const mla_view *view,
                   const mla_prompt_options *options, size_t skip, mla_ids *out) {
    mla_buf text;
    mla_buf_init(&text, TURN_MAX);
    system_turn(&text, options);
    mla_chat_turn(policy, out, "system", mla_buf_text(&text));
    mla_buf_reset(&text);
    user_turn(&text, view, options, skip);
    mla_chat_turn(policy, out, "user", mla_buf_text(&text));
    mla_chat_open_reply(policy, out);
    mla_buf_clear(&text);
}

void mla_prompt_render(const mla_policy *policy, const mla_view *view,
                       const mla_prompt_options *options, mla_ids *out) {
    size_t from = out->len;
    for (size_t skip = 0;; skip++) {
        out->len = from;
        render(policy, view, options, skip, out);
        if ((int)(out->len - from) <= options->max_tokens || skip >= view->n_history) return;
    }
}

// As user_turn and script_part have it.
bool mla_prompt_script(const mla_policy *policy, const int32_t *ids, size_t n, char **name,
                       char **script) {
    static const char now[] = "\n# Now\nSteps left: ";
    while (n && ids[n - 1] != mla_chat_end_of_turn(policy)) n--;
    char *text = mla_tokenizer_decode(mla_policy_tokenizer(policy), ids, n, NULL);
    const char *at = NULL;
    for (const char *p = text; (p = strstr(p, now)); p++) at = p;
    at = at ? strstr(at + strlen(now), "\n# ") : NULL;
    const char *line = at ? strchr(at + 3, '\n') : NULL;
    if (line) {
        *name = mla_strndup(at + 3, (size_t)(line - at) - 3);
        *script = mla_strdup(line + 1);
    }
    free(text);
    return line != NULL;
}

void mla_prompt_text(const mla_view *view, const mla_prompt_options *options, char **system,
                     char **user) {
    mla_buf rules, text;
    mla_buf_init(&rules, TURN_MAX);
    mla_buf_init(&text, TURN_MAX);
    system_turn(&rules, options);
    for (size_t skip = 0; skip <= view->n_history; skip++) {
        mla_buf_reset(&text);
        user_turn(&text, view, options, skip);
        if (rules.len + text.len <= (size_t)options->max_tokens * BYTES_PER_TOKEN) break;
    }
    *system = mla_buf_take(&rules);
    *user = mla_buf_take(&text);
}
