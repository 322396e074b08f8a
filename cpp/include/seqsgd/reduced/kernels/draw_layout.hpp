// What a step of the reduced dynamics draws, in which order, and where a worker keeps it.
#pragma once

#include <algorithm>

#include "seqsgd/model/task.hpp"
#include "seqsgd/reduced/start.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

// Sums over tokens, of z* and of its squares.
struct TeacherSums {
  Pack star{}, squares{};
};

// Fixed by the task and the settings.
struct DrawLayout {
  DrawLayout(const Task& task, const Settings& s, const Coordinates& c, bool single)
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
        row_draws(turns + chi.normals()),
        uniforms(squares.uniforms() + (c.shared ? chi.uniforms() : 0)),
        noise(task.noisy() ? task.k() : 0),
        common(c.rest && chi.many() && !mixed && !s.projected &&
               s.position != PositionKind::injected),
        sum_kernel(common && !c.encoded && sums),
        solvable(!task.sums().link_of_sums || task.sums().link_of_sum || c.L == 1) {
    if (c.shared || !sum_kernel) words = even(star + field + (c.shared ? row_draws : 0)) + uniforms;
    for (Index i = 0; i < c.n && !c.shared; i += rows_together) {
      const Index rows = std::min(rows_together, c.n - i);
      words += sum_kernel ? even(3 * rows) : even(rows * row_draws) + rows * chi.uniforms();
    }
    if (sum_kernel) {
      largest = single ? 6.77 : 8.58;
      longest = chi.of_normal()(largest) + 2 * largest * largest;
    }
    const Index numbers = words + 2 * c.size() + (c.encoded ? c.L * (c.r + 1) : 0);
    const double bytes = double(numbers) * (sum_kernel && single ? 4 : 8),
                 two_packs =
                     simd::widest ? 0x1p19 : 0x1p18;  // (two are worth more than the nearest cache)
    while (together > Pack::size &&
           together * bytes >
               (sum_kernel && single && together == 2 * Pack::size ? two_packs : 0x1p15))
      together /= 2;
    while (block < 4096 && 2 * block * std::max(words, even(noise)) <= 32768) block *= 2;
    flush_interval =
        !sum_kernel ? block : 64;  // so few that s^2 stays of the size of its increments' sum,
                                   // which then loses nothing beside their own rounding
  }

  // Where `by_sums`, from `star` normals and the uniforms of `squares`. root_ones: standard
  // deviation of the sum.
  template <class X, class Again>
  SEQSGD_INLINE TeacherSums teacher_sums(const X* normals, const X* u, double root_ones,
                                         Again rejection) const {
    const Pack first = widened(normals[0]);
    TeacherSums sums{no_contract(first * root_ones), no_contract(first * first)};
    if (squares.dof > 0) sums.squares += widened(squares.draw(normals + 1, u, rejection));
    return sums;
  }

  Index packs_together() const { return together / Pack::size; }
  // Whether the increments of coordinate k of a weight vector are those of its square: s in
  // SumKernel.
  bool squared(const Coordinates& c, Index k) const { return sum_kernel && k == c.r + 1; }

  static constexpr Index rows_together = 16;
  const bool single;  // normals in single precision
  const bool mixed;   // correlated tokens
  const bool sums;    // the student sees sum_l z_l alone, so that all delta_l are equal
  // Then one normal gives the sum over tokens of the coordinates along the part of w orthogonal to
  // w*. A link of sum_l z*_l and sum_l z*_l^2 takes as little: the first is sqrt(L) times a normal,
  // the second its square over L plus an independent chi-square of L - 1 degrees of freedom. Both
  // laws are exact.
  const bool by_sums;
  const ChiSquarePack chi;       // squared length of what is not followed, per unit of ||delta||^2
  const ChiSquarePack squares;   // sum_l z*_l^2 - (sum_l z*_l)^2 / L
  const Index star, field;       // normals along w*, and along the part of w orthogonal to it
  const Index turns, row_draws;  // per weight vector: normals for the directions of P across w;
                                 // these and the chi-square's
  const Index uniforms;  // of all weight vectors together: those of `squares`, then those of a
                         // shared chi-square
  const Index noise;     // normals of the label noise
  const bool common;  // independent tokens, the normalised step, no c, and so many dimensions that
                      // something is left beside those that are followed
  const bool sum_kernel;  // common, no P, a student of sums (sum_kernel.hpp)
  const bool solvable;    // for a student of sums: it may come to agree with the teacher, which for
                          // several tokens must then be a function of the sum too
  double largest = 0, longest = 0;  // of SumKernel: bounds on a normal (normal.hpp), and on what
                                    // a weight vector of its own has drawn, chi^2 + b^2 + a^2
  Index together = group_size;  // runs side by side; fewer where their coordinates and draws would
                                // leave the nearest cache
  Index words = 0;              // of a run's generator in a step
  Index block = 1;              // steps to a block; a power of two
  Index flush_interval = 1;     // steps after which the sums of increments are brought into the
                                // coordinates; a power of two
};

// Scratch of one worker.
struct alignas(128) ReducedWorkspace {
  ReducedWorkspace(const Task& task, const Coordinates& c, const DrawLayout& layout)
      : uniforms_at(even(layout.star + layout.field + (c.shared ? layout.row_draws : 0))),
        stride(uniforms_at + layout.uniforms),
        seen(layout.sums ? 1 : c.L),
        sum_stride(c.shared ? even(layout.star + layout.field + layout.row_draws) + 3
                            : even(3 * c.n)),
        step_draws(group_packs * stride),
        row_draws(c.shared ? 0
                           : even(std::min(DrawLayout::rows_together, c.n) * layout.row_draws) +
                                 DrawLayout::rows_together * layout.chi.uniforms()),
        noise(group_packs * even(layout.noise)),
        z(group_packs * seen),
        delta(z),
        t(group_packs * c.n),
        total(group_packs),
        scratch(task.scratch()),
        v((c.n + 1) * (c.r + 3)),
        x(c.r + 2),
        sum_draws(layout.sum_kernel ? group_packs * sum_stride * Index(sizeof(Pack)) : 0) {}
  // Of such a scratch.
  static double bytes(const Task& task, const Coordinates& c, const DrawLayout& layout) {
    const double n = double(c.n),
                 drawn =
                     double(even(layout.star + layout.field + (c.shared ? layout.row_draws : 0)) +
                            layout.uniforms);
    const double row_draws =
        c.shared ? 0
                 : double(std::min(DrawLayout::rows_together, c.n) * layout.row_draws +
                          DrawLayout::rows_together * layout.chi.uniforms());
    const double sum = !layout.sum_kernel ? 0
                       : c.shared ? double(layout.star + layout.field + layout.row_draws) + 4
                                  : 3 * n + 1;
    const double seen = layout.sums ? 1 : double(c.L);
    return double(sizeof(Pack)) *
               (group_packs * (drawn + double(even(layout.noise)) + 2 * seen + n + 1 + sum) +
                row_draws + double(task.scratch()) + (n + 2) * double(c.r + 3)) +
           8192;
  }
  const Index uniforms_at, stride;  // of what a pack draws at once
  const Index seen;        // fields that the student tells apart: L, or 1 if it sees their sum
  const Index sum_stride;  // of SumKernel: packs to a pack
  LineVector<Pack> step_draws, row_draws, noise, z, delta, t, total, scratch, v, x;
  LineVector<unsigned char> sum_draws;  // what SumKernel draws, in the precision of the draws
};

// A weight vector of SumKernel in the precision of the draws: m and s^2 as they were last flushed,
// and the sums of their increments since.
template <class T>
struct SumRow {
  using X = PackOf<T>;
  X flushed_m, dm, flushed_square, dsquare;
  SEQSGD_INLINE X m() const { return flushed_m + dm; }
  SEQSGD_INLINE X square() const { return flushed_square + dsquare; }
  // To coordinates and sums of increments in double.
  void go_to(const Pack* c) {
    flushed_m = narrowed(c[0], T()), dm = narrowed(c[1], T());
    flushed_square = narrowed(c[2] * c[2], T()), dsquare = narrowed(c[3], T());
  }
};

// Where the runs of a group are.
struct LaneGroupState {
  Pack* coords = nullptr;              // (packs, n, r + 2, 2): as in LaneGroup
  void* sum_rows = nullptr;            // (packs, n) SumRow, which then have the sums of increments
  const Pack* P = nullptr;             // (packs, L, r + 1)
  const Pack* outside = nullptr;       // (packs, r + 1)
  const std::uint32_t* run = nullptr;  // (group_size)
  double ones = 0, root_ones = 0;      // variance of the sum of a coordinate over tokens
  int lanes_taken = 0;                 // the first of the group, by runs that have begun
  int packs_taken = 0;                 // packs that have runs at all

  void take(int lanes) {
    lanes_taken = std::max(lanes_taken, lanes);
    packs_taken = (lanes_taken + Pack::size - 1) / Pack::size;
  }
  // Runs of a pack.
  int taken(int pack) const { return std::min(lanes_taken - pack * Pack::size, Pack::size); }
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
