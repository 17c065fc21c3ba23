// Line charts and the parts all charts share: scales, axes, frames. Inline SVG whose colours come
// from the page's style. It leaves out interaction: a chart must read the same on paper.
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "report/internal.h"

#define SHOWN_POINTS 40     // up to so many points a line shows them as dots

// The round step (1, 2 or 5 times a power of ten) that cuts a range into about `parts`.
static double round_step(double range, int parts) {
    double raw = range / parts, power = pow(10, floor(log10(raw)));
    double lead = raw / power;
    return (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10) * power;
}

mla__scale mla__scale_make(double from, double to, double at, double length, bool widen) {
    if (!isfinite(from) || !isfinite(to)) from = 0, to = 1;
    if (!(to - from > 1e-12 * (fabs(to) + fabs(from)))) {       // one value: room on either side
        double room = from == 0 ? 1 : fabs(from) * 0.1;
        from -= room, to += room;
    }
    double step = round_step(to - from, fabs(length) < 240 ? 4 : 6);
    if (widen) {
        from = floor(from / step + 1e-9) * step;
        to = ceil(to / step - 1e-9) * step;
    }
    return (mla__scale){.from = from, .to = to, .step = step, .at = at, .length = length};
}

double mla__scale_map(const mla__scale *scale, double value) {
    return scale->at + (value - scale->from) / (scale->to - scale->from) * scale->length;
}

void mla__figure_open(mla_buf *out, const char *title, const char *const *names, size_t n) {
    mla_buf_puts(out, "<figure><figcaption>");
    mla__html_text(out, title);
    mla_buf_puts(out, "</figcaption>\n<p class=\"legend\">");
    for (size_t i = 0; i < n; i++) {
        mla_buf_printf(out, "<span><i class=\"c%zu\"></i>", i % MLA__CHART_COLOURS);
        mla__html_text(out, names[i]);
        mla_buf_puts(out, "</span> ");
    }
    mla_buf_puts(out, "</p>\n");
}

void mla__figure_svg(mla_buf *out, int width, int height, const char *title) {
    mla_buf_printf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", width, height);
    mla__html_text(out, title);
    mla_buf_puts(out, "\">\n");
}

void mla__figure_close(mla_buf *out) {
    mla_buf_puts(out, "</svg></figure>\n");
}

void mla__axis_x(mla_buf *out, const mla__scale *scale, int y, int width, const char *label) {
    for (double v = ceil(scale->from / scale->step - 1e-9) * scale->step;
         v <= scale->to + scale->step * 1e-9; v += scale->step) {
        double x = mla__scale_map(scale, v);
        mla_buf_printf(out, "<line class=\"tick\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>"
                            "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
                       x, y, x, y + 4, x, y + 16, mla__fmt_tick(v, scale->step).text);
    }
    mla_buf_printf(out, "<text class=\"label\" x=\"%d\" y=\"%d\" text-anchor=\"end\">", width,
                   y + 32);
    mla__html_text(out, label);
    mla_buf_puts(out, "</text>\n");
}

void mla__axis_y(mla_buf *out, const mla__scale *scale, int x0, int x1, const char *label) {
    for (double v = ceil(scale->from / scale->step - 1e-9) * scale->step;
         v <= scale->to + scale->step * 1e-9; v += scale->step) {
        double y = mla__scale_map(scale, v);
        mla_buf_printf(out, "<line class=\"grid\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>"
                            "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
                       x0, y, x1, y, x0 - 6, y + 4, mla__fmt_tick(v, scale->step).text);
    }
    mla_buf_puts(out, "<text class=\"label\" x=\"0\" y=\"11\">");
    mla__html_text(out, label);
    mla_buf_puts(out, "</text>\n");
}

static void widen_range(const double *values, size_t n, double *from, double *to) {
    for (size_t i = 0; values && i < n; i++) {
        if (!isfinite(values[i])) continue;
        *from = fmin(*from, values[i]);
        *to = fmax(*to, values[i]);
    }
}

static mla__scale y_scale(const mla__chart *chart) {
    double from = INFINITY, to = -INFINITY;
    for (size_t i = 0; i < chart->n_series; i++) {
        widen_range(chart->series[i].y, chart->n, &from, &to);
        widen_range(chart->series[i].low, chart->n, &from, &to);
        widen_range(chart->series[i].high, chart->n, &from, &to);
    }
    if (isfinite(chart->y_min)) from = chart->y_min;
    if (isfinite(chart->y_max)) to = chart->y_max;
    int bottom = MLA__CHART_HEIGHT - MLA__CHART_BOTTOM;
    return mla__scale_make(from, to, bottom, MLA__CHART_TOP - bottom, true);
}

static mla__scale x_scale(const mla__chart *chart) {
    double from = INFINITY, to = -INFINITY;
    widen_range(chart->x, chart->n, &from, &to);
    return mla__scale_make(from, to, MLA__CHART_LEFT,
                           MLA__CHART_WIDTH - MLA__CHART_LEFT - MLA__CHART_RIGHT, false);
}

static void draw_band(mla_buf *out, const mla__chart *chart, const mla__series *series,
                      const mla__scale *sx, const mla__scale *sy, size_t colour) {
    size_t points = 0;
    mla_buf_printf(out, "<path class=\"band c%zu\" d=\"", colour);
    for (size_t k = 0; k < 2 * chart->n; k++) {
        bool back = k >= chart->n;
        size_t i = back ? 2 * chart->n - 1 - k : k;
        double y = back ? series->low[i] : series->high[i];
        if (!isfinite(series->low[i]) || !isfinite(series->high[i])) continue;
        mla_buf_printf(out, "%c%.1f %.1f", points++ ? 'L' : 'M', mla__scale_map(sx, chart->x[i]),
                       mla__scale_map(sy, y));
    }
    mla_buf_puts(out, points ? "Z\"/>\n" : "\"/>\n");
}

static void draw_line(mla_buf *out, const mla__chart *chart, const mla__series *series,
                      const mla__scale *sx, const mla__scale *sy, size_t colour, bool dots) {
    bool down = false;
    mla_buf_printf(out, "<path class=\"line c%zu\" d=\"", colour);
    for (size_t i = 0; i < chart->n; i++) {
        if (!isfinite(series->y[i])) continue;
        mla_buf_printf(out, "%c%.1f %.1f", down ? 'L' : 'M', mla__scale_map(sx, chart->x[i]),
                       mla__scale_map(sy, series->y[i]));
        down = true;
    }
    mla_buf_puts(out, "\"/>\n");
    for (size_t i = 0; dots && i < chart->n; i++) {
        if (!isfinite(series->y[i])) continue;
        mla_buf_printf(out, "<circle class=\"c%zu\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.2\"/>\n", colour,
                       mla__scale_map(sx, chart->x[i]), mla__scale_map(sy, series->y[i]));
    }
}

static size_t known(const mla__series *series, size_t n) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) count += isfinite(series->y[i]);
    return count;
}

void mla__chart_lines(mla_buf *out, const mla__chart *chart) {
    const char *names[MLA__CHART_COLOURS];
    MLA_ASSERT(chart->n_series <= MLA__CHART_COLOURS);
    for (size_t i = 0; i < chart->n_series; i++) names[i] = chart->series[i].name;
    mla__scale sx = x_scale(chart), sy = y_scale(chart);
    mla__figure_open(out, chart->title, names, chart->n_series);
    mla__figure_svg(out, MLA__CHART_WIDTH, MLA__CHART_HEIGHT, chart->title);
    mla__axis_y(out, &sy, MLA__CHART_LEFT, MLA__CHART_WIDTH - MLA__CHART_RIGHT, chart->y_label);
    mla__axis_x(out, &sx, MLA__CHART_HEIGHT - MLA__CHART_BOTTOM,
                MLA__CHART_WIDTH - MLA__CHART_RIGHT, chart->x_label);
    for (size_t i = 0; i < chart->n_series; i++) {
        if (chart->series[i].low) draw_band(out, chart, &chart->series[i], &sx, &sy, i);
    }
    for (size_t i = 0; i < chart->n_series; i++) {
        const mla__series *s = &chart->series[i];
        draw_line(out, chart, s, &sx, &sy, i, known(s, chart->n) <= SHOWN_POINTS);
    }
    mla__figure_close(out);
}
