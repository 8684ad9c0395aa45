"""Predictors of success from text, behind one interface, and the candidates made of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingRegressor
from torch import nn

from supervised.success.cross_fitting import (
    BoolArray,
    FloatArray,
    Predictor,
    Problem,
    log_odds,
    prior_log_odds,
    sigmoid,
)

TYPE_PRIOR = 5.0
"""Queries that the overall mean counts for in the mean features of a type; chosen."""
FORM_SCALE = 0.2
"""Size of a standardised count beside an embedding, whose components are about 0.05; chosen on
training and validation queries of zeroeval and llmrouter."""


def text_features(problem: Problem, fit: BoolArray) -> FloatArray:
    """Returns float64 (Q, D + F): embeddings and counts, less the mean of their task type.

    What the type tells is in the type mean already. Counts are divided by their spread within the
    type and cut at 3 of it. Means and spreads are those of the chosen queries.
    """
    task_type = problem.labels.task_type
    embeddings = problem.embeddings.astype(np.float64)
    form = problem.form.copy()
    embedding_mean = embeddings[fit].mean(axis=0)
    form_mean, form_variance = form[fit].mean(axis=0), form[fit].var(axis=0)
    for t in range(problem.num_types):
        rows = task_type == t
        some = fit & rows
        weight = TYPE_PRIOR / (some.sum() + TYPE_PRIOR)
        mean = weight * embedding_mean + embeddings[some].sum(0) * weight / TYPE_PRIOR
        embeddings[rows] -= mean
        mean = weight * form_mean + form[some].sum(0) * weight / TYPE_PRIOR
        squares = ((form[some] - mean) ** 2).sum(0) * weight / TYPE_PRIOR
        spread = np.sqrt(weight * form_variance + squares) + 1e-6
        form[rows] = np.clip((form[rows] - mean) / spread, -3.0, 3.0)
    return np.hstack([embeddings, FORM_SCALE * form])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Mean surplus over the type mean of the queries with the most similar text."""

    num_neighbours: int = 50
    """Chosen among 20, 50 and 100 on training queries."""
    prior_calls: float = 20.0
    """Calls that the type mean counts for; chosen among 5 and 20."""

    def __call__(self, problem: Problem, fit: BoolArray, *, seed: int) -> FloatArray:
        """See `Predictor`."""
        features = text_features(problem, fit).astype(np.float32)
        features /= np.linalg.norm(features, axis=1, keepdims=True) + 1e-12
        prior = sigmoid(prior_log_odds(problem, fit))
        known = problem.labels.known[fit]
        surplus = (problem.labels.success[fit] - prior[fit]) * known
        count = min(self.num_neighbours, len(surplus))
        result = np.empty_like(prior)
        for rows in np.array_split(np.arange(len(prior)), len(prior) // 1000 + 1):
            similarity = features[rows] @ features[fit].T
            nearest = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
            calls = known[nearest].sum(axis=1)
            result[rows] = prior[rows] + surplus[nearest].sum(1) / (calls + self.prior_calls)
        return log_odds(np.clip(result, 0.01, 0.99))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Logistic:
    """Logistic regression on text features, with the type mean as offset.

    A worker's coefficients are a part that all workers share, the difficulty of the query, and a
    part of its own, with an L2 penalty each. An intercept per worker and type moves the offset,
    as the mean over queries of a spread-out prediction is not that of its log-odds. Fitted to all
    workers at once by L-BFGS.
    """

    shared_penalty: float | None = 0.3
    """None leaves the shared part out: then every worker stands alone."""
    own_penalty: float = 3.0
    """Both chosen on training and validation queries of zeroeval and llmrouter, where the losses
    differ little: the share of the prediction makes up for the penalty."""

    def __call__(self, problem: Problem, fit: BoolArray, *, seed: int) -> FloatArray:
        """See `Predictor`."""
        features = torch.from_numpy(text_features(problem, fit)).float()
        prior = torch.from_numpy(prior_log_odds(problem, fit)).float()
        success, known = _targets(problem)
        num_workers, chosen = prior.shape[1], torch.from_numpy(fit)
        shared = torch.zeros(features.shape[1], 1, requires_grad=self.shared_penalty is not None)
        own = torch.zeros(features.shape[1], num_workers, requires_grad=True)
        intercept = torch.zeros(problem.num_types, num_workers, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [own, intercept, *([shared] if shared.requires_grad else [])],
            max_iter=60,
            tolerance_grad=1e-5,
            tolerance_change=1e-7,
            line_search_fn="strong_wolfe",
        )
        task_type = torch.from_numpy(problem.labels.task_type).long()
        inputs, offset, kind = features[chosen], prior[chosen], task_type[chosen]

        def closure() -> float:
            optimizer.zero_grad()
            output = offset + intercept[kind] + inputs @ (shared + own)
            loss = _sum_loss(output, success[chosen], known[chosen])
            loss = loss + self.own_penalty * (own**2).sum() + (intercept**2).sum()
            if self.shared_penalty is not None:
                loss = loss + num_workers * self.shared_penalty * (shared**2).sum()
            (loss / num_workers).backward()  # type: ignore[no-untyped-call]  # torch's own gap
            return float(loss.detach()) / num_workers

        optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch has no type for it
        with torch.no_grad():
            total = prior + intercept[task_type] + features @ (shared + own)
            return total.double().numpy()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Boosting:
    """Gradient-boosted trees for the difficulty of a query, shared by all workers.

    Difficulty is the step in log-odds that fits the query's recorded calls best to first order:
    the sum over workers of success - p by that of p * (1 - p), weighted by the latter, with p the
    type mean. A tree sees the main components of the embedding, the counts of the text, and the
    mean over workers of the type means.
    """

    num_components: int = 20
    num_trees: int = 100
    max_leaves: int = 8
    min_queries: int = 20
    """Queries that a leaf has at least."""

    def __call__(self, problem: Problem, fit: BoolArray, *, seed: int) -> FloatArray:
        """See `Predictor`."""
        size = min(self.num_components, problem.embeddings.shape[1], int(fit.sum()))
        components = PCA(size, svd_solver="full").fit(problem.embeddings[fit])
        prior = prior_log_odds(problem, fit)
        inputs = np.column_stack(
            [components.transform(problem.embeddings), problem.form, prior.mean(axis=1)]
        )
        labels, chance = problem.labels, sigmoid(prior)
        known = labels.known & fit[:, None]
        surplus = ((labels.success - chance) * known).sum(axis=1)
        weight = (chance * (1.0 - chance) * known).sum(axis=1)
        use = weight > 0
        model = HistGradientBoostingRegressor(
            learning_rate=0.05,
            max_iter=self.num_trees,
            max_leaf_nodes=self.max_leaves,
            min_samples_leaf=self.min_queries,
            early_stopping=False,
            random_state=seed,
        )
        model.fit(inputs[use], (surplus[use] / weight[use]), sample_weight=weight[use])
        return np.asarray(prior + model.predict(inputs)[:, None])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """A small network: one hidden layer that all workers share, and an output each.

    Its outputs are added to the type means and start at 0. The mean of several is taken.
    """

    hidden: int = 64
    dropout: float = 0.5
    num_epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 3.0e-3
    weight_decay: float = 0.01
    num_networks: int = 2

    def __call__(self, problem: Problem, fit: BoolArray, *, seed: int) -> FloatArray:
        """See `Predictor`."""
        features = text_features(problem, fit)
        scale = np.sqrt((features[fit] ** 2).mean()) + 1e-12
        inputs = torch.from_numpy(features / scale).float()
        prior = torch.from_numpy(prior_log_odds(problem, fit)).float()
        gain = torch.zeros_like(prior)
        with torch.random.fork_rng(devices=[]):
            for member in range(self.num_networks):
                torch.manual_seed(seed * self.num_networks + member)
                network = self._trained(problem, fit, inputs, prior)
                with torch.no_grad():
                    gain += network(inputs) / self.num_networks
        return (prior + gain).double().numpy()

    def _trained(
        self, problem: Problem, fit: BoolArray, inputs: torch.Tensor, prior: torch.Tensor
    ) -> nn.Module:
        """Trains one network on the chosen queries and returns it in evaluation mode."""
        output = nn.Linear(self.hidden, prior.shape[1])
        nn.init.zeros_(output.weight)
        nn.init.zeros_(output.bias)
        network = nn.Sequential(
            nn.Dropout(self.dropout),
            nn.Linear(inputs.shape[1], self.hidden),
            nn.ReLU(),
            nn.Dropout(self.dropout),
            output,
        )
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )
        success, known = _targets(problem)
        rows = torch.from_numpy(np.flatnonzero(fit))
        for _ in range(self.num_epochs):
            for index in torch.split(torch.randperm(len(rows)), self.batch_size):
                batch = rows[index]
                total = _sum_loss(
                    prior[batch] + network(inputs[batch]), success[batch], known[batch]
                )
                optimizer.zero_grad()
                (total / known[batch].sum().clamp(min=1.0)).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        return network.eval()


LOGISTIC = Logistic()
NEIGHBOURS = Neighbours()
BOOSTING = Boosting()
NETWORK = Network()
TYPE_MEAN = "type mean"
CANDIDATES: Mapping[str, tuple[Predictor, ...]] = {
    TYPE_MEAN: (),
    "nearest neighbours": (NEIGHBOURS,),
    "logistic per worker": (Logistic(shared_penalty=None),),
    "logistic": (LOGISTIC,),
    "boosting": (BOOSTING,),
    "network": (NETWORK,),
    "blend": (LOGISTIC, NETWORK, BOOSTING, NEIGHBOURS),
}
"""What is compared; the first is what every other has to beat."""


def _targets(problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns success and known, float32 (Q, W)."""
    labels = problem.labels
    success, known = (np.asarray(a, np.float32, order="C") for a in (labels.success, labels.known))
    return torch.from_numpy(success), torch.from_numpy(known)


def _sum_loss(output: torch.Tensor, success: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Returns the log loss summed over recorded pairs."""
    loss = nn.functional.binary_cross_entropy_with_logits(output, success, reduction="none")
    return (loss * known).sum()
