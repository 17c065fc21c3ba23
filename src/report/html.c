// Text for a page: escaping of what others wrote, and numbers as people read them.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/internal.h"

static const char *escape_of(unsigned char c) {
    switch (c) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '"': return "&quot;";
    case '\'': return "&#39;";
    case '\n': case '\t': return NULL;
    default: return c < 0x20 || c == 0x7F ? "\xEF\xBF\xBD" : NULL;
    }
}

void mla__html_bytes(mla_buf *out, const char *bytes, size_t len) {
    size_t n, from = 0;
    char *text = mla_utf8_repair(bytes, len, &n);
    for (size_t i = 0; i < n; i++) {
        const char *escape = escape_of((unsigned char)text[i]);
        if (!escape) continue;
        mla_buf_append(out, text + from, i - from);
        mla_buf_puts(out, escape);
        from = i + 1;
    }
    mla_buf_append(out, text + from, n - from);
    free(text);
}

void mla__html_text(mla_buf *out, const char *text) {
    if (text) mla__html_bytes(out, text, strlen(text));
}

static const mla__number dash = {"\xE2\x80\x93"};

// A hyphen for a minus sits too low beside digits.
static mla__number with_minus(const char *text) {
    mla__number n;
    snprintf(n.text, sizeof n.text, "%s%.40s", *text == '-' ? "\xE2\x88\x92" : "",
             text + (*text == '-'));
    return n;
}

mla__number mla__fmt_score(double value) {
    char text[40];
    if (!isfinite(value)) return dash;
    bool plain = value == 0 || (fabs(value) >= 0.001 && fabs(value) < 1000);
    snprintf(text, sizeof text, plain ? "%#.4g" : fabs(value) < 1e7 ? "%.6g" : "%.3g", value);
    return with_minus(text);
}

mla__number mla__fmt_signed(double value) {
    char text[40];
    if (!isfinite(value)) return dash;
    snprintf(text, sizeof text, fabs(value) < 0.0005 ? "0.000" : "%+.3f", value);
    return with_minus(text);
}

mla__number mla__fmt_share(double value) {
    char text[40];
    if (!isfinite(value)) return dash;
    snprintf(text, sizeof text, "%.0f\xC2\xA0%%", value * 100);
    return with_minus(text);
}

mla__number mla__fmt_seconds(double value) {
    mla__number n;
    if (!isfinite(value) || value < 0 || value > 1e9) return dash;
    long s = lround(value);
    if (value < 10) snprintf(n.text, sizeof n.text, "%.2g\xC2\xA0s", value);
    else if (s < 60) snprintf(n.text, sizeof n.text, "%ld\xC2\xA0s", s);
    else if (s < 3600) snprintf(n.text, sizeof n.text, "%ld\xC2\xA0min %02ld\xC2\xA0s", s / 60,
                                s % 60);
    else snprintf(n.text, sizeof n.text, "%ld\xC2\xA0h %02ld\xC2\xA0min", s / 3600, s / 60 % 60);
    return n;
}

mla__number mla__fmt_count(double value) {
    char digits[24];
    mla__number n;
    size_t at = 0;
    if (!isfinite(value) || fabs(value) > 1e15) return dash;
    int len = snprintf(digits, sizeof digits, "%.0f", fabs(value));
    for (int i = 0; i < len; i++) {
        const char *gap = i && (len - i) % 3 == 0 ? "\xE2\x80\xAF" : "";     // a narrow space
        at += (size_t)snprintf(n.text + at, sizeof n.text - at, "%s%c", gap, digits[i]);
    }
    return n;
}

mla__number mla__fmt_tick(double value, double step) {
    if (!isfinite(value)) return dash;
    char text[40];
    int decimals = step >= 1 ? 0 : (int)ceil(-log10(step) - 1e-9);
    if (fabs(value) < step * 1e-6) value = 0;
    if (decimals > 4 || fabs(value) >= 1e7) snprintf(text, sizeof text, "%.3g", value);
    else snprintf(text, sizeof text, "%.*f", decimals, value);
    return with_minus(text);
}

void mla__absent(mla_buf *out, const char *what, const char *file) {
    mla_buf_printf(out, "<p class=\"absent\">%s: nothing yet (no %s).</p>\n", what, file);
}
