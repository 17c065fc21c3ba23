// `mlagent tasks list|show|prepare|new|check|noise|ideas|vary`.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/tasks.h"
#include "task/prepare.h"

static json_t *task_json(const mla_task *t, const char *home) {
    const mla_measured_pair m = mla_measured_read(t, home);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:b, s:f, s:f, s:f, s:f, s:f, s:i, s:s, s:o, "
                     "s:o}",
                     "name", t->name, "family", t->family, "description", t->description, "split",
                     t->held_out ? "held-out" : "train", "metric", mla_metric_name(t->metric),
                     "direction", t->direction, "prepared", t->data_version != NULL, "init_public",
                     t->init.public_half, "init_private", t->init.private_half, "best_public",
                     t->best.public_half, "best_private", t->best.private_half, "seconds",
                     t->limits.seconds, "memory_mb", t->limits.memory_mb, "licence",
                     t->source.licence ? t->source.licence : "", "starter_seconds",
                     mla_json_number(m.starter.seconds), "reference_seconds",
                     mla_json_number(m.reference.seconds));
}

static void print_head(void) {
    printf("%-18s %-9s %-15s %-7s %10s %10s %9s %7s  %s\n", "task", "split", "metric", "better",
           "starter", "reference", "starter s", "limit s", "prepared");
}

// Scores of the public half as measured here by `check`, else as task.yaml says.
static void print_row(const mla_task *t, const char *home) {
    const mla_measured_pair m = mla_measured_read(t, home);
    double init = m.starter.score.public_half, best = m.reference.score.public_half;
    char seconds[32] = "-";
    if (!isnan(m.starter.seconds)) snprintf(seconds, sizeof seconds, "%.1f", m.starter.seconds);
    printf("%-18s %-9s %-15s %-7s %10.6g %10.6g %9s %7.0f  %s\n", t->name,
           t->held_out ? "held-out" : "train", mla_metric_name(t->metric),
           t->direction > 0 ? "higher" : "lower", isnan(init) ? t->init.public_half : init,
           isnan(best) ? t->best.public_half : best, seconds, t->limits.seconds,
           t->data_version ? "yes" : "no");
}

static int list_root(const char *root, const char *home, json_t *all, mla_err *err) {
    char **names;
    size_t n;
    if (!mla_fs_is_dir(root)) return 0;
    if (mla_task_list(root, &names, &n, err) < 0) return -1;
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        char *dir = mla_fs_join(root, names[i]);
        mla_task *task = mla_task_load(dir, home, false, err);
        if (!task) rc = -1;
        else if (all) json_array_append_new(all, task_json(task, home));
        else print_row(task, home);
        mla_task_free(task);
        free(dir);
    }
    mla_fs_names_free(names, n);
    return rc;
}

// The tasks that come with the program, then the user's own.
static int list(const char *root, const mla_options *o, const char *home, mla_err *err) {
    json_t *all = o->json ? json_array() : NULL;
    if (!all) print_head();
    char *own = mla_options_own_tasks(o);
    int rc = list_root(root, home, all, err);
    if (rc == 0 && strcmp(own, root)) rc = list_root(own, home, all, err);
    if (all && rc == 0) {
        char *line = mla_json_line(all);
        puts(line);
        free(line);
    }
    json_decref(all);
    free(own);
    return rc;
}

static void print_task(const mla_task *t, const char *home) {
    print_head();
    print_row(t, home);
    printf("\n%s\n\nlicence: %s\nmirrors: %s\n", t->description, t->source.licence,
           t->source.mirrors);
    if (t->variant) {
        printf("variant: of %s, seed %s: %s\n", t->variant->of, t->variant->seed,
               t->variant->recipe);
    }
    for (size_t i = 0; i < t->source.package_count; i++) {
        const mla_package *p = &t->source.packages[i];
        printf("source:  %s package %s %s, %s\n", p->from, p->name, p->version, p->file);
    }
}

static int show(const mla_options *o, const char *home, mla_err *err) {
    char *dir = mla_options_task(o, o->rest[1], err);
    if (!dir) return -1;
    mla_task *task = mla_task_load(dir, home, false, err);
    free(dir);
    if (!task) return -1;
    if (o->json) {
        json_t *object = task_json(task, home);
        char *line = mla_json_line(object);
        puts(line);
        free(line);
        json_decref(object);
    } else {
        print_task(task, home);
    }
    mla_task_free(task);
    return 0;
}

static int prepare(const mla_options *o, const char *home, const char *python, char **names,
                   size_t n, mla_err *err) {
    for (size_t i = 0; i < n && !mla_stop_wanted(); i++) {
        char *dir = mla_options_task(o, names[i], err);
        if (!dir) return -1;
        double began = mla_clock();
        int made = mla_task_prepare_from(dir, o->from, home, python, err);
        free(dir);
        if (made < 0) return -1;
        printf("%s: %s", names[i], made ? "prepared" : "was prepared\n");
        if (made) printf(" in %.1f s\n", mla_clock() - began);
    }
    return 0;
}

static int prepare_all(const mla_options *o, const char *root, const char *home,
                       const char *python, mla_err *err) {
    char **names;
    size_t n;
    if (mla_task_list(root, &names, &n, err) < 0) return -1;
    int rc = prepare(o, home, python, names, n, err);
    mla_fs_names_free(names, n);
    return rc;
}

static int usage(void) {
    fputs("mlagent: usage: mlagent tasks list | show NAME | prepare [NAME...] |\n"
          "                            prepare NAME --from DIR|FILE.zip |\n"
          "                            new DIR|FILE.csv --target COLUMN --metric NAME |\n"
          "                            check [NAME...] | noise [NAME...] |\n"
          "                            ideas NAME [--run-all] |\n"
          "                            vary NAME... [--count N] [--fast] |\n"
          "                            vary --clear [NAME...]\n",
          stderr);
    return MLA_EXIT_USAGE;
}

// What the verb does: 0, above 0 where something was found, -1 on error, -2 for no such verb.
static int carry_out(const mla_options *o, const char *verb, const char *root, const char *home,
                     const char *python, mla_err *err) {
    if (strcmp(verb, "list") == 0 && o->n_rest <= 1) return list(root, o, home, err);
    if (strcmp(verb, "show") == 0 && o->n_rest == 2) return show(o, home, err);
    if (strcmp(verb, "prepare") == 0 && o->n_rest == 1 && !o->from) {
        return prepare_all(o, root, home, python, err);
    }
    if (strcmp(verb, "prepare") == 0 && (!o->from || o->n_rest == 2)) {
        return prepare(o, home, python, o->rest + 1, (size_t)o->n_rest - 1, err);
    }
    if (strcmp(verb, "new") == 0 && o->n_rest == 2 && o->target && o->metric) {
        return mla_task_make(o, err);
    }
    if (strcmp(verb, "check") == 0) return mla_tasks_check(o, err);
    if (strcmp(verb, "noise") == 0) return mla_tasks_noise(o, err);
    if (strcmp(verb, "vary") == 0 && (o->n_rest >= 2 || o->clear)) return mla_tasks_vary(o, err);
    if (strcmp(verb, "ideas") == 0 && o->n_rest == 2) return mla_tasks_ideas(o, err);
    return -2;
}

int mla_cmd_tasks(int argc, char **argv) {
    mla_options o;
    int bad = mla_options_parse(&o, argc, argv);
    if (bad) return bad < 0 ? MLA_EXIT_OK : bad;
    mla_err err = {0};
    char *root = mla_options_tasks(&o), *home = mla_options_home(&o);
    char *python = o.python ? mla_strdup(o.python) : mla_fs_join(home, "venv/bin/python");
    int rc = carry_out(&o, o.n_rest ? o.rest[0] : "list", root, home, python, &err);
    free(root);
    free(home);
    free(python);
    if (rc == -2) return usage();
    if (mla_stop_wanted()) return MLA_EXIT_STOPPED;
    if (rc < 0) return mla_fail(&err);
    return rc > 0 ? MLA_EXIT_ERROR : MLA_EXIT_OK;
}
