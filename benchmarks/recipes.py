"""How many ordinary recipes of scientific Python run behind a boundary: ``python benchmarks/recipes.py [--backend landlock]``.

Thirty-two statistics as people write them, with NumPy, SciPy, scikit-learn, pandas and torch, each run on eight
labellings of 60 × 12. A recipe counts if it gives finite numbers, the ones of this process. A recipe whose library is not
installed here is named and not counted. Imports stand inside the recipes: in a worker they happen behind the boundary.
"""

import argparse
import importlib.util
import sys

import numpy as np

from hyposcreen.agent.sandbox.backends import BACKENDS
from hyposcreen.agent.sandbox.statistics import Bounds, StatisticSandbox

HEAD = "import numpy as np\ndef statistic(emb, labels):\n    x, y = emb[labels == 1], emb[labels == 0]\n"
RECIPES = {
    "numpy: distance of means": "return np.linalg.norm(x.mean(0) - y.mean(0))",
    "numpy: svd": "return np.linalg.svd(x - x.mean(0), compute_uv=False)[0]",
    "numpy: eigenvalues of a covariance": "return np.linalg.eigvalsh(np.cov(x.T))[-1]",
    "numpy: fft": "return np.abs(np.fft.rfft(x, axis=1)).mean()",
    "numpy: seeded generator": "r = np.random.default_rng(0)\n    return x[:, r.permutation(12)[:4]].mean()",
    "numpy: masked array": "return np.ma.masked_less(x, 0).mean()",
    "numpy: einsum and quantile": "return np.quantile(np.einsum('id,jd->ij', x, x), 0.9)",
    "numpy: polynomial": "return np.polynomial.Polynomial.fit(np.arange(12), x.mean(0), 3).coef[1]",
    "scipy: rank sum": "from scipy import stats\n    return stats.mannwhitneyu(x[:, 0], y[:, 0]).statistic",
    "scipy: spearman": "from scipy import stats\n    return stats.spearmanr(emb[:, 0], labels).statistic",
    "scipy: kolmogorov smirnov": "from scipy import stats\n    return stats.ks_2samp(x[:, 0], y[:, 0]).statistic",
    "scipy: energy distance": "from scipy import stats\n    return stats.energy_distance(x[:, 0], y[:, 0])",
    "scipy: density": "from scipy import stats\n    return stats.gaussian_kde(x[:, 0])(y[:, 0]).mean()",
    "scipy: distances": "from scipy.spatial.distance import pdist\n    return pdist(x, 'cosine').mean()",
    "scipy: kd tree": "from scipy.spatial import cKDTree\n    return cKDTree(y).query(x, k=3)[0].mean()",
    "scipy: linkage": "from scipy.cluster.hierarchy import linkage\n    return linkage(x, 'average')[-1, 2]",
    "scipy: spanning tree": "from scipy.sparse.csgraph import minimum_spanning_tree as t\n"
    "    from scipy.spatial.distance import cdist\n    return t(cdist(x, x)).sum()",
    "scipy: optimise": "from scipy.optimize import minimize\n"
    "    return minimize(lambda b: ((x - b) ** 2).sum(), np.zeros(12)).fun",
    "scipy: sparse": "from scipy import sparse\n    return sparse.csr_matrix(x > 0).sum()",
    "scipy: procrustes": "from scipy.spatial import procrustes\n    return procrustes(x[:8], y[:8])[2]",
    "sklearn: silhouette": "from sklearn.metrics import silhouette_score\n    return silhouette_score(emb, labels)",
    "sklearn: auroc": "from sklearn.metrics import roc_auc_score\n    return roc_auc_score(labels, emb[:, 0])",
    "sklearn: logistic": "from sklearn.linear_model import LogisticRegression\n"
    "    return LogisticRegression().fit(emb, labels).score(emb, labels)",
    "sklearn: lda": "from sklearn.discriminant_analysis import LinearDiscriminantAnalysis as L\n"
    "    return L().fit(emb, labels).score(emb, labels)",
    "sklearn: neighbours": "from sklearn.neighbors import NearestNeighbors\n"
    "    return labels[NearestNeighbors(n_neighbors=4).fit(emb).kneighbors(x)[1]].mean()",
    "sklearn: pca": "from sklearn.decomposition import PCA\n    return PCA(2).fit(x).explained_variance_ratio_[0]",
    "sklearn: k-means": "from sklearn.cluster import KMeans\n    return KMeans(2, n_init=1, random_state=0).fit(x).inertia_",
    "sklearn: forest, cross-validated": "from sklearn.ensemble import RandomForestClassifier as F\n"
    "    from sklearn.model_selection import cross_val_score\n"
    "    return cross_val_score(F(5, random_state=0), emb, labels, cv=2).mean()",
    "pandas: group means": "import pandas as pd\n"
    "    return pd.DataFrame(emb).groupby(np.asarray(labels)).mean().diff().abs().to_numpy()[-1].sum()",
    "pandas: correlations": "import pandas as pd\n    return pd.DataFrame(x).corr('spearman').to_numpy().mean()",
    "torch: distances": "import torch\n    return torch.cdist(torch.tensor(x), torch.tensor(y)).mean().item()",
    "torch: a gradient": "import torch\n    b = torch.zeros(12, requires_grad=True)\n"
    "    ((torch.tensor(x) - b) ** 2).sum().backward()\n    return b.grad.norm().item()",
}  # fmt: skip


def code_of(recipe: str) -> str:
    """The source a worker gets; a result of any number type becomes a float."""
    return (
        HEAD.replace("def statistic(", "def recipe(")
        + f"    {recipe}\ndef statistic(emb, labels):\n    return float(recipe(emb, labels))\n"
    )


def library(name: str) -> str:
    """The library a recipe needs."""
    return name.split(":", maxsplit=1)[0]


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--backend", default="landlock", choices=list(BACKENDS))
    arguments.add_argument("--only", default="", help="part of the names of recipes")
    chosen = arguments.parse_args()
    random = np.random.default_rng(0)
    embedding = random.normal(size=(60, 12)).astype(np.float32)
    labels = np.array([random.permutation(np.arange(60) < 20) for _ in range(8)], np.int8)
    missing = {n for n in ("sklearn", "pandas", "torch") if importlib.util.find_spec(n) is None}
    sandbox = StatisticSandbox(BACKENDS[chosen.backend])
    ran = tried = 0
    try:
        for name, recipe in RECIPES.items():
            if chosen.only not in name:
                continue
            if library(name) in missing:
                print(f"  not installed here: {name}")
                continue
            tried += 1
            run = sandbox.run(
                code_of(recipe), embedding, labels, Bounds(wall_seconds=300, cpu_seconds=300, memory_bytes=2 << 30)
            )
            here: dict[str, object] = {}
            exec(code_of(recipe), here)
            expected = np.array([here["statistic"](embedding, row) for row in labels])  # type: ignore[operator]
            good = run.end == "ok" and np.isfinite(run.values).all() and np.allclose(run.values, expected, rtol=1e-5)
            ran += good
            if not good:
                print(f"  does not run: {name}: {run.end}; {run.output.strip()[-300:]}")
    finally:
        sandbox.close()
    print(f"{chosen.backend}: {ran} of {tried} recipes run, of {len(RECIPES)}")
    sys.exit(int(ran < tried - 2))


if __name__ == "__main__":
    main()
