// The evaluation: how much each model gains on each task, as a picture, in short and in full.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "report/internal.h"

static const struct {
    const char *name, *title;
} models[] = {{"untrained", "untrained"}, {"sft", "fine-tuned"}, {"rl", "after RL"}};
static const char *const splits[] = {"train", "held-out"};

const char *mla__model_title(const char *model) {
    for (size_t i = 0; i < MLA_COUNT(models); i++) {
        if (!strcmp(models[i].name, model)) return models[i].title;
    }
    return model;
}

static const char *text_of(const json_t *row, const char *key) {
    return mla_json_get_text(row, key, "");
}

static double number_of(const json_t *row, const char *key) {
    return mla_json_get_number(row, key, NAN);
}

static bool is(const json_t *row, const char *key, const char *value) {
    return !strcmp(text_of(row, key), value);
}

typedef struct mean {
    double sum;
    int n;
} mean;

static void add(mean *m, double value) {
    if (!isfinite(value)) return;
    m->sum += value;
    m->n++;
}

static double mean_of(const mean *m) {
    return m->n ? m->sum / m->n : NAN;
}

// One line: a model over all tasks of a split, each task counting once.
static void short_row(mla_buf *out, const json_t *rows, const char *split, size_t model) {
    mean valid = {0}, improved = {0}, average = {0}, best = {0};
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row) {
        if (!is(row, "split", split) || !is(row, "model", models[model].name)) continue;
        add(&valid, number_of(row, "valid_rate"));
        add(&improved, number_of(row, "improved_share"));
        add(&average, number_of(row, "gain_avg"));
        add(&best, number_of(row, "gain_best"));
    }
    if (!valid.n && !average.n) return;
    mla_buf_printf(out, "<tr%s><td>%s</td><td class=\"l\">%s</td><td>%d</td><td>%s</td><td>%s</td>"
                        "<td>%s</td><td>%s</td></tr>\n",
                   model ? "" : " class=\"first\"", split, models[model].title, average.n,
                   mla__fmt_share(mean_of(&valid)).text, mla__fmt_share(mean_of(&improved)).text,
                   mla__fmt_signed(mean_of(&average)).text, mla__fmt_signed(mean_of(&best)).text);
}

static void short_table(mla_buf *out, const json_t *rows) {
    mla_buf_puts(out, "<div class=\"wide\"><table>\n<tr><th>Tasks</th><th class=\"l\">Model</th>"
                      "<th>Number</th><th>Valid actions</th><th>Improving</th>"
                      "<th>Gain, average</th><th>Gain, best</th></tr>\n");
    for (size_t s = 0; s < MLA_COUNT(splits); s++) {
        for (size_t m = 0; m < MLA_COUNT(models); m++) short_row(out, rows, splits[s], m);
    }
    mla_buf_puts(out, "</table></div>\n");
}

// The rows in the order shown: by split, then task as they come, then model.
static size_t sort_rows(const json_t *rows, const json_t **sorted) {
    size_t n = 0, i, k;
    json_t *row, *other;
    for (size_t s = 0; s < MLA_COUNT(splits); s++) {
        json_array_foreach(rows, i, row) {
            bool seen = !is(row, "split", splits[s]);
            for (size_t j = 0; j < n && !seen; j++) {
                seen = is(sorted[j], "task", text_of(row, "task"));
            }
            if (seen) continue;
            for (size_t m = 0; m < MLA_COUNT(models); m++) {
                json_array_foreach(rows, k, other) {
                    if (is(other, "task", text_of(row, "task")) &&
                        is(other, "model", models[m].name)) sorted[n++] = other;
                }
            }
        }
    }
    return n;
}

static void gain_picture(mla_buf *out, const json_t *const *rows, size_t n) {
    mla__dot *dots = MLA_NEW_ARRAY(mla__dot, n);
    for (size_t i = 0; i < n; i++) {
        int colour = 0;
        while (!is(rows[i], "model", models[colour].name)) colour++;
        dots[i] = (mla__dot){.row = text_of(rows[i], "task"), .series = models[colour].title,
                             .colour = colour, .x = number_of(rows[i], "gain_avg"),
                             .error = number_of(rows[i], "gain_sem")};
    }
    mla__chart_dots(out, "Average gain on each task",
                    "gain: 0 is the starter script, 1 the reference; bars are \xC2\xB1 1 SEM", dots,
                    n);
    free(dots);
}

static void task_cell(mla_buf *out, const json_t *row, size_t span) {
    mla_buf_printf(out, "<td rowspan=\"%zu\">", span);
    mla__html_text(out, text_of(row, "task"));
    mla_buf_puts(out, "<small>");
    mla__html_text(out, text_of(row, "split"));
    mla_buf_puts(out, ", ");
    mla__html_text(out, text_of(row, "metric"));
    mla_buf_printf(out, " %s<br>%s to %s</small></td>",
                   mla_json_get_int(row, "direction", 1) > 0 ? "\xE2\x86\x91" : "\xE2\x86\x93",
                   mla__fmt_score(number_of(row, "score_init")).text,
                   mla__fmt_score(number_of(row, "score_best_reference")).text);
}

static void full_row(mla_buf *out, const json_t *row, bool leads) {
    const char *open = leads ? "<b>" : "", *close = leads ? "</b>" : "";
    mla_buf_puts(out, "<td class=\"l\">");
    mla__html_text(out, mla__model_title(text_of(row, "model")));
    mla_buf_printf(out, "</td><td>%lld</td><td>%lld</td><td>%s</td><td>%s</td>",
                   mla_json_get_int(row, "trajectories", 0), mla_json_get_int(row, "steps", 0),
                   mla__fmt_share(number_of(row, "valid_rate")).text,
                   mla__fmt_share(number_of(row, "improved_share")).text);
    mla_buf_printf(out, "<td>%s</td><td>%s</td><td>%s%s%s \xC2\xB1 %s</td><td>%s</td></tr>\n",
                   mla__fmt_score(number_of(row, "score_avg")).text,
                   mla__fmt_score(number_of(row, "score_best")).text, open,
                   mla__fmt_signed(number_of(row, "gain_avg")).text, close,
                   mla__fmt_tick(number_of(row, "gain_sem"), 0.001).text,
                   mla__fmt_signed(number_of(row, "gain_best")).text);
}

// The rows [0, span) of one task.
static void task_rows(mla_buf *out, const json_t *const *rows, size_t span) {
    double most = -INFINITY;
    for (size_t i = 0; i < span; i++) most = fmax(most, number_of(rows[i], "gain_avg"));
    for (size_t i = 0; i < span; i++) {
        mla_buf_puts(out, i ? "<tr>" : "<tr class=\"first\">");
        if (i == 0) task_cell(out, rows[i], span);
        full_row(out, rows[i], span > 1 && number_of(rows[i], "gain_avg") == most);
    }
}

static void full_table(mla_buf *out, const json_t *const *rows, size_t n) {
    mla_buf_puts(out, "<div class=\"wide\"><table>\n<tr><th>Task</th><th class=\"l\">Model</th>"
                      "<th>Traj.</th><th>Steps</th><th>Valid</th><th>Improving</th>"
                      "<th>Score, avg.</th><th>best</th><th>Gain, avg. \xC2\xB1 SEM</th>"
                      "<th>best</th></tr>\n");
    for (size_t i = 0, span; i < n; i += span) {
        for (span = 1; i + span < n; span++) {
            if (!is(rows[i + span], "task", text_of(rows[i], "task"))) break;
        }
        task_rows(out, rows + i, span);
    }
    mla_buf_puts(out, "</table></div>\n");
}

void mla__section_eval(mla_buf *out, const mla__folder *folder) {
    mla_buf_puts(out, "<h2 id=\"evaluation\">Evaluation</h2>\n");
    const json_t *rows = json_object_get(folder->table, "rows");
    if (!json_array_size(rows)) {
        mla__absent(out, "Evaluation", "eval/table.json");
        return;
    }
    mla_buf_puts(out, "<p>Scores are of the private half of the hidden rows, which no agent and no "
                      "reward ever saw. ");
    mla__html_text(out, mla_json_get_text(folder->table, "note", ""));
    mla_buf_puts(out, "</p>\n");
    const json_t **sorted = MLA_NEW_ARRAY(const json_t *, json_array_size(rows));
    size_t n = sort_rows(rows, sorted);
    short_table(out, rows);
    if (n) gain_picture(out, sorted, n);
    mla_buf_puts(out, "<h3>Every task</h3>\n");
    full_table(out, sorted, n);
    free(sorted);
}
