// Log lines, progress bars, the clock and the wish to stop.
#include "base/log.h"

#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static mla_log_level g_level = MLA_LOG_INFO;
static volatile sig_atomic_t g_stop;

void mla_log_set_level(mla_log_level level) {
    g_level = level;
}

bool mla_colour_wanted(FILE *stream) {
    const char *no = getenv("NO_COLOR");
    return isatty(fileno(stream)) && !(no && *no);
}

void mla_log(mla_log_level level, const char *fmt, ...) {
    static const char *const tag[] = {"error: ", "warning: ", "", ""};
    if (level > g_level) return;
    char line[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    bool terminal = isatty(STDERR_FILENO);
    fprintf(stderr, "%s%s%s\n", terminal ? "\r\033[K" : "", tag[level], line);
}

double mla_clock(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void on_signal(int sig) {
    if (g_stop) {
        signal(sig, SIG_DFL);
        raise(sig);
    }
    g_stop = 1;
}

void mla_stop_install(void) {
    struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
}

bool mla_stop_wanted(void) {
    return g_stop != 0;
}

static void format_seconds(char out[16], double s) {
    if (!isfinite(s) || s < 0 || s > 359999) {
        snprintf(out, 16, "--:--");
    } else if (s >= 3600) {
        snprintf(out, 16, "%d:%02d:%02d", (int)s / 3600, (int)s / 60 % 60, (int)s % 60);
    } else {
        snprintf(out, 16, "%d:%02d", (int)s / 60, (int)s % 60);
    }
}

static void format_rate(char out[24], double rate) {
    if (rate >= 0.1) snprintf(out, 24, "%.1f/s", rate);
    else if (rate > 0) snprintf(out, 24, "%.0f s each", 1 / rate);
    else snprintf(out, 24, "-/s");
}

// A line that wraps cannot be drawn over, so it ends at the terminal's edge.
static int columns(void) {
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

static void draw(const mla_progress *bar, const char *doing) {
    double elapsed = mla_clock() - bar->began_at;
    double rate = (bar->done - bar->done_before) / (elapsed > 1e-9 ? elapsed : 1e-9);
    double share = bar->total > 0 ? bar->done / bar->total : 0;
    char left[16], speed[24], cells[17], line[256];
    format_seconds(left, rate > 0 ? (bar->total - bar->done) / rate : INFINITY);
    format_rate(speed, rate);
    for (int i = 0; i < 16; i++) cells[i] = i < (int)(share * 16) ? '#' : '.';
    cells[16] = '\0';
    snprintf(line, sizeof line, "%-8s [%s] %.0f/%.0f %s  %s  left %s  %s", bar->stage, cells,
             floor(bar->done + 1e-6), bar->total, bar->unit, speed, left, doing);
    if (bar->terminal) fprintf(stderr, "\r\033[K%.*s", columns() - 1, line);
    else fprintf(stderr, "%s\n", line);
    fflush(stderr);
}

void mla_progress_begin(mla_progress *bar, const char *stage, const char *unit, double total,
                        double done_before) {
    *bar = (mla_progress){.stage = stage, .unit = unit, .total = total, .done = done_before,
                          .began_at = mla_clock(), .done_before = done_before,
                          .terminal = isatty(STDERR_FILENO)};
    if (g_level >= MLA_LOG_INFO) draw(bar, "starting");
    bar->drawn_at = mla_clock();
}

void mla_progress_set(mla_progress *bar, double done, const char *doing, ...) {
    bar->done = done;
    double now = mla_clock();
    if (g_level < MLA_LOG_INFO || now - bar->drawn_at < (bar->terminal ? 0.1 : 10.0)) return;
    char text[128];
    va_list args;
    va_start(args, doing);
    vsnprintf(text, sizeof text, doing, args);
    va_end(args);
    draw(bar, text);
    bar->drawn_at = now;
}

void mla_progress_end(mla_progress *bar) {
    if (g_level < MLA_LOG_INFO) return;
    char took[16];
    format_seconds(took, mla_clock() - bar->began_at);
    fprintf(stderr, "%s%-8s %.0f of %.0f %s in %s\n", bar->terminal ? "\r\033[K" : "", bar->stage,
            bar->done, bar->total, bar->unit, took);
}
