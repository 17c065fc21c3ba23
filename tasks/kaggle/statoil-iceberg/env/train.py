"""Iceberg or ship: a convolutional network on the two bands. The angle is not used."""
import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits

torch.manual_seed(11)
train, test = pd.read_csv("data/train.csv"), pd.read_csv("data/test.csv")


def bands(path):
    x = torch.from_numpy(np.load(path)).permute(0, 3, 1, 2)
    return avg_pool2d((x + 20) / 10, 3)


class IcebergNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(2, 16, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2))
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(32 * 4 * 4, 32), nn.ReLU(),
                                  nn.Linear(32, 1))

    def forward(self, x):
        return self.head(self.features(x)).squeeze(-1)


X = bands("data/train_bands.npy")
y = torch.from_numpy(train["is_iceberg"].to_numpy()).float()
fold = torch.arange(len(X)) % 4 == 0
net = IcebergNet()
sgd = torch.optim.SGD(net.parameters(), lr=0.01)
for epoch in range(15):
    fit = torch.nonzero(~fold)[:, 0]
    for rows in fit[torch.randperm(len(fit))].split(32):
        sgd.zero_grad()
        binary_cross_entropy_with_logits(net(X[rows]), y[rows]).backward()
        sgd.step()
with torch.no_grad():
    print("validation log loss:", binary_cross_entropy_with_logits(net(X[fold]), y[fold]).item())
    test["is_iceberg"] = torch.sigmoid(net(bands("data/test_bands.npy"))).numpy()
test[["id", "is_iceberg"]].to_csv("submission.csv", index=False)
