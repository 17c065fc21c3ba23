// A dot plot: one line a row (a task), one dot with its error bar a series (a model).
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "report/internal.h"

#define WIDTH 640
#define LEFT 140
#define RIGHT 20
#define TOP 8
#define DOT_HEIGHT 13
#define ROW_GAP 12
#define FOOT 40

static bool starts_row(const mla__dot *dots, size_t i) {
    return i == 0 || strcmp(dots[i - 1].row, dots[i].row) != 0;
}

static mla__scale range_of(const mla__dot *dots, size_t n) {
    double from = 0, to = 0;        // no gain is always in the picture
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(dots[i].x)) continue;
        double error = isfinite(dots[i].error) ? dots[i].error : 0;
        from = fmin(from, dots[i].x - error);
        to = fmax(to, dots[i].x + error);
    }
    return mla__scale_make(from, to, LEFT, WIDTH - LEFT - RIGHT, true);
}

static void draw_dot(mla_buf *out, const mla__dot *dot, const mla__scale *scale, double y) {
    if (!isfinite(dot->x)) return;
    int colour = dot->colour % MLA__CHART_COLOURS;
    double x = mla__scale_map(scale, dot->x);
    if (isfinite(dot->error)) {
        mla_buf_printf(out, "<path class=\"line c%d\" d=\"M%.1f %.1fL%.1f %.1f\"/>", colour,
                       mla__scale_map(scale, dot->x - dot->error), y,
                       mla__scale_map(scale, dot->x + dot->error), y);
    }
    mla_buf_printf(out, "<circle class=\"c%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"><title>", colour, x,
                   y);
    mla__html_text(out, dot->row);
    mla_buf_puts(out, ", ");
    mla__html_text(out, dot->series);
    mla_buf_printf(out, ": %s</title></circle>\n", mla__fmt_signed(dot->x).text);
}

// Row names on the left, dots in their lanes; returns the y below the last row.
static double draw_rows(mla_buf *out, const mla__dot *dots, size_t n, const mla__scale *scale) {
    double y = TOP;
    for (size_t i = 0; i < n; i++) {
        if (starts_row(dots, i)) {
            size_t lanes = 1;
            while (i + lanes < n && !starts_row(dots, i + lanes)) lanes++;
            y += i ? ROW_GAP : 0;
            mla_buf_printf(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", LEFT - 12,
                           y + (double)lanes * DOT_HEIGHT / 2 + 4);
            mla__html_text(out, dots[i].row);
            mla_buf_puts(out, "</text>\n");
        }
        draw_dot(out, &dots[i], scale, y + DOT_HEIGHT / 2.0);
        y += DOT_HEIGHT;
    }
    return y;
}

static int height_of(const mla__dot *dots, size_t n) {
    int height = TOP + FOOT;
    for (size_t i = 0; i < n; i++) height += DOT_HEIGHT + (i && starts_row(dots, i) ? ROW_GAP : 0);
    return height;
}

static size_t name_series(const mla__dot *dots, size_t n, const char **names) {
    size_t most = 0;
    for (size_t i = 0; i < MLA__CHART_COLOURS; i++) names[i] = "";
    for (size_t i = 0; i < n; i++) {
        size_t colour = (size_t)dots[i].colour % MLA__CHART_COLOURS;
        names[colour] = dots[i].series;
        if (colour + 1 > most) most = colour + 1;
    }
    return most;
}

void mla__chart_dots(mla_buf *out, const char *title, const char *x_label, const mla__dot *dots,
                     size_t n) {
    const char *names[MLA__CHART_COLOURS];
    size_t n_names = name_series(dots, n, names);
    mla__scale scale = range_of(dots, n);
    int height = height_of(dots, n);
    double zero = mla__scale_map(&scale, 0);
    mla__figure_open(out, title, names, n_names);
    mla_buf_puts(out, "<div class=\"wide\">");
    mla__figure_svg(out, WIDTH, height, title);
    mla_buf_printf(out, "<line class=\"zero\" x1=\"%.1f\" y1=\"0\" x2=\"%.1f\" y2=\"%d\"/>\n", zero,
                   zero, height - FOOT + 4);
    draw_rows(out, dots, n, &scale);
    mla__axis_x(out, &scale, height - FOOT + 4, WIDTH - RIGHT, x_label);
    mla_buf_puts(out, "</svg></div></figure>\n");
}
