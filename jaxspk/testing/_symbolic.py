r"""The printed gradients derived once more by a computer algebra system, for small sizes. Needs sympy.

Every statement is an identity of rational functions in symbols for all entries; ``True`` means that the difference
of both sides expands to exactly 0.
"""

import itertools
from typing import Any


def symbolic_identities() -> dict[str, bool] | None:
    """The identities by name, each with whether it holds; None where sympy is not installed."""
    try:
        import sympy
    except ImportError:
        return None
    return {**_deep_clustering(sympy), **_siamese(sympy)}


def _deep_clustering(sympy: Any) -> dict[str, bool]:
    """Three bins, two dimensions, two sources: bins 0 and 1 share one."""
    bins, dim = 3, 2
    v = sympy.Matrix(bins, dim, lambda i, k: sympy.Symbol(f"v{i}{k}"))
    r = [sympy.Symbol(f"r{i}", positive=True) for i in range(bins)]
    y = sympy.Matrix([[1, 0], [1, 0], [0, 1]])
    weight = sympy.diag(*r)
    affinity, target = v * v.T, y * y.T
    pairs = itertools.product(range(bins), repeat=2)
    cost = sum(r[i] * r[j] * (affinity[i, j] - target[i, j]) ** 2 for i, j in pairs)
    low_rank = _squares(v.T * weight * v) - 2 * _squares(v.T * weight * y) + _squares(y.T * weight * y)
    gradient = 4 * weight * (v * (v.T * weight * v) - y * (y.T * weight * v))
    derived = sympy.Matrix(bins, dim, lambda i, k: sympy.diff(cost, v[i, k]))
    partition = {r[0]: 1 / sympy.sqrt(2), r[1]: 1 / sympy.sqrt(2), r[2]: 1}
    root = sympy.diag(1 / sympy.sqrt(2), 1 / sympy.sqrt(2), 1)
    printed = 4 * root * v * v.T * root * v - 4 * root * y * y.T * root * v
    return {
        "deep clustering: pairwise cost = low-rank cost": _zero(sympy, cost - low_rank),
        "deep clustering: dC/dV = 4R[V(V'RV) - Y(Y'RV)]": _zero(sympy, derived - gradient),
        "deep clustering: the printed gradient, D from labels": _zero(sympy, derived.subs(partition) - printed),
    }


def _siamese(sympy: Any) -> dict[str, bool]:
    """Three frames, three code units of which two belong to the code subset; c stands for sigma(u)."""
    frames, units, subset = 3, 3, 2
    same = sympy.Symbol("same")
    scale_m, scale_s = sympy.symbols("lambda_m lambda_S", positive=True)
    u = sympy.Symbol("u")
    sigmoid = 1 / (1 + sympy.exp(-u))
    holds = {"siamese: sigma' = sigma(1 - sigma)": _zero(sympy, sympy.diff(sigmoid, u) - sigmoid * (1 - sigmoid))}
    codes = [sympy.Matrix(frames, units, lambda t, j, i=i: sympy.Symbol(f"c{i}{t}{j}")) for i in (1, 2)]
    means, covariances = [], []
    for code in codes:
        mean = [sum(code[t, j] for t in range(frames)) / frames for j in range(subset)]
        means.append(mean)
        covariances.append(
            sympy.Matrix(
                subset,
                subset,
                lambda j, k, code=code, mean=mean: (
                    sum((code[t, j] - mean[j]) * (code[t, k] - mean[k]) for t in range(frames))
                    / sympy.Integer(frames - 1)
                ),
            )
        )
    apart = [means[0][j] - means[1][j] for j in range(subset)]
    delta = covariances[0] - covariances[1]
    distance_m, distance_s = sum(a**2 for a in apart), _squares(delta)
    # The exponentials stay symbols with their own derivative, so that everything else is a polynomial.
    far_m, far_s = sympy.symbols("exp_m exp_S")
    kappa_m, kappa_s = (same - (1 - same) * far / scale for far, scale in ((far_m, scale_m), (far_s, scale_s)))
    differences: dict[str, list[Any]] = {"A.1, A.2 mean part": [], "A.3 covariance part": [], "Eq. 5 whole": []}
    for i, code in enumerate(codes):
        sign = 1 if i == 0 else -1
        for t, j in itertools.product(range(frames), range(units)):
            c = code[t, j]
            chain = c * (1 - c)
            found_m, found_s = (sympy.diff(d, c) * chain for d in (distance_m, distance_s))
            psi = xi = sympy.Integer(0)
            if j < subset:
                psi = sympy.Rational(2, frames) * sign * apart[j] * chain
                centred = [code[t, k] - means[i][k] for k in range(subset)]
                xi = sympy.Rational(4, frames - 1) * sign * sum(delta[j, k] * centred[k] for k in range(subset)) * chain
            whole = same * (found_m + found_s) - (1 - same) * (found_m * far_m / scale_m + found_s * far_s / scale_s)
            differences["A.1, A.2 mean part"].append(found_m - psi)
            differences["A.3 covariance part"].append(found_s - xi)
            differences["Eq. 5 whole"].append(whole - (kappa_m * psi + kappa_s * xi))
    for name, entries in differences.items():
        holds[f"siamese: {name}, zero beyond the code subset"] = all(_zero(sympy, entry) for entry in entries)
    return holds


def _squares(matrix: Any) -> Any:
    return sum(entry**2 for entry in matrix)


def _zero(sympy: Any, expression: Any) -> bool:
    entries = expression if isinstance(expression, sympy.MatrixBase) else [expression]
    return all(sympy.simplify(sympy.expand(entry)) == 0 for entry in entries)
