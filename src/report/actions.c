// Models compared action by action, on the fixed states of an evaluation.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "report/internal.h"

static double number_of(const json_t *row, const char *key) {
    return mla_json_get_number(row, key, NAN);
}

static bool of_a_split(const json_t *row) {
    return !mla_json_get_text(row, "task", NULL);
}

static void numbers(mla_buf *out, const json_t *row) {
    mla_buf_printf(out, "<td>%s</td><td>%s</td><td>%s</td><td>%s \xC2\xB1 %s</td><td>%s</td>",
                   mla__fmt_share(number_of(row, "valid_rate")).text,
                   mla__fmt_share(number_of(row, "edit_share")).text,
                   mla__fmt_share(number_of(row, "improved_share")).text,
                   mla__fmt_score(number_of(row, "reward_mean")).text,
                   mla__fmt_tick(number_of(row, "reward_sem"), 0.001).text,
                   mla__fmt_signed(number_of(row, "gain_mean")).text);
    mla_buf_printf(out, "<td>%s</td><td>%s</td>",
                   mla__fmt_share(number_of(row, "distinct_share")).text,
                   mla__fmt_score(number_of(row, "entropy")).text);
}

static void ideas_cell(mla_buf *out, const json_t *row) {
    long long ideas = mla_json_get_int(row, "ideas", 0);
    if (!ideas) mla_buf_puts(out, "<td></td>");
    else mla_buf_printf(out, "<td>%lld of %lld</td>", mla_json_get_int(row, "ideas_covered", 0),
                        ideas);
}

static void one_row(mla_buf *out, const json_t *row, const char *what) {
    mla_buf_puts(out, "<tr><td>");
    mla__html_text(out, what);
    mla_buf_puts(out, "</td><td class=\"l\">");
    mla__html_text(out, mla__model_title(mla_json_get_text(row, "model", "")));
    mla_buf_puts(out, "</td>");
    numbers(out, row);
    if (!of_a_split(row)) ideas_cell(out, row);
    mla_buf_printf(out, "<td>%lld</td><td>%lld</td></tr>\n", mla_json_get_int(row, "states", 0),
                   mla_json_get_int(row, "actions", 0));
}

static void table_of(mla_buf *out, const json_t *rows, bool splits) {
    mla_buf_printf(out, "<div class=\"wide\"><table>\n<tr><th>%s</th><th class=\"l\">Model</th>"
                        "<th>Valid</th><th>Edits</th><th>Improving</th><th>Reward \xC2\xB1 SEM</th>"
                        "<th>Gain</th><th>Different</th><th>Entropy</th>%s<th>States</th>"
                        "<th>Actions</th></tr>\n", splits ? "Tasks" : "Task",
                   splits ? "" : "<th>Ideas covered</th>");
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row) {
        if (of_a_split(row) != splits) continue;
        one_row(out, row, mla_json_get_text(row, splits ? "split" : "task", ""));
    }
    mla_buf_puts(out, "</table></div>\n");
}

void mla__section_actions(mla_buf *out, const mla__folder *folder) {
    const json_t *rows = json_object_get(folder->actions, "rows");
    if (!json_array_size(rows)) return;
    mla_buf_puts(out, "<h2 id=\"actions\">Action by action</h2>\n<p>Every model acts from the same "
                      "fixed states, several times from each. Different: the share of a state's "
                      "actions that are not repeated. Entropy: nats a token.</p>\n");
    table_of(out, rows, true);
    mla_buf_puts(out, "<h3>Every task</h3>\n");
    table_of(out, rows, false);
}
