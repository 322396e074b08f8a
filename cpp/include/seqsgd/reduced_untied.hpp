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
  using V = Runs;
  using X = RunsOf<T>;
  static constexpr Index together = ReducedDraws::rows_together;

 public:
  LeanRows(const Task& task, const Settings& s, const Coordinates& c, const ReducedDraws& draws, ReducedWorkspace& ws, const BatchState& batch, Index step)
      : task_(task), s_(s), draws_(draws), ws_(ws), n_(c.n), batch_(batch), step_(step) {}

  // Draws the fields of part h and leaves delta; returns the loss.
  SEQSGD_INLINE V ask(RunLanes<T>& g, int h) {
    X *fields = fields_of(h), *now = now_of(h);
    draw_normals(g, h, 2 * n_, fields);
    const X *a = fields, *b = fields + n_;
    V sum{}, star{}, squares{};
    for (Index begin = 0; begin < n_; begin += together) {
      const Index end = std::min(begin + together, n_);
      X other{};
      for (Index l = begin; l < end; ++l) {
        const V *c = at(h, l), m = c[0] + c[1], s = c[2] + c[3];
        now[2 * l] = narrowed(m, T());
        now[2 * l + 1] = narrowed(s, T());
        other += now[2 * l + 1] * b[l];
        const V x = widened(a[l]);  // what may cancel in a residual, in double: near the solution z and z* are almost the same
        sum += m * x;
        star += x;
        squares += x * x;
      }
      sum += widened(other);
    }
    V *delta = ws_.delta.data() + h, *z = ws_.z.data() + h;
    *z = sum;
    const V* normals = draws_.noise ? ws_.noise.data() + h * even(draws_.noise) : nullptr;
    if (task_.link().by_sums()) return task_.lanes_of_sums(star, squares, z, normals, delta, ws_.scratch.data(), batch_.taken(h));
    for (Index l = 0; l < n_; ++l) ws_.fresh[std::size_t(l)] = widened(a[l]);
    return task_.lanes(ws_.fresh.data(), z, normals, delta, ws_.scratch.data(), batch_.taken(h));
  }

  // One step of part h. Returns the squared overlap, if somebody looks for passages.
  SEQSGD_INLINE V move(RunLanes<T>& g, int h, double gamma_d) { return s_.weights == Weights::global ? move_as<true>(g, h, gamma_d) : move_as<false>(g, h, gamma_d); }

 private:
  static constexpr int terms = sizeof(T) == 4 ? 3 : 5;  // of series, right to the rounding of T up to `reach`
  static constexpr double reach = sizeof(T) == 4 ? 0x1p-8 : 0x1p-12;

  X* fields_of(int h) const { return reinterpret_cast<X*>(ws_.lean.data()) + h * 5 * n_; }
  X* now_of(int h) const { return fields_of(h) + 2 * n_; }
  X* chi_of(int h) const { return now_of(h) + 2 * n_; }
  V* at(int h, Index l) const { return batch_.at + 4 * (h * n_ + l); }
  using Mask = typename MaskOf<X>::type;
  static SEQSGD_INLINE X size(const X& x) { return bits_as<X>(bits_as<WordsOf<T>>(x) << 1 >> 1); }

  // Normals of the chi-squares of a group of rows.
  SEQSGD_INLINE void draw_chi(RunLanes<T>& g, int h, Index begin, Index rows, X* x) const {
    draw_normals(g, h, even(rows), x);
    WordsOf<T> word[1];
    g.next(h, word);
    X q{};
    for (Index l = 0; l < rows; ++l) {
      const X x2 = x[l] * x[l];
      q += x2 * x2;
    }
    const Mask unsure = uniform(word[0]) <= q * bound_;
    if (__builtin_expect(any(unsure), 0)) review(h, begin, rows, unsure, word[0], x);
  }
  __attribute__((noinline)) void review(int h, Index begin, Index rows, const Mask& unsure, const WordsOf<T>& word, X* x) const {
    for (int i = 0; i < wide; ++i) {
      if (!unsure[i]) continue;
      OneByOne again(Use::again, Address{s_.seed, Stream::data, batch_.run[h * wide + i], std::uint64_t(step_)}, std::uint32_t(begin));
      const double u = sizeof(T) == 4 ? (double(word[i] >> 1) + 0.5) * 0x1p-31 : double(uniform(word)[i]);
      // (through a pointer to elements: a lane of a vector has no address)
      T* lane = reinterpret_cast<T*>(x) + i;
      draws_.chi.review(rows, u, again, [&](Index l) -> T& { return lane[l * wide]; });
    }
  }

  template <bool Global>
  SEQSGD_INLINE V move_as(RunLanes<T>& g, int h, double gamma_d) {
    const X *a = fields_of(h), *b = a + n_, *now = now_of(h);
    const V long_e = gamma_d * ws_.delta[std::size_t(h)];
    const X e = narrowed(long_e, T()), scale = narrowed(draws_.chi.scale() * long_e * long_e, T());
    const T slope = T(draws_.chi.slope());
    // Squares of what is smaller or larger may leave the range of single precision.
    Mask fit = e == e;
    if constexpr (sizeof(T) == 4) fit = (e == T(0)) | ((size(e) >= T(1e-14)) & (size(e) <= T(1e4)));
    const auto across2_of = [&](const X& x) SEQSGD_LAMBDA_INLINE {
      const X v = T(1) + slope * x;
      return scale * v * (v * v);
    };
    const auto excess_of = [&](Index l, const X& across2) SEQSGD_LAMBDA_INLINE {
      const X p = e * a[l], r = e * b[l];
      return across2 + p * (p - T(2) * now[2 * l]) + r * (r - T(2) * now[2 * l + 1]);
    };
    X nu, inverse;
    Mask near_all = fit;
    X mine[together];
    if constexpr (Global) {
      V sum{};
      X* chi = chi_of(h);
      for (Index begin = 0; begin < n_; begin += together) {
        const Index rows = std::min(together, n_ - begin);
        draw_chi(g, h, begin, rows, mine);
        X x{};
        for (Index l = 0; l < rows; ++l) {
          chi[begin + l] = mine[l];
          x += excess_of(begin + l, across2_of(mine[l]));
        }
        sum += widened(x);
      }
      const X x = narrowed(sum * (1 / double(n_)), T());
      near_all = fit & (size(x) <= T(reach));
      nu = inverse_root_less_one<terms>(x);
      inverse = T(1) + nu;
      common_.nu = widened(nu);
      common_.inverse = 1.0 + common_.nu;
      if (__builtin_expect(!all(near_all), 0)) far_from_sphere(h, gamma_d, near_all);
    }
    for (Index begin = 0; begin < n_; begin += together) {
      const Index rows = std::min(together, n_ - begin);
      if constexpr (!Global) draw_chi(g, h, begin, rows, mine);
      const X* chi = Global ? chi_of(h) + begin : mine;
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
        if (__builtin_expect(!all(near), 0)) {
          far<Global>(h, l, gamma_d, near, chi[j]);
          dm = choose(near, dm, X{});
          ds = choose(near, ds, X{});
        }
        V* c = at(h, l);
        c[1] += widened(dm);
        c[3] += widened(ds);
      }
    }
    V m2{};
    if (s_.plan.eta <= 0) return m2;
    for (Index l = 0; l < n_; ++l) {
      const V m = at(h, l)[0] + at(h, l)[1];
      m2 += m * m;
    }
    return m2 / double(n_);
  }

  // A row in double.
  struct Row {
    V m, s, v0, v1;
    Move move;
  };
  Row row(int h, Index l, double gamma_d, const X& chi) const {
    const V *c = at(h, l), delta = ws_.delta[std::size_t(h)], w = 1.0 + draws_.chi.slope() * widened(chi);
    Row out{c[0] + c[1], c[2] + c[3], delta * widened(fields_of(h)[l]), delta * widened(fields_of(h)[n_ + l]), {}};
    out.move.g = V{} + gamma_d;
    out.move.across2 = delta * delta * draws_.chi.scale() * w * w * w;
    return out;
  }
  static V excess(const Row& x) { return x.move.g * (x.move.g * (x.v0 * x.v0 + x.v1 * x.v1 + x.move.across2) - 2.0 * (x.m * x.v0 + x.s * x.v1)); }
  static V grown(const Row& x) {
    const V m = x.m - x.move.g * x.v0, s = x.s + x.move.growth(x.s, x.v1);
    return m * m + s * s;
  }
  // N of those runs that are not near, where it is common to all rows.
  __attribute__((noinline)) void far_from_sphere(int h, double gamma_d, const Mask& near) {
    const auto mean = [&](auto f) {
      V x{};
      for (Index l = 0; l < n_; ++l) x += f(row(h, l, gamma_d, chi_of(h)[l]));
      return x / double(n_);
    };
    Move whole{};
    whole.shrink(mean(excess), [&] { return mean(grown); });
    for (int i = 0; i < wide; ++i)
      if (!near[i]) {
        common_.nu[i] = whole.nu[i];
        common_.inverse[i] = whole.inverse[i];
      }
  }
  // The steps of those runs that are not near.
  template <bool Global>
  __attribute__((noinline)) void far(int h, Index l, double gamma_d, const Mask& near, const X& chi) {
    Row x = row(h, l, gamma_d, chi);
    if (Global) {
      x.move.nu = common_.nu;
      x.move.inverse = common_.inverse;
    } else {
      x.move.shrink(excess(x), [&] { return grown(x); });
    }
    const V m = x.move.change(x.m, -x.move.g * x.v0), s = x.move.change(x.s, x.move.growth(x.s, x.v1));
    V* c = at(h, l);
    for (int i = 0; i < wide; ++i)
      if (!near[i]) {
        c[1][i] += m[i];
        c[3][i] += s[i];
      }
  }

  const Task& task_;
  const Settings& s_;
  const ReducedDraws& draws_;
  ReducedWorkspace& ws_;
  const Index n_;
  const BatchState& batch_;
  const Index step_;
  const T bound_ = T(1.001 * draws_.chi.bound());
  Move common_;  // of all rows of the runs of a part, where N is common to them
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
