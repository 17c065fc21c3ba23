# 4 or 9? logistic regression on a coarse version of the picture
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

tr = np.loadtxt("data/train.csv", delimiter=",", skiprows=1)
te = np.loadtxt("data/test.csv", delimiter=",", skiprows=1)
img, nine = tr[:, 1:-1].reshape(-1, 28, 28), tr[:, -1]
img_te = te[:, 1:].reshape(-1, 28, 28)


def describe(a):
    coarse = a.reshape(len(a), 4, 7, 4, 7).mean(axis=(2, 4))  # 4 x 4 blocks of 7 x 7 pixels
    return coarse.reshape(len(a), -1) / 255


x, x_te = describe(img), describe(img_te)

# last 100 pictures: a check
clf = LogisticRegression(C=0.1)
clf.fit(x[:-100], nine[:-100])
print("log loss on the last 100: %.4f" % log_loss(nine[-100:], clf.predict_proba(x[-100:])[:, 1]))

clf.fit(x, nine)
prob = clf.predict_proba(x_te)[:, 1]

with open("submission.csv", "w") as f:
    f.write("id,nine\n")
    for i, p in zip(te[:, 0], prob):
        f.write("%d,%.6f\n" % (i, p))
