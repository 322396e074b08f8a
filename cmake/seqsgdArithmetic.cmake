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
