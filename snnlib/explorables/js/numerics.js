/* The numbers behind the explorables: what `snnlib` computes, again in the browser.
 *
 * An ES module without dependencies. Every function agrees with its namesake in snnlib's `activations`, `gaussian`,
 * `moments`, `meanfield` or `backprop` (tests/test_explorable_numerics.py compares them); symbols and the order of
 * arguments are the same, scalars only. An activation is an object of `ACTIVATIONS` or one that `selu` makes.
 * Functions throw a RangeError for a variance that is negative or not finite, and never return a made-up number.
 *
 * Sections: special functions, activations, expectations, the moment map, push-forward, 2x2 matrices, mean field,
 * random numbers, a dense network.
 */

// --- special functions -----------------------------------------------------------------------------------------------

const SQRT_HALF = Math.SQRT1_2;
const INV_SQRT_PI = 1 / Math.sqrt(Math.PI);
const INV_SQRT_2PI = 1 / Math.sqrt(2 * Math.PI);

// Rational approximations of W. J. Cody, Math. Comp. 23 (1969), in three ranges of |x|; highest power first.
const ERF_SMALL = [
  [1.85777706184603153e-1, 3.1611237438705656, 1.13864154151050156e2, 3.77485237685302021e2, 3.20937758913846947e3],
  [1, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3],
];
const ERFC_MIDDLE = [
  [2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1, 2.98635138197400131e2,
    8.8195222124176909e2, 1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3],
  [1, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
    3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3],
];
const ERFC_LARGE = [
  [1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
    1.60837851487422766e-2, 6.58749161529837803e-4],
  [1, 2.56852019228982242, 1.87295284992346725, 5.27905102951428412e-1, 6.05183413124413191e-2,
    2.33520497626869185e-3],
];

function ratio([above, below], x) {
  let p = above[0];
  let q = below[0];
  for (let i = 1; i < above.length; i++) {
    p = p * x + above[i];
    q = q * x + below[i];
  }
  return p / q;
}

/** erfc(x) for x > 0.46875. */
function erfcRight(x) {
  if (x > 27) return 0;
  if (x <= 4) return Math.exp(-x * x) * ratio(ERFC_MIDDLE, x);
  const y = 1 / (x * x);
  return (Math.exp(-x * x) * (INV_SQRT_PI - y * ratio(ERFC_LARGE, y))) / x;
}

/** The error function, to double precision. */
export function erf(x) {
  if (Math.abs(x) <= 0.46875) return x * ratio(ERF_SMALL, x * x);
  return x > 0 ? 1 - erfcRight(x) : erfcRight(-x) - 1;
}

/** 1 - erf(x), with its digits where it is small (a relative error of 1e-13 at the end of the range). */
export function erfc(x) {
  if (Math.abs(x) <= 0.46875) return 1 - erf(x);
  return x > 0 ? erfcRight(x) : 2 - erfcRight(-x);
}

/** The distribution function of the standard normal distribution. */
export function normalCdf(x) {
  return erfc(-x * SQRT_HALF) / 2;
}

/** The density of the standard normal distribution. */
export function normalDensity(x) {
  return INV_SQRT_2PI * Math.exp(-x * x / 2);
}

// --- activations -----------------------------------------------------------------------------------------------------
//
// f, derivative (the left one at a kink), kinks, and what `pushForward` must know besides: `turning`, where f has its
// only minimum, falling before and rising after; `flatBelow`, below which f is constant.

// Klambauer et al. (2017), equation 14.
export const SELU_ALPHA = 1.6732632423543772848;
export const SELU_LAMBDA = 1.0507009873554804934;
const LEAKY_SLOPE = 0.01;

function sigmoid(z) {
  return 1 / (1 + Math.exp(-z));
}

/** lam z for z > 0, lam alpha (e^z - 1) otherwise. */
export function selu(alpha = SELU_ALPHA, lam = SELU_LAMBDA) {
  const steep = lam * alpha;
  return {
    name: "selu",
    kinks: [0],
    f: (z) => (z > 0 ? lam * z : steep * Math.expm1(z)),
    derivative: (z) => (z > 0 ? lam : steep * Math.exp(z)),
  };
}

export const ACTIVATIONS = {
  identity: { name: "identity", kinks: [], f: (z) => z, derivative: () => 1 },
  sigmoid: {
    name: "sigmoid",
    kinks: [],
    f: sigmoid,
    derivative: (z) => sigmoid(z) * sigmoid(-z),
  },
  tanh: {
    name: "tanh",
    kinks: [],
    f: Math.tanh,
    derivative: (z) => 4 * sigmoid(2 * z) * sigmoid(-2 * z),
  },
  relu: {
    name: "relu",
    kinks: [0],
    flatBelow: 0,
    f: (z) => (z > 0 ? z : 0),
    derivative: (z) => (z > 0 ? 1 : 0),
  },
  leaky_relu: {
    name: "leaky_relu",
    kinks: [0],
    f: (z) => (z > 0 ? z : LEAKY_SLOPE * z),
    derivative: (z) => (z > 0 ? 1 : LEAKY_SLOPE),
  },
  elu: { ...selu(1, 1), name: "elu" },
  selu: selu(),
  gelu: {
    name: "gelu",
    kinks: [],
    turning: -0.751791524693564457,
    f: (z) => z * normalCdf(z),
    derivative: (z) => normalCdf(z) + z * normalDensity(z),
  },
  silu: {
    name: "silu",
    kinks: [],
    turning: -1.27846454276107379,
    f: (z) => z * sigmoid(z),
    derivative: (z) => sigmoid(z) * (1 + z * sigmoid(-z)),
  },
};

// --- expectations ----------------------------------------------------------------------------------------------------
//
// As in snnlib.gaussian: the line is cut at fixed numbers of standard deviations, at 0 and the kinks, and around those
// in units of z, because activations vary on a scale of 1 near them. Each panel has 24 Gauss-Legendre nodes.

const REACH = 10; // standard deviations; the density beyond is below 1e-22
const UNIFORM = [-REACH, -3, 3, REACH];
const OFFSETS = [-175, -35, -7, -1.5, 0, 1.5, 7, 35, 175];
const TINY = 1e-160; // stands for a standard deviation of 0: the limit, half of it on either side of a kink
const [NODES, WEIGHTS] = gaussLegendre(24);

// What `rule` leaves to its caller: edges of panels, nodes x = (z - mean) / std, weights with the density.
const EDGES = new Float64Array(128);
const X = new Float64Array(EDGES.length * NODES.length);
const W = new Float64Array(X.length);
const F = new Float64Array(X.length); // f(z) - f(mean), filled by `differences`

/** Nodes and weights on [-1, 1], by Newton's method from Tricomi's estimate of the roots. */
function gaussLegendre(n) {
  const nodes = new Float64Array(n);
  const weights = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    let x = -Math.cos((Math.PI * (i + 0.75)) / (n + 0.5));
    let slope = 0;
    for (let step = 0; step < 6; step++) {
      let [before, p] = [1, x];
      for (let k = 2; k <= n; k++) [before, p] = [p, ((2 * k - 1) * x * p - (k - 1) * before) / k];
      slope = (n * (before - x * p)) / (1 - x * x);
      x -= p / slope;
    }
    nodes[i] = x;
    weights[i] = 2 / ((1 - x * x) * slope * slope);
  }
  return [nodes, weights];
}

function deviation(variance) {
  if (!(variance >= 0 && variance < Infinity)) {
    throw new RangeError(`a variance must be finite and at least 0, got ${variance}`);
  }
  return Math.max(Math.sqrt(variance), TINY);
}

/** Keep the first `count` edges sorted while one more is inserted; returns how many there are then. */
function insert(count, edge) {
  let i = count;
  while (i > 0 && EDGES[i - 1] > edge) i--;
  if (i > 0 && EDGES[i - 1] === edge) return count;
  EDGES.copyWithin(i + 1, i, count);
  EDGES[i] = edge;
  return count + 1;
}

/** Fill X and W for N(mean, std^2); returns the number of nodes. At most 13 kinks. */
function rule(mean, std, kinks) {
  let edges = 0;
  for (const edge of UNIFORM) EDGES[edges++] = edge;
  for (let k = -1; k < kinks.length; k++) {
    const point = k < 0 ? 0 : kinks[k];
    for (const offset of OFFSETS) {
      const edge = (point + offset - mean) / std;
      if (Math.abs(edge) < REACH) edges = insert(edges, edge);
    }
  }
  let count = 0;
  for (let e = 1; e < edges; e++) {
    const half = (EDGES[e] - EDGES[e - 1]) / 2;
    const centre = EDGES[e - 1] + half;
    for (let i = 0; i < NODES.length; i++) {
      const x = centre + half * NODES[i];
      X[count] = x;
      W[count++] = half * WEIGHTS[i] * normalDensity(x);
    }
  }
  return count;
}

/** E[h(Z)] for Z ~ N(mean, variance). h must not itself call a function of this section or the next. */
export function expectation(h, mean = 0, variance = 1, kinks = []) {
  const std = deviation(variance);
  const count = rule(mean, std, kinks);
  let sum = 0;
  for (let i = 0; i < count; i++) sum += W[i] * h(mean + std * X[i]);
  return sum;
}

// --- the moment map --------------------------------------------------------------------------------------------------

const SMALLEST = 1e-10; // a variance below has died out,
const LARGEST = 1e10; // one above (or such a mean) grows without bound
const LAYERS = 1000; // how long iteration is followed
const SETTLED = 1e-12; // how well a fixed point must reproduce itself
const NEUTRAL = 1e-9; // an eigenvalue so near to 1 leaves open whether there is a fixed point

/** Fill X, W and F = f(z) - f(m), which is centred so that no digits cancel; returns [count, E[F]]. */
function differences({ f, kinks }, m, s) {
  const count = rule(m, s, kinks);
  const centre = f(m);
  let shift = 0;
  for (let i = 0; i < count; i++) {
    F[i] = f(m + s * X[i]) - centre;
    shift += W[i] * F[i];
  }
  return [count, shift];
}

/** [mu~, nu~]: the mean and the variance of f(Z) for Z ~ N(mu omega, nu tau). */
export function momentMap(activation, mu, nu, omega = 0, tau = 1) {
  const m = mu * omega;
  const [count, shift] = differences(activation, m, deviation(nu * tau));
  let variance = 0;
  for (let i = 0; i < count; i++) variance += W[i] * (F[i] - shift) ** 2;
  return [activation.f(m) + shift, variance];
}

/** The derivative of (mu~, nu~) by (mu, nu), row by row, by Stein's identity; nu tau must be positive. */
export function momentJacobian(activation, mu, nu, omega = 0, tau = 1) {
  if (!(nu * tau > 0)) throw new RangeError(`the Jacobian needs nu tau > 0, got ${nu * tau}`);
  const m = mu * omega;
  const s = deviation(nu * tau);
  const [count, shift] = differences(activation, m, s);
  const centre = activation.derivative(m);
  let [meanByM, meanByV, varianceByM, varianceByV] = [centre, 0, 0, 0];
  for (let i = 0; i < count; i++) {
    const slope = activation.derivative(m + s * X[i]);
    const change = W[i] * (slope - centre);
    const deviating = F[i] - shift;
    meanByM += change;
    meanByV += change * X[i];
    varianceByM += change * deviating;
    varianceByV += W[i] * slope * deviating * X[i];
  }
  return [omega * meanByM, (tau * meanByV) / (2 * s), omega * 2 * varianceByM, (tau * varianceByV) / s];
}

/** [[mu, nu], ...]: the start and what 1, ..., `steps` layers make of it. */
export function iterate(activation, mu, nu, steps, omega = 0, tau = 1) {
  const path = [[mu, nu]];
  for (let i = 0; i < steps; i++) path.push(momentMap(activation, ...path[i], omega, tau));
  return path;
}

/** How far a layer moves (mu, nu), if it adds `change` to mu and multiplies nu by `factor`. */
function distance(change, factor, mu, nu) {
  return factor > 0 ? Math.hypot(change / Math.sqrt(mu * mu + nu), Math.log(factor)) : Infinity;
}

/** Where iteration leads and what happens on the way: { mu, nu, layers, fate }.
 *
 * fate is "settles", "dies out", "grows without bound", or after 1000 layers "dies out slowly", "grows slowly" or "has
 * not settled". mu and nu are the last that are neither too small nor too large.
 */
export function follow(activation, omega = 0, tau = 1, [mu, nu] = [0, 1]) {
  let middle = nu;
  for (let layers = 1; layers <= LAYERS; layers++) {
    const [mean, variance] = momentMap(activation, mu, nu, omega, tau);
    if (variance < SMALLEST) return { mu, nu, layers, fate: "dies out" };
    if (Math.max(variance, Math.abs(mean)) > LARGEST) return { mu, nu, layers, fate: "grows without bound" };
    const moved = distance(mean - mu, variance / nu, mean, variance);
    [mu, nu] = [mean, variance];
    if (moved < SETTLED) return { mu, nu, layers, fate: "settles" };
    if (layers === LAYERS / 2) middle = nu;
  }
  const growth = nu / middle;
  const fate = growth < 0.7 ? "dies out slowly" : growth > 1.4 ? "grows slowly" : "has not settled";
  return { mu, nu, layers: LAYERS, fate };
}

/** A root of (mu~ - mu, ln(nu~ / nu)) by damped Newton steps in mu and ln nu: [mu, nu], or null. */
function newton(activation, omega, tau, [mu, nu]) {
  function residual(mu, nu) {
    const [mean, variance] = momentMap(activation, mu, nu, omega, tau);
    return { change: mean - mu, factor: variance / nu, error: distance(mean - mu, variance / nu, mu, nu) };
  }
  let now = residual(mu, nu);
  for (let step = 0; step < 100 && now.error >= 1e-15 && now.error < Infinity; step++) {
    const [a, b, c, d] = momentJacobian(activation, mu, nu, omega, tau);
    const slopes = [a - 1, b * nu, c / (now.factor * nu), d / now.factor - 1];
    let [dMu, dLog] = leastSquares(slopes, [-now.change, -Math.log(now.factor)]);
    // At most by one root mean square in mu and by a factor of e^2 in nu ...
    const damping = Math.min(1, 2 / Math.max(Math.abs(dMu) / Math.sqrt(mu * mu + nu), Math.abs(dLog)));
    [dMu, dLog] = [dMu * damping, dLog * damping];
    // ... and half as much until the step leads towards the root.
    let next = null;
    for (let halvings = 0; halvings < 12 && !next; halvings++) {
      const trial = [mu + dMu / 2 ** halvings, nu * Math.exp(dLog / 2 ** halvings)];
      if (!(trial[1] > SMALLEST && trial[1] < LARGEST && Math.abs(trial[0]) < LARGEST)) return null;
      const there = residual(...trial);
      if (there.error < now.error) next = { trial, there };
    }
    if (!next) break; // rounding is reached, or a minimum that is no root
    [mu, nu] = next.trial;
    now = next.there;
  }
  return now.error < SETTLED ? [mu, nu] : null;
}

/** [mu~, nu] wherever, on a grid, the variance begins or ceases to grow at the mean mu. */
function crossings(activation, omega, tau, mu) {
  const found = [];
  let before = null;
  for (let k = 0; k <= 200; k++) {
    const nu = SMALLEST * (LARGEST / SMALLEST) ** (k / 200);
    const [mean, variance] = momentMap(activation, mu, nu, omega, tau);
    const now = { point: [mean, nu], grows: variance > nu };
    if (before && before.grows !== now.grows) found.push(before.point);
    before = now;
  }
  return found;
}

/** The fixed point with nu > 0 that Newton's method finds from `start`, attracting or not:
 * { mu, nu, jacobian, spectralRadius, attracting }, or null where it finds none from there, from where iteration leads,
 * and from `crossings`; `follow` says then what happens to the moments instead.
 */
export function fixedPoint(activation, omega = 0, tau = 1, start = [0, 1]) {
  if (!(start[1] > 0)) throw new RangeError(`start must have a positive variance, got ${start[1]}`);
  let led = null;
  const guesses = [
    () => [start],
    () => [[led.mu, led.nu]],
    () => crossings(activation, omega, tau, start[0]),
  ];
  for (const guess of guesses) {
    for (const point of guess()) {
      const found = newton(activation, omega, tau, point);
      if (!found) continue;
      const jacobian = momentJacobian(activation, ...found, omega, tau);
      const values = eigenvalues(jacobian);
      // With an eigenvalue 1 a small residual proves little (relu with omega = tau = 1 creeps upwards for ever).
      const clear = values.every(([re, im]) => Math.hypot(re - 1, im) > NEUTRAL);
      if (!clear) led ??= follow(activation, omega, tau, start);
      if (clear || led.fate === "settles") {
        const spectralRadius = Math.max(...values.map(([re, im]) => Math.hypot(re, im)));
        return { mu: found[0], nu: found[1], jacobian, spectralRadius, attracting: spectralRadius < 1 - SETTLED };
      }
    }
    led ??= follow(activation, omega, tau, start);
  }
  return null;
}

/** { alpha, lam } with which the exponential linear unit has the fixed point (mu, nu); null where none does.
 *
 * The symbols and the quadratic equation for alpha are those of `snnlib.moments.selu_constants`.
 */
export function seluConstants(mu = 0, nu = 1, omega = 0, tau = 1) {
  if (!(nu > 0 && tau > 0)) throw new RangeError(`nu and tau must be positive, got ${nu} and ${tau}`);
  const [m, s] = [mu * omega, deviation(nu * tau)];
  const count = rule(m, s, [0]);
  let [P, S, Q, T] = [0, 0, 0, 0];
  for (let i = 0; i < count; i++) {
    const z = m + s * X[i];
    const part = z > 0 ? z : -Math.expm1(z);
    if (z > 0) [P, S] = [P + W[i] * part, S + W[i] * part * part];
    else [Q, T] = [Q + W[i] * part, T + W[i] * part * part];
  }
  let alpha = P / Q;
  if (mu !== 0) {
    const share = (mu * mu) / (nu + mu * mu);
    const [A, B, C] = [Q * Q - share * T, P * Q, P * P - share * S];
    const root = Math.sqrt(B * B - A * C);
    alpha = mu > 0 ? C / (B + root) : (B + root) / A; // out of reach: negative, infinite or not a number
  }
  const lam = Math.sqrt((nu + mu * mu) / (S + alpha * alpha * T));
  return alpha > 0 && alpha < Infinity ? { alpha, lam } : null;
}

// --- push-forward ----------------------------------------------------------------------------------------------------

/** Where f, monotonic between low and high, passes y: bisection to the last digit; an end where it does not. */
function crossing(f, y, low, high) {
  const rising = f(high) > f(low);
  for (let i = 0; i < 64; i++) {
    const z = (low + high) / 2;
    if (f(z) <= y === rising) low = z;
    else high = z;
  }
  return low;
}

/** How f(Z) is distributed, for Z ~ N(mean, variance): { density, atoms }.
 *
 * density[k] is the mean density of f(Z) between edges[k] and edges[k + 1] (increasing), without the atoms. It is
 * exact, also where the density itself is infinite, as at the minimum of gelu. atoms are the values that f(Z) takes
 * with a positive probability, [{ value, probability }].
 */
export function pushForward({ f, turning = -Infinity, flatBelow = -Infinity }, mean, variance, edges) {
  const s = deviation(variance);
  const [low, high] = [mean - 12 * s, mean + 12 * s];
  const cdf = (z) => normalCdf((z - mean) / s);
  const bottom = Math.min(Math.max(low, turning, flatBelow), high);
  const atoms = flatBelow > low ? [{ value: f(flatBelow), probability: cdf(flatBelow) }] : [];

  /** P(f(Z) <= y) less the atoms: f(z) <= y on an interval around the turning point. */
  function below(y) {
    if (f(bottom) > y) return 0;
    const left = turning > low ? crossing(f, y, low, bottom) : bottom;
    return cdf(crossing(f, y, bottom, high)) - cdf(left);
  }

  const density = new Float64Array(edges.length - 1);
  let before = below(edges[0]);
  for (let k = 0; k < density.length; k++) {
    const after = below(edges[k + 1]);
    density[k] = (after - before) / (edges[k + 1] - edges[k]);
    before = after;
  }
  return { density, atoms };
}

// --- 2x2 matrices, [a, b, c, d] row by row ---------------------------------------------------------------------------

/** The matrix product A B. */
export function product([a, b, c, d], [e, f, g, h]) {
  return [a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h];
}

export function determinant([a, b, c, d]) {
  return a * d - b * c;
}

/** The eigenvalues [[re, im], [re, im]], the larger absolute value first; det may be given where it is known better. */
export function eigenvalues(A, det = determinant(A)) {
  const [a, b, c, d] = A;
  const [half, discriminant] = [(a + d) / 2, ((a - d) / 2) ** 2 + b * c];
  const root = Math.sqrt(Math.abs(discriminant));
  if (discriminant < 0) return [[half, root], [half, -root]];
  const large = half + (half < 0 ? -root : root);
  return [[large, 0], [large === 0 ? 0 : det / large, 0]]; // the smaller would cancel as half - root
}

/** A = U diag(s) V^T with s[0] >= s[1] >= 0: { U, s, V }; det may be given where it is known better. */
export function svd(A, det = determinant(A)) {
  const [a, b, c, d] = A;
  const sum = Math.hypot(a + d, c - b) / 2;
  const difference = Math.hypot(a - d, c + b) / 2;
  const large = sum + difference;
  const [first, second] = [Math.atan2(c + b, a - d), Math.atan2(c - b, a + d)];
  const [u, v] = [(second + first) / 2, (first - second) / 2];
  const sign = sum < difference ? -1 : 1;
  return {
    U: [Math.cos(u), -sign * Math.sin(u), Math.sin(u), sign * Math.cos(u)],
    s: [large, large === 0 ? 0 : Math.abs(det) / large],
    V: [Math.cos(v), -Math.sin(v), Math.sin(v), Math.cos(v)],
  };
}

/** [A / 2^k, k] with the largest entry near 1; zeros stay. */
function scaled(A) {
  const largest = Math.max(...A.map(Math.abs));
  const k = largest > 0 ? Math.max(-1000, Math.floor(Math.log2(largest))) : 0;
  return [A.map((entry) => entry * 2 ** -k), k];
}

/** The product of all matrices, the last one leftmost, as { matrix, det, exponent }: it is matrix times 2^exponent.
 *
 * Nothing overflows, however many they are. det belongs to `matrix` and is computed from those of the factors: handed
 * to `svd` and `eigenvalues`, it gives the smaller value also where that is lost in the rounding of the matrix.
 */
export function chain(matrices) {
  let [matrix, det, exponent] = [[1, 0, 0, 1], 1, 0];
  for (const factor of matrices) {
    const [small, shift] = scaled(factor); // or the determinant of tiny entries is lost
    const [next, more] = scaled(product(small, matrix));
    matrix = next;
    det *= determinant(small) * 4 ** -more;
    exponent += shift + more;
  }
  return { matrix, det, exponent };
}

/** The shortest x for which A x is nearest to y, as numpy.linalg.lstsq: directions below 1e-12 are left out. */
function leastSquares(A, [p, q]) {
  const { U, s, V } = svd(A);
  const along = [U[0] * p + U[2] * q, U[1] * p + U[3] * q].map((part, i) => (s[i] > SETTLED * s[0] ? part / s[i] : 0));
  return [V[0] * along[0] + V[1] * along[1], V[2] * along[0] + V[3] * along[1]];
}

// --- mean field ------------------------------------------------------------------------------------------------------

/** The variance of the next layer's pre-activations: sigma_w^2 E[f(sqrt(q) Z)^2] + sigma_b^2. */
export function varianceMap({ f, kinks }, q, sigmaW, sigmaB = 0) {
  return sigmaW ** 2 * expectation((z) => f(z) ** 2, 0, q, kinks) + sigmaB ** 2;
}

/** The mean squared slope of a layer, sigma_w^2 E[f'(sqrt(q) Z)^2]. */
export function chi({ derivative, kinks }, sigmaW, q) {
  return sigmaW ** 2 * expectation((z) => derivative(z) ** 2, 0, q, kinks);
}

/** The variances of the pre-activations of layers 1, ..., depth, where layer 1 has q. */
export function variancePath(activation, depth, sigmaW, sigmaB = 0, q = 1) {
  const path = [q];
  while (path.length < depth) path.push(varianceMap(activation, path[path.length - 1], sigmaW, sigmaB));
  return path;
}

/** The squared norms of the gradient by the pre-activations of layers 1, ..., depth, relative to that of the last.
 *
 * path is what `variancePath` gives; going back from layer l + 1 to l multiplies by chi at path[l].
 */
export function gradientPath(activation, path, sigmaW) {
  const norms = path.map(() => 1);
  for (let l = path.length - 2; l >= 0; l--) norms[l] = norms[l + 1] * chi(activation, sigmaW, path[l]);
  return norms;
}

// --- random numbers --------------------------------------------------------------------------------------------------

/** The generator mulberry32 (T. Ettinger), seeded with a 32-bit integer: { uniform(), normal() }.
 *
 * uniform() is in (0, 1), with 32 bits, the same in every browser; normal() is made of two of them by the formula of
 * Box and Muller, the same up to the rounding of Math.log and Math.cos.
 */
export function random(seed) {
  let state = seed | 0;
  function uniform() {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 2 ** 32;
  }
  const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  return { uniform, normal };
}

// --- a dense network -------------------------------------------------------------------------------------------------

/** The variance of the weights of a layer with n inputs and m units. */
export const INITIALIZATIONS = {
  lecun: (n) => 1 / n,
  he: (n) => 2 / n,
  xavier: (n, m) => 2 / (n + m),
};

/** A fully connected network with a linear last layer, softmax and cross-entropy; as `snnlib.backprop.Network`.
 *
 * widths are [inputs, units of each layer ...]; initialization(n, m) is the variance of the normal weights, biases
 * start at 0; batch is the largest number of examples that a forward pass takes. A batch of B examples is a flat array
 * of B rows. All memory is taken here, so that a training step allocates nothing.
 *
 * layers[i] holds n, m, weights (m x n), bias, their gradients dWeights and dBias, and of the last forward pass z and
 * y = f(z) (batch x m). parameters and gradients are all of them in one array: W1, b1, W2, b2, ...
 */
export class DenseNetwork {
  constructor(widths, activation, { initialization = INITIALIZATIONS.lecun, seed = 0, batch = 128 } = {}) {
    const { normal } = random(seed);
    const shapes = widths.slice(1).map((m, i) => [widths[i], m]);
    const size = shapes.reduce((total, [n, m]) => total + (n + 1) * m, 0);
    this.activation = activation;
    this.batch = batch;
    this.count = 0; // examples in the last forward pass
    this.inputs = null;
    this.parameters = new Float64Array(size);
    this.gradients = new Float64Array(size);
    this.gradientNorms = new Float64Array(shapes.length); // of dWeights, layer by layer
    this.upstream = new Float64Array(batch * Math.max(...widths));
    this.spare = new Float64Array(this.upstream.length);
    let offset = 0;
    const take = (length) => {
      const views = [this.parameters, this.gradients].map((all) => all.subarray(offset, offset + length));
      offset += length;
      return views;
    };
    this.layers = shapes.map(([n, m], i) => {
      const [weights, dWeights] = take(n * m);
      const [bias, dBias] = take(m);
      const scale = Math.sqrt(initialization(n, m));
      for (let k = 0; k < weights.length; k++) weights[k] = scale * normal();
      const z = new Float64Array(batch * m);
      const y = i === shapes.length - 1 ? z : new Float64Array(batch * m);
      return { n, m, weights, bias, dWeights, dBias, z, y };
    });
  }

  /** The outputs for `count` rows of x: the buffer of the last layer, whose first count x m entries are valid. */
  forward(x, count = x.length / this.layers[0].n) {
    if (count > this.batch) throw new RangeError(`a batch holds at most ${this.batch} examples, got ${count}`);
    const { f } = this.activation;
    this.count = count;
    this.inputs = x;
    for (const { n, m, weights, bias, z, y } of this.layers) {
      for (let row = 0; row < count; row++) {
        for (let j = 0; j < m; j++) {
          let sum = bias[j];
          for (let k = 0, w = j * n, p = row * n; k < n; k++) sum += weights[w + k] * x[p + k];
          z[row * m + j] = sum;
        }
      }
      if (y !== z) for (let i = 0; i < count * m; i++) y[i] = f(z[i]);
      x = y;
    }
    return x;
  }

  /** The mean loss of the last forward pass, for labels 0, 1, ...; fills `gradients` and `gradientNorms`.
   *
   * The loss is Infinity or NaN where the network has diverged.
   */
  backward(labels) {
    const { count, layers, activation: { derivative } } = this;
    const loss = this.softmaxCrossEntropy(labels);
    this.gradients.fill(0);
    for (let i = layers.length - 1; i >= 0; i--) {
      const { n, m, weights, dWeights, dBias, z, y } = layers[i];
      const x = i > 0 ? layers[i - 1].y : this.inputs;
      const dz = this.upstream;
      const dx = this.spare.fill(0, 0, count * n);
      if (y !== z) for (let k = 0; k < count * m; k++) dz[k] *= derivative(z[k]);
      for (let row = 0; row < count; row++) {
        for (let j = 0; j < m; j++) {
          const g = dz[row * m + j];
          dBias[j] += g;
          for (let k = 0, w = j * n, p = row * n; k < n; k++) {
            dWeights[w + k] += g * x[p + k];
            dx[p + k] += g * weights[w + k];
          }
        }
      }
      let square = 0;
      for (let k = 0; k < dWeights.length; k++) square += dWeights[k] * dWeights[k];
      this.gradientNorms[i] = Math.sqrt(square);
      [this.upstream, this.spare] = [dx, dz];
    }
    return loss;
  }

  /** The mean of -ln softmax(logits)[label]; leaves its derivative by the logits in `upstream`. */
  softmaxCrossEntropy(labels) {
    const { count, upstream } = this;
    const { m, z } = this.layers[this.layers.length - 1];
    let loss = 0;
    for (let row = 0; row < count; row++) {
      const start = row * m;
      let largest = -Infinity;
      let sum = 0;
      for (let j = 0; j < m; j++) largest = Math.max(largest, z[start + j]);
      for (let j = 0; j < m; j++) sum += upstream[start + j] = Math.exp(z[start + j] - largest);
      for (let j = 0; j < m; j++) upstream[start + j] /= sum * count;
      upstream[start + labels[row]] -= 1 / count;
      loss += Math.log(sum) + largest - z[start + labels[row]];
    }
    return loss / count;
  }

  /** One step of gradient descent along the last `backward`. */
  step(learningRate) {
    const { parameters, gradients } = this;
    for (let i = 0; i < parameters.length; i++) parameters[i] -= learningRate * gradients[i];
  }
}
