# Header-only code is compiled as the program is: without optimisation the kernels are more than ten times slower.
function(seqsgd_warn_if_unoptimized)
  get_property(several GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
  if(NOT several AND NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CXX_FLAGS MATCHES "(^| )[-/]O")
    message(WARNING "seqsgd: CMAKE_BUILD_TYPE is not set and CMAKE_CXX_FLAGS has no -O, so the kernels will be more than ten times slower; use -DCMAKE_BUILD_TYPE=Release (Debug, if that is wanted, says nothing)")
  endif()
endfunction()

# What the kernels ask of the compiler: no -ffast-math anywhere; contraction to fused multiply-adds is wanted, errno from the mathematical library is not.
function(seqsgd_arithmetic target)
  set(prefix "")
  if(MSVC) # clang-cl
    set(prefix /clang:)
  endif()
  foreach(flag -fno-math-errno -ffp-contract=fast)
    target_compile_options(${target} INTERFACE $<BUILD_INTERFACE:$<$<COMPILE_LANGUAGE:CXX>:${prefix}${flag}>>) # a program that finds the package asks for its own
  endforeach()
endfunction()
