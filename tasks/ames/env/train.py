"""House prices in Ames: linear regression on a few numbers."""
import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import train_test_split

TARGET = "Sale_Price"
COLUMNS = ["Gr_Liv_Area", "Lot_Area", "Bedroom_AbvGr", "Year_Built"]


def features(df):
    x = df[COLUMNS].astype(float)
    return x


def fit_predict(x, y, x_new):
    model = LinearRegression()
    model.fit(x, y)
    return model.predict(x_new)


def main():
    train = pd.read_csv("data/train.csv")
    test = pd.read_csv("data/test.csv")
    x, y = features(train), train[TARGET]
    x_test = features(test)

    x_a, x_b, y_a, y_b = train_test_split(x, y, test_size=0.25, random_state=1)
    print("hold-out MAE:", mean_absolute_error(y_b, fit_predict(x_a, y_a, x_b)))

    pred = fit_predict(x, y, x_test)
    pd.DataFrame({"id": test["id"], TARGET: pred}).to_csv("submission.csv", index=False)


if __name__ == "__main__":
    main()
