"""The peer that sweeps are compared with: the same trials, written like PyTorch's tutorial on tuning with Ray Tune.

PIL images, torchvision's transforms, a `DataLoader`, a plain loop, `tune.report` after each epoch, and torch's default
precision, which on a GPU is TF32 in convolutions. Unlike the tutorial it evaluates both splits, as this project does,
and writes no checkpoints:
https://docs.pytorch.org/tutorials/beginner/hyperparameter_tuning_tutorial.html
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn, optim
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision import transforms

from trainable.data import Split


class Net(nn.Module):
    """The baseline's network, written as tutorials write it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.pool = nn.MaxPool2d(2, 2)
        self.fc1 = nn.Linear(32 * 8 * 8, 128)
        self.fc2 = nn.Linear(128, 128)
        self.fc3 = nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (N, 3, 32, 32) to scores (N, 10)."""
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


class Images(Dataset):
    """A split that is loaded as by `torchvision.datasets.CIFAR10`: each array becomes a PIL image, then a tensor."""

    def __init__(self, split: Split) -> None:
        self.data = np.ascontiguousarray(split.images[split.index])
        self.targets = split.labels[split.index].tolist()
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))]
        )

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.data[index])), self.targets[index]


def in_memory(images: Images) -> TensorDataset:
    """The same split, made at once."""
    pixels = torch.from_numpy(images.data).permute(0, 3, 1, 2).float().div_(255)
    return TensorDataset(pixels.sub_(0.5).div_(0.5).contiguous(), torch.tensor(images.targets))


def train_cifar(config: dict[str, Any]) -> None:
    """The tutorial's trainable. `config` holds `epochs`, `workers`, `device`, `threads`, `data`, `data_dir` and
    `preloaded`: whether the images are in memory as tensors."""
    from ray import tune

    from trainable.data import load

    torch.set_num_threads(config["threads"])
    device = config["device"]
    splits = load(config["data"], config["data_dir"]).splits("A")
    images = {name: Images(split) for name, split in splits.items()}
    loaders = {
        name: DataLoader(
            in_memory(split) if config["preloaded"] else split,
            batch_size=128,
            shuffle=name == "train",
            num_workers=config["workers"],
        )
        for name, split in images.items()
    }
    net = Net().to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(config["epochs"]):
        net.train()
        for inputs, labels in loaders["train"]:
            inputs, labels = inputs.to(device), labels.to(device)
            optimizer.zero_grad()
            loss = criterion(net(inputs), labels)
            loss.backward()
            optimizer.step()
        net.eval()
        errors = {}
        with torch.no_grad():
            for name, loader in loaders.items():
                wrong = 0
                for inputs, labels in loader:
                    inputs, labels = inputs.to(device), labels.to(device)
                    wrong += (net(inputs).argmax(1) != labels).sum().item()
                errors[f"{name}_error"] = wrong / len(loader.dataset)  # type: ignore[arg-type]
        tune.report(errors)
