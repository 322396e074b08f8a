# The headers and the CMake package: below the prefix, or in the Python package.
include(CMakePackageConfigHelpers)
set(package ${root}share/cmake/seqsgd)
install(DIRECTORY cpp/include/ DESTINATION ${root}include FILES_MATCHING PATTERN "*.hpp")
install(TARGETS seqsgd EXPORT seqsgdTargets)
install(EXPORT seqsgdTargets NAMESPACE seqsgd:: DESTINATION ${package})
configure_package_config_file(cmake/seqsgdConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/seqsgdConfig.cmake INSTALL_DESTINATION ${package} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/seqsgdConfigVersion.cmake COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/seqsgdConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/seqsgdConfigVersion.cmake cmake/seqsgdArithmetic.cmake DESTINATION ${package})
