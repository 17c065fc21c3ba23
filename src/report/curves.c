// Fine-tuning and reinforcement learning over time, from the lines of their metrics.jsonl.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "report/internal.h"

// A key of every line as numbers; NaN where a line has none. Caller frees.
static double *column(const json_t *lines, const char *key) {
    size_t n = json_array_size(lines);
    double *values = MLA_NEW_ARRAY(double, n);
    for (size_t i = 0; i < n; i++) {
        values[i] = mla_json_get_number(json_array_get(lines, i), key, NAN);
    }
    return values;
}

static double *column_in(const json_t *lines, const char *group, const char *key) {
    size_t n = json_array_size(lines);
    double *values = MLA_NEW_ARRAY(double, n);
    for (size_t i = 0; i < n; i++) {
        const json_t *object = json_object_get(json_array_get(lines, i), group);
        values[i] = mla_json_get_number(object, key, 0);
    }
    return values;
}

static double sum_of(const double *values, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += isfinite(values[i]) ? values[i] : 0;
    return sum;
}

static double sum_column(const json_t *lines, const char *key) {
    double *values = column(lines, key);
    double sum = sum_of(values, json_array_size(lines));
    free(values);
    return sum;
}

typedef struct curve {
    const char *key, *name;
} curve;

// A chart of up to four columns over the column `x_key`.
static void draw(mla_buf *out, const json_t *lines, const char *x_key, mla__chart chart,
                 const curve *curves, size_t n_curves) {
    mla__series series[4];
    double *values[4], *x = column(lines, x_key);
    MLA_ASSERT(n_curves <= MLA_COUNT(series));
    for (size_t i = 0; i < n_curves; i++) {
        values[i] = column(lines, curves[i].key);
        series[i] = (mla__series){.name = curves[i].name, .y = values[i]};
    }
    chart.x = x;
    chart.n = json_array_size(lines);
    chart.series = series;
    chart.n_series = n_curves;
    mla__chart_lines(out, &chart);
    for (size_t i = 0; i < n_curves; i++) free(values[i]);
    free(x);
}

static void reward_chart(mla_buf *out, const json_t *lines) {
    size_t n = json_array_size(lines);
    double *x = column(lines, "iteration"), *mean = column(lines, "reward_mean");
    double *std = column(lines, "reward_std");
    double *low = MLA_NEW_ARRAY(double, n), *high = MLA_NEW_ARRAY(double, n);
    for (size_t i = 0; i < n; i++) {
        low[i] = fmax(0, mean[i] - std[i]);
        high[i] = fmin(1, mean[i] + std[i]);
        if (isnan(std[i]) || isnan(mean[i])) low[i] = high[i] = NAN;
    }
    mla__series series = {.name = "mean, \xC2\xB1 1 standard deviation", .y = mean, .low = low,
                          .high = high};
    mla__chart chart = {.title = "Reward", .x_label = "iteration", .y_label = "reward", .x = x,
                        .n = n, .series = &series, .n_series = 1, .y_min = 0, .y_max = 1};
    mla__chart_lines(out, &chart);
    free(x), free(mean), free(std), free(low), free(high);
}

static void rl_lines(mla_buf *out, const json_t *lines) {
    static const curve shares[] = {{"improved_share", "improving (gain > 0)"},
                                   {"valid_share", "valid"}};
    static const curve policy[] = {{"entropy", "entropy"}, {"kl", "KL to the fine-tuned model"}};
    static const curve gap[] = {{"logprob_gap_max", "largest"}, {"logprob_gap_mean", "mean"}};
    reward_chart(out, lines);
    draw(out, lines, "iteration",
         (mla__chart){.title = "Actions that are valid, and that improve", .x_label = "iteration",
                      .y_label = "share of actions", .y_min = 0, .y_max = 1}, shares, 2);
    draw(out, lines, "iteration",
         (mla__chart){.title = "Entropy and distance from the start", .x_label = "iteration",
                      .y_label = "nats per token", .y_min = 0, .y_max = NAN}, policy, 2);
    draw(out, lines, "iteration",
         (mla__chart){.title = "Log-probability gap between sampling and training",
                      .x_label = "iteration", .y_label = "nats", .y_min = 0, .y_max = NAN}, gap, 2);
}

static void bars_of(mla_buf *out, const json_t *lines, mla__bars bars, const mla__layer *all,
                    size_t n_all) {
    mla__layer *seen = MLA_NEW_ARRAY(mla__layer, n_all);
    double *x = column(lines, "iteration");
    bars.n = json_array_size(lines);
    bars.x = x;
    bars.x_label = "iteration";
    bars.layers = seen;
    // Layers that never occur would only fill the legend.
    for (size_t k = 0; k < n_all; k++) {
        if (sum_of(all[k].y, bars.n) > 0) seen[bars.n_layers++] = all[k];
    }
    mla__chart_bars(out, &bars);
    free(x);
    free(seen);
}

static void action_bars(mla_buf *out, const json_t *lines) {
    mla__layer layers[MLA_ACTION_COUNT + 1];
    for (int k = 0; k <= MLA_ACTION_COUNT; k++) {
        mla_action_kind kind = k < MLA_ACTION_COUNT ? (mla_action_kind)k : MLA_ACTION_NONE;
        const char *name = mla_action_name(kind);
        layers[k] = (mla__layer){.name = kind == MLA_ACTION_NONE ? "unreadable" : name,
                                 .y = column_in(lines, "actions", name)};
    }
    bars_of(out, lines, (mla__bars){.title = "What the policy does", .y_label = "share of actions",
                                    .shares = true}, layers, MLA_COUNT(layers));
    for (size_t k = 0; k < MLA_COUNT(layers); k++) free((void *)layers[k].y);
}

static void outcome_bars(mla_buf *out, const json_t *lines) {
    mla__layer layers[MLA_OUTCOME_COUNT];
    for (int k = 0; k < MLA_OUTCOME_COUNT; k++) {
        const char *name = mla_outcome_name((mla_outcome)k);
        layers[k] = (mla__layer){.name = name, .y = column_in(lines, "outcomes", name)};
    }
    bars_of(out, lines, (mla__bars){.title = "What becomes of it", .y_label = "share of actions",
                                    .shares = true}, layers, MLA_COUNT(layers));
    for (size_t k = 0; k < MLA_COUNT(layers); k++) free((void *)layers[k].y);
}

static void time_bars(mla_buf *out, const json_t *lines) {
    size_t n = json_array_size(lines);
    double *generate = column(lines, "generate_seconds"), *wait = column(lines, "wait_seconds");
    double *update = column(lines, "update_seconds"), *rest = column(lines, "seconds");
    for (size_t i = 0; i < n; i++) rest[i] = fmax(0, rest[i] - generate[i] - wait[i] - update[i]);
    mla__layer layers[] = {{"sampling", generate}, {"waiting for scripts", wait},
                           {"update", update}, {"rest", rest}};
    bars_of(out, lines, (mla__bars){.title = "Where the time goes",
                                    .y_label = "seconds per iteration"}, layers, 4);
    free(generate), free(wait), free(update), free(rest);
}

void mla__section_rl(mla_buf *out, const mla__folder *folder) {
    const json_t *lines = folder->rl;
    mla_buf_puts(out, "<h2 id=\"rl\">Reinforcement learning</h2>\n");
    if (!json_array_size(lines)) {
        mla__absent(out, "Reinforcement learning", "rl/metrics.jsonl");
        return;
    }
    double seconds = sum_column(lines, "seconds"), execute = sum_column(lines, "execute_seconds");
    double wait = sum_column(lines, "wait_seconds");
    mla_buf_printf(out, "<p>%zu iterations in %s. Scripts ran for %s in all, several at once and "
                        "beside the sampling; %s was spent waiting for them. A reward of 0.5 means "
                        "a valid action that changes nothing.</p>\n",
                   json_array_size(lines), mla__fmt_seconds(seconds).text,
                   mla__fmt_seconds(execute).text, mla__fmt_seconds(wait).text);
    mla_buf_puts(out, "<div class=\"charts\">\n");
    rl_lines(out, lines);
    action_bars(out, lines);
    outcome_bars(out, lines);
    time_bars(out, lines);
    mla_buf_puts(out, "</div>\n");
}

// Runs of before there was such a measure, or without it, have no chart.
static void accuracy_chart(mla_buf *out, const json_t *lines) {
    static const curve accuracy[] = {{"action_accuracy", "valid actions"}};
    double *values = column(lines, accuracy[0].key);
    size_t measured = 0;
    for (size_t i = 0; i < json_array_size(lines); i++) measured += isfinite(values[i]) != 0;
    free(values);
    if (!measured) return;
    draw(out, lines, "step",
         (mla__chart){.title = "Actions in held-back states", .x_label = "step",
                      .y_label = "share that is valid", .y_min = 0, .y_max = 1}, accuracy, 1);
}

void mla__section_sft(mla_buf *out, const mla__folder *folder) {
    static const curve loss[] = {{"loss", "training"}, {"val_loss", "validation"}};
    static const curve speed[] = {{"tokens_per_second", "tokens through the network"}};
    const json_t *lines = folder->sft;
    size_t n = json_array_size(lines);
    mla_buf_puts(out, "<h2 id=\"sft\">Fine-tuning</h2>\n");
    if (!n) {
        mla__absent(out, "Fine-tuning", "sft/metrics.jsonl");
        return;
    }
    double seen = mla_json_get_number(json_array_get(lines, n - 1), "seen_tokens", NAN);
    mla_buf_printf(out, "<p>%zu steps in %s; %s tokens went through the network, %s of them with a "
                        "loss (the expert's actions).</p>\n", n,
                   mla__fmt_seconds(sum_column(lines, "seconds")).text,
                   mla__fmt_count(seen).text, mla__fmt_count(sum_column(lines, "tokens")).text);
    mla_buf_puts(out, "<div class=\"charts\">\n");
    draw(out, lines, "step",
         (mla__chart){.title = "Loss on action tokens", .x_label = "step",
                      .y_label = "nats per token", .y_min = 0, .y_max = NAN}, loss, 2);
    accuracy_chart(out, lines);
    draw(out, lines, "step",
         (mla__chart){.title = "Speed", .x_label = "step", .y_label = "tokens per second",
                      .y_min = 0, .y_max = NAN}, speed, 1);
    mla_buf_puts(out, "</div>\n");
}
