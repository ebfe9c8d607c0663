# The archives as Conan, vcpkg and CMake's reader of CPS take them; ports-prepare installs Conan and a new CMake.
foreach(way conan vcpkg cps)
  add_test(NAME release.ports.${way}
    COMMAND ${OFFLINE} ${CMAKE_CURRENT_SOURCE_DIR}/ports ${way} ${CMAKE_BINARY_DIR} ${DIST})
  set_tests_properties(release.ports.${way} PROPERTIES TIMEOUT 300)
endforeach()
