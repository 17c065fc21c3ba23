import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score

train = pd.read_csv("data/train.csv")
test = pd.read_csv("data/test.csv")

columns = [c for c in test.columns if c != "id"]
cut = int(0.8 * len(train))
fit, val = train[:cut], train[cut:]

forest = RandomForestClassifier(n_estimators=20, max_depth=10, random_state=0)
forest.fit(fit[columns], fit["Cover_Type"])
print("accuracy on the held-back fifth:",
      accuracy_score(val["Cover_Type"], forest.predict(val[columns])))

out = pd.DataFrame()
out["id"] = test["id"]
out["Cover_Type"] = forest.predict(test[columns])
out.to_csv("submission.csv", index=False)
