// Steps to read: what the agent said, its edit as a diff, what the environment answered.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "report/internal.h"

#define SHORT_FEEDBACK 900      // bytes; longer feedback is folded

// How a line of a reply is shown. The marks are those of the reply's SEARCH/REPLACE blocks.
typedef enum { SAID, REMOVED, ADDED } line_kind;

typedef struct shower {
    mla_buf *out;
    line_kind kind;
    bool in_say, in_diff;       // an open element
} shower;

static void close_open(shower *s) {
    if (s->in_say) mla_buf_puts(s->out, "</p>\n");
    if (s->in_diff) mla_buf_puts(s->out, "</pre>\n");
    s->in_say = s->in_diff = false;
}

static bool begins(const char *line, size_t len, const char *with) {
    return len >= strlen(with) && !memcmp(line, with, strlen(with));
}

// The length of a label of the reply format ("Thought:") at the line's start, with its colon, or 0.
static size_t label_of(const char *line, size_t len) {
    static const char *const labels[] = {"Reflection:", "Research Plan and Status:", "Fact Check:",
                                         "Thought:", "Action Input:", "Action:"};
    for (size_t i = 0; i < MLA_COUNT(labels); i++) {
        if (begins(line, len, labels[i])) return strlen(labels[i]);
    }
    return 0;
}

static void show_said(shower *s, const char *line, size_t len) {
    size_t label = label_of(line, len);
    if (label || !s->in_say) {
        if (!label && !len) return;
        close_open(s);
        mla_buf_puts(s->out, "<p class=\"say\">");
        s->in_say = true;
    } else {
        mla_buf_puts(s->out, "\n");
    }
    if (label) {
        mla_buf_puts(s->out, "<em>");
        mla__html_bytes(s->out, line, label - 1);
        mla_buf_puts(s->out, "</em>");
        while (label < len && line[label] == ' ') label++;
    }
    mla__html_bytes(s->out, line + label, len - label);
}

static void show_changed(shower *s, const char *line, size_t len) {
    bool added = s->kind == ADDED;
    mla_buf_printf(s->out, "<span class=\"%s\">%s ", added ? "ins" : "del",
                   added ? "+" : "\xE2\x88\x92");
    mla__html_bytes(s->out, line, len);
    mla_buf_puts(s->out, "</span>");
}

static void show_line(shower *s, const char *line, size_t len) {
    if (s->kind == SAID && begins(line, len, "<<<<<<< SEARCH")) {
        close_open(s);
        mla_buf_puts(s->out, "<pre class=\"diff\">");
        s->in_diff = true;
        s->kind = REMOVED;
    } else if (s->kind == REMOVED && begins(line, len, "=======")) {
        s->kind = ADDED;
    } else if (s->kind == ADDED && begins(line, len, ">>>>>>> REPLACE")) {
        close_open(s);
        s->kind = SAID;
    } else if (s->kind == SAID) {
        show_said(s, line, len);
    } else {
        show_changed(s, line, len);
    }
}

static void show_reply(mla_buf *out, const char *text) {
    shower s = {.out = out};
    for (const char *line = text ? text : ""; *line;) {
        size_t len = strcspn(line, "\n");
        show_line(&s, line, len);
        line += len + (line[len] == '\n');
    }
    close_open(&s);
}

static void show_feedback(mla_buf *out, const char *feedback) {
    if (!feedback || !*feedback) return;
    bool fold = strlen(feedback) > SHORT_FEEDBACK;
    if (fold) mla_buf_puts(out, "<details><summary>Feedback</summary>");
    mla_buf_puts(out, "<pre>");
    mla__html_text(out, feedback);
    mla_buf_puts(out, fold ? "</pre></details>\n" : "</pre>\n");
}

static void show_facts(mla_buf *out, const mla_step *step) {
    const mla_reward_parts *r = &step->reward;
    mla_buf_puts(out, "<span>");
    mla__html_text(out, mla_outcome_name(step->outcome));
    if (step->error_type) {
        mla_buf_puts(out, " (");
        mla__html_text(out, step->error_type);
        mla_buf_puts(out, ")");
    }
    mla_buf_puts(out, "</span>");
    if (isfinite(r->score_after)) {
        mla_buf_printf(out, "<span>score %s \xE2\x86\x92 %s</span>",
                       mla__fmt_score(r->score_before).text, mla__fmt_score(r->score_after).text);
    }
    if (isfinite(r->gain)) {
        mla_buf_printf(out, "<span>gain %s</span>", mla__fmt_signed(r->gain).text);
    }
    mla_buf_printf(out, "<span>reward %s</span>", mla__fmt_tick(r->reward, 0.01).text);
    if (step->flags) {
        char *flags = mla_flag_text(step->flags);
        mla_buf_printf(out, "<span>flagged: %s</span>", flags);
        free(flags);
    }
    if (step->cost.run_seconds > 0) {
        mla_buf_printf(out, "<span>ran %s%s</span>", mla__fmt_seconds(step->cost.run_seconds).text,
                       step->cost.cached ? " (cached)" : "");
    }
}

static void show_step(mla_buf *out, const mla_step *step) {
    mla_buf_printf(out, "<article><header><strong>%d. ", step->index + 1);
    mla__html_text(out, step->kind == MLA_ACTION_NONE ? "Unreadable" : mla_action_name(step->kind));
    mla_buf_puts(out, "</strong>");
    show_facts(out, step);
    mla_buf_puts(out, "</header>\n");
    show_reply(out, step->text);
    show_feedback(out, step->feedback);
    mla_buf_puts(out, "</article>\n");
}

void mla__section_trajectory(mla_buf *out, const mla__folder *folder) {
    mla_buf_puts(out, "<h2 id=\"trajectory\">A trajectory to read</h2>\n");
    if (!folder->shown_from) {
        mla__absent(out, "A trajectory", "steps.jsonl in eval/ or expert/");
        return;
    }
    bool expert = !strcmp(folder->shown_from, "expert");
    bool solve = !strcmp(folder->shown_from, "solve");
    mla_buf_printf(out, "<p>The one that gained most %s%s, on ",
                   expert ? "among the expert's" : solve ? "of all attempts" : "in evaluation: ",
                   expert || solve ? "" : mla__model_title(folder->shown_from));
    mla__html_text(out, folder->shown.items[0].task);
    mla_buf_puts(out, " (<span class=\"soft\">");
    mla__html_text(out, folder->shown.items[0].trajectory);
    mla_buf_puts(out, "</span>). Scores and rewards are of the public half.</p>\n");
    for (size_t i = 0; i < folder->shown.len; i++) show_step(out, &folder->shown.items[i]);
}

void mla__section_edits(mla_buf *out, const mla__folder *folder) {
    mla_buf_puts(out, "<h2 id=\"edits\">The best edits found in RL</h2>\n");
    if (!folder->best.len) {
        mla__absent(out, "Edits that improve", "such step in rl/steps.jsonl");
        return;
    }
    mla_buf_puts(out, "<p>The single action with the largest gain on each task.</p>\n");
    for (size_t i = 0; i < folder->best.len; i++) {
        const mla_step *step = &folder->best.items[i];
        mla_buf_puts(out, "<article><header><strong>");
        mla__html_text(out, step->task);
        mla_buf_puts(out, "</strong>");
        show_facts(out, step);
        mla_buf_puts(out, "<span>");
        mla__html_text(out, step->trajectory);
        mla_buf_puts(out, "</span></header>\n");
        show_reply(out, step->text);
        mla_buf_puts(out, "</article>\n");
    }
}
