// Untied weights in the commonest case: no P, no c, the normalised step, a student of sums (so that all delta_l are equal) and enough degrees of freedom for
// chi-squares in groups. Draws and increments are in the precision T of the draws, one vector of T after the other; coordinates and the sums of their increments are
// double as everywhere, and steps that are not small are taken in double, lane by lane.
#pragma once

#include "reduced_draws.hpp"
#include "reduced_moves.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

template <class T>
class LeanRows {
  using V = simd::f64;
  using X = simd::Vec<T>;
  static constexpr int pieces = halves<T>;
  static constexpr Index together = ReducedDraws::rows_together;

 public:
  // at: (parts, n, 2, 2), m and s of every row, each with the sum of its increments.
  LeanRows(const Task& task, const Settings& s, const Coordinates& c, const ReducedDraws& draws, ReducedWorkspace& ws, V* at, const std::uint32_t* run, Index step)
      : task_(task), s_(s), draws_(draws), ws_(ws), n_(c.n), at_(at), run_(run), step_(step) {}

  // Draws the fields of vector k and leaves delta of its parts.
  SEQSGD_INLINE void ask(RunLanes<T>& g, int k, V (&loss)[parts]) {
    X *fields = fields_of(k), *now = now_of(k);
    draw_normals_of(g, k, 2 * n_, fields);
    const X *a = fields, *b = fields + n_;
    V sum[pieces]{}, star[pieces]{}, squares[pieces]{};
    for (Index begin = 0; begin < n_; begin += together) {
      const Index end = std::min(begin + together, n_);
      X other{};
      for (Index l = begin; l < end; ++l) {
        V m[pieces], s[pieces];
        for (int i = 0; i < pieces; ++i) {
          const V* c = at(k, i, l);
          m[i] = c[0] + c[1];
          s[i] = c[2] + c[3];
        }
        now[2 * l] = narrow(m);
        now[2 * l + 1] = narrow(s);
        other += now[2 * l + 1] * b[l];
        V x[pieces];  // what may cancel in a residual, in double: near the solution z and z* are almost the same
        widen(a[l], x);
        for (int i = 0; i < pieces; ++i) {
          sum[i] += m[i] * x[i];
          star[i] += x[i];
          squares[i] += x[i] * x[i];
        }
      }
      add(sum, other);
    }
    for (int i = 0; i < pieces; ++i) {
      const Index h = k * pieces + i;
      V *delta = ws_.delta.data() + h, *z = ws_.z.data() + h;
      *z = sum[i];
      const V* normals = draws_.noise ? ws_.noise.data() + h * even(draws_.noise) : nullptr;
      if (task_.link().by_sums()) {
        loss[h] = task_.lanes_of_sums(star[i], squares[i], z, normals, delta, ws_.scratch.data());
        continue;
      }
      for (Index l = 0; l < n_; ++l) {
        V x[pieces];
        widen(a[l], x);
        ws_.fresh[std::size_t(l)] = x[i];
      }
      loss[h] = task_.lanes(ws_.fresh.data(), z, normals, delta, ws_.scratch.data());
    }
  }

  // One step of vector k. The overlap is added to, if somebody looks for passages.
  SEQSGD_INLINE void move(RunLanes<T>& g, int k, double gamma_d, V (&overlap)[parts]) {
    s_.weights == Weights::global ? move_as<true>(g, k, gamma_d, overlap) : move_as<false>(g, k, gamma_d, overlap);
  }

 private:
  static constexpr int terms = sizeof(T) == 4 ? 3 : 5;  // of series, right to the rounding of T up to `reach`
  static constexpr double reach = sizeof(T) == 4 ? 0x1p-8 : 0x1p-12;

  X* fields_of(int k) const { return reinterpret_cast<X*>(ws_.lean.data()) + k * 5 * n_; }
  X* now_of(int k) const { return fields_of(k) + 2 * n_; }
  X* chi_of(int k) const { return now_of(k) + 2 * n_; }
  V* at(int k, int i, Index l) const { return at_ + 4 * ((k * pieces + i) * n_ + l); }
  static SEQSGD_INLINE void add(V (&sum)[pieces], X x) {
    V y[pieces];
    widen(x, y);
    for (int i = 0; i < pieces; ++i) sum[i] += y[i];
  }
  using Mask = simd::Vec<std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>>;
  static SEQSGD_INLINE X size(X x) { return simd::bits<X>(simd::bits<Words<T>>(x) << 1 >> 1); }

  // Normals of the chi-squares of a group of rows.
  SEQSGD_INLINE void draw_chi(RunLanes<T>& g, int k, Index begin, Index rows, X* x) const {
    draw_normals_of(g, k, even(rows), x);
    Words<T> word[1];
    g.next_of(k, word);
    X q{};
    for (Index l = 0; l < rows; ++l) {
      const X x2 = x[l] * x[l];
      q += x2 * x2;
    }
    const Mask unsure = uniform(word[0]) <= q * bound_;
    if (__builtin_expect(simd::any(unsure), 0)) review(k, begin, rows, unsure, word[0], x);
  }
  __attribute__((noinline)) void review(int k, Index begin, Index rows, Mask unsure, Words<T> word, X* x) const {
    for (int i = 0; i < simd::width<T>; ++i) {
      if (!unsure[i]) continue;
      OneByOne again(Use::again, Address{s_.seed, Stream::data, run_[k * simd::width<T> + i], std::uint64_t(step_)}, std::uint32_t(begin));
      const double u = sizeof(T) == 4 ? (double(word[i] >> 1) + 0.5) * 0x1p-31 : double(uniform(word)[i]);
      // (through a pointer to elements: a lane of a vector has no address)
      T* lane = reinterpret_cast<T*>(x) + i;
      draws_.chi.review(rows, u, again, [&](Index l) -> T& { return lane[l * simd::width<T>]; });
    }
  }

  template <bool Global>
  SEQSGD_INLINE void move_as(RunLanes<T>& g, int k, double gamma_d, V (&overlap)[parts]) {
    const X *a = fields_of(k), *b = a + n_, *now = now_of(k);
    V long_e[pieces], twice[pieces];
    for (int i = 0; i < pieces; ++i) {
      long_e[i] = gamma_d * ws_.delta[std::size_t(k * pieces + i)];
      twice[i] = draws_.chi.scale() * long_e[i] * long_e[i];
    }
    const X e = narrow(long_e), scale = narrow(twice);
    const T slope = T(draws_.chi.slope());
    // Squares of what is smaller or larger may leave the range of single precision.
    const Mask fit = sizeof(T) == 8 ? Mask(Mask{} - 1) : Mask((e == T(0)) | ((size(e) >= T(1e-14)) & (size(e) <= T(1e4))));
    const auto across2_of = [&](X x) SEQSGD_LAMBDA_INLINE {
      const X v = T(1) + slope * x;
      return scale * v * (v * v);
    };
    const auto excess_of = [&](Index l, X across2) SEQSGD_LAMBDA_INLINE {
      const X p = e * a[l], r = e * b[l];
      return across2 + p * (p - T(2) * now[2 * l]) + r * (r - T(2) * now[2 * l + 1]);
    };
    X nu, inverse;
    Mask near_all = fit;
    X mine[together];
    if constexpr (Global) {
      V sum[pieces]{};
      X* chi = chi_of(k);
      for (Index begin = 0; begin < n_; begin += together) {
        const Index rows = std::min(together, n_ - begin);
        draw_chi(g, k, begin, rows, mine);
        X x{};
        for (Index l = 0; l < rows; ++l) {
          chi[begin + l] = mine[l];
          x += excess_of(begin + l, across2_of(mine[l]));
        }
        add(sum, x);
      }
      for (int i = 0; i < pieces; ++i) sum[i] *= 1 / double(n_);
      const X x = narrow(sum);
      near_all = fit & (size(x) <= T(reach));
      nu = inverse_root_less_one<terms>(x);
      inverse = T(1) + nu;
      V mine[pieces];
      widen(nu, mine);
      for (int i = 0; i < pieces; ++i) {
        common_[i].nu = mine[i];
        common_[i].inverse = 1.0 + mine[i];
      }
      if (__builtin_expect(!simd::all(near_all), 0)) far_from_sphere(k, gamma_d, near_all);
    }
    for (Index begin = 0; begin < n_; begin += together) {
      const Index rows = std::min(together, n_ - begin);
      if constexpr (!Global) draw_chi(g, k, begin, rows, mine);
      const X* chi = Global ? chi_of(k) + begin : mine;
      for (Index j = 0; j < rows; ++j) {
        const Index l = begin + j;
        const X m = now[2 * l], s = now[2 * l + 1], p = e * a[l], r = e * b[l], across2 = across2_of(chi[j]);
        Mask near = near_all;
        if constexpr (!Global) {
          const X x = excess_of(l, across2);
          nu = inverse_root_less_one<terms>(x);
          inverse = T(1) + nu;
          near &= size(x) <= T(reach);
        }
        const X along = s - r, over = T(1) / along, y = across2 * over, y2 = y * over;
        X dm = nu * m - inverse * p, ds = nu * s + inverse * (y * one_over_one_plus_root<terms>(y2) - r);
        near &= (y2 <= T(reach)) & (along > T(0));
        if (__builtin_expect(!simd::all(near), 0)) {
          far<Global>(k, l, gamma_d, near, chi[j]);
          dm = near ? dm : X{};
          ds = near ? ds : X{};
        }
        V wide_m[pieces], wide_s[pieces];
        widen(dm, wide_m);
        widen(ds, wide_s);
        for (int i = 0; i < pieces; ++i) {
          V* c = at(k, i, l);
          c[1] += wide_m[i];
          c[3] += wide_s[i];
        }
      }
    }
    if (s_.plan.eta <= 0) return;
    for (int i = 0; i < pieces; ++i) {
      V m2{};
      for (Index l = 0; l < n_; ++l) {
        const V m = at(k, i, l)[0] + at(k, i, l)[1];
        m2 += m * m;
      }
      overlap[k * pieces + i] = m2 / double(n_);
    }
  }

  // A row in double.
  struct Row {
    V m, s, v0, v1;
    Move move;
  };
  Row row(int k, int i, Index l, double gamma_d, X chi) const {
    const V *c = at(k, i, l), delta = ws_.delta[std::size_t(k * pieces + i)];
    V a[pieces], b[pieces], x[pieces];
    widen(fields_of(k)[l], a);
    widen(fields_of(k)[n_ + l], b);
    widen(chi, x);
    const V w = 1.0 + draws_.chi.slope() * x[i];
    Row out{c[0] + c[1], c[2] + c[3], delta * a[i], delta * b[i], {}};
    out.move.g = V{} + gamma_d;
    out.move.across2 = delta * delta * draws_.chi.scale() * w * w * w;
    return out;
  }
  static V excess(const Row& x) { return x.move.g * (x.move.g * (x.v0 * x.v0 + x.v1 * x.v1 + x.move.across2) - 2.0 * (x.m * x.v0 + x.s * x.v1)); }
  static V grown(const Row& x) {
    const V m = x.m - x.move.g * x.v0, s = x.s + x.move.growth(x.s, x.v1);
    return m * m + s * s;
  }
  // N of those lanes that are not near, where it is common to all rows.
  __attribute__((noinline)) void far_from_sphere(int k, double gamma_d, Mask near) {
    for (int i = 0; i < pieces; ++i) {
      const auto mean = [&](auto f) {
        V x{};
        for (Index l = 0; l < n_; ++l) x += f(row(k, i, l, gamma_d, chi_of(k)[l]));
        return x / double(n_);
      };
      Move whole{};
      whole.shrink(mean(excess), [&] { return mean(grown); });
      for (int j = 0; j < wide; ++j)
        if (!near[i * wide + j]) {
          common_[i].nu[j] = whole.nu[j];
          common_[i].inverse[j] = whole.inverse[j];
        }
    }
  }
  // The steps of those lanes that are not near.
  template <bool Global>
  __attribute__((noinline)) void far(int k, Index l, double gamma_d, Mask near, X chi) {
    for (int i = 0; i < pieces; ++i) {
      Row x = row(k, i, l, gamma_d, chi);
      if (Global) {
        x.move.nu = common_[i].nu;
        x.move.inverse = common_[i].inverse;
      } else {
        x.move.shrink(excess(x), [&] { return grown(x); });
      }
      const V m = x.move.change(x.m, -x.move.g * x.v0), s = x.move.change(x.s, x.move.growth(x.s, x.v1));
      for (int j = 0; j < wide; ++j)
        if (!near[i * wide + j]) {
          at(k, i, l)[1][j] += m[j];
          at(k, i, l)[3][j] += s[j];
        }
    }
  }

  const Task& task_;
  const Settings& s_;
  const ReducedDraws& draws_;
  ReducedWorkspace& ws_;
  const Index n_;
  V* const at_;
  const std::uint32_t* const run_;
  const Index step_;
  const T bound_ = T(1.001 * draws_.chi.bound());
  Move common_[pieces];  // of all rows of the runs of a vector, where N is common to them

};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
