// Learning rates by step. A step depends on its number alone, so that a resumed run goes on alike.
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "train/train.h"

static const char *const shape_names[] = {
#define X(id, name) name,
    MLA_SCHEDULE_SHAPES(X)
#undef X
};

const char *mla_schedule_shape_name(mla_schedule_shape shape) {
    return shape_names[shape];
}

int mla_schedule_shape_parse(const char *name) {
    for (size_t i = 0; i < MLA_COUNT(shape_names); i++)
        if (strcmp(name, shape_names[i]) == 0) return (int)i;
    return -1;
}

static double fall(mla_schedule_shape shape, double t) {
    if (shape == MLA_SCHEDULE_COSINE) return 0.5 * (1 + cos(3.14159265358979323846 * t));
    return shape == MLA_SCHEDULE_LINEAR ? 1 - t : 1;
}

double mla_schedule_lr(const mla_schedule *s, int step, int total) {
    int by_ratio = (int)ceil(s->warmup_ratio * total);
    int warmup = by_ratio > s->warmup_steps ? by_ratio : s->warmup_steps;
    if (step < warmup) return s->lr * (step + 1) / warmup;
    double t = (double)(step - warmup) / fmax(1, total - warmup);
    return s->lr * (s->floor + (1 - s->floor) * fall(s->shape, t));
}
