// Variants of a starter: the lexer, each rewriting by itself, and the whole on the nine training
// tasks of this repository: equal seeds give equal bytes, all is Python, all ideas apply.
#include "task_fixture.h"

#include <sys/stat.h>

#include "base/rng.h"
#include "env/env.h"
#include "task/variant.h"
#include "task/variant_data.h"
#include "task/variant_internal.h"

#define SEEDS 6

static char *apply(const char *script, const char *blocks) {
    const mla_edit_request request = {.name = "train.py", .script = script};
    char *text;
    mla_err err;
    if (mla_editor_read(&request, blocks, &text, &err) == 0) return text;
    free(text);
    return NULL;
}

// Takes `got`.
static void same_text(char *got, const char *wanted) {
    if (!got || strcmp(got, wanted)) fail_msg("wanted:\n%s\ngot:\n%s", wanted, got ? got : "NULL");
    free(got);
}

// --- the lexer ----------------------------------------------------------------------------------

static void test_tokens(void **state) {
    (void)state;
    const char *text = "x = f(a,\n      b)  # two lines\n\n    y = f\"{x:>{w}} {{no}} {z!r}\"\n";
    const char *wanted[] = {"x", "=", "f", "(", "a", ",", "b", ")", "# two lines", "y", "=",
                            "f\"{x:>{w}} {{no}} {z!r}\"", "x", "z"};
    mla__py py;
    assert_true(mla__py_read(&py, text));
    assert_int_equal(py.n_tokens, MLA_COUNT(wanted));
    for (size_t i = 0; i < py.n_tokens; i++) {
        if (!mla__py_is(&py, i, wanted[i])) fail_msg("token %zu is not %s", i, wanted[i]);
    }
    assert_int_equal(py.n_lines, 3);
    assert_int_equal(py.lines[0].to, strstr(text, "\n\n") + 1 - text);
    assert_false(py.lines[1].code);
    assert_int_equal(py.lines[2].indent, 4);
    assert_true(py.tokens[12].inside && !py.tokens[11].inside);
    mla__py_clear(&py);
}

static void test_what_is_not_closed(void **state) {
    (void)state;
    static const char *const bad[] = {"x = (1\n", "x = 1)\n", "x = \"a\n", "x = '''a\n", "x = [1}"};
    for (size_t i = 0; i + 1 < MLA_COUNT(bad); i++) {
        mla__py py;
        if (mla__py_read(&py, bad[i])) fail_msg("was read: %s", bad[i]);
        mla__py_clear(&py);
    }
}

// --- names --------------------------------------------------------------------------------------

static char *renamed(const char *script, const char *from, const char *to) {
    mla__changes changes = {.len = 0};
    assert_true(mla__changes_add_take(&changes, NULL, mla_strdup(from), mla_strdup(to)));
    char *out = mla__rename(script, &changes);
    mla__changes_clear(&changes);
    return out;
}

static void test_renaming_leaves_the_rest(void **state) {
    (void)state;
    same_text(renamed("df = pd.DataFrame({\"df\": df.df}, df=df)  # df\n", "df", "table"),
              "table = pd.DataFrame({\"df\": table.df}, df=table)  # df\n");
    same_text(renamed("print(f\"{n} of {m:.{n}f} {{n}}\", 'n')\n", "n", "k"),
              "print(f\"{k} of {m:.{n}f} {{n}}\", 'n')\n");
    same_text(renamed("def f(a, b=1, *, c: int = a):\n    return a + b\n", "b", "z"),
              "def f(a, z=1, *, c: int = a):\n    return a + z\n");
    same_text(renamed("xs = sorted(ys, key=lambda y, k=1: y + k)\n", "k", "q"),
              "xs = sorted(ys, key=lambda y, q=1: y + q)\n");
    same_text(renamed("class A:\n    def x(self):\n        x = self.x\n        return x\n", "x",
                      "y"),
              "class A:\n    def x(self):\n        y = self.x\n        return y\n");
    assert_null(renamed("from sklearn import tree\ntree = tree.T()\n", "tree", "oak"));
}

static void test_bindings(void **state) {
    (void)state;
    const char *text = "import numpy as np\n"
                       "a, (b, c) = d = f(x=1)\n"
                       "e.g = h[i] = 2\n"
                       "for j, k in zip(m, n):\n"
                       "    o += [p for p in q if p]\n"
                       "with open(r) as s:\n"
                       "    t: int = 3\n"
                       "class U:\n"
                       "    def v(self, w=0):\n"
                       "        pass\n"
                       "def y(z, *, aa=1):\n"
                       "    return lambda bb, cc=dd: bb\n";
    mla__py py;
    assert_true(mla__py_read(&py, text));
    unsigned char *binds = mla__bindings_find(&py);
    mla__names bound = {0};
    for (size_t i = 0; i < py.n_tokens; i++) {
        if (binds[i]) mla__names_add(&bound, text + py.tokens[i].at, py.tokens[i].len);
    }
    mla_buf line;
    mla_buf_init(&line, 1000);
    for (size_t i = 0; i < bound.len; i++) mla_buf_printf(&line, "%s ", bound.items[i]);
    assert_string_equal(mla_buf_text(&line), "a d j k p s U self w y z aa bb cc ");
    mla_buf_clear(&line);
    mla__names_clear(&bound);
    free(binds);
    mla__py_clear(&py);
}

// --- values -------------------------------------------------------------------------------------

static void one_change(mla__changes *out, const char *key, const char *from, const char *to) {
    *out = (mla__changes){.len = 0};
    assert_true(mla__changes_add_take(out, mla_strdup(key), mla_strdup(from), mla_strdup(to)));
}

static void test_values(void **state) {
    (void)state;
    mla__changes c;
    one_change(&c, "max_depth", "5", "8");
    same_text(mla__literals_change("T(max_depth=5, n=5)\nmax_depth = 5\nT(max_depth=5 * k)\n", &c),
              "T(max_depth=8, n=5)\nmax_depth = 8\nT(max_depth=5 * k)\n");
    mla__changes_clear(&c);
    one_change(&c, "max_depth", "5", "MAX_DEPTH");
    same_text(mla__constants_hoist("import a\nT(max_depth=9)\nU(max_depth=9)\n", &c),
              "import a\n\nMAX_DEPTH = 9\nT(max_depth=MAX_DEPTH)\nU(max_depth=MAX_DEPTH)\n");
    assert_null(mla__constants_hoist("import a\nT(max_depth=9)\nU(max_depth=8)\n", &c));
    assert_null(mla__constants_hoist("import a\nT(9)\n", &c));
    mla__changes_clear(&c);
    one_change(&c, "NN", "", "");
    same_text(mla__constants_inline("NN = 100\nx = y[:-NN]\nf(NN=NN)\n", &c),
              "x = y[:-100]\nf(NN=100)\n");
    assert_null(mla__constants_inline("NN = 100\nprint(f\"{NN}\")\n", &c));
    assert_null(mla__constants_inline("NN = 100\nNN = 200\n", &c));
    mla__changes_clear(&c);
}

static void test_columns(void **state) {
    (void)state;
    mla__changes c;
    one_change(&c, "COLUMNS", "\"b\"", "");
    same_text(mla__columns_drop("COLUMNS = [\"a\", \"b\", \"c\"]\n", &c),
              "COLUMNS = [\"a\", \"c\"]\n");
    same_text(mla__columns_drop("COLUMNS = [\"b\", \"c\"]\n", &c), "COLUMNS = [\"c\"]\n");
    same_text(mla__columns_drop("COLUMNS = [\"a\", \"b\"]\n", &c), "COLUMNS = [\"a\"]\n");
    assert_null(mla__columns_drop("COLUMNS = [\"a\", \"b\"]\nx[\"b\"] = 1\n", &c));
    mla__changes_clear(&c);
    one_change(&c, "", "out[\"age\"] = df[\"age\"]", "out[\"age\"]");
    same_text(mla__columns_drop("def f():\n    out[\"age\"] = df[\"age\"]\n    out[\"b\"] = 1\n",
                                &c),
              "def f():\n    out[\"b\"] = 1\n");
    assert_null(mla__columns_drop("def f():\n    out[\"age\"] = df[\"age\"]\n"
                                  "    out[\"b\"] = out[\"age\"]\n", &c));
    mla__changes_clear(&c);
}

// --- style and layout ---------------------------------------------------------------------------

static void test_style(void **state) {
    (void)state;
    same_text(mla__imports_change("import numpy as np\nfrom sklearn.tree import A, B\n"
                                  "x = np.f(A, c.A, A=B)\n", true, true),
              "import numpy\nfrom sklearn import tree\nx = numpy.f(tree.A, c.A, A=tree.B)\n");
    const char *taken = "from sklearn.tree import A\ntree = A()\n";
    same_text(mla__imports_change(taken, true, false), taken);
    same_text(mla__annotations_drop("def f(a: list[int], b: int = 2, c=3) -> dict[str, int]:\n"
                                    "    x: int = 1\n"),
              "def f(a, b = 2, c=3):\n    x: int = 1\n");
    same_text(mla__quotes_change("\"\"\"Doc.\"\"\"\nx = [\"a\", \"it's\", 'b', f\"{x}\"]\n"),
              "\"\"\"Doc.\"\"\"\nx = ['a', \"it's\", 'b', f\"{x}\"]\n");
    same_text(mla__comments_change("\"\"\"Doc.\"\"\"\n# one\nx = '#'  # two\n", MLA__COMMENTS_NONE,
                                   1),
              "x = '#'\n");
    same_text(mla__blanks_drop("\n\na\n\n\n\nb\n"), "a\n\nb\n");
    same_text(mla__reading_share("import pandas as pd\na = pd.read_csv(\"data/train.csv\")\n"
                                 "b = pd.read_csv(\"data/test.csv\")\n", "get"),
              "import pandas as pd\n\n\ndef get(part):\n"
              "    return pd.read_csv(f\"data/{part}.csv\")\n"
              "\na = get(\"train\")\nb = get(\"test\")\n");
    same_text(mla__writing_split("pd.DataFrame({\"a\": b}).to_csv(\"s.csv\", index=False)\n"),
              "submission = pd.DataFrame({\"a\": b})\nsubmission.to_csv(\"s.csv\", index=False)\n");
}

static const char plain[] = "# A head.\n"
                            "import a\n"
                            "K = 3\n"
                            "x = a.read()\n"
                            "\n"
                            "\n"
                            "def f(y):\n"
                            "    return y + K\n"
                            "\n"
                            "\n"
                            "# the end\n"
                            "print(f(x))\n";

static void test_layout(void **state) {
    (void)state;
    same_text(mla__layout_change(plain, MLA__LAYOUT_MAIN, "go", 1),
              "# A head.\nimport a\n\nK = 3\n\n\ndef f(y):\n    return y + K\n\n\n"
              "def go():\n    x = a.read()\n\n    # the end\n    print(f(x))\n\n\n"
              "if __name__ == \"__main__\":\n    go()\n");
    char *wrapped = mla__layout_change(plain, MLA__LAYOUT_MAIN, "go", 1);
    char *flat = mla__layout_change(plain, MLA__LAYOUT_FLAT, NULL, 1);
    same_text(mla__layout_change(wrapped, MLA__LAYOUT_FLAT, NULL, 1), flat);
    free(flat);
    free(wrapped);
    // What the work gives a name to is looked up by the function: it must stay where it is.
    char *shared = with(plain, "return y + K", "return y + x");
    assert_null(mla__layout_change(shared, MLA__LAYOUT_MAIN, "go", 1));
    char *kept = mla__layout_change(shared, MLA__LAYOUT_FLAT, NULL, 1);
    assert_non_null(kept);
    free(kept);
    free(shared);
}

// --- blocks -------------------------------------------------------------------------------------

// A text of few different lines, so that they repeat; every third or so is blank.
static char *random_text(mla_rng *rng) {
    mla_buf out;
    mla_buf_init(&out, 10000);
    size_t n = 1 + (size_t)mla_rng_below(rng, 20);
    for (size_t i = 0; i < n; i++) {
        uint64_t word = mla_rng_below(rng, 9);
        if (word < 3) mla_buf_puts(&out, "\n");
        else mla_buf_printf(&out, "line %d\n", (int)word);
    }
    return mla_buf_take(&out);
}

static void test_blocks(void **state) {
    (void)state;
    mla_rng rng;
    mla_rng_init(&rng, 3);
    size_t made = 0;
    for (int i = 0; i < 2000; i++) {
        char *a = random_text(&rng), *b = random_text(&rng), *blocks = mla__blocks_make(a, b);
        char *got = blocks ? apply(a, blocks) : NULL;
        // A block may meet what an earlier one made; those who carry ideas over look for that.
        if (got) made += strcmp(got, b) == 0;
        free(a);
        free(b);
        free(blocks);
        free(got);
    }
    assert_true(made > 1000);
    char *none = mla__blocks_make("a\nb\n", "a\nb\n");
    assert_null(none);
    same_text(mla__blocks_make("a\nb\nb\n", "a\nb\nx\nb\n"),
              "<<<<<<< SEARCH\nb\nb\n=======\nb\nx\nb\n>>>>>>> REPLACE");
}

// --- the nine tasks -----------------------------------------------------------------------------

static const char *const training[] = {
    "ames", "digits-4v9", "emoji-group", "landsat-greysoil", "nci-tpsa", "soybean-disease",
    "titanic", "word-affect", "wordnet-nodes"};

static mla_task *open_task(const char *name) {
    mla_err err = {0};
    char *dir = mla_format("tasks/%s", name);
    mla_task *task = mla_task_load(dir, "/nonexistent", false, &err);
    if (!task) fail_msg("%s", err.text);
    free(dir);
    return task;
}

static void write_script(const char *folder, const char *name, size_t at, const char *script) {
    char *file = mla_format("%s-%zu.py", name, at);
    fixture_write(folder, file, script);
    free(file);
}

// The ideas of a variant, each on what it builds on; some of the scripts are written to a folder.
static size_t check_ideas(const mla_variant *v, const char *folder, const char *name) {
    assert_true(v->ideas.len >= MLA_VARIANT_IDEAS_MIN);
    for (size_t i = 0; i < v->ideas.len; i++) {
        char *before = mla_ideas_blocks_before(&v->ideas, i);
        char *base = *before ? apply(v->script, before) : mla_strdup(v->script);
        char *edited = base ? apply(base, v->ideas.items[i].blocks) : NULL;
        if (!edited) fail_msg("%s: idea %s does not fit", name, v->ideas.items[i].id);
        if (i % 5 == 0) write_script(folder, name, i, edited);
        free(before);
        free(base);
        free(edited);
    }
    return v->ideas.len;
}

static size_t check_task(const char *name, const char *folder) {
    mla_err err = {0};
    mla_task *task = open_task(name);
    mla_varying *varying = mla_varying_create(task, apply, &err);
    if (!varying) fail_msg("%s", err.text);
    size_t made = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        mla_variant v, again;
        if (!mla_variant_make(&v, varying, seed, true)) continue;
        assert_true(mla_variant_make(&again, varying, seed, true));
        assert_string_equal(v.script, again.script);
        assert_string_equal(v.recipe, again.recipe);
        char *a = mla_variant_ideas_yaml(&v), *b = mla_variant_ideas_yaml(&again);
        assert_string_equal(a, b);
        char *file = mla_format("%s-%d", name, (int)seed);
        write_script(folder, file, 0, v.script);
        check_ideas(&v, folder, file);
        made++;
        free(file);
        free(a);
        free(b);
        mla_variant_clear(&v);
        mla_variant_clear(&again);
    }
    mla_varying_free(varying);
    mla_task_free(task);
    return made;
}

static void all_is_python(const char *folder) {
    mla_err err = {0};
    mla_proc_result result;
    mla_buf out;
    mla_buf_init(&out, 1 << 16);
    char *line = mla_format("import glob\nfor p in glob.glob('%s/*.py'):\n"
                            "    compile(open(p).read(), p, 'exec')\n", folder);
    char *argv[] = {(char[]){"python3"}, (char[]){"-c"}, line, NULL};
    assert_int_equal(mla_proc_run(argv, NULL, NULL, 200, &out, &result, &err), 0);
    if (result.exit_code) fail_msg("%s", mla_buf_text(&out));
    mla_buf_clear(&out);
    free(line);
}

static void test_training_tasks(void **state) {
    (void)state;
    fixture f;
    fixture_begin(&f);
    size_t made = 0;
    for (size_t i = 0; i < MLA_COUNT(training); i++) made += check_task(training[i], f.root);
    assert_true(made >= MLA_COUNT(training) * SEEDS * 2 / 3);
    all_is_python(f.root);
    fixture_end(&f);
}

static void test_distinct(void **state) {
    (void)state;
    mla_err err = {0};
    mla_task *task = open_task("titanic");
    mla_varying *varying = mla_varying_create(task, apply, &err);
    uint64_t prints[200];
    size_t n = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        mla_variant v;
        if (!mla_variant_make(&v, varying, seed, false)) continue;
        for (size_t i = 0; i < n; i++) assert_true(prints[i] != v.print);
        prints[n++] = v.print;
        mla_variant_clear(&v);
    }
    assert_true(n > 150);
    assert_true(mla_variant_print("x = \"a\"  # b\n\n") == mla_variant_print("x='a'\n"));
    assert_true(mla_variant_print("x = 1\n") != mla_variant_print("y = 1\n"));
    mla_varying_free(varying);
    mla_task_free(task);
}

static void refuses(const char *name, const char *why) {
    mla_err err = {0};
    mla_task *task = open_task(name);
    assert_null(mla_varying_create(task, apply, &err));
    if (!strstr(err.text, why)) fail_msg("no \"%s\" in: %s", why, err.text);
    mla_task_free(task);
}

static void test_held_out_tasks(void **state) {
    (void)state;
    static const char *const held_out[] = {
        "austen-novel", "flavia-leaf", "food-reviews", "ionosphere", "letter", "movie-genres",
        "page-denoise", "simlex", "tate-artist", "tweet-engagement"};
    for (size_t i = 0; i < MLA_COUNT(held_out); i++) refuses(held_out[i], "is held out");
}

static void test_a_variant_is_a_task(void **state) {
    (void)state;
    fixture f;
    fixture_begin(&f);
    mla_err err = {0};
    mla_task *task = open_task("soybean-disease");
    char *yaml = mla_variant_task_yaml(task, "toy", "7", "\"x\" for \\y", (mla_halves){2.5, 2.25},
                                       (mla_halves){0.5, 0.1}, &err);
    fixture_write(f.dir, "task.yaml", yaml);
    mla_task *made = mla_task_load(f.dir, f.home, false, &err);
    if (!made) fail_msg("%s", err.text);
    assert_string_equal(made->family, "soybean-disease");
    assert_string_equal(made->variant->recipe, "\"x\" for \\y");
    assert_string_equal(made->variant->seed, "7");
    assert_true(made->init.private_half == 2.25 && made->best.private_half == 0.1);
    assert_int_equal(made->class_count, task->class_count);
    assert_string_equal(made->description, task->description);
    assert_null(mla_varying_create(made, apply, &err));
    assert_non_null(strstr(err.text, "is a variant itself; vary soybean-disease"));
    mla_task_free(made);
    char *held = with(yaml, "split: train", "split: held-out");
    fixture_write(f.dir, "task.yaml", held);
    assert_null(mla_task_load(f.dir, f.home, false, &err));
    assert_non_null(strstr(err.text, "nothing is varied of a held-out task"));
    free(held);
    free(yaml);
    mla_task_free(task);
    fixture_end(&f);
}

// --- data ---------------------------------------------------------------------------------------

#define ROWS 100

// 100 rows to learn from (two of them of the rare label), 100 to test, links between rows.
static void write_data(const fixture *f) {
    mla_buf train, test, sample, answers, links;
    mla_buf *all[] = {&train, &test, &sample, &answers, &links};
    for (size_t i = 0; i < MLA_COUNT(all); i++) mla_buf_init(all[i], 1 << 16);
    mla_buf_puts(&train, "id,x,y\r\n");
    mla_buf_puts(&test, "id,x\n");
    mla_buf_puts(&sample, "id,y\n");
    mla_buf_puts(&answers, "id,y,half\n");
    mla_buf_puts(&links, "source,target,kind\n");
    for (int i = 0; i < ROWS; i++) {
        mla_buf_printf(&train, "%d,\"a, %d\",%s\r\n", i, i, i % 50 == 7 ? "rare" : "common");
        mla_buf_printf(&test, "%d,%d\n", i + ROWS, i);
        mla_buf_printf(&sample, "%d,rare\n", i + ROWS);
        mla_buf_printf(&answers, "%d,%s,%s\n", i + ROWS, i % 3 ? "rare" : "common",
                       i % 2 ? "public" : "private");
        mla_buf_printf(&links, "%d,%d,is\n", i, (i + 1) % ROWS);
    }
    const char *names[] = {"data/toy/train.csv", "data/toy/test.csv",
                           "data/toy/sample_submission.csv", "answers/toy.csv",
                           "data/toy/edges.csv"};
    for (size_t i = 0; i < MLA_COUNT(all); i++) {
        fixture_write(f->home, names[i], mla_buf_text(all[i]));
        mla_buf_clear(all[i]);
    }
    fixture_write(f->home, "data/toy/notes.txt", "as it is\n");
    fixture_write(f->home, "versions/toy.json", "{\"data\": \"v1\"}");
}

static void write_array(const fixture *f, size_t rows) {
    mla_err err;
    mla_buf out;
    mla_buf_init(&out, 1 << 16);
    char head[118];
    memset(head, ' ', sizeof head);
    int n = snprintf(head, sizeof head,
                     "{'descr': '<u2', 'fortran_order': False, 'shape': (%zu, 2), }", rows);
    head[n] = ' ';
    head[sizeof head - 1] = '\n';
    mla_buf_append(&out, "\x93NUMPY\x01\x00\x76\x00", 10);
    mla_buf_append(&out, head, sizeof head);
    for (size_t i = 0; i < rows; i++) {
        const uint16_t entry[2] = {(uint16_t)i, (uint16_t)(7 * i)};
        mla_buf_append(&out, entry, sizeof entry);
    }
    char *path = mla_fs_join(f->home, "data/toy/train_grey.npy");
    assert_int_equal(mla_fs_write(path, out.data, out.len, &err), 0);
    mla_buf_clear(&out);
    free(path);
}

static mla_buf read_file(const fixture *f, const char *name) {
    mla_err err;
    mla_buf out;
    char *path = mla_fs_join(f->home, name);
    if (mla_fs_read(path, 1 << 20, &out, &err) < 0) fail_msg("%s", err.text);
    free(path);
    return out;
}

static size_t count_lines(const mla_buf *text, const char *with_this) {
    size_t n = 0;
    for (const char *p = mla_buf_text(text); *p; p += strcspn(p, "\n"), p += *p == '\n') {
        size_t len = strcspn(p, "\n");
        n += memmem(p, len, with_this, strlen(with_this)) != NULL;
    }
    return n;
}

static mla_task *load_toy(const fixture *f) {
    mla_err err = {0};
    mla_task *task = mla_task_load(f->dir, f->home, true, &err);
    if (!task) fail_msg("%s", err.text);
    return task;
}

static void make_subset(const fixture *f, const mla_task *task, uint64_t seed) {
    mla_err err = {0};
    const mla_subset_options options = {.train_rows = 30, .half_rows = 20, .seed = seed};
    if (mla_subset_make(task, f->home, "part", &options, &err) < 0) fail_msg("%s", err.text);
}

static void test_subset(void **state) {
    (void)state;
    fixture f;
    fixture_begin(&f);
    write_data(&f);
    write_array(&f, ROWS);
    mla_task *task = load_toy(&f);
    make_subset(&f, task, 5);
    mla_buf train = read_file(&f, "data/part/train.csv");
    mla_buf test = read_file(&f, "data/part/test.csv");
    mla_buf answers = read_file(&f, "answers/part.csv");
    mla_buf grey = read_file(&f, "data/part/train_grey.npy");
    mla_buf edges = read_file(&f, "data/part/edges.csv");
    mla_buf notes = read_file(&f, "data/part/notes.txt");
    assert_int_equal(count_lines(&train, ",\"a, "), 30);
    assert_int_equal(count_lines(&train, "rare"), 2);
    assert_int_equal(count_lines(&test, ""), 41);
    assert_int_equal(count_lines(&answers, "public"), 20);
    assert_int_equal(count_lines(&answers, "private"), 20);
    assert_string_equal(mla_buf_text(&notes), "as it is\n");
    // An array's entries are those of the rows: both hold the row's number.
    assert_int_equal(grey.len, 128 + 30 * 4);
    assert_non_null(strstr(grey.data + 10, "'shape': ( 30, 2)"));
    const char *p = mla_buf_text(&train);
    for (size_t i = 0; i < 30; i++) {
        p = strchr(p, '\n') + 1;
        uint16_t entry[2];
        memcpy(entry, grey.data + 128 + 4 * i, sizeof entry);
        long id = strtol(p, NULL, 10);
        assert_int_equal(entry[0], id);
        assert_int_equal(entry[1], 7 * id);
    }
    // A link stays when both its rows do.
    size_t linked = 0;
    for (int i = 0; i < ROWS; i++) {
        char *a = mla_format("\n%d,\"a", i), *b = mla_format("\n%d,\"a", (i + 1) % ROWS);
        linked += strstr(mla_buf_text(&train), a) && strstr(mla_buf_text(&train), b);
        free(a);
        free(b);
    }
    assert_int_equal(count_lines(&edges, "is"), linked);
    mla_buf *all[] = {&train, &test, &answers, &grey, &edges, &notes};
    for (size_t i = 0; i < MLA_COUNT(all); i++) mla_buf_clear(all[i]);
    mla_task_free(task);
    fixture_end(&f);
}

static void test_subset_is_seeded_and_shared(void **state) {
    (void)state;
    fixture f;
    fixture_begin(&f);
    write_data(&f);
    mla_err err = {0};
    mla_task *task = load_toy(&f);
    char versions[3][65];
    for (int i = 0; i < 3; i++) {
        make_subset(&f, task, i == 2 ? 6 : 5);
        mla_task *part = mla_task_load_on(f.dir, f.home, "part", &err);
        snprintf(versions[i], sizeof versions[i], "%s", part->data_version);
        mla_task_free(part);
    }
    assert_string_equal(versions[0], versions[1]);
    assert_string_not_equal(versions[0], versions[2]);
    mla_task *part = mla_task_load_on(f.dir, f.home, "part", &err);
    assert_int_equal(mla_subset_share(part, "twin", f.home, "/a/twin", &err), 0);
    char *owner = mla_subset_owner("twin", f.home);
    assert_string_equal(owner, "/a/twin");
    free(owner);
    assert_null(mla_subset_owner("nobody", f.home));
    struct stat a, b;
    char *from = mla_fs_join(f.home, "data/part/train.csv");
    char *to = mla_fs_join(f.home, "data/twin/train.csv");
    assert_int_equal(stat(from, &a), 0);
    assert_int_equal(stat(to, &b), 0);
    assert_true(a.st_ino == b.st_ino && (b.st_mode & 0777) == 0444);
    mla_task *twin = mla_task_load_on(f.dir, f.home, "twin", &err);
    assert_string_equal(twin->data_version, part->data_version);
    assert_int_equal(mla_subset_forget("twin", f.home, &err), 0);
    assert_null(mla_task_load_on(f.dir, f.home, "twin", &err));
    assert_int_equal(stat(from, &a), 0);
    mla_task_free(twin);
    mla_task_free(part);
    mla_task_free(task);
    free(from);
    free(to);
    fixture_end(&f);
}

static void test_bad_data(void **state) {
    (void)state;
    fixture f;
    fixture_begin(&f);
    write_data(&f);
    write_array(&f, ROWS - 1);
    mla_err err = {0};
    mla_task *task = load_toy(&f);
    const mla_subset_options options = {.train_rows = 30, .seed = 1};
    assert_int_equal(mla_subset_make(task, f.home, "part", &options, &err), -1);
    assert_non_null(strstr(err.text, "train_grey.npy: is not an array with an entry for each row"));
    assert_null(mla_task_load_on(f.dir, f.home, "part", &err));
    mla_task_free(task);
    fixture_end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_what_is_not_closed),
        cmocka_unit_test(test_renaming_leaves_the_rest),
        cmocka_unit_test(test_bindings),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_style),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_training_tasks),
        cmocka_unit_test(test_distinct),
        cmocka_unit_test(test_held_out_tasks),
        cmocka_unit_test(test_a_variant_is_a_task),
        cmocka_unit_test(test_subset),
        cmocka_unit_test(test_subset_is_seeded_and_shared),
        cmocka_unit_test(test_bad_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
