// Rows of numbers in memory: how they are padded, products of two, and sums of several.
//
// Rows are padded with zeros to whole units. Their stride is an odd number of cache lines, so that
// they do not share cache sets. Sums run in vectors of T over tiles of a few thousand columns and
// in double between tiles.
#pragma once

#include <algorithm>

#include "seqsgd/simd/simd.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

inline constexpr int draw_size = 32;  // columns that are taken, and normals that are drawn, at once
template <class T>
inline constexpr int draw_vectors = draw_size / simd::width<T>;  // vectors that hold them
inline constexpr Index tile = 64 * draw_size;  // columns summed in T before the sum moves to double

inline Index padded(Index d) { return (d + draw_size - 1) / draw_size * draw_size; }
template <class T>
inline Index row_stride(Index d) {
  constexpr Index line = 64 / Index(sizeof(T));
  return padded(d) + (padded(d) / line % 2 == 0 ? line : 0);
}

// One pass v <- a v - sum_i c_i rows_i over N rows; returns ||v||^2, and v . rows_{N-1} in `last`
// if asked. What is behind the n-th element of v stays as it is.
template <int N, bool Last, class T>
double combine_pass(T* v, Index n, T a, const T* const* rows, const T* c, double* last) {
  constexpr int w = simd::width<T>;
  double norm2 = 0, dot = 0;
  const T* row[N];  // copies, which no store to v can change
  simd::Vec<T> by[N];
  for (int i = 0; i < N; ++i) {
    row[i] = rows[i];
    by[i] = simd::broadcast(c[i]);
  }
  for (Index begin = 0; begin < n; begin += tile) {
    const Index end = std::min(n, begin + tile);
    simd::Vec<T> s[2]{}, t[2]{};
    const auto move = [&](Index j, int h, auto keep) SEQSGD_LAMBDA_INLINE {
      simd::Vec<T> x = simd::load(v + j) * a, r{};
      for (int i = 0; i < N; ++i) {
        r = keep(simd::load(row[i] + j));
        x -= r * by[i];
      }
      simd::store(v + j, x);
      s[h] += x * x;
      if constexpr (Last) t[h] += x * r;
    };
    const auto all = [](simd::Vec<T> r) SEQSGD_LAMBDA_INLINE { return r; };
    Index j = begin;
    for (; j + 2 * w <= end; j += 2 * w) {
      move(j, 0, all);
      move(j + w, 1, all);
    }
    if (j + w <= end) {
      move(j, 0, all);
      j += w;
    }
    if (j < end)
      move(j, 1,
           [&](simd::Vec<T> r) SEQSGD_LAMBDA_INLINE { return simd::keep_first(r, int(end - j)); });
    norm2 += simd::sum<T>(s[0] + s[1]);
    if constexpr (Last) dot += simd::sum<T>(t[0] + t[1]);
  }
  if constexpr (Last) *last = dot;
  return norm2;
}

// v <- a v - sum_i c_i rows_i for any number of rows >= 1, four to a pass. Returns ||v||^2.
template <class T>
double combine(T* v, Index n, T a, const T* const* rows, const T* c, Index count, double* last) {
  for (; count > 4; count -= 4, rows += 4, c += 4) {
    combine_pass<4, false>(v, n, a, rows, c, nullptr);
    a = 1;
  }
  switch (count * 2 + (last ? 1 : 0)) {
    case 2:
      return combine_pass<1, false>(v, n, a, rows, c, last);
    case 3:
      return combine_pass<1, true>(v, n, a, rows, c, last);
    case 4:
      return combine_pass<2, false>(v, n, a, rows, c, last);
    case 5:
      return combine_pass<2, true>(v, n, a, rows, c, last);
    case 6:
      return combine_pass<3, false>(v, n, a, rows, c, last);
    case 7:
      return combine_pass<3, true>(v, n, a, rows, c, last);
    case 8:
      return combine_pass<4, false>(v, n, a, rows, c, last);
    default:
      return combine_pass<4, true>(v, n, a, rows, c, last);
  }
}

// a . b in double throughout; n is padded.
template <class T>
double dot(const T* a, const T* b, Index n) {
  constexpr int w = simd::width<double>;
  simd::f64 s[4]{};
  for (Index j = 0; j < n; j += 4 * w)
    for (int k = 0; k < 4; ++k)
      s[k] += simd::load_doubles(a + j + k * w) * simd::load_doubles(b + j + k * w);
  return simd::sum<double>((s[0] + s[1]) + (s[2] + s[3]));
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
