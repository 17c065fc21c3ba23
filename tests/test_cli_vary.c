// `mlagent tasks vary` as a person runs it: variants of a toy task, run and scored in the sandbox,
// checked like any task, made again, and removed.
#include "command_fixture.h"

#include "base/json.h"

#define ROWS 240

static const char script[] =
    "# Rows above a threshold.\n"
    "import csv\n"
    "\n"
    "THRESHOLD = 2.0\n"
    "\n"
    "\n"
    "def read(name):\n"
    "    with open(name) as f:\n"
    "        return list(csv.DictReader(f))\n"
    "\n"
    "\n"
    "def guess(row):\n"
    "    return int(float(row[\"x\"]) > THRESHOLD)\n"
    "\n"
    "\n"
    "known = read(\"data/train.csv\")\n"
    "print(\"accuracy\", sum(guess(r) == int(r[\"y\"]) for r in known) / len(known))\n"
    "\n"
    "rows = read(\"data/test.csv\")\n"
    "with open(\"submission.csv\", \"w\") as f:\n"
    "    f.write(\"id,y\\n\")\n"
    "    for row in rows:\n"
    "        f.write(\"%s,%d\\n\" % (row[\"id\"], guess(row)))\n";

// In truth y is x > 4, but where the row's number is a multiple of nine it is the other way round;
// x is spread over 0 to 10 without an order.
static void write_rows(const fixture *f) {
    mla_buf train, test, sample, answers;
    mla_buf *all[] = {&train, &test, &sample, &answers};
    for (size_t i = 0; i < MLA_COUNT(all); i++) mla_buf_init(all[i], 1 << 18);
    mla_buf_puts(&train, "id,x,y\n");
    mla_buf_puts(&test, "id,x\n");
    mla_buf_puts(&sample, "id,y\n");
    mla_buf_puts(&answers, "id,y,half\n");
    for (int i = 0; i < 2 * ROWS; i++) {
        double x = (double)(i * 7919 % 4801) / 480.1;
        int y = (x > 4) != (i % 9 == 0);
        if (i < ROWS) {
            mla_buf_printf(&train, "%d,%.4f,%d\n", i, x, y);
            continue;
        }
        mla_buf_printf(&test, "%d,%.4f\n", i, x);
        mla_buf_printf(&sample, "%d,0\n", i);
        mla_buf_printf(&answers, "%d,%d,%s\n", i, y, i * 31 % 7 < 3 ? "public" : "private");
    }
    const char *names[] = {"data/toy/train.csv", "data/toy/test.csv",
                           "data/toy/sample_submission.csv", "answers/toy.csv"};
    for (size_t i = 0; i < MLA_COUNT(all); i++) {
        fixture_write(f->home, names[i], mla_buf_text(all[i]));
        mla_buf_clear(all[i]);
    }
    fixture_write(f->home, "versions/toy.json", "{\"data\": \"v1\"}");
}

static void write_ideas(const fixture *f) {
    mla_buf out;
    mla_buf_init(&out, 1 << 18);
    mla_buf_puts(&out, "ideas:\n");
    for (int i = 0; i < 50; i++) {
        mla_buf_printf(&out, "- id: idea-%d\n  family: model\n  text: Another threshold.\n"
                       "  why: It may be better.\n  edit: |-\n    <<<<<<< SEARCH\n"
                       "    THRESHOLD = 2.0\n    =======\n    THRESHOLD = %d.5\n"
                       "    >>>>>>> REPLACE\n", i, i % 9);
    }
    fixture_write(f->dir, "ideas.yaml", mla_buf_text(&out));
    mla_buf_clear(&out);
}

// The scores are those of x > 2 and x > 4, as counted over the rows.
static void begin(fixture *f) {
    fixture_begin(f);
    fixture_write(f->dir, "env/train.py", script);
    char *reference = with(script, "THRESHOLD = 2.0", "THRESHOLD = 4.0");
    fixture_write(f->dir, "reference.py", reference);
    free(reference);
    write_rows(f);
    write_ideas(f);
    char *yaml = with(toy_yaml, "{public: 0.5, private: 0.51}", "{public: 0.7, private: 0.7}");
    char *whole = with(yaml, "{public: 0.9, private: 0.91}", "{public: 0.89, private: 0.89}");
    fixture_write(f->dir, "task.yaml", whole);
    free(yaml);
    free(whole);
}

// All scripts and task.yaml files of the variants, one after another. Caller frees.
static char *all_scripts(const fixture *f) {
    mla_err err = {0};
    mla_proc_result result;
    mla_buf out;
    mla_buf_init(&out, 1 << 20);
    char *line = mla_format("cd %s/home/variants && cat toy-v*/env/train.py toy-v*/ideas.yaml "
                            "toy-v*/task.yaml", f->root);
    char *argv[] = {(char[]){"sh"}, (char[]){"-c"}, line, NULL};
    assert_int_equal(mla_proc_run(argv, NULL, NULL, 60, &out, &result, &err), 0);
    assert_int_equal(result.exit_code, 0);
    free(line);
    return mla_buf_take(&out);
}

static void variants_are_made_checked_and_removed(void **state) {
    (void)state;
    fixture f;
    begin(&f);
    expect(&f, "vary toy --count 3", 0, "toy: 3 variants made, 0 were there");
    expect(&f, "check 'toy-v*'", 0, "3 tasks, 0 findings");
    expect(&f, "show toy-v0001", 0, "variant: of toy, seed 1: ");
    mla_buf list = run(&f, "list", 0);
    assert_null(strstr(mla_buf_text(&list), "toy-v"));
    mla_buf_clear(&list);
    // Again: nothing is made anew, with more only what is missing.
    char *first = all_scripts(&f);
    expect(&f, "vary toy --count 3", 0, "toy: 0 variants made, 3 were there");
    char *again = all_scripts(&f);
    assert_string_equal(first, again);
    free(again);
    expect(&f, "vary toy --count 2 --seed 2", 1, "was not made with --seed 2");
    expect(&f, "vary toy --count 1 --output other", 1, "the data of this name is that of ");
    expect(&f, "vary --clear toy", 0, "3 variants removed");
    char *left = fixture_look(&f);
    assert_null(strstr(left, "toy-v"));
    assert_null(strstr(left, "subset-"));
    assert_non_null(strstr(left, "data/toy/train.csv"));
    free(left);
    // The same seed gives the same bytes.
    expect(&f, "vary toy --count 3", 0, "toy: 3 variants made");
    again = all_scripts(&f);
    assert_string_equal(first, again);
    free(again);
    free(first);
    fixture_end(&f);
}

static void json_and_counting(void **state) {
    (void)state;
    fixture f;
    begin(&f);
    mla_err err;
    mla_buf out = run(&f, "vary toy --count 1 --fast --json --quiet", 0);
    json_t *o = mla_json_parse(mla_buf_text(&out), out.len, "vary", &err);
    assert_non_null(o);
    assert_int_equal(mla_json_get_int(o, "made", -1), 1);
    assert_true(mla_json_get_number(o, "median_seconds", -1) > 0);
    assert_true(mla_json_get_number(o, "ideas_mean", -1) >= 30);
    json_decref(o);
    mla_buf_clear(&out);
    expect(&f, "vary toy --dry-run --count 20", 0, "toy: 20 seeds give ");
    fixture_end(&f);
}

static void what_cannot_be_varied(void **state) {
    (void)state;
    fixture f;
    begin(&f);
    expect(&f, "vary", 2, "usage");
    expect(&f, "vary toy --count 0", 2, "--count");
    expect(&f, "vary nosuch", 1, "there is no task \"nosuch\"");
    expect(&f, "check 'nosuch-*'", 1, "no task is called like \"nosuch-*\"");
    char *held = with(toy_yaml, "split: train", "split: held-out");
    fixture_write(f.dir, "task.yaml", held);
    free(held);
    expect(&f, "vary toy --count 1", 1, "is held out: it is for evaluation only");
    // A reference that is no better than the starter leaves nothing to gain on any subset.
    fixture_write(f.dir, "task.yaml", toy_yaml);
    fixture_write(f.dir, "reference.py", script);
    expect(&f, "vary toy --count 1", 1, "on no subset of its data is the reference clearly better");
    mla_err err;
    char *ideas = mla_fs_join(f.dir, "ideas.yaml");
    assert_int_equal(mla_fs_remove_tree(ideas, &err), 0);
    expect(&f, "vary toy --count 1", 1, "ideas.yaml");
    free(ideas);
    fixture_end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(variants_are_made_checked_and_removed),
        cmocka_unit_test(json_and_counting),
        cmocka_unit_test(what_cannot_be_varied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
