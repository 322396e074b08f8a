// What a step of the reduced dynamics draws, in which order, and where a worker keeps it.
#pragma once

#include <algorithm>

#include "seqsgd/model/task.hpp"
#include "seqsgd/reduced/start.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

// Sums over tokens, of z* and of its squares.
struct TeacherSums {
  Runs star{}, squares{};
};

// Fixed by the task and the settings.
struct ReducedDraws {
  ReducedDraws(const Task& task, const Settings& s, const Coordinates& c, bool single)
      : single(single),
        mixed(s.tokens.law == TokenLaw::correlated),
        sums(task.sums().student_of_sum),
        by_sums(c.shared && sums && task.sums().link_of_sums &&
                (!mixed || task.sums().link_of_sum)),
        chi(c.dof, single),
        squares(by_sums && !task.sums().link_of_sum ? c.L - 1 : 0, single),
        star(by_sums ? 1 + squares.normals() : c.L),
        field(c.shared && sums ? 1 : c.L),
        turns(c.across < 2 ? 0
              : c.r == 1   ? 1
                           : c.across),
        own(turns + chi.normals()),
        uniforms(squares.uniforms() + (c.shared ? chi.uniforms() : 0)),
        noise(task.noisy() ? task.k() : 0),
        common(c.rest && chi.many() && !mixed && !s.projected &&
               s.position != PositionKind::injected),
        lean(common && !c.encoded && sums),
        solvable(!task.sums().link_of_sums || task.sums().link_of_sum || c.L == 1) {
    if (c.shared || !lean) words = even(star + field + (c.shared ? own : 0)) + uniforms;
    for (Index i = 0; i < c.n && !c.shared; i += rows_together) {
      const Index rows = std::min(rows_together, c.n - i);
      words += lean ? even(3 * rows) : even(rows * own) + rows * chi.uniforms();
    }
    if (lean) {
      largest = single ? 6.77 : 8.58;
      longest = chi.of_normal()(largest) + 2 * largest * largest;
    }
    const Index numbers = words + 2 * c.size() + (c.encoded ? c.L * (c.r + 1) : 0);
    const double bytes = double(numbers) * (lean && single ? 4 : 8),
                 two_parts =
                     simd::widest ? 0x1p19 : 0x1p18;  // (two are worth more than the nearest cache)
    while (together > wide &&
           together * bytes > (lean && single && together == 2 * wide ? two_parts : 0x1p15))
      together /= 2;
    while (block < 4096 && 2 * block * std::max(words, even(noise)) <= 32768) block *= 2;
    settling = !lean ? block : 64;  // so few that s^2 stays of the size of its increments' sum,
                                    // which then loses nothing beside their own rounding
  }

  // Where `by_sums`, from `star` normals and the uniforms of `squares`. root_ones: standard
  // deviation of the sum.
  template <class X, class Again>
  SEQSGD_INLINE TeacherSums teacher_sums(const X* normals, const X* u, double root_ones,
                                         Again again) const {
    const Runs first = widened(normals[0]);
    TeacherSums sums{rounded(first * root_ones), rounded(first * first)};
    if (squares.dof > 0) sums.squares += widened(squares.draw(normals + 1, u, again));
    return sums;
  }

  Index parts_together() const { return together / wide; }
  // Whether the increments of coordinate k of a weight vector are those of its square: s in a lean
  // step.
  bool squared(const Coordinates& c, Index k) const { return lean && k == c.r + 1; }

  static constexpr Index rows_together = 16;
  const bool single;  // normals in single precision
  const bool mixed;   // correlated tokens
  const bool sums;    // the student sees sum_l z_l alone, so that all delta_l are equal
  // Then one normal gives the sum over tokens of the coordinates along what w has beside w*. A link
  // of sum_l z*_l and sum_l z*_l^2 takes as little: the first is sqrt(L) times a normal, the second
  // its square over L plus an independent chi-square of L - 1 degrees of freedom. Both laws are
  // exact.
  const bool by_sums;
  const ChiSquareLanes chi;      // squared length of what is not followed, per unit of ||delta||^2
  const ChiSquareLanes squares;  // sum_l z*_l^2 - (sum_l z*_l)^2 / L
  const Index star, field;       // normals along w*, and along what w has beside it
  const Index turns, own;  // per weight vector: normals for the directions of P across w; these and
                           // the chi-square's
  const Index uniforms;    // of all weight vectors together: those of `squares`, then those of a
                           // shared chi-square
  const Index noise;       // normals of the label noise
  const bool common;  // independent tokens, the normalised step, no c, and so many dimensions that
                      // something is left beside those that are followed
  const bool lean;    // common, no P, a student of sums (reduced_lean.hpp)
  const bool solvable;  // for a student of sums: it may come to agree with the teacher, which for
                        // several tokens must then be a function of the sum too
  double largest = 0, longest = 0;  // of a lean step: bounds on a normal (random.hpp), and on what
                                    // a weight vector of its own has drawn, chi^2 + b^2 + a^2
  Index together = batch;  // runs side by side; fewer where their coordinates and draws would leave
                           // the nearest cache
  Index words = 0;         // of a run's generator in a step
  Index block = 1;         // steps to a block; a power of two
  Index settling = 1;  // steps after which the sums of increments are brought into the coordinates;
                       // a power of two
};

// Scratch of one worker.
struct alignas(128) ReducedWorkspace {
  ReducedWorkspace(const Task& task, const Coordinates& c, const ReducedDraws& draws)
      : uniforms_at(even(draws.star + draws.field + (c.shared ? draws.own : 0))),
        stride(uniforms_at + draws.uniforms),
        seen(draws.sums ? 1 : c.L),
        lean_stride(c.shared ? even(draws.star + draws.field + draws.own) + 3 : even(3 * c.n)),
        fresh(std::size_t(parts * stride)),
        own(std::size_t(c.shared ? 0
                                 : even(std::min(ReducedDraws::rows_together, c.n) * draws.own) +
                                       ReducedDraws::rows_together * draws.chi.uniforms())),
        noise(std::size_t(parts * even(draws.noise))),
        z(std::size_t(parts * seen)),
        delta(z),
        t(std::size_t(parts * c.n)),
        total(std::size_t(parts)),
        scratch(task.scratch()),
        v(std::size_t((c.n + 1) * (c.r + 3))),
        x(std::size_t(c.r + 2)),
        lean(std::size_t(draws.lean ? parts * lean_stride * Index(sizeof(Runs)) : 0)) {}
  // Of such a scratch.
  static double bytes(const Task& task, const Coordinates& c, const ReducedDraws& draws) {
    const double n = double(c.n),
                 drawn = double(even(draws.star + draws.field + (c.shared ? draws.own : 0)) +
                                draws.uniforms);
    const double own = c.shared ? 0
                                : double(std::min(ReducedDraws::rows_together, c.n) * draws.own +
                                         ReducedDraws::rows_together * draws.chi.uniforms());
    const double lean = !draws.lean ? 0
                        : c.shared  ? double(draws.star + draws.field + draws.own) + 4
                                    : 3 * n + 1;
    const double seen = draws.sums ? 1 : double(c.L);
    return double(sizeof(Runs)) *
               (parts * (drawn + double(even(draws.noise)) + 2 * seen + n + 1 + lean) + own +
                double(task.scratch()) + (n + 2) * double(c.r + 3)) +
           8192;
  }
  const Index uniforms_at, stride;  // of what a part draws at once
  const Index seen;         // fields that the student tells apart: L, or 1 if it sees their sum
  const Index lean_stride;  // of LeanStep: numbers of runs to a part
  LineVector<Runs> fresh, own, noise, z, delta, t, total, scratch, v, x;
  LineVector<unsigned char> lean;  // what LeanStep draws, in the precision of the draws
};

// A weight vector of LeanStep in the precision of the draws: m and s^2 as they were last settled,
// and the sums of their increments since.
template <class T>
struct LeanRow {
  using X = RunsOf<T>;
  X settled_m, dm, settled_square, dsquare;
  SEQSGD_INLINE X m() const { return settled_m + dm; }
  SEQSGD_INLINE X square() const { return settled_square + dsquare; }
  // To coordinates and sums of increments in double.
  void go_to(const Runs* c) {
    settled_m = narrowed(c[0], T()), dm = narrowed(c[1], T());
    settled_square = narrowed(c[2] * c[2], T()), dsquare = narrowed(c[3], T());
  }
};

// Where the runs of a batch are.
struct BatchState {
  Runs* at = nullptr;                  // (parts, n, r + 2, 2): as in ReducedBatch
  void* lean = nullptr;                // (parts, n) LeanRow, which then have the sums of increments
  const Runs* P = nullptr;             // (parts, L, r + 1)
  const Runs* outside = nullptr;       // (parts, r + 1)
  const std::uint32_t* run = nullptr;  // (batch)
  double ones = 0, root_ones = 0;      // variance of the sum of a coordinate over tokens
  int lanes_taken = 0;                 // the first of the batch, by runs that have begun
  int parts_taken = 0;                 // parts that have runs at all

  void take(int lanes) {
    lanes_taken = std::max(lanes_taken, lanes);
    parts_taken = (lanes_taken + wide - 1) / wide;
  }
  // Runs of part h.
  int taken(int h) const { return std::min(lanes_taken - h * wide, wide); }
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
