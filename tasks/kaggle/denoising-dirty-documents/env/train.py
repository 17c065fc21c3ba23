# Clean pages: a few convolutions from the dirty page to the clean one, learnt on crops.
import numpy as np
import pandas as pd
import torch
import torch.nn as nn

CROP, STEPS, BATCH = 64, 300, 8
rng = np.random.default_rng(0)
torch.manual_seed(0)

dirty = np.load("data/images.npz")
clean = np.load("data/cleaned.npz")
train = pd.read_csv("data/train.csv")
test = pd.read_csv("data/test.csv")
pages = {page: (dirty[page], clean[page]) for page in clean.files}
names = sorted(pages)
kept, held = names[len(names) // 8:], names[:len(names) // 8]

model = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(),
    nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
    nn.Conv2d(8, 1, 3, padding=1),
)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


def crop():
    scan, target = pages[kept[rng.integers(len(kept))]]
    high, wide = (min(CROP, side) for side in scan.shape)
    top = rng.integers(scan.shape[0] - high + 1)
    left = rng.integers(scan.shape[1] - wide + 1)
    window = slice(top, top + high), slice(left, left + wide)
    return scan[window], target[window]


def cleaned(scan):
    with torch.no_grad():
        return model(torch.from_numpy(scan)[None, None])[0, 0].clamp(0, 1).numpy()


for step in range(STEPS):
    pairs = [crop() for _ in range(BATCH)]
    x = torch.from_numpy(np.stack([scan for scan, _ in pairs]))[:, None]
    y = torch.from_numpy(np.stack([target for _, target in pairs]))[:, None]
    loss = nn.functional.mse_loss(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

errors = [np.mean((cleaned(pages[page][0]) - pages[page][1]) ** 2) for page in held]
print("RMSE of held pages:", np.sqrt(np.mean(errors)))
for page, rows in test.groupby("page").groups.items():
    picture = cleaned(dirty[str(page)])
    test.loc[rows, "value"] = picture[test.loc[rows, "row"], test.loc[rows, "column"]]
test[["id", "value"]].to_csv("submission.csv", index=False)
