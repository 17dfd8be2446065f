"""How hard the bacteria are: logistic regression and a good deep network on the default splits; part of `make bench`.

The data set promises that a linear classifier gets 45 to 75 per cent of the test pictures right and that a good deep
network gets more than 85. The first bound is also a test; the second takes a minute of training, and stands here.
"""

import sys

import torch
from sklearn.linear_model import LogisticRegression

from snnlib import datasets
from snnlib.networks import fully_connected

EPOCHS, BATCH, RATE, SEEDS = 20, 128, 1e-3, (0,)


def deep_accuracy(train, test, seed):
    """Test accuracy of four hidden layers of 512 ReLU units with dropout."""
    torch.manual_seed(seed)
    model = fully_connected([784, *[512] * 4, 10], "relu", dropout=0.2, scheme="he", seed=seed)
    x, y = torch.from_numpy(train.x), torch.from_numpy(train.y)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.05)
    steps = EPOCHS * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        answers = model.eval()(torch.from_numpy(test.x)).argmax(dim=1)
    return (answers == torch.from_numpy(test.y)).float().mean().item()


def main():
    """Print both accuracies; exit with 1 when a promise is broken."""
    train, test = datasets.bacteria("train"), datasets.bacteria("test")
    linear = LogisticRegression(C=0.01, max_iter=1000).fit(train.x, train.y).score(test.x, test.y)
    deep = [deep_accuracy(train, test, seed) for seed in SEEDS]
    print(f"Bacteria, {len(train):,} training and {len(test):,} test pictures")
    print(f"  logistic regression {linear:.1%} (promised: 45 to 75 %)")
    print(f"  four hidden layers  {', '.join(f'{a:.1%}' for a in deep)} (promised: more than 85 %)")
    return 0 if 0.45 < linear < 0.75 and min(deep) > 0.85 else 1


if __name__ == "__main__":
    sys.exit(main())
