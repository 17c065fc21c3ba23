// Sampling many requests at once: the policy's own engine, driven until it is idle.
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "policy/internal.h"

static int run(mla_engine *engine, mla_err *err) {
    int rc = 1;
    while (rc > 0 && !mla_stop_wanted()) rc = mla_engine_step(engine, err);
    return rc < 0 ? -1 : 0;
}

int mla_policy_generate(mla_policy *policy, const mla_prompt_request *requests, size_t n,
                        mla_sample_sink sink, void *ctx, mla_err *err) {
    if (!policy->engine) policy->engine = mla_engine_create(policy, policy->kv_bytes);
    uint64_t *handles = MLA_NEW_ARRAY(uint64_t, n ? n : 1);
    size_t taken = 0;
    int rc = 0;
    for (; taken < n && rc == 0; taken++)
        rc = mla_engine_submit(policy->engine, &requests[taken], taken, NULL, sink, ctx,
                               &handles[taken], err);
    if (rc == 0) rc = run(policy->engine, err);
    for (size_t i = 0; i < taken; i++) mla_engine_cancel(policy->engine, handles[i]);
    free(handles);
    return rc;
}
