// The pools of ideas as maps: every idea a dot where its vector lies by the two principal
// components, those that are followed numbered. The coordinates are the collection's; nothing is
// computed here.
#include <math.h>
#include <string.h>

#include "report/internal.h"

#define WIDTH 460
#define HEIGHT 340
#define LEFT 46
#define RIGHT 14
#define TOP 26
#define BOTTOM 38
#define MAPS_MAX 30          // a page with more is of no use to anybody

static bool is_chosen(const json_t *row, const char *id, size_t *number) {
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(row, "chosen"), i, one) {
        const char *text = json_string_value(one);
        *number = i + 1;
        if (text && !strcmp(text, id)) return true;
    }
    return false;
}

static mla__scale scale_of(const json_t *ideas, const char *key, double at, double length) {
    double from = INFINITY, to = -INFINITY;
    size_t i;
    json_t *idea;
    json_array_foreach(ideas, i, idea) {
        double value = mla_json_get_number(idea, key, NAN);
        from = fmin(from, value);        // fmin leaves NaN out
        to = fmax(to, value);
    }
    return mla__scale_make(from, to, at, length, true);
}

static void draw_idea(mla_buf *out, const json_t *idea, const json_t *row, const mla__scale *sx,
                      const mla__scale *sy, bool chosen_ones) {
    size_t number = 0;
    bool chosen = is_chosen(row, mla_json_get_text(idea, "id", ""), &number);
    double x = mla__scale_map(sx, mla_json_get_number(idea, "x", NAN));
    double y = mla__scale_map(sy, mla_json_get_number(idea, "y", NAN));
    if (chosen != chosen_ones || !isfinite(x) || !isfinite(y)) return;
    mla_buf_printf(out, "<circle class=\"c%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"%s\"><title>",
                   chosen ? 1 : 9, x, y, chosen ? "5" : "2.6");
    mla__html_text(out, mla_json_get_text(idea, "family", ""));
    mla_buf_puts(out, ": ");
    mla__html_text(out, mla_json_get_text(idea, "text", ""));
    mla_buf_puts(out, "</title></circle>\n");
    if (chosen) {
        mla_buf_printf(out, "<text class=\"mark\" x=\"%.1f\" y=\"%.1f\">%zu</text>\n", x + 7, y - 5,
                       number);
    }
}

static void draw_map(mla_buf *out, const json_t *map, const json_t *row, const char *title) {
    static const char *const names[] = {"kept", "of the pool"};
    const json_t *ideas = json_object_get(map, "ideas");
    mla__scale sx = scale_of(ideas, "x", LEFT, WIDTH - LEFT - RIGHT);
    mla__scale sy = scale_of(ideas, "y", HEIGHT - BOTTOM, TOP - (HEIGHT - BOTTOM));
    mla_buf_puts(out, "<figure><figcaption>");
    mla__html_text(out, title);
    mla_buf_printf(out, "</figcaption>\n<p class=\"legend\"><span><i class=\"c1\"></i>%s</span> "
                        "<span><i class=\"c9\"></i>%s</span></p>\n", names[0], names[1]);
    mla__figure_svg(out, WIDTH, HEIGHT, title);
    mla__axis_y(out, &sy, LEFT, WIDTH - RIGHT, "second component");
    mla__axis_x(out, &sx, HEIGHT - BOTTOM, WIDTH - RIGHT, "first component");
    size_t i;
    json_t *idea;
    json_array_foreach(ideas, i, idea) draw_idea(out, idea, row, &sx, &sy, false);
    json_array_foreach(ideas, i, idea) draw_idea(out, idea, row, &sx, &sy, true);
    mla_buf_puts(out, "</svg>\n");
}

static const json_t *find_idea(const json_t *map, const char *id) {
    size_t i;
    json_t *idea;
    json_array_foreach(json_object_get(map, "ideas"), i, idea) {
        if (id && !strcmp(mla_json_get_text(idea, "id", ""), id)) return idea;
    }
    return NULL;
}

static void list_chosen(mla_buf *out, const json_t *map, const json_t *row) {
    size_t i;
    json_t *id;
    mla_buf_puts(out, "<details><summary>Ideas kept</summary><ol>\n");
    json_array_foreach(json_object_get(row, "chosen"), i, id) {
        const json_t *idea = find_idea(map, json_string_value(id));
        mla_buf_puts(out, "<li>");
        mla__html_text(out, mla_json_get_text(idea, "text", json_string_value(id)));
        mla_buf_puts(out, "</li>\n");
    }
    mla_buf_puts(out, "</ol></details></figure>\n");
}

static void tell_distances(mla_buf *out, const json_t *map, const json_t *row, size_t share) {
    static const char *const keys[] = {"mean_distance", "min_distance", "random_mean_distance",
                                       "random_min_distance"};
    mla__number n[4];
    for (size_t i = 0; i < 4; i++) n[i] = mla__fmt_score(mla_json_get_number(row, keys[i], NAN));
    mla_buf_printf(out, "<p class=\"soft\">Cosine distance %s on average, %s at least; of as many "
                        "by chance %s and %s. The map shows %s of the variance.", n[0].text,
                   n[1].text, n[2].text, n[3].text,
                   mla__fmt_share(mla_json_get_number(map, "variance", NAN)).text);
    if (share == 2) mla_buf_puts(out, " One more task has ideas of this pool.");
    if (share > 2) mla_buf_printf(out, " %zu more tasks have ideas of this pool.", share - 1);
    mla_buf_puts(out, "</p>\n");
}

static void one_map(mla_buf *out, const json_t *map, const json_t *row, size_t share) {
    mla_buf title;
    mla_buf_init(&title, 4096);
    mla_buf_printf(&title, "%s: %zu of %lld ideas", mla_json_get_text(row, "task", "?"),
                   json_array_size(json_object_get(row, "chosen")),
                   mla_json_get_int(row, "pool", 0));
    draw_map(out, map, row, mla_buf_text(&title));
    tell_distances(out, map, row, share);
    list_chosen(out, map, row);
    mla_buf_clear(&title);
}

// The first task of a map, and how many share it.
static const json_t *first_of(const json_t *tasks, size_t map, size_t *share) {
    const json_t *first = NULL;
    size_t i;
    json_t *row;
    *share = 0;
    json_array_foreach(tasks, i, row) {
        if (mla_json_get_int(row, "map", -1) != (long long)map) continue;
        if (!first) first = row;
        ++*share;
    }
    return first;
}

void mla__section_ideas(mla_buf *out, const mla__folder *folder) {
    const json_t *maps = json_object_get(folder->ideas, "maps");
    const json_t *tasks = json_object_get(folder->ideas, "tasks");
    size_t n = json_array_size(maps);
    mla_buf_puts(out, "<h2 id=\"ideas\">Ideas</h2>\n");
    if (!n) {
        mla__absent(out, "Maps of the ideas", "expert/ideas.json");
        return;
    }
    mla_buf_puts(out, "<p>Each dot is an idea of a task's pool, where a language model puts its "
                      "text; ideas that say alike lie together. The expert follows those that are "
                      "kept (");
    mla__html_text(out, mla_json_get_text(folder->ideas, "choice", "?"));
    mla_buf_puts(out, ").</p>\n<div class=\"charts\">\n");
    for (size_t i = 0; i < n && i < MAPS_MAX; i++) {
        size_t share;
        const json_t *row = first_of(tasks, i, &share);
        if (row) one_map(out, json_array_get(maps, i), row, share);
    }
    mla_buf_puts(out, "</div>\n");
    if (n > MAPS_MAX) {
        mla_buf_printf(out, "<p class=\"soft\">%zu more pools are in expert/ideas.json.</p>\n",
                       n - MAPS_MAX);
    }
}
