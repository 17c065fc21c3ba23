// Stacked bars over iterations. With many iterations neighbours are joined into one bar, so that a
// bar stays wide enough to see.
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "report/internal.h"

#define MOST_BARS 50

// The height of a layer in the bar that joins [from, to).
static double height_of(const mla__bars *bars, size_t layer, size_t from, size_t to) {
    double sum = 0, total = 0;
    for (size_t i = from; i < to; i++) {
        for (size_t k = 0; k < bars->n_layers; k++) {
            double y = bars->layers[k].y[i];
            if (!(y > 0)) continue;
            total += y;
            if (k == layer) sum += y;
        }
    }
    if (bars->shares) return total > 0 ? sum / total : 0;
    return sum / (double)(to - from);
}

static double tallest(const mla__bars *bars, size_t join) {
    double most = 0;
    for (size_t from = 0; from < bars->n; from += join) {
        size_t to = from + join < bars->n ? from + join : bars->n;
        double sum = 0;
        for (size_t k = 0; k < bars->n_layers; k++) sum += height_of(bars, k, from, to);
        most = fmax(most, sum);
    }
    return most;
}

static void draw_bar(mla_buf *out, const mla__bars *bars, size_t from, size_t to,
                     const mla__scale *sx, const mla__scale *sy) {
    double left = mla__scale_map(sx, (double)from), right = mla__scale_map(sx, (double)to);
    double gap = fmin(2, (right - left) * 0.15), base = 0;
    for (size_t k = 0; k < bars->n_layers; k++) {
        double height = height_of(bars, k, from, to);
        double y0 = mla__scale_map(sy, base), y1 = mla__scale_map(sy, base + height);
        base += height;
        if (y0 - y1 < 0.05) continue;
        mla_buf_printf(out, "<rect class=\"c%zu\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                            "height=\"%.1f\"><title>", k % MLA__CHART_COLOURS, left, y1,
                       right - left - gap, y0 - y1);
        mla__html_text(out, bars->layers[k].name);
        mla_buf_printf(out, ": %s</title></rect>\n", bars->shares ? mla__fmt_share(height).text
                                                                 : mla__fmt_score(height).text);
    }
}

// Bars stand at 0 .. n - 1; the axis names them by their x.
static void name_bars(mla_buf *out, const mla__bars *bars, size_t join, const mla__scale *sx) {
    int y = MLA__CHART_HEIGHT - MLA__CHART_BOTTOM;
    size_t n_bars = (bars->n + join - 1) / join, every = (n_bars + 7) / 8;
    for (size_t b = 0; b < n_bars; b += every) {
        size_t at = b * join, to = at + join < bars->n ? at + join : bars->n;
        double x = (mla__scale_map(sx, (double)at) + mla__scale_map(sx, (double)to)) / 2;
        mla_buf_printf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", x,
                       y + 16, mla__fmt_tick(bars->x[at], 1).text);
    }
    mla_buf_printf(out, "<text class=\"label\" x=\"%d\" y=\"%d\" text-anchor=\"end\">",
                   MLA__CHART_WIDTH - MLA__CHART_RIGHT, y + 32);
    mla__html_text(out, bars->x_label);
    if (join > 1) mla_buf_printf(out, ", %zu to a bar", join);
    mla_buf_puts(out, "</text>\n");
}

void mla__chart_bars(mla_buf *out, const mla__bars *bars) {
    const char **names = MLA_NEW_ARRAY(const char *, bars->n_layers);
    for (size_t k = 0; k < bars->n_layers; k++) names[k] = bars->layers[k].name;
    size_t join = (bars->n + MOST_BARS - 1) / MOST_BARS;
    int bottom = MLA__CHART_HEIGHT - MLA__CHART_BOTTOM;
    mla__scale sx = {.to = (double)bars->n, .at = MLA__CHART_LEFT,
                     .length = MLA__CHART_WIDTH - MLA__CHART_LEFT - MLA__CHART_RIGHT};
    mla__scale sy = mla__scale_make(0, bars->shares ? 1 : tallest(bars, join), bottom,
                                    MLA__CHART_TOP - bottom, true);
    mla__figure_open(out, bars->title, names, bars->n_layers);
    mla__figure_svg(out, MLA__CHART_WIDTH, MLA__CHART_HEIGHT, bars->title);
    mla__axis_y(out, &sy, MLA__CHART_LEFT, MLA__CHART_WIDTH - MLA__CHART_RIGHT, bars->y_label);
    for (size_t from = 0; from < bars->n; from += join) {
        draw_bar(out, bars, from, from + join < bars->n ? from + join : bars->n, &sx, &sy);
    }
    name_bars(out, bars, join, &sx);
    mla__figure_close(out);
    free(names);
}
