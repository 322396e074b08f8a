// The floor under the package's speed: bare one-pass spherical SGD steps, in float32, on one core,
// with nothing around them.
//
// No addressable streams, no records, no checks, no choice of model in the loop, -ffast-math. All L
// d normals of a step are drawn; the projections are fused into the generator, the norm into the
// update, and a step whose delta is zero moves nothing. Built by bare.py, once for this machine and
// once for AVX2 alone. The letters are those of the package's notation.
#include <algorithm>
#include <cstdlib>
#include <memory>

#include "bare_normals.hpp"

namespace {

using i64 = std::int64_t;

void fill(Generator& generator, float* x, i64 n) {  // n a multiple of `unit`
  Generator g = generator;
  for (i64 i = 0; i < n; i += unit) {
    F a, b;
    g.pair(a, b);
    store(x + i, a);
    store(x + i + W, b);
  }
  generator = g;
}

i64 padded(i64 n) { return (n + unit - 1) / unit * unit; }

struct Freed {
  void operator()(float* p) const { std::free(p); }
};
struct Buffer : std::unique_ptr<float[], Freed> {  // zeros, on a cache line
  explicit Buffer(i64 n)
      : std::unique_ptr<float[], Freed>(
            static_cast<float*>(std::aligned_alloc(64, std::size_t(n * 4 + 63) / 64 * 64))) {
    std::memset(get(), 0, std::size_t(n) * 4);
  }
};

// v <- v + sum_i c_i rows_i in one pass over N rows; returns ||v||^2 and, for Last, v . (last row).
template <int N, bool Last>
float add_rows(float* v, i64 n, const float* const* rows, const float* c, float* last) {
  F s[2]{}, t[2]{};
  for (i64 j = 0; j < n; j += unit)
    for (int k = 0; k < 2; ++k) {
      F x = load(v + j + k * W), r{};
      for (int i = 0; i < N; ++i) {
        r = load(rows[i] + j + k * W);
        x += r * c[i];
      }
      store(v + j + k * W, x);
      s[k] += x * x;
      if (Last) t[k] += x * r;
    }
  if (Last) *last = sum(t[0] + t[1]);
  return sum(s[0] + s[1]);
}
float add_rows(float* v, i64 n, const float* const* rows, const float* c, i64 count) {
  for (; count > 4; count -= 4, rows += 4, c += 4) add_rows<4, false>(v, n, rows, c, nullptr);
  if (count == 1) return add_rows<1, false>(v, n, rows, c, nullptr);
  if (count == 2) return add_rows<2, false>(v, n, rows, c, nullptr);
  if (count == 3) return add_rows<3, false>(v, n, rows, c, nullptr);
  return add_rows<4, false>(v, n, rows, c, nullptr);
}

enum Kind { tied, untied, pair, trace };

struct Loop {
  const Kind kind;
  const i64 d, L, whole, tail, stride,
      weights;  // columns drawn by units; the `tail` beyond is drawn ahead, many steps at once
  const float lr, omega,
      corner;  // pair: the positional target is [[corner, 1 - corner], [1 - corner, corner]]
  const float radius2;
  const i64 ahead;  // steps' worth of tails
  Buffer v, star, p, X, tails, z, zstar, e, gradient, c;
  std::unique_ptr<const float*[]> rows;
  Generator g;
  float scale = 1, along = 0;  // w = scale v; along = p . v
  i64 left = 0, moved = 0;     // steps of tails left; steps that moved w

  Loop(Kind kind, i64 d, i64 L, float lr, float omega, float corner, const float* teacher,
       const float* start, const float* position, std::uint64_t seed)
      : kind(kind),
        d(d),
        L(L),
        whole(d / unit * unit),
        tail(d - whole),
        stride(padded(d) + (padded(d) / 16 % 2 ? 0 : 16)),
        weights(kind == untied ? L : 1),
        lr(lr),
        omega(omega),
        corner(corner),
        radius2(float(weights * d)),
        ahead(1 + 8192 / (L * d)),
        v(weights * stride + unit),
        star(stride),
        p(stride),
        X((kind == tied ? 1 : L) * stride + unit),
        tails(padded(ahead * L * tail) + unit),
        z(L + W),
        zstar(L + W),
        e(L + W),
        gradient(L + W),
        c(L + W),
        rows(new const float*[std::size_t(L)]),
        g(seed) {
    std::memcpy(star.get(), teacher, std::size_t(d) * 4);
    if (kind == pair) std::memcpy(p.get(), position, std::size_t(d) * 4);
    for (i64 i = 0; i < weights; ++i)
      std::memcpy(v.get() + i * stride, start + i * d, std::size_t(d) * 4);
    for (i64 l = 0; l < L; ++l) rows[std::size_t(l)] = X.get() + (kind == tied ? 0 : l * stride);
    for (i64 j = 0; j < d; ++j) along += p[j] * v[j];
    settle(norm2());
  }

  float norm2() const {
    double s = 0;
    for (i64 j = 0; j < weights * stride; ++j) s += double(v[j]) * v[j];
    return float(s);
  }
  // After a move of v: the scale that puts w on its sphere. v itself is put back only when far off.
  void settle(float size2) {
    scale = std::sqrt(radius2 / size2);
    if (scale > 0.5f && scale < 2) return;
    for (i64 j = 0; j < weights * stride; ++j) v[j] *= scale;
    along *= scale;
    scale = std::sqrt(radius2 / norm2());
  }

  const float* next_tails() {
    if (!left) {
      fill(g, tails.get(), padded(ahead * L * tail));
      left = ahead;
    }
    return tails.get() + (ahead - left--) * L * tail;
  }
  static I first(i64 n) {
    I mask;
    for (int j = 0; j < W; ++j) mask[j] = j < n ? -1 : 0;
    return mask;
  }

  // s = sum_l xi_l, with s . v and s . w*.
  void project_sum(float& a, float& y) {
    Generator gen = g;
    float* s = X.get();
    F A{}, Y{};
    for (i64 j = 0; j < whole; j += unit) {
      F s0{}, s1{};
      for (i64 l = 0; l < L; ++l) {
        F x0, x1;
        gen.pair(x0, x1);
        s0 += x0;
        s1 += x1;
      }
      store(s + j, s0);
      store(s + j + W, s1);
      A += s0 * load(v.get() + j) + s1 * load(v.get() + j + W);
      Y += s0 * load(star.get() + j) + s1 * load(star.get() + j + W);
    }
    g = gen;
    if (tail) {
      const float* t = next_tails();
      for (i64 k = 0; k < tail; k += W) {
        F s0{};
        for (i64 l = 0; l < L; ++l) s0 += load(t + l * tail + k);
        s0 = masked(s0, first(tail - k));
        store(s + whole + k, s0);
        A += s0 * load(v.get() + whole + k);
        Y += s0 * load(star.get() + whole + k);
      }
    }
    a = sum(A);
    y = sum(Y);
  }

  // xi_l into X; z_l = xi_l . v_l, zstar_l = xi_l . w*.
  void project_tokens() {
    Generator gen = g;
    const float* t = tail ? next_tails_of(gen) : nullptr;
    const I mask[2] = {first(tail), first(tail - W)};
    for (i64 l = 0; l < L; ++l) {
      float* x = X.get() + l * stride;
      const float* vl = v.get() + (weights > 1 ? l * stride : 0);
      F A{}, Y{};
      for (i64 j = 0; j < whole; j += unit) {
        F x0, x1;
        gen.pair(x0, x1);
        store(x + j, x0);
        store(x + j + W, x1);
        A += x0 * load(vl + j) + x1 * load(vl + j + W);
        Y += x0 * load(star.get() + j) + x1 * load(star.get() + j + W);
      }
      for (i64 k = 0; k < tail; k += W) {
        const F x0 = masked(load(t + l * tail + k), mask[k / W]);
        store(x + whole + k, x0);
        A += x0 * load(vl + whole + k);
        Y += x0 * load(star.get() + whole + k);
      }
      z[l] = sum(A);
      zstar[l] = sum(Y);
    }
    g = gen;
  }
  const float* next_tails_of(Generator& gen) {  // with the generator held by the caller
    g = gen;
    const float* t = next_tails();
    gen = g;
    return t;
  }

  // f = relu(u), u = (1/sqrt L) sum_l z_l, target (1/sqrt L) sum_l z*_l, square loss.
  void network() {
    float a = 0, y = 0;
    if (kind == tied) {
      project_sum(a, y);
    } else {
      project_tokens();
      for (i64 l = 0; l < L; ++l) {
        a += z[l];
        y += zstar[l];
      }
    }
    const float k = 1 / std::sqrt(float(d) * float(L));
    a *= scale;
    if (!(a > 0)) return;
    const float step = 2 * lr * (y - a) * k * k / scale, *x = X.get();
    settle(add_rows<1, false>(v.get(), kind == tied ? padded(d) : padded(L * stride), &x, &step,
                              nullptr));
    ++moved;
  }

  // Fields of attention; `shift` is the positional part of token 1, minus that of token 2.
  void fields(float shift) {
    project_tokens();
    const float k = 1 / std::sqrt(float(d));
    for (i64 l = 0; l < L; ++l) {
      z[l] *= k * scale;
      zstar[l] *= k;
    }
    z[0] += shift;
    if (shift != 0) z[1] -= shift;
  }

  // f = softmax(z z^T), 2 x 2, opposite positions +-p, Frobenius norm as loss. A row is (1 - q, q)
  // or (q, 1 - q).
  void attention_pair() {
    const float k = 1 / std::sqrt(float(d));
    fields(along * scale * k);
    const float z0 = z[0], z1 = z[1];
    F x{};
    x[0] = z0 * (z0 - z1);
    x[1] = z1 * (z1 - z0);
    x[2] = zstar[0] * (zstar[0] - zstar[1]);
    x[3] = zstar[1] * (zstar[1] - zstar[0]);
    const F q = 1.0f / (1.0f + exponential(x));
    const float b = omega * (1 - corner), g0 = q[0] - (1 - omega) * q[2] - b,
                g1 = q[1] - (1 - omega) * q[3] - b;
    const float slope = std::sqrt(2 / (g0 * g0 + g1 * g1 + 1e-30f));
    const float h0 = slope * g0 * q[0] * (1 - q[0]),
                h1 = slope * g1 * q[1] * (1 - q[1]);  // d loss / d score difference of each row
    const float d0 = h0 * (z1 - 2 * z0) + h1 * z1, d1 = h1 * (z0 - 2 * z1) + h0 * z0,
                m = -lr * k / scale;
    const float steps[3] = {m * d0, m * d1, m * (d0 - d1)}, *three[3] = {rows[0], rows[1], p.get()};
    settle(add_rows<3, true>(v.get(), padded(d), three, steps, &along));
    ++moved;
  }

  // f = (1/sqrt L) trace softmax(z z^T), target (1/sqrt L) sum_l h2(z*_l), square loss. A row's top
  // score is at an end of z's range.
  void attention_trace() {
    fields(0);
    const i64 n = (L + W - 1) / W * W;
    const I rest = first(L - (n - W));
    float low = z[0], high = z[0], f = 0, y = 0;
    for (i64 l = 0; l < L; ++l) {
      low = std::min(low, z[l]);
      high = std::max(high, z[l]);
      y += zstar[l] * zstar[l] - 1;
    }
    std::memset(gradient.get(), 0, std::size_t(n) * 4);
    for (i64 l = 0; l < L; ++l) {
      const float zl = z[l], top = zl * (zl >= 0 ? high : low);
      F s{}, h{};
      for (i64 j = 0; j < n; j += W) {
        const F x = load(z.get() + j);
        F q = exponential(x * zl - top);
        if (j + W > L) q = masked(q, rest);
        store(e.get() + j, q);
        s += q;
        h += q * x;
      }
      const float r = 1 / sum(s), own = e[l] * r, b = own * zl * r;
      for (i64 j = 0; j < n; j += W)
        store(gradient.get() + j, load(gradient.get() + j) - load(e.get() + j) * b);
      gradient[l] += own * (2 * zl - sum(h) * r);
      f += own;
    }
    const float k = 1 / std::sqrt(float(L)),
                step = 2 * (y * 0.707106781f - f) * k * k * lr / (std::sqrt(float(d)) * scale);
    float size = 0;
    for (i64 l = 0; l < L; ++l) {
      c[l] = step * gradient[l];
      size += std::fabs(c[l]);
    }
    if (size == 0) return;  // L = 1
    settle(add_rows(v.get(), padded(d), rows.get(), c.get(), L));
    ++moved;
  }

  void run(i64 steps) {
    for (i64 i = 0; i < steps; ++i)
      if (kind == pair)
        attention_pair();
      else if (kind == trace)
        attention_trace();
      else
        network();
  }
};

}  // namespace

// ---------------------------------------------------------------- C interface
extern "C" {
const char* bare_level() { return LEVEL; }
// kind: 0 tied, 1 untied, 2 pair, 3 trace. teacher (d), start (d; L rows of d untied), position (d;
// pair only). Free with bare_free.
void* bare_new(int kind, i64 d, i64 L, float lr, float omega, float corner, const float* teacher,
               const float* start, const float* position, std::uint64_t seed) {
  return new Loop(Kind(kind), d, L, lr, omega, corner, teacher, start, position, seed);
}
void bare_run(void* loop, i64 steps) { static_cast<Loop*>(loop)->run(steps); }
i64 bare_moved(const void* loop) { return static_cast<const Loop*>(loop)->moved; }
void bare_weights(const void* loop, float* out) {
  const Loop& q = *static_cast<const Loop*>(loop);
  for (i64 i = 0; i < q.weights; ++i)
    for (i64 j = 0; j < q.d; ++j) out[i * q.d + j] = q.scale * q.v[i * q.stride + j];
}
void bare_free(void* loop) { delete static_cast<Loop*>(loop); }
// n normals into x, `times` times over from one stream; n a multiple of 32.
void bare_normals(std::uint64_t seed, float* x, i64 n, i64 times) {
  Generator g(seed);
  for (i64 i = 0; i < times; ++i) fill(g, x, n);
}
}
