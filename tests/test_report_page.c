// The report of a run folder that the record room wrote: whole, well-formed, and safe to open. With
// KEEP_REPORT=<folder> the run folder is made there and stays, to be looked at.
#include <ctype.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/rng.h"
#include "record/run.h"
#include "record/store.h"
#include "report/report.h"

#define HOSTILE "<script>alert('x')</script> & \"quoted\" \xFF\xC3( \x1B[31mred"

static const char *const tasks[] = {"abalone-rings", "bike-rentals", "heart-disease",
                                    "wine-quality"};
static const char *const models[] = {"untrained", "sft", "rl"};

static const char *const edit_text =
    "Thought: A forest of shallow trees underfits here. Boosting with a small\n"
    "learning rate should follow the curve of the target better.\n"
    "Action: Edit Script\n"
    "Action Input: {\"script_name\": \"train.py\"}\n"
    "<<<<<<< SEARCH\n"
    "model = RandomForestRegressor(n_estimators=20, max_depth=3)\n"
    "=======\n"
    "model = HistGradientBoostingRegressor(\n"
    "    learning_rate=0.05, max_iter=300 if 1 < 2 else 0)\n"
    ">>>>>>> REPLACE\n";

static void fill_step(mla_step *step, const char *task, const char *trajectory, int index) {
    mla_step_init(step);
    step->task = mla_strdup(task);
    step->trajectory = mla_strdup(trajectory);
    step->actor = mla_strdup("policy");
    step->index = index;
    memset(step->state.commit, 'a', MLA_OID_HEX - 1);
    memset(step->state_after.commit, 'b', MLA_OID_HEX - 1);
    step->kind = MLA_ACTION_EDIT_SCRIPT;
    step->outcome = MLA_OUTCOME_OK;
    step->text = mla_strdup(edit_text);
    step->cost.run_seconds = 1.7;
}

static void judge(mla_step *step, double before, double after, double way) {
    double gain = (before - after) / way;      // an error metric
    step->reward = (mla_reward_parts){1 / (1 + exp(-4 * gain)), gain, before, after};
}

// Five steps: look, an edit that fails, one that helps, one that breaks the script, the answer.
static void append_trajectory(mla_lines *lines, const char *task, const char *name, double reach) {
    mla_err err = {0};
    for (int i = 0; i < 5; i++) {
        mla_step s;
        fill_step(&s, task, name, i);
        s.reward.reward = 0.5;
        if (i == 0 || i == 4) {
            s.kind = i ? MLA_ACTION_FINAL_ANSWER : MLA_ACTION_INSPECT_LINES;
            free(s.text);
            s.text = mla_strdup(i ? "Thought: The score is better.\nAction: Final Answer\n"
                                    "Action Input: {\"final_answer\": \"done\"}"
                                  : "Thought: Look first.\nAction: Inspect Script Lines\n");
            s.feedback = mla_strdup(i ? "The work is ended." : "1  import pandas as pd\n2  x < y");
            s.final = i == 4;
        } else if (i == 2) {
            judge(&s, 2.0, 2.0 - reach, 0.5);
            s.flags = MLA_FLAG_COPIED_SAMPLE | MLA_FLAG_FAKE_SCORES;
            s.feedback = mla_strdup("The script ran. Score: better than before.");
        } else {
            s.outcome = i == 1 ? MLA_OUTCOME_EDIT_FAILED : MLA_OUTCOME_SCRIPT_ERROR;
            s.error_type = mla_strdup(i == 1 ? "absent" : "ValueError");
            s.reward.reward = 0;
            s.feedback = mla_strdup(HOSTILE);
        }
        assert_int_equal(mla_store_append(lines, &s, &err), 0);
        mla_step_clear(&s);
    }
}

static mla_lines *open_lines(const mla_run *run, const char *relative) {
    mla_err err = {0};
    char *path = mla_run_path(run, relative);
    mla_lines *lines = mla_lines_open(path, &err);
    assert_non_null(lines);
    free(path);
    return lines;
}

static void write_json(const mla_run *run, const char *relative, json_t *value) {
    mla_err err = {0};
    char *path = mla_run_path(run, relative);
    assert_non_null(value);
    assert_int_equal(mla_json_write_file(path, value, &err), 0);
    json_decref(value);
    free(path);
}

static void write_steps(const mla_run *run) {
    static const char *const files[] = {"expert/steps.jsonl", "eval/sft/steps.jsonl",
                                        "eval/rl/steps.jsonl"};
    for (size_t f = 0; f < MLA_COUNT(files); f++) {
        mla_lines *lines = open_lines(run, files[f]);
        for (int t = 0; t < 8; t++) {
            char name[64];
            snprintf(name, sizeof name, "%s-%d", f ? "eval" : "expert", t);
            append_trajectory(lines, tasks[t / 2], name, 0.04 * t);
        }
        mla_lines_close(lines);
    }
    mla_lines *lines = open_lines(run, "rl/steps.jsonl");
    mla_err err = {0};
    for (int i = 0; i < 12; i++) {
        mla_step s;
        char name[64];
        snprintf(name, sizeof name, "rl-%d-0-%d", i, i % 3);
        fill_step(&s, i == 5 ? HOSTILE : tasks[i % 3], name, i % 4);
        judge(&s, 2.0, 2.1 - 0.03 * i, 0.5);
        s.feedback = mla_strdup("ok");
        assert_int_equal(mla_store_append(lines, &s, &err), 0);
        mla_step_clear(&s);
    }
    mla_lines_close(lines);
}

static void write_sft_metrics(const mla_run *run) {
    mla_lines *lines = open_lines(run, "sft/metrics.jsonl");
    mla_err err = {0};
    mla_rng rng;
    mla_rng_init(&rng, 1);
    for (int i = 1; i <= 120; i++) {
        double loss = 0.15 + 1.4 * exp(-i / 25.0) + 0.04 * mla_rng_normal(&rng);
        json_t *val = i % 20 ? json_null() : json_real(loss + 0.05);
        json_t *valid = i % 20 ? json_null() : json_real(1 - loss / 2);
        json_t *o = json_pack("{s:i,s:f,s:o,s:o,s:i,s:i,s:f,s:f,s:f,s:f}", "step", i, "loss", loss,
                              "val_loss", val, "action_accuracy", valid, "tokens", 480,
                              "seen_tokens", i * 4200,
                              "tokens_per_second", 700 + 20 * mla_rng_normal(&rng), "lr", 1e-4,
                              "grad_norm", 1.0, "seconds", 6.0);
        assert_non_null(o);
        assert_int_equal(mla_lines_append_take(lines, o, &err), 0);
    }
    mla_lines_close(lines);
}

static json_t *rl_line(int i, mla_rng *rng) {
    double up = 1 - exp(-i / 20.0), z = mla_rng_normal(rng);
    int edits = 14 + (int)(12 * up);
    json_t *o = json_pack(
        "{s:i,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f}", "iteration", i, "reward_mean",
        0.42 + 0.15 * up + 0.02 * z, "reward_std", 0.22 - 0.05 * up, "improved_share",
        0.1 + 0.25 * up + 0.02 * z, "gain_mean", 0.05 * up, "valid_share", 0.86 + 0.1 * up,
        "entropy", 0.5 - 0.1 * up, "kl", 0.03 * up, "clip_share", 0.02, "ratio_max", 1.4);
    json_t *more = json_pack(
        "{s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:{s:i,s:i,s:i,s:i},s:{s:i,s:i,s:i,s:i}}",
        "policy_loss", 0.01, "value_loss", 0.02, "logprob_gap_max", 4e-3 + 1e-3 * fabs(z),
        "logprob_gap_mean", 2e-4, "grad_norm", 0.8, "seconds", 46.0 + z, "generate_seconds",
        21.0 + z, "execute_seconds", 48.0, "update_seconds", 17.0, "wait_seconds", 6.0 - 2 * up,
        "actions", "Edit Script", edits, "Execute Script", 30 - edits, "Inspect Script Lines", 2,
        "none", 2, "outcomes", "ok", 24 + (int)(6 * up), "script error", 6 - (int)(4 * up),
        "invalid action", 2, "time-out", 1);
    assert_non_null(o);
    assert_non_null(more);
    json_object_update(o, more);
    json_decref(more);
    return o;
}

static void write_rl_metrics(const mla_run *run) {
    mla_lines *lines = open_lines(run, "rl/metrics.jsonl");
    mla_err err = {0};
    mla_rng rng;
    mla_rng_init(&rng, 2);
    for (int i = 1; i <= 72; i++) {
        assert_int_equal(mla_lines_append_take(lines, rl_line(i, &rng), &err), 0);
    }
    mla_lines_close(lines);
}

static void write_table(const mla_run *run) {
    json_t *rows = json_array();
    for (int t = 0; t < 4; t++) {
        for (int m = 0; m < 3; m++) {
            double gain = 0.02 + 0.14 * m + 0.05 * (t % 3) * m - 0.03 * t;
            json_t *row = json_pack(
                "{s:s,s:s,s:s,s:s,s:i,s:i,s:i,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f}", "model",
                models[m], "task", tasks[t], "split", t < 2 ? "train" : "held-out", "metric", "mae",
                "direction", -1, "trajectories", 8, "steps", 97 + m, "valid_rate", 0.1 + 0.43 * m,
                "improved_share", 0.15 * m, "score_init", 1.8123, "score_best_reference", 1.4,
                "score_avg", 1.8 - 0.4 * gain, "score_best", 1.8 - 0.7 * gain, "gain_avg", gain,
                "gain_best", 1.7 * gain, "gain_sem", 0.03 + 0.01 * t);
            assert_non_null(row);
            json_array_append_new(rows, row);
        }
    }
    const char *note = "Eight trajectories of at most 15 steps a task & model.";
    write_json(run, "eval/table.json", json_pack("{s:s,s:o}", "note", note, "rows", rows));
}

static void write_actions(const mla_run *run) {
    write_json(run, "eval/actions.json",
               json_pack("{s:[{s:s,s:n,s:s,s:i,s:i,s:f,s:f,s:f},"
                         "{s:s,s:s,s:s,s:i,s:i,s:f,s:i,s:i}]}",
                         "rows", "model", "sft", "task", "split", "train", "states", 64, "actions",
                         512, "valid_rate", 0.91, "reward_mean", 0.4321, "reward_sem", 0.017,
                         "model", "sft", "task", tasks[0], "split", "train", "states", 32,
                         "actions", 256, "valid_rate", 0.87, "ideas", 104, "ideas_covered", 23));
}

static void write_ideas(const mla_run *run) {
    json_t *list = json_array();
    for (size_t t = 0; t < MLA_COUNT(tasks); t++) {
        json_array_append_new(list, json_pack("{s:s,s:i,s:i,s:[s,s,s],s:f,s:f,s:f}", "task",
                                              tasks[t], "pool", 104, "map", t > 1, "chosen", "a",
                                              "b", "c", "mean_distance", 0.41, "min_distance",
                                              0.3, "random_mean_distance", 0.27));
    }
    json_t *maps = json_array();
    for (int m = 0; m < 2; m++) {
        json_array_append_new(maps, json_pack("{s:f,s:[{s:s,s:s,s:f,s:f},{s:s,s:s,s:f,s:f},"
                                              "{s:s,s:s,s:n,s:n}]}", "variance", 0.31, "ideas",
                                              "id", "a", "text", "Drop <all> columns.", "x", -0.5,
                                              "y", 0.25, "id", "z", "text", "Sleep.", "x", 0.5,
                                              "y", -0.5, "id", "b", "text", "Lost.", "x", "y"));
    }
    write_json(run, "expert/ideas.json", json_pack("{s:o,s:s,s:o}", "tasks", list, "choice",
                                                   "diverse", "maps", maps));
}

static void write_run(const char *dir) {
    mla_err err = {0};
    mla_run *run = mla_run_open(dir, &err);
    assert_non_null(run);
    write_steps(run);
    write_sft_metrics(run);
    write_rl_metrics(run);
    write_table(run);
    write_actions(run);
    write_ideas(run);
    assert_int_equal(mla_run_stage_mark(run, "collect", 812, &err), 0);
    assert_int_equal(mla_run_stage_mark(run, "sft", 720, &err), 0);
    assert_int_equal(mla_run_stage_mark(run, "rl", 3312, &err), 0);
    char *config = mla_run_path(run, "config.yaml");
    const char *text = "model: smollm2\nalpha: 4\nnote: <b>not bold</b>\n";
    assert_int_equal(mla_fs_write(config, text, strlen(text), &err), 0);
    free(config);
    mla_run_close(run);
}

static int make_folder(void **state) {
    const char *keep = getenv("KEEP_REPORT");
    char *dir = mla_strdup(keep ? keep : "/tmp/mla-report-XXXXXX");
    *state = keep ? dir : mkdtemp(dir);
    return *state ? 0 : -1;
}

static int remove_folder(void **state) {
    mla_err err;
    int rc = getenv("KEEP_REPORT") ? 0 : mla_fs_remove_tree(*state, &err);
    free(*state);
    return rc;
}

static char *make_page(const char *run_dir) {
    mla_err err = {0};
    mla_buf page;
    char *path = mla_fs_join(run_dir, "report.html");
    if (mla_report_write(run_dir, path, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(mla_fs_read(path, (size_t)64 << 20, &page, &err), 0);
    free(path);
    return mla_buf_take(&page);
}

static size_t occurrences(const char *page, const char *text) {
    size_t n = 0;
    for (const char *p = page; (p = strstr(p, text)); p += strlen(text)) n++;
    return n;
}

static bool is_void(const char *name) {
    return !strcmp(name, "meta") || !strcmp(name, "br") || !strcmp(name, "!DOCTYPE");
}

// The end of a tag whose '<' is at p: quoted attribute values may hold anything but '<'.
static const char *end_of_tag(const char *p) {
    for (bool quoted = false; *p; p++) {
        if (*p == '"') quoted = !quoted;
        if (*p == '>' && !quoted) return p;
    }
    return NULL;
}

// Every tag that opens closes, in order.
static void assert_balanced(const char *page) {
    char stack[64][16];
    size_t depth = 0;
    for (const char *p = page; (p = strchr(p, '<'));) {
        const char *end = end_of_tag(p);
        assert_non_null(end);
        bool closes = p[1] == '/';
        char name[16] = {0};
        for (size_t i = 0; i < 15; i++) {
            char c = p[1 + closes + i];
            if (!isalnum((unsigned char)c) && c != '!') break;
            name[i] = c;
        }
        assert_true(*name);
        if (closes) {
            if (!depth || strcmp(stack[depth - 1], name) != 0) {
                fail_msg("</%s> closes %s near: %.80s", name, depth ? stack[depth - 1] : "nothing",
                         p);
            }
            depth--;
        } else if (end[-1] != '/' && !is_void(name)) {
            assert_true(depth < MLA_COUNT(stack));
            memcpy(stack[depth++], name, sizeof name);
        }
        p = end;
    }
    assert_int_equal(depth, 0);
}

// No number that is none got through: "nan" or "inf" as a word.
static void assert_numbers(const char *page) {
    static const char *const words[] = {"nan", "inf"};
    for (size_t i = 0; i < MLA_COUNT(words); i++) {
        for (const char *p = page; (p = strstr(p, words[i])); p += 3) {
            bool word = !isalnum((unsigned char)p[-1]) && !isalnum((unsigned char)p[3]);
            if (word) fail_msg("a number that is none near: %.60s", p - 30);
        }
    }
}

static void assert_has(const char *page, const char *text) {
    if (!strstr(page, text)) fail_msg("the page does not hold: %s", text);
}

static void test_whole_run(void **state) {
    write_run(*state);
    char *page = make_page(*state);
    assert_balanced(page);
    assert_int_equal(occurrences(page, "class=\"absent\""), 0);
    for (size_t t = 0; t < MLA_COUNT(tasks); t++) assert_has(page, tasks[t]);
    assert_has(page, "after RL");
    assert_has(page, "1.812 to 1.400");              // starter and reference
    assert_int_equal(occurrences(page, "rowspan=\"3\""), 4);
    assert_has(page, "72 iterations in 55\xC2\xA0min");
    assert_has(page, "3 of 104");                  // ideas
    // Two maps, each with a kept idea and one that is not; one without a place is not drawn.
    assert_int_equal(occurrences(page, "aria-label=\"abalone-rings: 3 of 104 ideas\""), 1);
    assert_int_equal(occurrences(page, "r=\"5\"><title>: Drop &lt;all&gt; columns.</title>"), 2);
    assert_int_equal(occurrences(page, "r=\"2.6\"><title>: Sleep.</title>"), 2);
    assert_int_equal(occurrences(page, "<title>: Lost."), 0);
    assert_int_equal(occurrences(page, "<li>Drop &lt;all&gt; columns.</li>"), 2);
    assert_has(page, "One more task has ideas of this pool");
    assert_has(page, "23 of 104");                 // covered by the actions of a model
    assert_has(page, "0.4321 \xC2\xB1 0.017");
    assert_has(page, "sft 12\xC2\xA0min 00\xC2\xA0s");
    assert_has(page, "Actions in held-back states");
    assert_int_equal(occurrences(page, "<figure>"), 13);
    assert_numbers(page);
    free(page);
}

// The trajectory with the largest gain, as a diff with its signs.
static void test_trajectory(void **state) {
    write_run(*state);
    char *page = make_page(*state);
    assert_has(page, "eval-7");
    assert_has(page, "<span>flagged: copied_sample, fake_scores</span>");
    assert_null(strstr(page, "eval-6"));
    const char *shown = strstr(page, "A trajectory to read");
    assert_non_null(shown);
    assert_has(shown, "<span class=\"del\">\xE2\x88\x92 model = RandomForestRegressor("
                      "n_estimators=20, max_depth=3)</span>");
    assert_has(shown, "<span class=\"ins\">+     learning_rate=0.05, max_iter=300 if 1 &lt; 2 "
                      "else 0)");
    assert_null(strstr(shown, "SEARCH"));
    assert_has(shown, "score 2.000 \xE2\x86\x92 1.720");
    assert_has(shown, "gain +0.560");
    assert_int_equal(occurrences(shown, "<article>"), 5);
    free(page);
}

// What an agent, a script or a task wrote is text, whatever it looks like; nothing is fetched.
static void test_hostile_text(void **state) {
    write_run(*state);
    char *page = make_page(*state);
    assert_null(strstr(page, "<script"));
    assert_has(page, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;quoted&quot; "
                     "\xEF\xBF\xBD\xEF\xBF\xBD( \xEF\xBF\xBD[31mred");
    assert_null(strstr(page, "<b>not bold"));
    assert_null(strstr(page, "http://"));
    assert_null(strstr(page, "https://"));
    assert_null(strstr(page, "url("));
    assert_null(strstr(page, "@import"));
    assert_null(strstr(page, " src="));
    size_t n = 0;
    char *repaired = mla_utf8_repair(page, strlen(page), &n);
    assert_string_equal(repaired, page);
    free(repaired);
    free(page);
}

static void test_empty_run(void **state) {
    char *page = make_page(*state);
    assert_balanced(page);
    assert_int_equal(occurrences(page, "class=\"absent\""), 7);
    assert_has(page, "No stage is finished yet.");
    free(page);
}

// Half-done stages: one point, no values at all, rows without numbers.
static void test_sparse_run(void **state) {
    mla_err err = {0};
    mla_run *run = mla_run_open(*state, &err);
    mla_lines *lines = open_lines(run, "rl/metrics.jsonl");
    assert_int_equal(mla_lines_append_take(lines, json_pack("{s:i}", "iteration", 1), &err), 0);
    mla_lines_close(lines);
    lines = open_lines(run, "sft/metrics.jsonl");
    json_t *line = json_pack("{s:i,s:f,s:n}", "step", 1, "loss", 2.0, "val_loss");
    assert_int_equal(mla_lines_append_take(lines, line, &err), 0);
    mla_lines_close(lines);
    write_json(run, "eval/table.json",
               json_pack("{s:[{s:s,s:s,s:s},{s:s,s:s,s:s},{s:s}]}", "rows", "model", "sft", "task",
                         "wine", "split", "train", "model", "other <one>", "task", "wine", "split",
                         "train", "model", "no task"));
    mla_run_close(run);
    char *page = make_page(*state);
    assert_balanced(page);
    assert_has(page, "wine");
    assert_has(page, "other &lt;one&gt;");
    assert_numbers(page);
    free(page);
}

static void test_errors(void **state) {
    mla_err err = {0};
    char *out = mla_fs_join(*state, "report.html"), *table = mla_fs_join(*state, "stages.json");
    assert_int_equal(mla_report_write("/nonexistent/run", out, &err), -1);
    assert_non_null(strstr(err.text, "/nonexistent/run"));
    assert_int_equal(mla_fs_write(table, "[]", 2, &err), 0);
    assert_int_equal(mla_report_write(*state, out, &err), -1);
    assert_non_null(strstr(err.text, "stages.json"));
    assert_false(mla_fs_exists(out));
    free(table);
    free(out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole_run, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_trajectory, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_hostile_text, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_empty_run, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_sparse_run, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_errors, make_folder, remove_folder),
    };
    if (getenv("KEEP_REPORT")) {
        return cmocka_run_group_tests(((const struct CMUnitTest[]){tests[0]}), NULL, NULL);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
