# Subjects of papers: a small network on the papers' word vectors. The graph is not used.
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

HIDDEN, EPOCHS, BATCH, RATE = 16, 4, 1024, 0.1


class MLP(torch.nn.Module):
    def __init__(self, n_in, n_hidden, n_out, dropout=0.0):
        super().__init__()
        self.first = torch.nn.Linear(n_in, n_hidden)
        self.norm = torch.nn.BatchNorm1d(n_hidden)
        self.last = torch.nn.Linear(n_hidden, n_out)
        self.dropout = dropout

    def forward(self, x):
        x = F.relu(self.norm(self.first(x)))
        x = F.dropout(x, p=self.dropout, training=self.training)
        return torch.log_softmax(self.last(x), dim=-1)


def accuracy(model, x, y):
    model.eval()
    with torch.no_grad():
        return (model(x).argmax(dim=1) == y).float().mean().item()


torch.manual_seed(1)
train, test = pd.read_csv("data/train.csv"), pd.read_csv("data/test.csv")
features = torch.from_numpy(np.load("data/features.npy"))
late = (train["year"] >= train["year"].quantile(0.9)).to_numpy()
x_fit, y_fit = features[train["node"][~late].values], torch.tensor(train["label"][~late].values)
x_val, y_val = features[train["node"][late].values], torch.tensor(train["label"][late].values)

model = MLP(features.shape[1], HIDDEN, 40)
optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
for epoch in range(EPOCHS):
    model.train()
    for rows in torch.randperm(len(x_fit)).split(BATCH):
        optimizer.zero_grad()
        F.nll_loss(model(x_fit[rows]), y_fit[rows]).backward()
        optimizer.step()
    print(f"Train: {accuracy(model, x_fit, y_fit):.4f}, "
          f"latest papers: {accuracy(model, x_val, y_val):.4f}")

model.eval()
with torch.no_grad():
    test["label"] = model(features[test["node"].values]).argmax(dim=1).numpy()
test[["id", "label"]].to_csv("submission.csv", index=False)
