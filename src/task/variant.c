// A variant out of a seed: draws a recipe, follows it on the starter and on the starter with each
// idea's edit; the difference of the two is the edit that does the idea to the variant.
#include "task/variant.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "task/variant_internal.h"

#define SCRIPT_MAX ((size_t)256 << 10)
#define BUILT_IN_MAX 2       // poor (or good) ideas that the starter may have already

struct mla_varying {
    const mla_task *task;
    mla_edit_apply apply;
    char *script;
    mla_ideas ideas;
    mla__names taken;        // every word of the starter and the ideas
    mla__names keywords;     // of calls in any of them
};

// --- what is varied -----------------------------------------------------------------------------

static void add_keywords(mla__names *keywords, const char *script) {
    mla__py py;
    if (mla__py_read(&py, script)) {
        for (size_t l = 0; l < py.n_lines; l++) {
            bool def = mla__py_is(&py, py.lines[l].first, "def");
            for (size_t i = py.lines[l].first; i < py.lines[l].end; i++) {
                if (!mla__py_is_keyword(&py, i) || (def && py.tokens[i].depth == 1)) continue;
                mla__names_add(keywords, script + py.tokens[i].at, py.tokens[i].len);
            }
        }
    }
    mla__py_clear(&py);
}

static int fill(mla_varying *v, mla_err *err) {
    mla_buf text = {0};
    char *path = mla_fs_join(v->task->env_dir, v->task->script);
    int rc = mla_fs_read(path, SCRIPT_MAX, &text, err);
    free(path);
    v->script = mla_buf_take(&text);
    if (rc == 0) rc = mla_ideas_load(&v->ideas, v->task, err);
    if (rc < 0) return -1;
    mla__names_add_words(&v->taken, v->script);
    add_keywords(&v->keywords, v->script);
    for (size_t i = 0; i < v->ideas.len; i++) {
        char *edited = v->apply(v->script, v->ideas.items[i].blocks);
        mla__names_add_words(&v->taken, v->ideas.items[i].blocks);
        if (edited) add_keywords(&v->keywords, edited);
        free(edited);
    }
    return 0;
}

mla_varying *mla_varying_create(const mla_task *task, mla_edit_apply apply, mla_err *err) {
    if (task->held_out) {
        mla_err_set(err, "%s is held out: it is for evaluation only, nothing is varied of it",
                    task->name);
        return NULL;
    }
    if (task->variant) {
        mla_err_set(err, "%s is a variant itself; vary %s", task->name, task->variant->of);
        return NULL;
    }
    mla_varying *v = MLA_NEW(mla_varying);
    *v = (mla_varying){.task = task, .apply = apply};
    if (fill(v, err) == 0) return v;
    mla_varying_free(v);
    return NULL;
}

void mla_varying_free(mla_varying *v) {
    if (!v) return;
    mla_ideas_clear(&v->ideas);
    mla__names_clear(&v->taken);
    mla__names_clear(&v->keywords);
    free(v->script);
    free(v);
}

// --- recipes ------------------------------------------------------------------------------------

void mla__recipe_clear(mla__recipe *r) {
    mla__changes_clear(&r->literals);
    mla__changes_clear(&r->drops);
    mla__changes_clear(&r->hoists);
    mla__changes_clear(&r->inlines);
    mla__changes_clear(&r->renames);
}

static bool one_in(mla_rng *rng, uint64_t n) {
    return mla_rng_below(rng, n) == 0;
}

static void draw_style(mla__recipe *r, mla_rng *rng) {
    static const char *const readers[] = {"read_part", "read_file", "load_csv", "open_data",
                                          "get_part", "from_disk"};
    static const char *const mains[] = {"main", "run_all", "go_on", "do_it", "experiment", "job"};
    r->seed = mla_rng_u64(rng);
    r->layout = (mla__layout)mla_rng_below(rng, MLA__LAYOUTS);
    r->comments = (mla__comments)mla_rng_below(rng, MLA__COMMENTS);
    r->main_name = mains[one_in(rng, 2) ? 0 : mla_rng_below(rng, MLA_COUNT(mains))];
    r->reader = one_in(rng, 4) ? readers[mla_rng_below(rng, MLA_COUNT(readers))] : NULL;
    r->split_writing = one_in(rng, 2);
    r->plain_parameters = one_in(rng, 2);
    r->short_imports = one_in(rng, 4);
    r->full_names = one_in(rng, 6);
    r->single_quotes = one_in(rng, 3);
    r->tight = one_in(rng, 3);
}

static void draw_recipe(mla__recipe *r, const mla_varying *v, const char *script, mla_rng *rng) {
    static const double shares[] = {0.3, 0.6, 0.8, 1.0};
    mla__py py;
    draw_style(r, rng);
    mla__values_draw(r, script, &v->taken, rng);
    if (mla__py_read(&py, script)) {
        mla__renames_draw(&r->renames, &py, &v->taken, &v->keywords,
                          shares[mla_rng_below(rng, MLA_COUNT(shares))], rng);
    }
    mla__py_clear(&py);
}

// Takes `now` and gives what comes of it; what cannot be done ends it.
static char *then(char *now, char *next) {
    free(now);
    return next;
}

// What is asked for but may fail where nothing of the kind is in the script leaves it as it is.
static char *perhaps(char *now, char *next) {
    if (!next) return now;
    free(now);
    return next;
}

static char *follow(const mla__recipe *r, const char *script) {
    char *now = mla__literals_change(script, &r->literals);
    if (now) now = then(now, mla__columns_drop(now, &r->drops));
    if (now) now = then(now, mla__constants_inline(now, &r->inlines));
    if (now) now = then(now, mla__constants_hoist(now, &r->hoists));
    if (now && r->reader) now = perhaps(now, mla__reading_share(now, r->reader));
    if (now && r->split_writing) now = perhaps(now, mla__writing_split(now));
    if (now && r->plain_parameters) now = then(now, mla__annotations_drop(now));
    if (now) now = then(now, mla__imports_change(now, r->short_imports, r->full_names));
    if (now) now = then(now, mla__layout_change(now, r->layout, r->main_name, r->seed));
    if (now) now = then(now, mla__rename(now, &r->renames));
    if (now && r->single_quotes) now = then(now, mla__quotes_change(now));
    if (now) now = then(now, mla__comments_change(now, r->comments, r->seed));
    if (now && r->tight) now = then(now, mla__blanks_drop(now));
    return now;
}

// --- in words -----------------------------------------------------------------------------------

static void say(mla_buf *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(mla_buf *out, const char *fmt, ...) {
    va_list args;
    if (out->len) mla_buf_puts(out, "; ");
    va_start(args, fmt);
    mla_buf_vprintf(out, fmt, args);
    va_end(args);
}

static void say_values(mla_buf *out, const mla__recipe *r) {
    for (size_t i = 0; i < r->literals.len; i++) {
        const mla__change *c = &r->literals.items[i];
        say(out, "%s %s for %s", c->key, c->to, c->from);
    }
    for (size_t i = 0; i < r->drops.len; i++) say(out, "without %s", r->drops.items[i].from);
    for (size_t i = 0; i < r->hoists.len; i++) say(out, "a constant %s", r->hoists.items[i].to);
    for (size_t i = 0; i < r->inlines.len; i++) say(out, "%s inlined", r->inlines.items[i].key);
}

static char *in_words(const mla__recipe *r, const char *built_in) {
    static const char *const layouts[MLA__LAYOUTS] = {"", "definitions first", "", "",
                                                      "the work under a guard"};
    mla_buf out;
    mla_buf_init(&out, 4000);
    if (*built_in) say(&out, "built in: %s", built_in);
    say_values(&out, r);
    if (r->renames.len) say(&out, "%zu names changed", r->renames.len);
    if (r->layout == MLA__LAYOUT_MAIN || r->layout == MLA__LAYOUT_CALL) {
        say(&out, "the work in %s()", r->main_name);
    } else if (*layouts[r->layout]) {
        say(&out, "%s", layouts[r->layout]);
    }
    if (r->short_imports || r->full_names) say(&out, "other imports");
    if (r->comments != MLA__COMMENTS_KEEP) say(&out, "other comments");
    if (!out.len) say(&out, "other blanks and quotes");
    char *text = mla_buf_take(&out);
    for (char *p = text; *p; p++) {
        if ((unsigned char)*p < ' ') *p = ' ';
    }
    return text;
}

// --- ideas --------------------------------------------------------------------------------------

// Whether a number that was changed is a word of the idea, which then says what is not so.
static bool says_number(const mla__recipe *r, const mla_idea *idea, const char *blocks) {
    for (size_t i = 0; i < r->literals.len; i++) {
        const mla__change *c = &r->literals.items[i];
        size_t len = strlen(c->from);
        if (!strstr(blocks, c->key)) continue;
        for (const char *p = strstr(idea->text, c->from); p; p = strstr(p + 1, c->from)) {
            bool before = p > idea->text && (isalnum((unsigned char)p[-1]) || p[-1] == '.');
            if (!before && !isalnum((unsigned char)p[len])) return true;
        }
    }
    return false;
}

static bool is_built_in(const size_t *built_in, size_t n, size_t at) {
    for (size_t i = 0; i < n; i++) {
        if (built_in[i] == at) return true;
    }
    return false;
}

// What ideas are carried over from: the starter as the recipe begins with it.
typedef struct carrying {
    const mla_varying *from;
    const mla__recipe *recipe;
    const char *base;
    const size_t *built_in;      // [n_built_in] ideas of the task
    size_t n_built_in;
    mla_variant *out;
} carrying;

// The blocks that make of `script` what the recipe makes of `base` with the idea, NULL when it
// can't be done. Caller frees.
static char *carry_blocks(const carrying *c, const char *base, const char *script,
                          const mla_idea *idea) {
    char *edited = c->from->apply(base, idea->blocks);
    char *wanted = edited ? follow(c->recipe, edited) : NULL;
    char *blocks = wanted ? mla__blocks_make(script, wanted) : NULL;
    char *made = blocks ? c->from->apply(script, blocks) : NULL;
    bool good = made && strcmp(made, wanted) == 0 && !says_number(c->recipe, idea, blocks);
    free(edited);
    free(wanted);
    free(made);
    if (good) return blocks;
    free(blocks);
    return NULL;
}

// The idea without its edit, building on those that it built on and that the starter has not got;
// false when one of these was not carried over.
static bool copy_idea(const carrying *c, const mla_idea *idea, mla_idea *out) {
    *out = (mla_idea){.id = mla_strdup(idea->id), .family = mla_strdup(idea->family),
                      .text = mla_strdup(idea->text), .why = mla_strdup(idea->why),
                      .after = MLA_NEW_ARRAY(char *, idea->n_after + 1)};
    for (size_t i = 0; i < idea->n_after; i++) {
        size_t at = mla_ideas_find(&c->from->ideas, idea->after[i]);
        if (is_built_in(c->built_in, c->n_built_in, at)) continue;
        if (mla_ideas_find(&c->out->ideas, idea->after[i]) == c->out->ideas.len) return false;
        out->after[out->n_after++] = mla_strdup(idea->after[i]);
    }
    return true;
}

// `text` with the edits of all that the last idea of `ideas` builds on. Caller frees; may be NULL.
static char *with_before(const carrying *c, const char *text, const mla_ideas *ideas) {
    char *blocks = mla_ideas_blocks_before(ideas, ideas->len - 1);
    char *out = *blocks ? c->from->apply(text, blocks) : mla_strdup(text);
    free(blocks);
    return out;
}

// The task's ideas that the last of the variant's builds on, and itself.
static mla_ideas originals(const carrying *c) {
    const mla_ideas *made = &c->out->ideas;
    mla_ideas out = {.items = MLA_NEW_ARRAY(mla_idea, made->len), .len = made->len};
    for (size_t i = 0; i < made->len; i++) {
        out.items[i] = made->items[i];
        size_t at = mla_ideas_find(&c->from->ideas, made->items[i].id);
        out.items[i].blocks = c->from->ideas.items[at].blocks;
    }
    return out;
}

static char *carry_last(const carrying *c, const mla_idea *idea) {
    const mla_idea *last = &c->out->ideas.items[c->out->ideas.len - 1];
    if (!last->n_after) return carry_blocks(c, c->base, c->out->script, idea);
    mla_ideas own = originals(c);
    char *base = with_before(c, c->base, &own), *made = base ? follow(c->recipe, base) : NULL;
    char *script = with_before(c, c->out->script, &c->out->ideas), *blocks = NULL;
    if (made && script && strcmp(made, script) == 0) blocks = carry_blocks(c, base, script, idea);
    free(own.items);
    free(base);
    free(made);
    free(script);
    return blocks;
}

static void carry_one(const carrying *c, const mla_idea *idea) {
    mla_ideas *ideas = &c->out->ideas;
    mla_idea *next = &ideas->items[ideas->len];
    bool good = copy_idea(c, idea, next);
    ideas->len++;
    if (good) next->blocks = carry_last(c, idea);
    if (next->blocks) return;
    mla_ideas gone = {.items = MLA_NEW(mla_idea), .len = 1};
    *gone.items = *next;
    mla_ideas_clear(&gone);
    ideas->len--;
}

static void carry_all(const carrying *c) {
    const mla_ideas *ideas = &c->from->ideas;
    c->out->ideas.items = MLA_NEW_ARRAY(mla_idea, ideas->len);
    for (size_t i = 0; i < ideas->len; i++) {
        if (!is_built_in(c->built_in, c->n_built_in, i)) carry_one(c, &ideas->items[i]);
    }
}

// --- the whole ----------------------------------------------------------------------------------

// The starter with up to two ideas done to it; their places and their ids, joined by '+'.
static char *draw_base(const mla_varying *v, size_t *built_in, size_t *n, mla_buf *ids,
                       mla_rng *rng) {
    static const size_t counts[] = {0, 1, 1, 2};
    char *base = mla_strdup(v->script);
    size_t wanted = counts[mla_rng_below(rng, MLA_COUNT(counts))];
    for (size_t attempt = 0; attempt < 2 * wanted && *n < wanted; attempt++) {
        size_t at = (size_t)mla_rng_below(rng, v->ideas.len);
        const mla_idea *idea = &v->ideas.items[at];
        bool fit = !idea->n_after && !is_built_in(built_in, *n, at);
        char *next = fit ? v->apply(base, idea->blocks) : NULL;
        if (!next) continue;
        free(base);
        base = next;
        mla_buf_printf(ids, "%s%s", *n ? " + " : "", idea->id);
        built_in[(*n)++] = at;
    }
    return base;
}

uint64_t mla_variant_print(const char *script) {
    mla__py py;
    uint64_t print = 0;
    if (mla__py_read(&py, script)) {
        for (size_t i = 0; i < py.n_tokens; i++) {
            if (py.tokens[i].kind == MLA__PY_COMMENT) continue;
            char *text = mla__py_text(&py, i);
            for (char *p = text; py.tokens[i].kind == MLA__PY_STRING && *p; p++) {
                if (*p == '\'') *p = '"';
            }
            print = mla_rng_derive(print, mla_rng_hash(text), 0, 0);
            free(text);
        }
    }
    mla__py_clear(&py);
    return print;
}

bool mla_variant_make(mla_variant *out, const mla_varying *v, uint64_t seed, bool with_ideas) {
    *out = (mla_variant){0};
    mla_rng rng;
    mla_rng_init(&rng, mla_rng_derive(seed, mla_rng_hash(v->task->name), 0, 7));
    size_t built_in[BUILT_IN_MAX], n = 0;
    mla_buf ids;
    mla_buf_init(&ids, 400);
    mla__recipe recipe = {0};
    char *base = draw_base(v, built_in, &n, &ids, &rng);
    draw_recipe(&recipe, v, base, &rng);
    out->script = follow(&recipe, base);
    if (out->script) {
        out->print = mla_variant_print(out->script);
        out->recipe = in_words(&recipe, mla_buf_text(&ids));
        const carrying c = {v, &recipe, base, built_in, n, out};
        if (with_ideas) carry_all(&c);
    }
    bool good = out->script && strcmp(out->script, v->script) != 0 &&
                (!with_ideas || out->ideas.len >= MLA_VARIANT_IDEAS_MIN);
    if (!good) mla_variant_clear(out);
    mla__recipe_clear(&recipe);
    mla_buf_clear(&ids);
    free(base);
    return good;
}

void mla_variant_clear(mla_variant *variant) {
    mla_ideas_clear(&variant->ideas);
    free(variant->script);
    free(variant->recipe);
    *variant = (mla_variant){0};
}

// --- YAML ---------------------------------------------------------------------------------------

// A text as a double-quoted scalar.
static void put_quoted(mla_buf *out, const char *text) {
    mla_buf_puts(out, "\"");
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') mla_buf_append(out, "\\", 1);
        if (*text == '\n') mla_buf_puts(out, "\\n");
        else mla_buf_append(out, text, 1);
    }
    mla_buf_puts(out, "\"\n");
}

char *mla_variant_ideas_yaml(const mla_variant *variant) {
    mla_buf out;
    mla_buf_init(&out, (size_t)8 << 20);
    mla_buf_puts(&out, "ideas:\n");
    for (size_t i = 0; i < variant->ideas.len; i++) {
        const mla_idea *idea = &variant->ideas.items[i];
        mla_buf_printf(&out, "  - id: %s\n    family: ", idea->id);
        put_quoted(&out, idea->family);
        mla_buf_puts(&out, "    text: ");
        put_quoted(&out, idea->text);
        mla_buf_puts(&out, "    why: ");
        put_quoted(&out, idea->why);
        for (size_t k = 0; k < idea->n_after; k++) {
            mla_buf_printf(&out, "%s%s", k ? ", " : "    after: [", idea->after[k]);
        }
        mla_buf_puts(&out, idea->n_after ? "]\n    edit: |-\n" : "    edit: |-\n");
        for (const char *p = idea->blocks; *p;) {
            size_t n = strcspn(p, "\n");
            mla_buf_printf(&out, "%s%.*s\n", n ? "      " : "", (int)n, p);
            p += n + (p[n] == '\n');
        }
    }
    return mla_buf_take(&out);
}

static void put_halves(mla_buf *out, const char *key, mla_halves h) {
    mla_buf_printf(out, "%s:\n  public: %.17g\n  private: %.17g\n", key, h.public_half,
                   h.private_half);
}

// The task's own task.yaml without the keys that a variant has its own of.
static void put_others(mla_buf *out, const char *yaml) {
    static const char *const own[] = {"name:", "baseline:", "reference:"};
    bool skip = false;
    for (const char *p = yaml; *p;) {
        size_t n = strcspn(p, "\n");
        bool key = *p != ' ' && *p != '\n' && *p != '#' && *p != '-';
        if (key) skip = false;
        for (size_t k = 0; key && k < MLA_COUNT(own); k++) {
            if (!strncmp(p, own[k], strlen(own[k]))) skip = true;
        }
        if (!skip) mla_buf_printf(out, "%.*s\n", (int)n, p);
        p += n + (p[n] == '\n');
    }
}

char *mla_variant_task_yaml(const mla_task *task, const char *name, const char *seed,
                            const char *recipe, mla_halves init, mla_halves best, mla_err *err) {
    mla_buf text, out;
    char *path = mla_fs_join(task->dir, "task.yaml");
    int rc = mla_fs_read(path, SCRIPT_MAX, &text, err);
    free(path);
    if (rc < 0) return NULL;
    mla_buf_init(&out, 2 * SCRIPT_MAX);
    mla_buf_printf(&out, "name: %s\nvariant:\n  of: %s\n  seed: %s\n  recipe: ", name, task->name,
                   seed);
    put_quoted(&out, recipe);
    put_halves(&out, "baseline", init);
    put_halves(&out, "reference", best);
    put_others(&out, mla_buf_text(&text));
    mla_buf_clear(&text);
    return mla_buf_take(&out);
}
