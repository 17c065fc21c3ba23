// The flag table's names. It leaves out the rules that raise flags: env/flags.c.
#include "record/flag.h"

#include <string.h>

#include "base/buf.h"
#include "base/err.h"

static const char *const names[MLA_FLAG_COUNT] = {
#define X(id, name, meaning) [MLA_FLAG_BIT_##id] = name,
    MLA_FLAG_MAP(X)
#undef X
};

const char *mla_flag_name(int bit) {
    MLA_ASSERT(bit >= 0 && bit < MLA_FLAG_COUNT);
    return names[bit];
}

int mla_flag_parse(const char *name) {
    for (int i = 0; name && i < MLA_FLAG_COUNT; i++)
        if (!strcmp(name, names[i])) return i;
    return -1;
}

char *mla_flag_text(unsigned flags) {
    mla_buf out;
    mla_buf_init(&out, 1024);
    for (int i = 0; i < MLA_FLAG_COUNT; i++) {
        if (!(flags >> i & 1)) continue;
        mla_buf_puts(&out, out.len ? ", " : "");
        mla_buf_puts(&out, names[i]);
    }
    return mla_buf_take(&out);
}
