# The client library as other programs use it: one archive, its headers (client/include/) and a CMake package, so
# that `find_package(kvd-client)` gives them the target kvd::client. In this tree the target is there as well.
add_library(kvd_client STATIC $<TARGET_OBJECTS:kv_client> $<TARGET_OBJECTS:kv_wire> $<TARGET_OBJECTS:kv_message>
                              $<TARGET_OBJECTS:kv_asio>)
add_library(kvd::client ALIAS kvd_client)
set_target_properties(kvd_client PROPERTIES LINKER_LANGUAGE CXX OUTPUT_NAME kvd-client EXPORT_NAME client)
target_compile_features(kvd_client INTERFACE cxx_std_20)
target_include_directories(kvd_client INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/client/include>
                                                $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
# Whoever includes Asio must do so in the way in which it is compiled in the archive.
get_target_property(asio_definitions kv_asio INTERFACE_COMPILE_DEFINITIONS)
target_compile_definitions(kvd_client INTERFACE ${asio_definitions})
target_compile_options(kvd_client INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-mismatched-new-delete>)
if(KV_SANITIZE)
  target_link_options(kvd_client INTERFACE -fsanitize=${KV_SANITIZE})
endif()
target_link_libraries(kvd_client PUBLIC Threads::Threads PRIVATE absl::strings PkgConfig::uuid)

include(CMakePackageConfigHelpers)
set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/kvd-client)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/kvd-client-config-version.cmake
                                 COMPATIBILITY SameMajorVersion)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/kvd-client-config.cmake.in
                              ${PROJECT_BINARY_DIR}/kvd-client-config.cmake
                              INSTALL_DESTINATION ${package_folder})
install(TARGETS kvd_client EXPORT kvd-client-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        COMPONENT client-library)
install(DIRECTORY client/include/kvd DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT client-library)
install(EXPORT kvd-client-targets NAMESPACE kvd:: DESTINATION ${package_folder} COMPONENT client-library)
install(FILES ${PROJECT_BINARY_DIR}/kvd-client-config.cmake ${PROJECT_BINARY_DIR}/kvd-client-config-version.cmake
        DESTINATION ${package_folder} COMPONENT client-library)
