// `mlagent model info` of an adapter's folder: as JSON, and as text from that.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "cli/model_info.h"
#include "model/adapter.h"

static json_t *info_json(const char *dir, const mla_adapter_info *info) {
    const mla_adapter_options *o = &info->options;
    json_t *targets = json_array();
    for (int t = 0; t < MLA_TARGET_COUNT; t++)
        if (o->targets >> t & 1)
            json_array_append_new(targets, json_string(mla_target_name((mla_target)t)));
    json_t *json = json_pack(
        "{s:o, s:s, s:o, s:i, s:f, s:b, s:f, s:f, s:o, s:i, s:I, s:I, s:s}", "path",
        mla_json_text(dir, strlen(dir)), "format", "PEFT LoRA adapter", "base",
        *info->base ? mla_json_text(info->base, strlen(info->base)) : json_null(), "rank", o->rank,
        "alpha", (double)o->alpha, "rslora", o->rslora, "scale",
        (double)mla_adapter_scale(o), "dropout", (double)o->dropout, "targets", targets, "layers",
        info->layers, "parameters", (json_int_t)info->parameters, "bytes",
        (json_int_t)info->bytes, "type", info->type);
    MLA_ASSERT(json);
    return json;
}

static void print_text(const json_t *j) {
    json_t *target;
    size_t i;
    printf("%s\n  format        %s, %s (%.1f MB)\n", mla_json_get_text(j, "path", ""),
           mla_json_get_text(j, "format", ""), mla_json_get_text(j, "type", ""),
           mla_json_get_number(j, "bytes", 0) / 1e6);
    printf("  base          %s\n", mla_json_get_text(j, "base", "not named"));
    printf("  rank          %lld, alpha %g%s: scale %g\n", mla_json_get_int(j, "rank", 0),
           mla_json_get_number(j, "alpha", 0),
           mla_json_get_bool(j, "rslora", false) ? ", rank-stabilised" : "",
           mla_json_get_number(j, "scale", 0));
    printf("  adapts       ");
    json_array_foreach(json_object_get(j, "targets"), i, target)
        printf(" %s", json_string_value(target));
    printf(" of %lld layers\n  parameters    %lld\n  dropout       %g\n",
           mla_json_get_int(j, "layers", 0), mla_json_get_int(j, "parameters", 0),
           mla_json_get_number(j, "dropout", 0));
}

int mla_adapter_info_print(const char *dir, bool as_json, mla_err *err) {
    mla_adapter_info info;
    if (mla_adapter_describe(dir, &info, err)) return -1;
    json_t *json = info_json(dir, &info);
    if (as_json) {
        char *line = mla_json_line(json);
        puts(line);
        free(line);
    } else {
        print_text(json);
    }
    json_decref(json);
    return 0;
}
