// What the files of the report share: the run folder in memory, escaping, charts, and the sections.
#ifndef MLA_REPORT_INTERNAL_H
#define MLA_REPORT_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "record/step.h"

// ---- the run folder (folder.c) ------------------------------------------------------------------

typedef struct mla__expert_task {  // what the expert did on one task
    char *task;
    int trajectories, steps, valid, edits, improved;
    double best_gain;              // of one edit; NaN when none ran
} mla__expert_task;

typedef struct mla__folder {
    char *name;                    // the folder's last component
    char *config;                  // config.yaml as text, or NULL
    json_t *stages, *ideas, *table, *actions;    // NULL where the file is absent
    json_t *sft, *rl;              // arrays of the lines of metrics.jsonl; empty when absent
    mla__expert_task *expert;
    size_t n_expert, cap_expert;
    mla_steps best;                // from rl/steps.jsonl: the best edit of each task, best first
    mla_steps shown;               // the trajectory to read
    const char *shown_from;        // "rl", "sft" or "expert"; NULL when there is none
} mla__folder;

MLA_MUST_USE int mla__report_read(mla__folder *out, const char *run_dir, mla_err *err);
void mla__folder_clear(mla__folder *folder);

// ---- text (html.c) ------------------------------------------------------------------------------

// Everything that is not ours goes through here: invalid UTF-8 and control characters become
// U+FFFD, the five characters that mean something to HTML are escaped. NULL writes nothing.
void mla__html_text(mla_buf *out, const char *text);
void mla__html_bytes(mla_buf *out, const char *bytes, size_t len);

typedef struct mla__number {
    char text[48];
} mla__number;

mla__number mla__fmt_score(double value);              // 4 significant digits; NaN is a dash
mla__number mla__fmt_signed(double value);             // +0.123
mla__number mla__fmt_share(double value);              // 0.456 is 46 %
mla__number mla__fmt_seconds(double value);            // 3.2 s, 4 min 05 s, 2 h 07 min
mla__number mla__fmt_count(double value);              // 1 234 567
mla__number mla__fmt_tick(double value, double step);  // as many decimals as the step needs

// ---- charts: inline SVG (svg.c, bars.c, dots.c) -------------------------------------------------

typedef struct mla__series {
    const char *name;
    const double *y;               // [n]; NaN was not measured
    const double *low, *high;      // [n], a band around it; NULL: none
} mla__series;

typedef struct mla__chart {
    const char *title, *x_label, *y_label;
    const double *x;               // [n]
    size_t n;
    const mla__series *series;
    size_t n_series;
    double y_min, y_max;           // NaN: from the data
} mla__chart;

void mla__chart_lines(mla_buf *out, const mla__chart *chart);

typedef struct mla__layer {
    const char *name;
    const double *y;               // [n]
} mla__layer;

typedef struct mla__bars {
    const char *title, *x_label, *y_label;
    const double *x;               // [n], ascending; neighbours are joined when there are many
    size_t n;
    const mla__layer *layers;      // bottom first
    size_t n_layers;
    bool shares;                   // of each bar's total; else the mean of the joined ones
} mla__bars;

void mla__chart_bars(mla_buf *out, const mla__bars *bars);

typedef struct mla__dot {
    const char *row, *series;      // equal rows must be neighbours
    int colour;
    double x, error;               // error NaN: none
} mla__dot;

void mla__chart_dots(mla_buf *out, const char *title, const char *x_label, const mla__dot *dots,
                     size_t n);

// Parts that the charts share: a scale from data to pixels, and the frame round a drawing.
typedef struct mla__scale {
    double from, to, step;         // data, widened to whole steps
    double at, length;             // pixels; a negative length points up
} mla__scale;

mla__scale mla__scale_make(double from, double to, double at, double length, bool widen);
double mla__scale_map(const mla__scale *scale, double value);
void mla__figure_open(mla_buf *out, const char *title, const char *const *names, size_t n);
void mla__figure_svg(mla_buf *out, int width, int height, const char *title);
void mla__figure_close(mla_buf *out);
void mla__axis_x(mla_buf *out, const mla__scale *scale, int y, int width, const char *label);
void mla__axis_y(mla_buf *out, const mla__scale *scale, int x0, int x1, const char *label);

#define MLA__CHART_WIDTH 460
#define MLA__CHART_HEIGHT 250
#define MLA__CHART_LEFT 46
#define MLA__CHART_RIGHT 12
#define MLA__CHART_TOP 26
#define MLA__CHART_BOTTOM 38
#define MLA__CHART_COLOURS 10      // classes c0 .. c9 of the style

// ---- sections -----------------------------------------------------------------------------------

extern const char mla__style[];

void mla__section_summary(mla_buf *out, const mla__folder *folder);      // summary.c
void mla__section_eval(mla_buf *out, const mla__folder *folder);         // evaluation.c
void mla__section_actions(mla_buf *out, const mla__folder *folder);      // actions.c
void mla__section_rl(mla_buf *out, const mla__folder *folder);           // curves.c
void mla__section_sft(mla_buf *out, const mla__folder *folder);          // curves.c
void mla__section_expert(mla_buf *out, const mla__folder *folder);       // summary.c
void mla__section_ideas(mla_buf *out, const mla__folder *folder);        // ideas.c
void mla__section_trajectory(mla_buf *out, const mla__folder *folder);   // trajectory.c
void mla__section_edits(mla_buf *out, const mla__folder *folder);        // trajectory.c
void mla__absent(mla_buf *out, const char *what, const char *file);      // html.c
const char *mla__model_title(const char *model);                        // evaluation.c

#endif
