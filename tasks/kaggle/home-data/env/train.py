# House prices: linear regression on a handful of numeric columns.
import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import train_test_split

FEATURES = ["LotArea", "YearBuilt", "GrLivArea", "OverallQual"]

train = pd.read_csv("data/train.csv")
test = pd.read_csv("data/test.csv")

X_train, X_val, y_train, y_val = train_test_split(
    train[FEATURES], train["SalePrice"], test_size=0.2, random_state=1)
model = LinearRegression()
model.fit(X_train, y_train)
print("validation MAE:", mean_absolute_error(y_val, model.predict(X_val)))

submission = pd.DataFrame({"id": test["id"], "SalePrice": model.predict(test[FEATURES])})
submission.to_csv("submission.csv", index=False)
