// Tokens are drawn (or read) while they are projected on the weights and on w*: the O(L d) loops of
// a sampled step.
//
// Weights are padded to whole units with zeros; tokens may have anything finite behind their last
// column.
#pragma once

#include <algorithm>

#include "seqsgd/random/normal.hpp"
#include "seqsgd/simd/rows.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

// Where tokens come from: fresh normals, staged by way of a small stock. The columns beyond the
// last whole unit of all tokens of a block are drawn together beforehand.
template <class T>
struct Draw {
  Xoshiro16 g;
  const T* tails = nullptr;  // (L, columns % draw_size) of this step
  T* stock = nullptr;        // room for a stretch,
  Index at = 0, end = 0;     // where normals from here to there are left
  Index left = 0;            // of this step, not drawn yet
  static constexpr bool fresh = true, stocked = staged;
  SEQSGD_INLINE void get(const T*, simd::Vec<T> (&x)[draw_vectors<T>]) {
    if constexpr (staged) {
      if (at == end) restock(std::min(left, stretch));
      take(x);
    } else {
      draw<T>(g, x);
    }
  }
  void restock(Index n) {
    fill_normal(g, stock, n);
    at = 0;
    end = n;
    left -= n;
  }
  SEQSGD_INLINE void take(simd::Vec<T> (&x)[draw_vectors<T>]) {
    for (int k = 0; k < draw_vectors<T>; ++k) x[k] = simd::load(stock + at + k * simd::width<T>);
    at += draw_size;
  }
  SEQSGD_INLINE void tail(const T*, Index l, int n, simd::Vec<T> (&x)[draw_vectors<T>]) const {
    for (int k = 0; k < draw_vectors<T>; ++k) x[k] = simd::load(tails + l * n + k * simd::width<T>);
  }
};

// Where tokens come from: rows already in memory.
template <class T>
struct Read {
  static constexpr bool fresh = false, stocked = false;
  SEQSGD_INLINE void get(const T* p, simd::Vec<T> (&x)[draw_vectors<T>]) const {
    for (int k = 0; k < draw_vectors<T>; ++k) x[k] = simd::load(p + k * simd::width<T>);
  }
  SEQSGD_INLINE void tail(const T* p, Index, int, simd::Vec<T> (&x)[draw_vectors<T>]) const {
    get(p, x);
  }
};

// Pair running dot products of x against a and b, over two accumulators each; of the first n
// vectors of a unit.
template <class T>
struct TwoDots {
  simd::Vec<T> s[2]{}, t[2]{};
  SEQSGD_INLINE void add(const simd::Vec<T> (&x)[draw_vectors<T>], const T* a, const T* b,
                         int n = draw_vectors<T>) {
    for (int k = 0; k < draw_vectors<T>; ++k) {
      if (k >= n) return;  // constant indices keep the accumulators in registers
      s[k & 1] += x[k] * simd::load(a + k * simd::width<T>);
      t[k & 1] += x[k] * simd::load(b + k * simd::width<T>);
    }
  }
  // Of n elements, a vector of which x(j) gives.
  template <class Row>
  SEQSGD_INLINE void add_row(Row x, const T* a, const T* b, Index n) {
    constexpr int w = simd::width<T>;
    const auto one = [&](Index j, int k) SEQSGD_LAMBDA_INLINE {
      const simd::Vec<T> y = x(j);
      s[k] += y * simd::load(a + j);
      t[k] += y * simd::load(b + j);
    };
    Index j = 0;
    for (; j + w < n; j += 2 * w) {
      one(j, 0);
      one(j + w, 1);
    }
    if (j < n) one(j, 0);
  }
  SEQSGD_INLINE double first() const { return simd::sum<T>(s[0] + s[1]); }
  SEQSGD_INLINE double second() const { return simd::sum<T>(t[0] + t[1]); }
  SEQSGD_INLINE void flush(double& a, double& b) {
    a += first();
    b += second();
    *this = {};
  }
};

template <class T>
SEQSGD_INLINE void put(T* p, const simd::Vec<T> (&x)[draw_vectors<T>], int n = draw_vectors<T>) {
  for (int k = 0; k < draw_vectors<T> && k < n; ++k) simd::store(p + k * simd::width<T>, x[k]);
}

// z_l = X_l . v_l and z*_l = X_l . w* of all tokens, tile by tile.
template <class T, class Source>
void project_long_tokens(Source& source, Index L, Index d, const T* v, Index v_stride,
                         const T* wstar, const T* X, Index x_stride, double* z, double* zstar) {
  Source src = source;  // a local copy can live in registers
  const Index whole = d / draw_size * draw_size;
  std::fill_n(z, L, 0.0);
  std::fill_n(zstar, L, 0.0);
  const int rest = int(d - whole), rest_packs = (rest + simd::width<T> - 1) / simd::width<T>;
  for (Index begin = 0; begin < d; begin += tile) {
    const Index end = std::min(whole, begin + tile);
    for (Index l = 0; l < L; ++l) {
      T* row = const_cast<T*>(X) + l * x_stride;  // only a fresh source writes
      const T* vl = v + l * v_stride;
      TwoDots<T> dots;
      simd::Vec<T> x[draw_vectors<T>];
      for (Index j = begin; j < end; j += draw_size) {
        src.get(row + j, x);
        if constexpr (Source::fresh) put(row + j, x);
        dots.add(x, vl + j, wstar + j);
      }
      if (rest && begin + tile >= d) {
        src.tail(row + whole, l, rest, x);
        if constexpr (Source::fresh) put(row + whole, x, rest_packs);
        dots.add(x, vl + whole, wstar + whole, rest_packs);
      }
      dots.flush(z[l], zstar[l]);
    }
  }
  source = src;
}

// Per token, handed to out(l, z_l, z*_l): z_l = X_l . v_l and z*_l = X_l . w*, X kept for the
// update. v_stride = 0 when all tokens see one weight vector; z and zstar are scratch of L.
template <class T, class Source, class Out>
SEQSGD_INLINE void project_tokens(Source& source, Index L, Index d, const T* v, Index v_stride,
                                  const T* wstar, const T* X, Index x_stride, double* z,
                                  double* zstar, Out out) {
  if constexpr (!Source::fresh)
    if (d <= tile) {
      for (Index l = 0; l < L; ++l) {
        TwoDots<T> dots;
        dots.add_row([row = X + l * x_stride](Index j)
                         SEQSGD_LAMBDA_INLINE { return simd::load(row + j); },
                     v + l * v_stride, wstar, d);
        out(l, dots.first(), dots.second());
      }
      return;
    }
  project_long_tokens(source, L, d, v, v_stride, wstar, X, x_stride, z, zstar);
  for (Index l = 0; l < L; ++l) out(l, z[l], zstar[l]);
}

// Sum over tokens: s = sum_l X_l, u = s . v, ustar = s . w*; and, if EachStar, zstar_l = X_l . w*
// with `lanes_of` (L vectors) as scratch.
template <bool EachStar, class T, class Source>
void project_sum(Source& source, Index L, Index d, const T* v, const T* wstar, const T* X,
                 Index x_stride, T* s, double& u, double& ustar, double* zstar, T* lanes_of) {
  constexpr int w = simd::width<T>;
  if constexpr (!Source::fresh && !EachStar)
    if (d <= tile) {
      TwoDots<T> dots;
      const auto column = [&](Index j) SEQSGD_LAMBDA_INLINE {
        simd::Vec<T> x = simd::load(X + j);
        for (Index l = 1; l < L; ++l) x += simd::load(X + l * x_stride + j);
        simd::store(s + j, x);
        return x;
      };
      dots.add_row(column, v, wstar, d);
      u = dots.first();
      ustar = dots.second();
      return;
    }
  Source src = source;
  const Index whole = d / draw_size * draw_size;
  u = ustar = 0;
  if constexpr (EachStar) {
    std::fill_n(zstar, L, 0.0);
    std::fill_n(lanes_of, L * w, T(0));
  }
  const int rest = int(d - whole), rest_packs = (rest + w - 1) / w;
  for (Index begin = 0; begin < d; begin += tile) {
    const Index end = std::min(whole, begin + tile);
    TwoDots<T> dots;
    const auto columns = [&](Index j, int n, auto next) {
      simd::Vec<T> sum[draw_vectors<T>], star[draw_vectors<T>], x[draw_vectors<T>];
      for (int k = 0; k < draw_vectors<T>; ++k)
        sum[k] = simd::Vec<T>{};  // one by one, or GCC clears memory
      if constexpr (EachStar)
        for (int k = 0; k < draw_vectors<T>; ++k) star[k] = simd::load(wstar + j + k * w);
      for (Index l = 0; l < L; ++l) {
        next(X + l * x_stride + j, l, x);
        for (int k = 0; k < draw_vectors<T>; ++k) sum[k] += x[k];
        if constexpr (EachStar) {
          simd::Vec<T> a = simd::load(lanes_of + l * w);
          for (int k = 0; k < draw_vectors<T>; ++k) a += x[k] * star[k];
          simd::store(lanes_of + l * w, a);
        }
      }
      put(s + j, sum, n);
      dots.add(sum, v + j, wstar + j, n);
    };
    Index j = begin;
    if constexpr (Source::stocked)
      while (j < end && L * draw_size <= stretch) {
        const Index stop = std::min(end, j + stretch / (L * draw_size) * draw_size);
        src.restock((stop - j) * L);
        for (; j < stop; j += draw_size)
          columns(j, draw_vectors<T>,
                  [&](const T*, Index, auto& x) SEQSGD_LAMBDA_INLINE { src.take(x); });
      }
    for (; j < end; j += draw_size)
      columns(j, draw_vectors<T>,
              [&](const T* p, Index, auto& x) SEQSGD_LAMBDA_INLINE { src.get(p, x); });
    if (rest && begin + tile >= d)
      columns(whole, rest_packs,
              [&](const T* p, Index l, auto& x) SEQSGD_LAMBDA_INLINE { src.tail(p, l, rest, x); });
    dots.flush(u, ustar);
    if constexpr (EachStar)
      for (Index l = 0; l < L; ++l) {
        zstar[l] += simd::sum<T>(simd::load(lanes_of + l * w));
        simd::store(lanes_of + l * w, simd::Vec<T>{});
      }
  }
  source = src;
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
