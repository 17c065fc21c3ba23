# A good solution, whose score is m_best: boosting on smoothed pixels, local paper and neighbours.
import numpy as np
import pandas as pd
from lightgbm import LGBMRegressor
from scipy.ndimage import gaussian_filter, median_filter, minimum_filter, percentile_filter

SIZE = 56
train, test = pd.read_csv("data/train.csv"), pd.read_csv("data/test.csv")


def features(frame):
    frame = frame.sort_values(["page", "row", "col"])
    rows = []
    for image in frame["dirty"].to_numpy().reshape(-1, SIZE, SIZE):
        maps = [image, median_filter(image, 3), median_filter(image, 5)]
        maps += [gaussian_filter(image, s) for s in (0.7, 1.2, 2.0, 4.0, 8.0, 16.0)]
        soft = gaussian_filter(image, 1.0)
        for size in (7, 13, 21):
            paper = gaussian_filter(percentile_filter(soft, 80, size), 2.0)
            maps += [paper, soft / (paper + 0.05), image / (paper + 0.05)]
        maps += [minimum_filter(soft, 5), np.sqrt(gaussian_filter((image - soft) ** 2, 2.0)),
                 np.full_like(image, np.median(image)), np.full_like(image, np.quantile(image, 0.9)),
                 np.full_like(image, image.std())]
        padded = np.pad(image, 2, mode="reflect")
        maps += [padded[y:y + SIZE, x:x + SIZE] for y in range(5) for x in range(5)
                 if (y, x) != (2, 2)]
        rows.append(np.stack(maps, axis=-1).reshape(SIZE * SIZE, -1))
    return frame, np.vstack(rows)


train, X = features(train)
test, X_test = features(test)
guess = np.mean([LGBMRegressor(n_estimators=120, learning_rate=0.08, num_leaves=31,
                               colsample_bytree=0.4, min_child_samples=100, random_state=seed,
                               n_jobs=1, verbose=-1).fit(X, train["clean"]).predict(X_test)
                 for seed in range(2)], axis=0)
pd.DataFrame({"id": test["id"], "clean": guess.clip(0, 1)}).sort_values("id").to_csv(
    "submission.csv", index=False)
