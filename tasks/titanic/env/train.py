# Titanic: a first try with a decision tree on the numeric columns.
import pandas as pd
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier

train = pd.read_csv("data/train.csv")
test = pd.read_csv("data/test.csv")


def make_features(df):
    out = pd.DataFrame(index=df.index)
    out["pclass"] = df["pclass"]
    out["age"] = df["age"].fillna(0)
    out["fare"] = df["fare"].fillna(0)
    out["sibsp"] = df["sibsp"]
    out["parch"] = df["parch"]
    return out


X = make_features(train)
y = train["survived"]
X_test = make_features(test)

X_fit, X_val, y_fit, y_val = train_test_split(X, y, test_size=0.2, shuffle=False)
model = DecisionTreeClassifier(min_samples_leaf=5, random_state=0)
model.fit(X_fit, y_fit)
print("validation accuracy:", accuracy_score(y_val, model.predict(X_val)))

pred = model.predict(X_test)
submission = pd.DataFrame({"id": test["id"], "survived": pred})
submission.to_csv("submission.csv", index=False)
