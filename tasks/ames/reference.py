# A good solution, whose score is m_best: ridge on one-hot columns, two boosters, averaged in logs.
import numpy as np
import pandas as pd
from lightgbm import LGBMRegressor
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

train = pd.read_csv("data/train.csv")
test = pd.read_csv("data/test.csv")
y = np.log(train["Sale_Price"])

both = pd.concat([train.drop(columns="Sale_Price"), test], ignore_index=True).drop(columns="id")
both["total_area"] = both["Gr_Liv_Area"] + both["Total_Bsmt_SF"]
both["baths"] = both[["Full_Bath", "Bsmt_Full_Bath"]].sum(axis=1) + 0.5 * both["Half_Bath"]
both["age"] = both["Year_Sold"] - both["Year_Built"]
both["since_remodel"] = both["Year_Sold"] - both["Year_Remod_Add"]
skewed = ["Lot_Area", "Gr_Liv_Area", "total_area", "First_Flr_SF", "Mas_Vnr_Area", "Open_Porch_SF"]
both[skewed] = np.log1p(both[skewed])
levels = ["Very_Poor", "Poor", "Fair", "Below_Average", "Average", "Above_Average", "Good",
          "Very_Good", "Excellent"]
both["condition"] = both["Overall_Cond"].map(levels.index)

text = both.select_dtypes("object").columns
wide = pd.get_dummies(both, columns=list(text), dtype=float)
wide = wide.loc[:, wide[:len(train)].sum() != 0]
both[text] = both[text].apply(lambda column: column.astype("category").cat.codes)

n = len(train)
ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(1, 4, 13)))
guesses = [ridge.fit(wide[:n], y).predict(wide[n:])]
for seed in range(2):
    boost = GradientBoostingRegressor(loss="huber", n_estimators=300, learning_rate=0.05,
                                      max_depth=4, subsample=0.6, max_features=0.2,
                                      random_state=seed)
    light = LGBMRegressor(n_estimators=350, learning_rate=0.04, num_leaves=12, colsample_bytree=0.3,
                          subsample=0.7, subsample_freq=1, reg_lambda=1.0, random_state=seed,
                          n_jobs=1, verbose=-1)
    guesses += [m.fit(both[:n], y).predict(both[n:]) for m in (boost, light)]
price = np.exp(0.45 * guesses[0] + 0.55 * np.mean(guesses[1:], axis=0))
pd.DataFrame({"id": test["id"], "Sale_Price": price}).to_csv("submission.csv", index=False)
