// The evaluation: how much each model gains on each task, as a picture, in short and in full.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "report/internal.h"

static const char *const splits[] = {"train", "held-out"};

// The models of a table, in its order.
typedef struct model_list {
    const char *names[MLA__CHART_COLOURS];
    size_t n;
} model_list;

const char *mla__model_title(const char *model) {
    if (!strcmp(model, "sft")) return "fine-tuned";
    return strcmp(model, "rl") ? model : "after RL";
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

static size_t place_of(const model_list *models, const char *name) {
    size_t i = 0;
    while (i < models->n && strcmp(models->names[i], name) != 0) i++;
    return i;
}

static model_list list_models(const json_t *rows) {
    model_list models = {.n = 0};
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row) {
        const char *name = text_of(row, "model");
        bool known = place_of(&models, name) < models.n;
        if (!known && models.n < MLA__CHART_COLOURS) models.names[models.n++] = name;
    }
    return models;
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
static void short_row(mla_buf *out, const json_t *rows, const char *split, const char *model,
                      bool first) {
    mean valid = {0}, improved = {0}, average = {0}, best = {0};
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row) {
        if (!is(row, "split", split) || !is(row, "model", model)) continue;
        add(&valid, number_of(row, "valid_rate"));
        add(&improved, number_of(row, "improved_share"));
        add(&average, number_of(row, "gain_avg"));
        add(&best, number_of(row, "gain_best"));
    }
    if (!valid.n && !average.n) return;
    mla_buf_printf(out, "<tr%s><td>%s</td><td class=\"l\">", first ? " class=\"first\"" : "",
                   split);
    mla__html_text(out, mla__model_title(model));
    mla_buf_printf(out, "</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%d</td></tr>\n",
                   mla__fmt_signed(mean_of(&average)).text, mla__fmt_signed(mean_of(&best)).text,
                   mla__fmt_share(mean_of(&improved)).text, mla__fmt_share(mean_of(&valid)).text,
                   average.n);
}

static void short_table(mla_buf *out, const json_t *rows, const model_list *models) {
    mla_buf_puts(out, "<div class=\"wide\"><table>\n<tr><th>Tasks</th><th class=\"l\">Model</th>"
                      "<th>Gain, average</th><th>best</th><th>Improving steps</th>"
                      "<th>Valid steps</th><th>Number of tasks</th></tr>\n");
    for (size_t s = 0; s < MLA_COUNT(splits); s++) {
        for (size_t m = 0; m < models->n; m++) {
            short_row(out, rows, splits[s], models->names[m], m == 0);
        }
    }
    mla_buf_puts(out, "</table></div>\n");
}

// The rows of a task in the order of the models.
static size_t append_task(const json_t *rows, const char *task, const model_list *models,
                          const json_t **sorted, size_t n) {
    size_t i;
    json_t *row;
    for (size_t m = 0; m < models->n; m++) {
        json_array_foreach(rows, i, row) {
            if (is(row, "task", task) && is(row, "model", models->names[m])) sorted[n++] = row;
        }
    }
    return n;
}

// The rows in the order shown: by split, then task as they come, then model.
static size_t sort_rows(const json_t *rows, const model_list *models, const json_t **sorted) {
    size_t n = 0, i;
    json_t *row;
    for (size_t s = 0; s < MLA_COUNT(splits); s++) {
        json_array_foreach(rows, i, row) {
            bool seen = !is(row, "split", splits[s]);
            for (size_t j = 0; j < n && !seen; j++) {
                seen = is(sorted[j], "task", text_of(row, "task"));
            }
            if (!seen) n = append_task(rows, text_of(row, "task"), models, sorted, n);
        }
    }
    return n;
}

static void gain_picture(mla_buf *out, const model_list *models, const json_t *const *rows,
                         size_t n) {
    mla__dot *dots = MLA_NEW_ARRAY(mla__dot, n);
    for (size_t i = 0; i < n; i++) {
        const char *model = text_of(rows[i], "model");
        dots[i] = (mla__dot){.row = text_of(rows[i], "task"), .series = mla__model_title(model),
                             .colour = (int)place_of(models, model),
                             .x = number_of(rows[i], "gain_avg"),
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
    mla_buf_printf(out, "</td><td>%s%s%s \xC2\xB1 %s</td><td>%s</td><td>%s</td><td>%s</td>", open,
                   mla__fmt_signed(number_of(row, "gain_avg")).text, close,
                   mla__fmt_tick(number_of(row, "gain_sem"), 0.001).text,
                   mla__fmt_signed(number_of(row, "gain_best")).text,
                   mla__fmt_score(number_of(row, "score_avg")).text,
                   mla__fmt_score(number_of(row, "score_best")).text);
    mla_buf_printf(out, "<td>%s</td><td>%s</td><td>%lld</td><td>%lld</td></tr>\n",
                   mla__fmt_share(number_of(row, "improved_share")).text,
                   mla__fmt_share(number_of(row, "valid_rate")).text,
                   mla_json_get_int(row, "steps", 0), mla_json_get_int(row, "trajectories", 0));
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
                      "<th>Gain, avg. \xC2\xB1 SEM</th><th>best</th><th>Score, avg.</th>"
                      "<th>best</th><th>Improving</th><th>Valid</th><th>Steps</th>"
                      "<th>Trajectories</th></tr>\n");
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
    model_list models = list_models(rows);
    size_t n = sort_rows(rows, &models, sorted);
    short_table(out, rows, &models);
    if (n) gain_picture(out, &models, sorted, n);
    mla_buf_puts(out, "<h3>Every task</h3>\n");
    full_table(out, sorted, n);
    free(sorted);
}
