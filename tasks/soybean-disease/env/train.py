import csv

from sklearn.metrics import log_loss
from sklearn.tree import DecisionTreeClassifier

# answers that look most telling; a missing answer becomes -1
USED = ["date", "precip", "temp", "leaves", "leaf_size", "stem", "seed", "roots"]


def read(path):
    with open(path, newline="") as f:
        return list(csv.DictReader(f))


def to_number(text):
    return float(text) if text else -1.0


def encode(plant):
    return [to_number(plant[name]) for name in USED]


def build_model():
    return DecisionTreeClassifier(max_depth=5, min_samples_leaf=10, random_state=0)


plants = read("data/train.csv")
unknown = read("data/test.csv")
X = [encode(p) for p in plants]
y = [p["disease"] for p in plants]

# validation: two plants of three to fit, the third to check
fit = [i for i in range(len(X)) if i % 3]
check = [i for i in range(len(X)) if i % 3 == 0]
model = build_model().fit([X[i] for i in fit], [y[i] for i in fit])
guess = model.predict_proba([X[i] for i in check])
known = [k for k, i in enumerate(check) if y[i] in model.classes_]
print("validation log loss", log_loss([y[check[k]] for k in known], guess[known],
                                      labels=model.classes_))

model = build_model().fit(X, y)
probabilities = model.predict_proba([encode(p) for p in unknown])
with open("submission.csv", "w", newline="") as f:
    out = csv.writer(f)
    out.writerow(["id"] + list(model.classes_))
    for plant, row in zip(unknown, probabilities):
        out.writerow([plant["id"]] + [round(p, 6) for p in row])
