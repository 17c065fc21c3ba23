// The head of the page, and what the expert stage left.
#include <math.h>
#include <string.h>

#include "report/internal.h"

static void stage_list(mla_buf *out, const json_t *stages) {
    const char *stage;
    json_t *mark;
    bool first = true;
    mla_buf_puts(out, "<p class=\"soft\">");
    json_object_foreach((json_t *)stages, stage, mark) {
        if (!first) mla_buf_puts(out, " \xC2\xB7 ");
        first = false;
        mla__html_text(out, stage);
        double seconds = mla_json_get_number(mark, "seconds", NAN);
        mla_buf_printf(out, " %s", mla__fmt_seconds(seconds).text);
    }
    if (first) mla_buf_puts(out, "No stage is finished yet.");
    mla_buf_puts(out, "</p>\n");
}

void mla__section_summary(mla_buf *out, const mla__folder *folder) {
    mla_buf_puts(out, "<h1>");
    mla__html_text(out, folder->name);
    mla_buf_puts(out, "</h1>\n");
    stage_list(out, folder->stages);
    mla_buf_puts(out, "<nav><a href=\"#evaluation\">Evaluation</a><a href=\"#rl\">Reinforcement "
                      "learning</a><a href=\"#edits\">Best edits</a><a href=\"#sft\">Fine-tuning"
                      "</a><a href=\"#expert\">Expert</a><a href=\"#ideas\">Ideas</a>"
                      "<a href=\"#trajectory\">A trajectory</a></nav>\n");
    if (!folder->config) return;
    mla_buf_puts(out, "<details><summary>Settings (config.yaml)</summary><pre>");
    mla__html_text(out, folder->config);
    mla_buf_puts(out, "</pre></details>\n");
}

static const json_t *ideas_of(const json_t *ideas, const char *task) {
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(ideas, "tasks"), i, row) {
        if (!strcmp(mla_json_get_text(row, "task", ""), task)) return row;
    }
    return NULL;
}

static void expert_row(mla_buf *out, const mla__expert_task *t, const json_t *ideas) {
    mla_buf_puts(out, "<tr><td>");
    mla__html_text(out, t->task);
    mla_buf_printf(out, "</td><td>%d</td><td>%d</td><td>%s</td><td>%d</td><td>%d</td><td>%s</td>",
                   t->trajectories, t->steps,
                   mla__fmt_share(t->steps ? (double)t->valid / t->steps : NAN).text, t->edits,
                   t->improved, mla__fmt_signed(t->best_gain).text);
    mla_buf_printf(out, "<td>%lld of %lld</td><td>%s</td><td>%s</td></tr>\n",
                   (long long)json_array_size(json_object_get(ideas, "chosen")),
                   mla_json_get_int(ideas, "pool", 0),
                   mla__fmt_score(mla_json_get_number(ideas, "mean_distance", NAN)).text,
                   mla__fmt_score(mla_json_get_number(ideas, "random_mean_distance", NAN)).text);
}

void mla__section_expert(mla_buf *out, const mla__folder *folder) {
    mla_buf_puts(out, "<h2 id=\"expert\">Expert trajectories</h2>\n");
    if (!folder->n_expert) {
        mla__absent(out, "Expert trajectories", "expert/steps.jsonl");
        return;
    }
    mla_buf_puts(out, "<p>Distances are mean cosine distances between the ideas kept of a task's "
                      "pool, beside those of as many drawn at random.</p>\n"
                      "<div class=\"wide\"><table>\n<tr><th>Task</th><th>Trajectories</th>"
                      "<th>Steps</th><th>Valid</th><th>Edits</th><th>Improving</th>"
                      "<th>Best gain</th><th>Ideas kept</th><th>Distance</th><th>Random</th>"
                      "</tr>\n");
    for (size_t i = 0; i < folder->n_expert; i++) {
        const mla__expert_task *t = &folder->expert[i];
        expert_row(out, t, ideas_of(folder->ideas, t->task));
    }
    mla_buf_puts(out, "</table></div>\n");
}
