// What the expert thinks, in words: a few wordings of each sentence, chosen by seed, short enough
// for a small model to learn. It leaves out what the expert does: expert.c.
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "collect/internal.h"

#define SCORE_TEXT 32          // bytes of a score as text

// What stands for {key} in a template.
typedef struct {
    char key;
    const char *value;
} slot;

static const char *value_of(const slot *slots, char key) {
    for (; slots->key; slots++) {
        if (slots->key == key) return slots->value;
    }
    MLA_ASSERT(!"every key of a template has a slot");
    return "";
}

static void say(mla_buf *out, const char *template, const slot *slots) {
    if (out->len) mla_buf_puts(out, " ");
    for (const char *p = template; *p; p++) {
        if (p[0] == '{' && p[2] == '}') {
            mla_buf_puts(out, value_of(slots, p[1]));
            p += 2;
        } else {
            mla_buf_append(out, p, 1);
        }
    }
}

static void say_one(mla_buf *out, mla_rng *rng, const char *const *templates, size_t n,
                    const slot *slots) {
    say(out, templates[mla_rng_below(rng, n)], slots);
}

#define SAY(out, rng, slots, ...)                                                  \
    do {                                                                           \
        static const char *const wordings[] = {__VA_ARGS__};                       \
        say_one(out, rng, wordings, MLA_COUNT(wordings), slots);                   \
    } while (0)

static const slot no_slots[] = {{0, NULL}};

// As the prompt shows scores, so that a number in an answer is a copy of one that was read.
static void score_text(char text[SCORE_TEXT], double score) {
    snprintf(text, SCORE_TEXT, "%.6g", score);
}

static size_t count_words(const char *text) {
    size_t n = 0;
    for (bool in = false; *text; text++) {
        bool letter = !isspace((unsigned char)*text);
        n += letter && !in;
        in = letter;
    }
    return n;
}

void mla__say_look(mla_buf *out, mla_rng *rng, mla_action_kind kind, const mla_task *task) {
    const slot slots[] = {{'s', task->script}, {'m', mla_metric_name(task->metric)}, {0, NULL}};
    if (kind == MLA_ACTION_LIST_FILES) {
        SAY(out, rng, slots, "I first look at which files are there.",
            "Before I change anything I want to see the files.",
            "Let me list the files to know what data there is.");
    } else if (kind == MLA_ACTION_INSPECT_LINES) {
        SAY(out, rng, slots, "I read {s} before I change it.",
            "Let me look at the lines of {s} first.",
            "I want to see how {s} makes its features and its model.");
    } else {
        SAY(out, rng, slots, "I run {s} as it is, to know the {m} to beat.",
            "First the baseline: what {m} does {s} reach unchanged?",
            "Let me run {s} once to have a score to compare with.");
    }
}

// No numbers here: the feedback has them, and a small model that has to write them learns little
// else.
void mla__say_kept(mla_buf *out, mla_rng *rng, const mla_task *task, const mla__result *result) {
    const slot slots[] = {{'m', mla_metric_name(task->metric)},
                          {'v', result->after > result->before ? "rose" : "fell"}, {0, NULL}};
    if (result->verdict == MLA__SAME) {
        SAY(out, rng, slots, "No change.", "The {m} is the same.", "It does no harm.");
    } else {
        SAY(out, rng, slots, "That helped.", "Better, it stays.", "Good, the {m} {v}.");
    }
}

void mla__say_given_up(mla_buf *out, mla_rng *rng, bool gone) {
    if (!gone) {
        SAY(out, rng, no_slots, "That gave no score, so I try something else.");
        return;
    }
    SAY(out, rng, no_slots, "The lines I searched for are no longer there; I try something else.",
        "That edit does not fit the script as it is now, so another idea.",
        "The edit did not apply. I leave it and go on.");
}

static void say_undo_failed(mla_buf *out, mla_rng *rng, const mla__result *result,
                            const slot *slots) {
    if (result->verdict == MLA__BROKE) {
        SAY(out, rng, slots, "The run failed ({e}), so I undo the edit.",
            "{e}: the edit does not work here. I take it back.",
            "That broke the script ({e}). Undo.");
    } else if (result->outcome == MLA_OUTCOME_OUT_OF_MEMORY) {
        SAY(out, rng, slots, "The run needed too much memory, so I undo the edit.",
            "Too much memory for this machine. Undo.");
    } else {
        SAY(out, rng, slots, "The run took too long, so I undo the edit.",
            "Too slow for the time limit. Undo.");
    }
}

// An exception by its type; a reason in many words by what it comes to.
static const char *error_name(const mla__result *result) {
    bool is_type = result->error && *result->error && !strchr(result->error, ' ');
    return is_type ? result->error : mla_outcome_name(result->outcome);
}

void mla__say_undo(mla_buf *out, mla_rng *rng, const mla_task *task, const mla__result *result) {
    const slot slots[] = {{'m', mla_metric_name(task->metric)},
                          {'v', result->after > result->before ? "rose" : "fell"},
                          {'e', error_name(result)}, {0, NULL}};
    if (result->verdict != MLA__HURT) {
        say_undo_failed(out, rng, result, slots);
        return;
    }
    SAY(out, rng, slots, "The {m} {v}, which is worse. I undo the edit.",
        "Worse. I take the edit back.", "That hurt, so I undo it.");
}

void mla__say_undo_more(mla_buf *out, mla_rng *rng) {
    SAY(out, rng, no_slots, "The edit before belongs to the same idea; I undo it too.",
        "One more undo, to get rid of the whole idea.");
}

void mla__say_repair(mla_buf *out, mla_rng *rng, const char *wrong, const char *right,
                     const mla__result *result) {
    const slot slots[] = {{'w', wrong}, {'r', right}, {'e', error_name(result)}, {0, NULL}};
    SAY(out, rng, slots, "The run failed with {e}: I wrote {w} and meant {r}. I correct the name.",
        "{e}, because {w} is misspelt. It must be {r}.",
        "A slip: {w} should be {r}. I fix that line.");
}

// A sentence with a full stop, its first letter small if it may be.
static char *sentence(const char *text, bool small) {
    size_t n = strlen(text);
    while (n && (isspace((unsigned char)text[n - 1]) || text[n - 1] == '.')) n--;
    char *s = mla_format("%.*s.", (int)n, text);
    if (small && isupper((unsigned char)s[0]) && !isupper((unsigned char)s[1])) {
        s[0] = (char)tolower((unsigned char)s[0]);
    }
    for (char *p = s; *p; p++) {
        if (*p == '\n' || *p == '\t') *p = ' ';
    }
    return s;
}

// At most `words` words of a text; one that is cut ends with dots.
static void say_cut(mla_buf *out, const char *text, size_t words) {
    size_t n = 0;
    const char *p = text;
    while (*p && n < words) {
        p += strspn(p, " ");
        p += strcspn(p, " ");
        n++;
    }
    if (out->len) mla_buf_puts(out, " ");
    mla_buf_append(out, text, (size_t)(p - text));
    if (*p) mla_buf_puts(out, "...");
}

void mla__say_idea(mla_buf *out, mla_rng *rng, const mla_idea *idea) {
    size_t said = count_words(mla_buf_text(out));
    size_t room = said < MLA__THOUGHT_WORDS ? MLA__THOUGHT_WORDS - said : 1;
    char *text = sentence(idea->text, false), *small = sentence(idea->text, true);
    char *why = sentence(idea->why, false);
    const slot slots[] = {{'t', text}, {'s', small}, {'w', why}, {0, NULL}};
    mla_buf whole;
    mla_buf_init(&whole, 4096);
    if (count_words(text) + count_words(why) + 3 <= room) {
        SAY(&whole, rng, slots, "{t} {w}", "{w} So I {s}", "Next: {s} {w}", "I will {s} {w}",
            "{w} Let me {s}");
    } else {
        SAY(&whole, rng, slots, "{t}", "Next: {s}", "I will {s}", "Now I {s}");
    }
    say_cut(out, mla_buf_text(&whole), room);
    mla_buf_clear(&whole);
    free(text);
    free(small);
    free(why);
}

void mla__say_final(mla_buf *out, mla_rng *rng, bool tired) {
    if (tired) {
        SAY(out, rng, no_slots, "There are no steps left for another idea, so I stop here.",
            "The steps are used up; I report the best result.");
    } else {
        SAY(out, rng, no_slots, "My ideas are tried. I stop and report the best result.",
            "I am done with what I wanted to try; time for the final answer.",
            "Nothing more to try here, so I finish.");
    }
}

void mla__say_answer(mla_buf *out, const mla_task *task, double best) {
    double start = task->init.public_half;
    char from[SCORE_TEXT], to[SCORE_TEXT];
    score_text(from, start);
    score_text(to, best);
    const slot slots[] = {{'m', mla_metric_name(task->metric)}, {'f', from}, {'t', to},
                          {'v', best > start ? "up" : "down"}, {0, NULL}};
    say(out, task->direction * (best - start) > 0
                 ? "The best {m} reached is {t}, {v} from {f}."
                 : "The best {m} is still {f}, that of the starter script.", slots);
}
