// `mlagent solve` on the screen: a line a step for people, or an object a line for programs; on a
// terminal a bar below. Leaves out all of the work.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/solve.h"
#include "cli/terminal.h"
#include "env/action.h"

#define THOUGHT_COLUMNS 68

static const char *metric_of(const mla_solve *solve) {
    return mla_metric_name(solve->session.task->metric);
}

static void print_json(json_t *take) {
    char *line = mla_json_line(take);
    puts(line);
    fflush(stdout);
    free(line);
    json_decref(take);
}

// Makes room for a line; the bar is drawn again with the next word about it.
static void clear_bar(mla_solve *solve) {
    fflush(stdout);
    if (solve->has_bar) fputs("\r\033[K", stderr);
    solve->bar.drawn_at = 0;
}

void mla_solve_show_start(mla_solve *solve) {
    const mla_options *o = solve->options;
    const mla_task *task = solve->session.task;
    if (o->json) {
        print_json(json_pack("{s:s, s:s, s:s, s:i, s:o, s:s, s:s, s:i, s:i, s:i}", "event", "start",
                             "task", task->name, "metric", metric_of(solve), "direction",
                             task->direction, "starter", mla_json_number(task->init.public_half),
                             "model", o->model, "output", solve->dir, "trajectories",
                             o->trajectories, "steps", o->steps, "done",
                             (int)solve->steps));
    } else {
        printf("%s: %s, %s is better; the starting script has %.5g (public half)\n", task->name,
               metric_of(solve), task->direction > 0 ? "higher" : "lower", task->init.public_half);
        printf("%s; attempts: %d of at most %d steps, %d side by side; into %s\n", o->model,
               o->trajectories, o->steps, o->at_once, solve->dir);
        if (solve->steps) {
            printf("going on after %zu steps; best so far %.5g\n", solve->steps,
                   solve->best.score);
        }
        puts("Ctrl-C stops; the same command goes on.\n");
        printf("%3s %5s %-20s %-14s %-18s %8s %5s\n", "try", "step", "action", "outcome", "score",
               "best", "s");
        fflush(stdout);
    }
    if (solve->has_bar) {
        mla_progress_begin(&solve->bar, "solve", "steps", (double)o->trajectories * o->steps,
                           (double)solve->steps);
    }
}

void mla_solve_show_wait(mla_solve *solve) {
    if (!solve->has_bar) return;
    solve->bar.drawn_at = 0;
    mla_progress_set(&solve->bar, (double)solve->steps, "best %.5g; the model is writing",
                     solve->best.score);
}

// The thought of a reply, on one line, fit for a terminal; NULL: it has none. Caller frees.
static char *thought_of(const mla_step *step) {
    mla_action action;
    mla_err ignored;
    if (!step->text) return NULL;
    if (mla_action_parse(&action, step->text, MLA_ACTIONS_ALL, &ignored) < 0) return NULL;
    char *thought = action.thought;
    action.thought = NULL;
    mla_action_clear(&action);
    for (char *p = thought; p && *p; p++)
        if (*p == '\n' || *p == '\t') *p = ' ';
    char *shown = thought ? mla_terminal_text(thought) : NULL;
    free(thought);
    return shown;
}

static void step_json(const mla_solve *solve, const mla_step *step, int number, bool better) {
    char *thought = thought_of(step);
    json_t *o = json_pack("{s:s, s:i, s:i, s:s, s:s, s:s?, s:b, s:b, s:b, s:i}", "event", "step",
                          "attempt", number + 1, "step", step->index + 1, "action",
                          mla_action_name(step->kind), "outcome", mla_outcome_name(step->outcome),
                          "error", step->error_type, "improved", better, "final", step->final,
                          "cached", step->cost.cached, "tokens", step->cost.action_tokens);
    MLA_ASSERT(o);
    const struct {
        const char *name;
        double value;
    } numbers[] = {{"score_before", step->reward.score_before}, {"score", step->reward.score_after},
                   {"best", solve->best.score}, {"reward", step->reward.reward},
                   {"generate_seconds", step->cost.generate_seconds},
                   {"run_seconds", step->cost.run_seconds}};
    for (size_t i = 0; i < MLA_COUNT(numbers); i++) {
        json_object_set_new(o, numbers[i].name, mla_json_number(numbers[i].value));
    }
    json_object_set_new(o, "flags", mla_flag_to_json(step->flags));
    json_object_set_new(o, "thought",
                        thought ? mla_json_text(thought, strlen(thought)) : json_null());
    print_json(o);
    free(thought);
}

// "0.64 -> 0.76 *", or what went wrong.
static void score_column(char out[64], const mla_step *step, bool better) {
    const mla_reward_parts *r = &step->reward;
    if (isfinite(r->score_after) && isfinite(r->score_before)) {
        snprintf(out, 64, "%.5g -> %.5g%s", r->score_before, r->score_after, better ? " *" : "");
    } else if (isfinite(r->score_after)) {
        snprintf(out, 64, "%.5g%s", r->score_after, better ? " *" : "");
    } else {
        char *shown = mla_terminal_text(step->error_type ? step->error_type : "");
        snprintf(out, 64, "%.18s", shown);
        free(shown);
    }
}

static const char *colour_of(const mla_step *step, bool better) {
    mla_outcome_class class_of = mla_outcome_class_of(step->outcome);
    if (!mla_colour_wanted(stdout)) return "";
    return better ? "\033[32m" : class_of == MLA_CLASS_DONE ? "" : "\033[31m";
}

static void step_line(mla_solve *solve, const mla_step *step, int number, bool better) {
    char score[64], place[16];
    const char *colour = colour_of(step, better);
    score_column(score, step, better);
    snprintf(place, sizeof place, "%d/%d", step->index + 1, solve->options->steps);
    clear_bar(solve);
    printf("%s%3d %5s %-20s %-14s %-18s %8.5g %5.1f%s\n", colour, number + 1, place,
           mla_action_name(step->kind), mla_outcome_name(step->outcome), score, solve->best.score,
           step->cost.generate_seconds + (step->cost.cached ? 0 : step->cost.run_seconds),
           *colour ? "\033[0m" : "");
    char *thought = thought_of(step);
    if (thought && *thought) {
        size_t n = strlen(thought), shown = n > THOUGHT_COLUMNS ? THOUGHT_COLUMNS - 3 : n;
        while (shown < n && shown && ((unsigned char)thought[shown] & 0xC0) == 0x80) shown--;
        printf("          %.*s%s\n", (int)shown, thought, shown < n ? "..." : "");
    }
    free(thought);
    fflush(stdout);
}

void mla_solve_show_step(mla_solve *solve, const mla_step *step, int number, bool better) {
    if (solve->options->json) step_json(solve, step, number, better);
    else step_line(solve, step, number, better);
    if (solve->has_bar) {
        mla_progress_set(&solve->bar, (double)solve->steps, "best %.5g", solve->best.score);
    }
}

static const char *why_ended(const mla_solve *solve, bool stopped) {
    return solve->out_of_time ? "time is up" : stopped ? "stopped" : "done";
}

static void end_json(const mla_solve *solve, bool stopped) {
    const mla_task *task = solve->session.task;
    const mla_best *b = &solve->best;
    print_json(json_pack("{s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:o, s:s}", "event",
                         "end", "why", why_ended(solve, stopped), "improved", b->found, "starter",
                         mla_json_number(task->init.public_half), "best", mla_json_number(b->score),
                         "starter_private", mla_json_number(task->init.private_half),
                         "best_private", mla_json_number(b->score_private), "attempt",
                         b->found ? json_integer(b->number + 1) : json_null(), "step",
                         b->found ? json_integer(b->index + 1) : json_null(), "steps",
                         (int)solve->steps, "seconds",
                         mla_json_number(mla_clock() - solve->began_at), "output", solve->dir));
}

static void end_lines(const mla_solve *solve, bool stopped) {
    const mla_task *task = solve->session.task;
    const mla_best *b = &solve->best;
    printf("\n%s after %zu steps, %zu of them edits that ran (%.0f s now)\n",
           why_ended(solve, stopped), solve->steps, solve->edits_run,
           mla_clock() - solve->began_at);
    if (b->found) {
        printf("best: %s %.5g -> %.5g (public half), attempt %d step %d\n", metric_of(solve),
               task->init.public_half, b->score, b->number + 1, b->index + 1);
        printf("      %.5g -> %.5g on the private half, by which nothing was chosen\n",
               task->init.private_half, b->score_private);
    } else {
        printf("nothing beat the starting script (%s %.5g): best.py is that script\n",
               metric_of(solve), task->init.public_half);
    }
    printf("%s: best.py, best.diff, steps.jsonl, report.html\n", solve->dir);
    if (stopped && !solve->out_of_time) puts("the same command goes on");
}

void mla_solve_show_end(mla_solve *solve, bool stopped) {
    if (solve->has_bar) mla_progress_end(&solve->bar);
    if (solve->options->json) end_json(solve, stopped);
    else end_lines(solve, stopped);
    fflush(stdout);
}
