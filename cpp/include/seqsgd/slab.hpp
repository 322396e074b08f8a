// One piece of memory for all the numbers of runs that an owner has. Pieces from all over the heap cost up to half the speed where their addresses happen to agree in
// the low twelve bits: loads then wait for stores that have nothing to do with them.
#pragma once

#include <cstring>
#include <initializer_list>
#include <new>

#include "runs.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

struct Span {
  Runs* begin = nullptr;
  Runs* data() const { return begin; }
  Runs& operator[](std::size_t i) const { return begin[i]; }
};

class Slab {
 public:
  static constexpr std::size_t page = 4096;
  // What is asked for by the spans, in their order, behind `offset` bytes of a page (a multiple of a number's alignment). Zeroed.
  struct Want {
    Span* span;
    Index count;
  };
  Slab(std::initializer_list<Want> wants, std::size_t offset) {
    std::size_t bytes = offset;
    for (const Want& w : wants) bytes += std::size_t(w.count) * sizeof(Runs);
    memory_ = static_cast<unsigned char*>(::operator new(bytes, std::align_val_t(page)));
    std::memset(memory_, 0, bytes);
    Runs* next = reinterpret_cast<Runs*>(memory_ + offset);
    for (const Want& w : wants) {
      w.span->begin = next;
      next += w.count;
    }
  }
  ~Slab() { ::operator delete(memory_, std::align_val_t(page)); }
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;

 private:
  unsigned char* memory_;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
