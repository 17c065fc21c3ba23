// A task that runs for real in milliseconds: data, starter script, ideas that help, hurt, break or
// change nothing. For the tests that go through several rooms.
#ifndef MLA_TESTS_TOY_TASK_H
#define MLA_TESTS_TOY_TASK_H

#include "task_fixture.h"

// Guesses y = x > K. In truth y is x > 4, but for the private id 2: K = 2 gives 0.75 in the public
// half (odd ids) and 0.5 in the private, K = 4 gives 1 and 0.75.
static const char train_py[] =
    "import csv\n"
    "K = 2\n"
    "rows = list(csv.DictReader(open('data/test.csv')))\n"
    "\n"
    "def guess(x):\n"
    "    return int(x > K)\n"
    "\n"
    "with open('submission.csv', 'w') as out:\n"
    "    out.write('id,y\\n')\n"
    "    for r in rows:\n"
    "        out.write('%s,%d\\n' % (r['id'], guess(float(r['x']))))\n";
static const char test_csv[] = "id,x\n1,1\n2,2\n3,3\n4,4\n5,5\n6,6\n7,7\n8,8\n";
static const char answers_csv[] = "id,y,half\n1,0,public\n2,1,private\n3,0,public\n4,0,private\n"
                                  "5,1,public\n6,1,private\n7,1,public\n8,1,private\n";

#define IDEA(id, text, search, replace)                                                      \
    "- id: " id "\n  family: model\n  text: " text "\n  why: It may be where the rows change.\n" \
    "  edit: |-\n    <<<<<<< SEARCH\n    " search "\n    =======\n    " replace              \
    "\n    >>>>>>> REPLACE\n"

static const char ideas_yaml[] =
    "ideas:\n"
    IDEA("four", "Split the rows at four.", "K = 2", "K = 4")
    IDEA("six", "Split the rows at six.", "K = 2", "K = 6")
    IDEA("zero", "Call every row positive.", "K = 2", "K = 0")
    IDEA("half", "Compare with a half more than the threshold.", "    return int(x > K)",
         "    return int(x > K + 0.5)")
    IDEA("two-more", "Compare with two more than the threshold.", "    return int(x > K)",
         "    return int(x > K + 2)")
    IDEA("broken", "Use a threshold that is not there.", "    return int(x > K)",
         "    return int(x > LIMIT)");

// The interpreter of the task Python.
static inline char *toy_python(void) {
    const char *named = getenv("MLAGENT_PYTHON");
    if (named) return mla_strdup(named);
    char *home = mla_home(), *path = mla_fs_join(home, "venv/bin/python");
    free(home);
    return path;
}

static inline void toy_write(const fixture *f) {
    char *once = with(toy_yaml, "{public: 0.5, private: 0.51}", "{public: 0.75, private: 0.5}");
    char *yaml = with(once, "{public: 0.9, private: 0.91}", "{public: 1, private: 1}");
    fixture_write(f->dir, "task.yaml", yaml);
    free(once);
    free(yaml);
    fixture_write(f->dir, "env/train.py", train_py);
    fixture_write(f->dir, "ideas.yaml", ideas_yaml);
    fixture_write(f->home, "data/toy/test.csv", test_csv);
    fixture_write(f->home, "answers/toy.csv", answers_csv);
    fixture_write(f->home, "versions/toy.json", "{\"data\": \"v1\"}");
}

#endif
