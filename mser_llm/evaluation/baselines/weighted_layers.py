# SPDX-License-Identifier: Apache-2.0
"""Linear classifier on a learned mean of layers, as SUPERB probes frozen encoders (Yang et al. 2021, Sec. 2.2)."""

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight


class WeightedLayersClassifier(ClassifierMixin, BaseEstimator):
    """
    Multinomial logistic regression on `sum_l softmax(a)_l * z_l / s`, where `z_l` is layer l standardized on the
    training clips.

    `s` is the root mean square of the sum over the training clips. Without it, a mean of layers is smaller than a
    single layer, and the regularization moves all weight to one layer regardless of its information. Layer weights and
    regression are fitted jointly by L-BFGS. For a single layer this equals scikit-learn's
    `LogisticRegression(C=C, class_weight="balanced")`.

    Args:
        C: inverse of the regularization strength.
        max_iter: of L-BFGS.
    """

    def __init__(self, C: float = 0.01, max_iter: int = 200):
        self.C, self.max_iter = C, max_iter

    def fit(self, X: np.ndarray, y: np.ndarray) -> "WeightedLayersClassifier":
        """Fit on features `(num_clips, num_layers, dim)` and labels `(num_clips,)`."""
        self.classes_, targets = np.unique(y, return_inverse=True)
        inputs = torch.from_numpy(np.asarray(X, dtype=np.float32))
        self.mean_ = inputs.mean(0)
        deviation = inputs.std(0, correction=0)
        self.scale_ = torch.where(deviation > 0, deviation, 1.0)
        inputs = (inputs - self.mean_) / self.scale_
        labels = torch.from_numpy(targets)
        weights = torch.from_numpy(compute_sample_weight("balanced", y)).float()
        mixing = torch.zeros(inputs.shape[1], requires_grad=True)
        matrix = torch.zeros(inputs.shape[2], len(self.classes_), requires_grad=True)
        bias = torch.zeros(len(self.classes_), requires_grad=True)
        parameters = [mixing, matrix, bias]
        optimizer = torch.optim.LBFGS(
            parameters,
            max_iter=self.max_iter,
            tolerance_grad=1e-6,
            tolerance_change=1e-9,
            line_search_fn="strong_wolfe",
        )

        def objective() -> torch.Tensor:
            optimizer.zero_grad()
            mixed = torch.einsum("l,nld->nd", mixing.softmax(0), inputs)
            logits = mixed / mixed.square().mean().sqrt() @ matrix + bias
            losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
            # scikit-learn's objective divided by the number of clips, so that step sizes do not depend on it.
            loss = (self.C * (weights * losses).sum() + 0.5 * matrix.square().sum()) / (self.C * len(labels))
            loss.backward()
            return loss

        optimizer.step(objective)
        self.layer_weights_ = mixing.detach().softmax(0)
        self.mixed_scale_ = torch.einsum("l,nld->nd", self.layer_weights_, inputs).square().mean().sqrt()
        self.matrix_, self.bias_ = matrix.detach(), bias.detach()
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return probabilities `(num_clips, num_classes)` in the order of `classes_`."""
        inputs = (torch.from_numpy(np.asarray(X, dtype=np.float32)) - self.mean_) / self.scale_
        mixed = torch.einsum("l,nld->nd", self.layer_weights_, inputs) / self.mixed_scale_
        logits = mixed @ self.matrix_ + self.bias_
        return logits.double().softmax(-1).numpy()

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the most probable label of each clip."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]
