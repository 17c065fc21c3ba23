// The program: JSON lines in and out, and a chat that is not at a terminal.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/proc.h"
#include "tiny_policy.h"

static char dir[64];

static int open_group(void **state) {
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/mlagent-program-XXXXXX");
    return mkdtemp(dir) ? tiny_policy_write(dir, 11) : -1;
}

static int close_group(void **state) {
    (void)state;
    mla_err err;
    return mla_fs_remove_tree(dir, &err);
}

// Runs `mlagent <line>` with `input` on its standard input; %s in the line is the model.
static mla_buf run(const char *line, const char *input, int status) {
    mla_err err = {{0}};
    mla_proc_result result;
    mla_buf out;
    mla_buf_init(&out, 1 << 22);
    char *self = mla_fs_self_dir(), *file = mla_fs_join(dir, "input");
    char *words = mla_format(line, dir);
    char *command = mla_format("exec '%s/../mlagent' %s <'%s'", self, words, file);
    char *argv[] = {(char[]){"sh"}, (char[]){"-c"}, command, NULL};
    assert_int_equal(mla_fs_write(file, input, strlen(input), &err), 0);
    assert_int_equal(mla_proc_run(argv, NULL, NULL, 120, &out, &result, &err), 0);
    if (result.exit_code != status) fail_msg("exit %d: %s", result.exit_code, mla_buf_text(&out));
    free(command);
    free(words);
    free(file);
    free(self);
    return out;
}

// The JSON of line `at` of the output; caller owns.
static json_t *line_of(const mla_buf *out, int at) {
    mla_err err = {{0}};
    const char *line = mla_buf_text(out);
    for (; at > 0 && line; at--) line = strchr(line, '\n') + 1;
    json_t *value = mla_json_parse(line, strcspn(line, "\n"), "line", &err);
    if (!value) fail_msg("%s: %s", err.text, line);
    return value;
}

static size_t count_lines(const mla_buf *out) {
    size_t n = 0;
    for (size_t i = 0; i < out->len; i++) n += out->data[i] == '\n';
    return n;
}

static void lines_are_answered_in_their_order(void **state) {
    (void)state;
    mla_buf out = run("generate %s --jsonl --quiet",
        "{\"prompt\": \"one\", \"max_new\": 40, \"seed\": 1, \"id\": \"first\"}\n"
        "\n"
        "{\"messages\": [{\"role\": \"user\", \"content\": \"one\"}], \"max_new\": 5, "
        "\"seed\": 1}\n"
        "{\"prompt\": \"two\", \"max_new\": 3, \"n\": 3, \"temperature\": 0}\n"
        "{\"prompt\": \"two\", \"max_new\": 3, \"temperature\": 0}", 0);
    assert_int_equal(count_lines(&out), 4);
    json_t *lines[4];
    for (int i = 0; i < 4; i++) lines[i] = line_of(&out, i);
    assert_string_equal(json_string_value(json_object_get(lines[0], "id")), "first");
    assert_int_equal(json_array_size(json_object_get(lines[0], "ids")), 40);
    assert_int_equal(json_array_size(json_object_get(lines[0], "logprobs")), 40);
    assert_true(json_is_false(json_object_get(lines[0], "ended")));
    // The same words as prompt or as messages, the same seed: the same beginning.
    for (size_t i = 0; i < 5; i++) {
        assert_true(json_equal(json_array_get(json_object_get(lines[0], "ids"), i),
                               json_array_get(json_object_get(lines[1], "ids"), i)));
    }
    const json_t *samples = json_object_get(lines[2], "samples");
    assert_int_equal(json_array_size(samples), 3);
    for (size_t k = 0; k < 3; k++) {
        assert_true(json_equal(json_object_get(json_array_get(samples, k), "text"),
                               json_object_get(lines[3], "text")));
    }
    for (int i = 0; i < 4; i++) json_decref(lines[i]);
    mla_buf_clear(&out);
}

static void a_bad_line_does_not_hold_up_the_others(void **state) {
    (void)state;
    mla_buf out = run("generate %s --jsonl --quiet --max-new 4 --seed 9",
        "{\"prompt\": \"one\"}\n"
        "this is no JSON\n"
        "{\"prompt\": 7, \"id\": 3}\n"
        "{\"prompt\": \"one\", \"max_new\": 100000}\n"
        "{\"prompt\": \"one\"}\n", 1);
    assert_int_equal(count_lines(&out), 5);
    json_t *lines[5];
    for (int i = 0; i < 5; i++) {
        lines[i] = line_of(&out, i);
        bool bad = i >= 1 && i <= 3;
        assert_int_equal(json_is_string(json_object_get(lines[i], "error")), bad);
        if (!bad) assert_int_equal(json_array_size(json_object_get(lines[i], "ids")), 4);
    }
    assert_non_null(strstr(json_string_value(json_object_get(lines[3], "error")), "context"));
    // Lines without a seed have seeds of their own.
    assert_false(json_equal(json_object_get(lines[0], "ids"), json_object_get(lines[4], "ids")));
    for (int i = 0; i < 5; i++) json_decref(lines[i]);
    mla_buf_clear(&out);
}

static void more_lines_than_are_read_ahead_are_answered(void **state) {
    (void)state;
    enum { LINES = 1100 };
    mla_buf in;
    mla_buf_init(&in, 1 << 20);
    for (int i = 0; i < LINES; i++) {
        mla_buf_printf(&in, "{\"prompt\": \"a\", \"max_new\": %d, \"id\": %d}\n", 1 + i % 3, i);
    }
    mla_buf out = run("generate %s --jsonl --quiet --compute f32", mla_buf_text(&in), 0);
    assert_int_equal(count_lines(&out), LINES);
    for (int i = 0; i < LINES; i += 101) {
        json_t *line = line_of(&out, i);
        assert_int_equal(json_integer_value(json_object_get(line, "id")), i);
        assert_int_equal(json_array_size(json_object_get(line, "ids")), 1 + i % 3);
        json_decref(line);
    }
    mla_buf_clear(&in);
    mla_buf_clear(&out);
}

// Greedy: what is said depends on what was said before, unless it is forgotten.
static void a_chat_keeps_its_history_until_reset(void **state) {
    (void)state;
    mla_buf once = run("chat %s --quiet --temperature 0 --max-new 8", "hello\n", 0);
    mla_buf twice = run("chat %s --quiet --temperature 0 --max-new 8", "hello\nhello\n", 0);
    mla_buf reset = run("chat %s --quiet --temperature 0 --max-new 8",
                        "hello\n/reset\nhello\n/quit\nhello\n", 0);
    mla_buf system = run("chat %s --quiet --temperature 0 --max-new 8",
                         "/system You are a pirate.\nhello\n", 0);
    assert_true(once.len > 1);
    assert_int_equal(strncmp(mla_buf_text(&twice), mla_buf_text(&once), once.len), 0);
    assert_string_not_equal(mla_buf_text(&twice) + once.len, mla_buf_text(&once));
    assert_int_equal(reset.len, 2 * once.len);
    assert_string_equal(mla_buf_text(&reset) + once.len, mla_buf_text(&once));
    assert_string_not_equal(mla_buf_text(&system), mla_buf_text(&once));
    mla_buf_clear(&once);
    mla_buf_clear(&twice);
    mla_buf_clear(&reset);
    mla_buf_clear(&system);
}

static void a_chat_survives_a_full_context(void **state) {
    (void)state;
    mla_buf in;
    mla_buf_init(&in, 1 << 20);
    for (int i = 0; i < 3000; i++) mla_buf_puts(&in, "word ");
    mla_buf_puts(&in, "\nhello\n");
    mla_buf out = run("chat %s --quiet --temperature 0 --max-new 8", mla_buf_text(&in), 0);
    mla_buf once = run("chat %s --quiet --temperature 0 --max-new 8", "hello\n", 0);
    assert_non_null(strstr(mla_buf_text(&out), "context"));
    assert_non_null(strstr(mla_buf_text(&out), mla_buf_text(&once)));
    mla_buf_clear(&in);
    mla_buf_clear(&out);
    mla_buf_clear(&once);
}

static void what_cannot_be_is_said_at_once(void **state) {
    (void)state;
    static const struct {
        const char *line, *words;
        int status;
    } wrong[] = {
        {"serve", "usage", 2}, {"chat", "usage", 2}, {"generate --jsonl", "usage", 2},
        {"serve %s --port 70000", "--port", 2}, {"serve %s --queue 0", "--queue", 2},
        {"chat %s --compute fp4", "fp4", 2}, {"serve %s-not", "-not", 1},
        {"serve smollm2-135m-instruct --port 0 --kv-mb 1", "KV cache of 1 MiB", 1},
        {"serve %s --host no.such.host.invalid --port 0 --quiet", "no.such.host.invalid", 1},
    };
    for (size_t i = 0; i < MLA_COUNT(wrong); i++) {
        mla_buf out = run(wrong[i].line, "", wrong[i].status);
        if (!strstr(mla_buf_text(&out), wrong[i].words)) fail_msg("%s", mla_buf_text(&out));
        mla_buf_clear(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_is_said_at_once),
        cmocka_unit_test(lines_are_answered_in_their_order),
        cmocka_unit_test(a_bad_line_does_not_hold_up_the_others),
        cmocka_unit_test(more_lines_than_are_read_ahead_are_answered),
        cmocka_unit_test(a_chat_keeps_its_history_until_reset),
        cmocka_unit_test(a_chat_survives_a_full_context),
    };
    return cmocka_run_group_tests(tests, open_group, close_group);
}
