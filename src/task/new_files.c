// The texts of a new task's prepare.py and starter script.
#include "task/new_files.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"

#define SCRIPT_MAX ((size_t)64 << 10)

// What follows the constants in a prepare.py: new_prepare.py as it is.
__asm__(".pushsection .rodata\n"
        ".global mla__new_prepare_py\n"
        "mla__new_prepare_py:\n"
        ".incbin \"src/task/new_prepare.py\"\n"
        ".byte 0\n"
        ".popsection\n");
extern const char mla__new_prepare_py[];

static const char prepare_head[] =
    "\"\"\"Splits this task's own data. Cells stay as they are, text for text.\n\n"
    "Of each six rows with like targets two are hidden, one for either half; all of a test.csv\n"
    "that has the target is. Rows with the same features are kept once, so that no hidden row\n"
    "has a twin in train.csv.\n\"\"\"\n\n"
    "import argparse\nimport csv\nimport hashlib\nimport io\nimport math\nimport pathlib\n"
    "import random\nimport sys\n\n";

char *mla__new_quote(const char *text) {
    json_t *value = mla_json_text(text, strlen(text));
    char *dumped = json_dumps(value, JSON_ENCODE_ANY);
    MLA_ASSERT(dumped);
    char *out = mla_strdup(dumped);
    free(dumped);
    json_decref(value);
    return out;
}

char *mla__new_prepare(const mla_new_task *task, const char *train_sha256,
                       const char *test_sha256) {
    const mla_metric_info *about = mla_metric_about(task->metric);
    char *id = mla__new_quote(task->id), *target = mla__new_quote(task->target);
    mla_buf out;
    mla_buf_init(&out, SCRIPT_MAX);
    mla_buf_puts(&out, prepare_head);
    mla_buf_printf(&out, "ID, TARGET = %s, %s\nROWS_MIN = %d\n", id, target, MLA_NEW_ROWS_MIN);
    mla_buf_printf(&out, "SAMPLE = %s      # of sample_submission.csv; None: the middle target\n",
                   about->guess == MLA_VALUE_PROBABILITY ? "\"0.5\"" : "None");
    mla_buf_printf(&out, "SOURCES = {\n    \"train.csv\": \"%s\",\n", train_sha256);
    if (test_sha256) mla_buf_printf(&out, "    \"test.csv\": \"%s\",\n", test_sha256);
    mla_buf_puts(&out, "}\n");
    mla_buf_puts(&out, "\n\n");
    mla_buf_puts(&out, mla__new_prepare_py);
    free(id);
    free(target);
    return mla_buf_take(&out);
}

char *mla__new_starter(const mla_new_task *task) {
    const mla_metric_info *about = mla_metric_about(task->metric);
    bool classes = about->truth == MLA_VALUE_LABEL || about->truth == MLA_VALUE_BINARY ||
                   about->truth == MLA_VALUE_RATING;
    bool scores = about->truth == MLA_VALUE_BINARY;
    const char *model = classes ? "DecisionTreeClassifier" : "DecisionTreeRegressor";
    char *id = mla__new_quote(task->id), *target = mla__new_quote(task->target);
    mla_buf out;
    mla_buf_init(&out, SCRIPT_MAX);
    mla_buf_printf(&out,
        "# A first try: one decision tree on the columns as they are.\n"
        "import pandas as pd\n"
        "from sklearn.tree import %s\n\n"
        "train = pd.read_csv(\"data/train.csv\")\n"
        "test = pd.read_csv(\"data/test.csv\")\n\n\n"
        "def encode(column):\n"
        "    if pd.api.types.is_numeric_dtype(column):\n"
        "        return column.fillna(0)\n"
        "    return column.astype(\"category\").cat.codes\n\n\n", model);
    mla_buf_printf(&out,
        "features = [c for c in test.columns if c != %s]\n"
        "both = pd.concat([train[features], test[features]]).apply(encode)\n"
        "X, X_test = both[:len(train)], both[len(train):]\n\n"
        "model = %s(max_depth=%d, random_state=0)\n"
        "model.fit(X, train[%s])\n", id, model, 4, target);
    mla_buf_printf(&out, "prediction = model.predict%s(X_test)%s\n", scores ? "_proba" : "",
                   scores ? "[:, 1]" : "");
    mla_buf_printf(&out,
        "submission = pd.DataFrame({%s: test[%s], %s: prediction})\n"
        "submission.to_csv(\"submission.csv\", index=False)\n", id, id, target);
    free(id);
    free(target);
    return mla_buf_take(&out);
}
