# Insults in comments: naive Bayes on which words occur.
import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import BernoulliNB


class InsultModel:
    def __init__(self):
        self.vectorizer = CountVectorizer(binary=True, max_features=1000)
        self.classifier = BernoulliNB()

    def fit(self, comments, labels):
        self.classifier.fit(self.vectorizer.fit_transform(comments), labels)
        return self

    def predict(self, comments):
        return self.classifier.predict(self.vectorizer.transform(comments))


train = pd.read_csv("data/train.csv")
test = pd.read_csv("data/test.csv")
held_back = train.sample(frac=0.2, random_state=5)
kept = train.drop(held_back.index)
trial = InsultModel().fit(kept["Comment"], kept["Insult"])
print("accuracy:", (trial.predict(held_back["Comment"]) == held_back["Insult"]).mean())

model = InsultModel().fit(train["Comment"], train["Insult"])
pd.DataFrame({"id": test["id"], "Insult": model.predict(test["Comment"])}).to_csv(
    "submission.csv", index=False)
