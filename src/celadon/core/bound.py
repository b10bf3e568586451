"""How sure a count of failures makes us: the exact (Clopper-Pearson) upper bound of a failure rate, one-sided.

After 655 requests and no failure, the rate is below 0.46 % with 95 % confidence: were it larger, so good a run would
happen less than once in twenty times. scipy judges this file in tests; its 35 MB stay out of the install.
"""

import math

CONFIDENCE = 0.95
TERMS = 100_000  # the fraction needs about sqrt(n) terms: enough for ten thousand million requests
TINY = 1e-300


def upper_bound(failed: int, requests: int, confidence: float = CONFIDENCE) -> float:
    """The largest failure rate that is not contradicted. 1.0 when nothing was asked: no data is no evidence."""
    if not 0 <= failed <= requests:
        raise ValueError(f"{failed} of {requests} requests failed")
    if failed == requests:
        return 1.0
    if failed == 0:
        return -math.expm1(math.log1p(-confidence) / requests)
    # The bound is the rate at which "more than `failed` of `requests`" has probability `confidence`.
    low, high = failed / requests, 1.0
    while low < (middle := (low + high) / 2) < high:  # until two neighbouring floats: about 60 halvings
        if _beta(failed + 1, requests - failed, middle) < confidence:
            low = middle
        else:
            high = middle
    return high


def _beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function: the chance of at least `a` successes in `a + b - 1` tries at `x`."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    if x < (a + 1) / (a + b + 2):  # where the fraction converges fast; elsewhere it does for the mirror image
        return math.exp(scale) * _fraction(a, b, x) / a
    return 1.0 - math.exp(scale) * _fraction(b, a, 1.0 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function (DLMF 8.17.22), by Lentz's method."""
    d = 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1))
    c, value = 1.0, d
    for m in range(1, TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / _away_from_zero(1.0 + term * d)
            c = _away_from_zero(1.0 + term / c)
            value *= c * d
        if abs(c * d - 1.0) < 1e-15:
            return value
    raise ArithmeticError(f"the fraction for ({a}, {b}, {x}) did not converge")


def _away_from_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY
