// Log lines and progress bars on standard error; standard output belongs to results.
#ifndef MLA_BASE_LOG_H
#define MLA_BASE_LOG_H

#include <stdbool.h>
#include <stdio.h>

typedef enum { MLA_LOG_ERROR, MLA_LOG_WARN, MLA_LOG_INFO, MLA_LOG_DEBUG } mla_log_level;

void mla_log_set_level(mla_log_level level);            // the program's only global setting
void mla_log(mla_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define mla_info(...) mla_log(MLA_LOG_INFO, __VA_ARGS__)
#define mla_warn(...) mla_log(MLA_LOG_WARN, __VA_ARGS__)
#define mla_debug(...) mla_log(MLA_LOG_DEBUG, __VA_ARGS__)

bool mla_colour_wanted(FILE *stream);                   // a terminal, and NO_COLOR is not set
double mla_clock(void);                                 // monotonic seconds

// Ctrl-C: the first SIGINT or SIGTERM sets a flag that long loops look at between units of work,
// so that a run stops cleanly and resumes; the second kills the program at once.
void mla_stop_install(void);
bool mla_stop_wanted(void);

// A progress bar: redrawn in place on a terminal, a plain line every ten seconds elsewhere.
typedef struct mla_progress {
    const char *stage;      // borrowed
    const char *unit;       // what is counted, plural
    double total, done, began_at, drawn_at;
    double done_before;     // units a former run had done: not part of the rate
    bool terminal;
} mla_progress;

void mla_progress_begin(mla_progress *bar, const char *stage, const char *unit, double total,
                        double done_before);
// `doing`: what it does now, in a few words.
void mla_progress_set(mla_progress *bar, double done, const char *doing, ...)
    __attribute__((format(printf, 3, 4)));
void mla_progress_end(mla_progress *bar);               // leaves one summary line

#endif
